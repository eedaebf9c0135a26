"""Checks what is under k8s/: rendered, against the schemas of Kubernetes, and against the program. Run scripts/k8s-check.

Everything here is decided from files; no cluster is asked.
"""

import re
import shutil
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path

import kubernetes_validate
import yaml

ROOT = Path(__file__).resolve().parent.parent
K8S = ROOT / "k8s"

# The oldest Kubernetes that these manifests are for (preStop sleep), and the newest that can be validated.
VERSIONS = ("1.30", "1.37")

# Kinds of others, whose schemas are theirs.
CUSTOM = {"ScaledObject", "TriggerAuthentication", "RabbitmqCluster", "ServiceMonitor", "PrometheusRule"}

# Seconds between the end of everything that a pod may do when it is told to end, and its being killed.
MARGIN = 5

# What the operator makes of a RabbitmqCluster: pods with these labels, a Service and a Secret.
MADE = {"app.kubernetes.io/name": "rabbitmq", "app.kubernetes.io/component": "rabbitmq"}

# https://kubernetes.io/docs/concepts/security/pod-security-standards/#restricted
VOLUMES = {"configMap", "csi", "downwardAPI", "emptyDir", "ephemeral", "persistentVolumeClaim", "projected", "secret"}

wrong = []


def expect(condition, message):
    if not condition:
        wrong.append(message)
    return condition


def render(folder):
    """The objects of an overlay."""
    tool = ["kubectl", "kustomize"] if shutil.which("kubectl") else ["kustomize", "build"]
    done = subprocess.run([*tool, str(folder)], capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(f"scripts/k8s-check: {folder} cannot be rendered: {done.stderr.strip()[:2000]}")
    if done.stderr:
        print(f"    {done.stderr.strip()}")
    return [item for item in yaml.safe_load_all(done.stdout) if item]


def with_component(overlay, component):
    """The objects of an overlay with a component added."""
    with tempfile.TemporaryDirectory(dir=K8S) as folder:
        Path(folder, "kustomization.yaml").write_text(
            "apiVersion: kustomize.config.k8s.io/v1beta1\nkind: Kustomization\n"
            f"resources: [../{overlay}]\ncomponents: [../{component}]\n"
        )
        return render(folder)


def constant(file, name):
    """A whole number of seconds from the program's source."""
    text = (ROOT / "services" / file).read_text()
    found = re.search(rf"const {name}: Duration = Duration::from_secs\(([\d *]+)\);", text)
    if not found:
        sys.exit(f"scripts/k8s-check: services/{file} has no {name} in seconds any more; look where it is, and change k8s/check.py")
    product = 1
    for factor in found[1].split("*"):
        product *= int(factor)
    return product


DRAIN = constant("waybill/src/server/mod.rs", "DRAIN")
REQUEUE_AFTER = constant("waybill/src/server/mod.rs", "REQUEUE_AFTER")
HTTP_GRACE = constant("web/src/server/mod.rs", "GRACE")
CHECK_LIMIT = constant("web/src/probes.rs", "CHECK_LIMIT")


def settings():
    """The variables that the program reads, as WAYBILL_*."""
    names = re.search(r"const NAMES: \[&str; \d+\] =\s*\[(.*?)\]", (ROOT / "services/waybill/src/server/settings.rs").read_text(), re.S)
    return {f"WAYBILL_{name.upper()}" for name in re.findall(r'"(\w+)"', names[1])} | {"WAYBILL_CONFIG", "WAYBILL_LOG"}


def user():
    """The number of the image's user."""
    return int(re.search(r"^USER (\d+)", (ROOT / "compose/Dockerfile").read_text(), re.M)[1])


def routes(service):
    """The paths that a service answers, with {} for a parameter."""
    text = "".join(file.read_text() for file in sorted((ROOT / "services" / service / "src").glob("**/*.rs")))
    return {re.sub(r":\w+", "{}", path) for path in re.findall(r'#\[oai\(\s*path = "([^"]+)"', text)}


class Overlay:
    """What one overlay renders to."""

    def __init__(self, name, items):
        self.name, self.items = name, items
        self.by_id = {(item["kind"], item["metadata"]["name"]): item for item in items}

    def of(self, *kinds):
        return [item for item in self.items if item["kind"] in kinds]

    def workloads(self):
        return self.of("Deployment", "StatefulSet", "DaemonSet", "Job")

    def expect(self, condition, item, message):
        where = f"{item['kind']} {item['metadata']['name']}" if item else "all of it"
        return expect(condition, f"{self.name}: {where}: {message}")

    def label_sets(self):
        """The labels of all pods, also of those that an operator makes."""
        made = [MADE] if self.of("RabbitmqCluster") else []
        return [item["spec"]["template"]["metadata"]["labels"] for item in self.workloads()] + made

    def check(self):
        self.schemas()
        for item in self.workloads():
            self.restricted(item)
            self.references(item)
            self.lifecycle(item)
            self.variables(item)
            self.limits(item)
        self.selections()
        self.ingress()
        self.closed()
        self.scaling()
        self.broker()

    def schemas(self):
        counted = 0
        for item in self.items:
            if item["kind"] in CUSTOM:
                continue
            for version in VERSIONS:
                try:
                    kubernetes_validate.validate(item, version, strict=True)
                except kubernetes_validate.ValidationError as error:
                    self.expect(False, item, f"Kubernetes {version}: {'.'.join(map(str, error.path))}: {error.message}")
                except kubernetes_validate.SchemaNotFoundError:
                    self.expect(False, item, f"Kubernetes {version} has no schema for {item['apiVersion']}")
            counted += 1
        custom = sorted({item["kind"] for item in self.items if item["kind"] in CUSTOM})
        not_validated = f"; not validated: {', '.join(custom)}" if custom else ""
        print(f"==> {self.name}: {len(self.items)} objects, {counted} validated for Kubernetes {' and '.join(VERSIONS)}{not_validated}")

    def restricted(self, item):
        """The restricted standard; for our own pods a little more."""
        pod = item["spec"]["template"]["spec"]
        ours = "waybill" in [container["name"] for container in pod["containers"]]
        context = pod.get("securityContext", {})
        for name in ("hostNetwork", "hostPID", "hostIPC"):
            self.expect(not pod.get(name), item, f"{name} is set")
        self.expect(context.get("runAsNonRoot") is True and context.get("runAsUser", 1) != 0, item, "it may run as root")
        self.expect(context.get("seccompProfile", {}).get("type") == "RuntimeDefault", item, "seccompProfile is not RuntimeDefault")
        self.expect(pod.get("automountServiceAccountToken") is False, item, "it is given a token for Kubernetes")
        self.expect(pod.get("enableServiceLinks") is False, item, "Services become variables, which are taken for settings")
        for volume in pod.get("volumes", []):
            kinds = set(volume) - {"name"}
            self.expect(kinds and kinds <= VOLUMES, item, f"volume {volume['name']} is {kinds}")
        for container in pod["containers"] + pod.get("initContainers", []):
            own = container.get("securityContext", {})
            self.expect(own.get("allowPrivilegeEscalation") is False, item, "allowPrivilegeEscalation is not false")
            self.expect(own.get("capabilities") == {"drop": ["ALL"]}, item, "not all capabilities are dropped, or some added")
            self.expect(not own.get("privileged") and "runAsUser" not in own, item, "its container has a user or privileges of its own")
            self.expect(not any("hostPort" in port for port in container.get("ports", [])), item, "it has a port of the host")
            self.expect(re.search(r":[^/:]+$|@sha256:", container["image"]), item, f"image {container['image']} has no tag")
            if ours:
                self.expect(own.get("readOnlyRootFilesystem") is True, item, "its root file system can be written to")
        if ours:
            self.expect(context.get("runAsUser") == user(), item, f"runAsUser is not the image's, {user()}")

    def references(self, item):
        """Every ConfigMap, Secret, claim and account is here, or the README says who makes it."""
        pod = item["spec"]["template"]["spec"]
        readme = (K8S / "README.md").read_text()
        used = []
        for container in pod["containers"]:
            for source in container.get("envFrom", []):
                used += [(kind, source[key]["name"], None) for key, kind in REFERENCES.items() if key in source]
            for variable in container.get("env", []):
                for key, reference in variable.get("valueFrom", {}).items():
                    kind = {"secretKeyRef": "Secret", "configMapKeyRef": "ConfigMap"}.get(key)
                    used += [(kind, reference["name"], reference["key"])] if kind else []
        for volume in pod.get("volumes", []):
            used += [("ConfigMap", volume["configMap"]["name"], None)] if "configMap" in volume else []
            used += [("Secret", volume["secret"]["secretName"], None)] if "secret" in volume else []
            if "persistentVolumeClaim" in volume:
                used.append(("PersistentVolumeClaim", volume["persistentVolumeClaim"]["claimName"], None))
        if "serviceAccountName" in pod:
            used.append(("ServiceAccount", pod["serviceAccountName"], None))
        for kind, name, key in used:
            found = self.by_id.get((kind, name))
            if found:
                self.expect(key is None or key in found.get("data", {}) or key in found.get("stringData", {}), item, f"{kind} {name} has no {key}")
            else:
                self.expect(kind == "Secret" and f"`{name}`" in readme, item, f"{kind} {name} is not here, and k8s/README.md does not speak of it")
        mounted = {mount["name"] for container in pod["containers"] for mount in container.get("volumeMounts", [])}
        volumes = {volume["name"] for volume in pod.get("volumes", [])}
        self.expect(mounted == volumes, item, f"volumes {volumes} are mounted as {mounted}")

    def lifecycle(self, item):
        """Probes have ports and patience; the grace period is longer than everything that happens in it."""
        pod = item["spec"]["template"]["spec"]
        for container in pod["containers"]:
            ports = {port["name"] for port in container.get("ports", [])}
            self.expect("livenessProbe" in container and "readinessProbe" in container, item, "it lacks a probe")
            for probe in (container.get(f"{kind}Probe", {}) for kind in ("startup", "liveness", "readiness")):
                target = probe.get("httpGet") or probe.get("tcpSocket") or {}
                self.expect("port" not in target or target["port"] in ports, item, f"a probe asks port {target.get('port')}")
                if target.get("path") == "/ready":
                    self.expect(probe.get("timeoutSeconds", 1) > CHECK_LIMIT, item, f"/ready may take {CHECK_LIMIT} s, its probe waits no longer")
            if container["name"] != "waybill":
                continue
            self.expect(container["livenessProbe"]["httpGet"]["path"] == "/live", item, "liveness is anything but /live: others' faults would restart it")
            self.expect(container["startupProbe"]["httpGet"]["path"] == "/ready", item, "a pod that never got ready counts in an update")
            sleep = container.get("lifecycle", {}).get("preStop", {}).get("sleep", {}).get("seconds", 0)
            worker = container["args"] == ["worker"]
            self.expect(worker or sleep >= 5, item, "no preStop: it stops listening while others still send it requests")
            needs = sleep + (DRAIN if worker else 0) + HTTP_GRACE + MARGIN
            grace = pod.get("terminationGracePeriodSeconds", 30)
            self.expect(grace >= needs, item, f"the grace period is {grace} s; preStop, drain, HTTP and a margin are {needs} s")

    def variables(self, item):
        """WAYBILL_* are settings that exist, and what a service needs is there."""
        for container in item["spec"]["template"]["spec"]["containers"]:
            if container["name"] != "waybill":
                continue
            names = {variable["name"] for variable in container.get("env", [])}
            for source in container.get("envFrom", []):
                for key, kind in REFERENCES.items():
                    names |= set(self.by_id.get((kind, source.get(key, {}).get("name")), {}).get("data", {}))
            for name in names:
                self.expect(not name.startswith("WAYBILL_") or name in settings(), item, f"{name} is no setting")
            needed = {"WAYBILL_LISTEN", "WAYBILL_S3_BUCKET", "AWS_REGION"}
            needed |= {"WAYBILL_CONFIG"} if container["args"] != ["worker"] else set()
            needed |= {"WAYBILL_AMQP_URL"} if container["args"] not in (["stats"], ["tables"]) else set()
            self.expect(needed <= names, item, f"{', '.join(sorted(needed - names))} is not set")

    def limits(self, item):
        for container in item["spec"]["template"]["spec"]["containers"]:
            resources = container.get("resources", {})
            self.expect({"cpu", "memory"} <= set(resources.get("requests", {})), item, "it does not say what it needs")
            self.expect("memory" in resources.get("limits", {}), item, "its memory has no limit")

    def selections(self):
        """Whatever selects pods selects some; ports by name are there."""
        for item in self.of("Service"):
            chosen = [work for work in self.workloads() if matches({"matchLabels": item["spec"]["selector"]}, work["spec"]["template"]["metadata"]["labels"])]
            if self.expect(len(chosen) == 1, item, f"it selects the pods of {len(chosen)} workloads"):
                ports = {port["name"] for container in chosen[0]["spec"]["template"]["spec"]["containers"] for port in container["ports"]}
                for port in item["spec"]["ports"]:
                    self.expect(port["targetPort"] in ports, item, f"there is no port {port['targetPort']}")
        for item in self.of("PodDisruptionBudget"):
            self.expect(any(matches(item["spec"]["selector"], labels) for labels in self.label_sets()), item, "it selects nothing")
        for item in self.of("ServiceMonitor"):
            services = self.of("Service") + ([{"metadata": {"labels": MADE}}] if self.of("RabbitmqCluster") else [])
            self.expect(any(matches(item["spec"]["selector"], it["metadata"].get("labels", {})) for it in services), item, "it selects nothing")
        for item in self.of("NetworkPolicy"):
            selectors = [item["spec"]["podSelector"]]
            for rule in item["spec"].get("ingress", []) + item["spec"].get("egress", []):
                peers = rule.get("from", []) + rule.get("to", [])
                # Pods of another namespace are not ours to know.
                selectors += [peer["podSelector"] for peer in peers if "podSelector" in peer and "namespaceSelector" not in peer]
            for selector in selectors:
                self.expect(any(matches(selector, labels) for labels in self.label_sets()), item, f"no pod is {selector}")
        for item in self.of("HorizontalPodAutoscaler", "ScaledObject"):
            name = item["spec"]["scaleTargetRef"]["name"]
            target = self.by_id.get(("Deployment", name))
            self.expect(target and "replicas" not in target["spec"], item, f"Deployment {name} is not there, or says itself how many")

    def ingress(self):
        """Every route leads where it is answered, and /metrics leads nowhere."""
        item = self.by_id[("Ingress", "waybill")]
        paths = item["spec"]["rules"][0]["http"]["paths"]
        expected = {path: "stats" for path in routes("stats")} | {path: "tables" for path in routes("tables")} | {path: "api" for path in routes("api")}
        expected |= {path: "api" for path in ("/", "/docs", "/openapi.json", "/live", "/ready")}
        expected |= {path: None for path in ("/metrics", "/metrics/", "//metrics", "/metrics/x", "/%6detrics")}
        for path, service in expected.items():
            found = backend(paths, path)
            self.expect(found == service, item, f"{path} leads to {found}, not to {service}")
        for path in paths:
            name = path["backend"]["service"]["name"]
            self.expect(("Service", name) in self.by_id, item, f"there is no Service {name}")

    def closed(self):
        """Pods reach and are reached only where a policy says so."""
        shut = self.by_id.get(("NetworkPolicy", "nothing-else"), {}).get("spec")
        self.expect(shut == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}, None, "no NetworkPolicy denies everything else")
        for item in self.of("NetworkPolicy"):
            for rule in item["spec"].get("egress", []):
                for peer in rule.get("to", []):
                    block = peer.get("ipBlock", {})
                    if block.get("cidr") == "0.0.0.0/0":
                        self.expect("169.254.0.0/16" in block.get("except", []), item, "the cloud's metadata can be reached")

    def scaling(self):
        """The triggers speak of queues that there are, and of every source that is shipped, each as it can be scaled."""
        for item in self.of("ScaledObject"):
            triggers = {trigger["name"]: trigger["metadata"] for trigger in item["spec"]["triggers"] if trigger["type"] == "rabbitmq"}
            for file in sorted((ROOT / "services/source/sources").glob("*.toml")):
                definition = tomllib.loads(file.read_text())
                queue, limited = f"waybill.tasks.{definition['name']}", "rate" in definition.get("fetch", {})
                counted = bool(re.search(triggers["tasks"]["queueName"], queue))
                self.expect(counted != limited, item, f"{queue} must {'not ' if limited else ''}be counted in `tasks`: its source has a {'rate' if limited else 'concurrency'}")
                self.expect(re.search(triggers["anything"]["queueName"], queue), item, f"{queue} is not counted in `anything`")
            steps = re.search(r"const STEPS: \[u32; \d+\] = \[([^\]]+)\]", (ROOT / "services/queue/src/rabbitmq/topology.rs").read_text())
            longest = int(steps[1].split(",")[-1])
            self.expect(longest == REQUEUE_AFTER, item, "long tasks do not wait in the longest step")
            self.expect(re.search(triggers["long-tasks"]["queueName"], f"waybill.delay.{longest}s"), item, "long tasks are not counted")
            self.expect(re.search(triggers["plans"]["queueName"], "waybill.plans"), item, "plans are not counted")
            for name, metadata in triggers.items():
                # A length with what is in hand: otherwise workers are taken away that work.
                told = (metadata["protocol"], metadata["mode"], metadata["excludeUnacknowledged"], metadata["useRegex"])
                self.expect(told == ("http", "QueueLength", "false", "true"), item, f"trigger {name} counts something else: {told}")
                self.expect(not re.search(metadata["queueName"], "waybill.dead"), item, f"trigger {name} counts the dead")

    def broker(self):
        for item in self.of("RabbitmqCluster"):
            timeout = re.search(r"^consumer_timeout = (\d+)$", item["spec"]["rabbitmq"]["additionalConfig"], re.M)
            self.expect(timeout and int(timeout[1]) / 1000 >= REQUEUE_AFTER + 300, item, f"consumer_timeout is not well above the {REQUEUE_AFTER} s after which tasks are handed on")
            self.expect(item["spec"]["replicas"] == 3, item, "quorum queues want three nodes")


REFERENCES = {"configMapRef": "ConfigMap", "secretRef": "Secret"}


def matches(selector, labels):
    """Whether a label selector selects what has these labels."""
    for name, value in selector.get("matchLabels", {}).items():
        if labels.get(name) != value:
            return False
    for rule in selector.get("matchExpressions", []):
        if rule["operator"] != "In":
            raise NotImplementedError(rule["operator"])
        if labels.get(rule["key"]) not in rule["values"]:
            return False
    return True


def backend(paths, path):
    """Where an Ingress leads a path: an exact one first, then the longest prefix, by whole segments."""
    exact = [rule for rule in paths if rule["pathType"] == "Exact" and rule["path"] == path]
    segments = [part for part in path.split("/") if part]

    def prefix(rule):
        return [part for part in rule["path"].split("/") if part]

    longest = sorted(
        (rule for rule in paths if rule["pathType"] == "Prefix" and segments[: len(prefix(rule))] == prefix(rule)),
        key=lambda rule: len(prefix(rule)),
    )
    rules = exact or longest[-1:]
    return rules[0]["backend"]["service"]["name"] if rules else None


def same_alerts(production):
    """One list of alerts: what a single machine is told is what a cluster is told."""
    alerts = yaml.safe_load((ROOT / "compose/observe/alerts.yml").read_text())["groups"]
    rules = production.of("PrometheusRule")
    groups = [group for rule in rules for group in rule["spec"]["groups"]]
    expect(groups == alerts, "k8s/production/alerts.yaml has other groups than compose/observe/alerts.yml: copy them")
    print(f"==> the {sum(len(group['rules']) for group in groups)} alerts of production are those of compose/observe/alerts.yml")


def main():
    dev, production = Overlay("dev", render(K8S / "dev")), Overlay("production", render(K8S / "production"))
    to_zero = Overlay("production with scale-to-zero", with_component("production", "scale-to-zero"))
    for overlay in (dev, production, to_zero):
        overlay.check()
    same_alerts(production)
    expect((K8S / "dev/garage.toml").read_text() == (ROOT / "compose/garage.toml").read_text(), "k8s/dev/garage.toml is not compose/garage.toml")
    for message in wrong:
        print(f"k8s-check: WRONG: {message}", file=sys.stderr)
    if wrong:
        sys.exit(1)
    print("k8s-check: all is well")


if __name__ == "__main__":
    main()
