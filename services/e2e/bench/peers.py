"""What Waybill is measured against, and what it runs on: found, installed where asked for, started."""

import datetime
import hashlib
import hmac
import os
import shutil
import subprocess
import sys
import urllib.parse
import urllib.request
from pathlib import Path
from typing import Any

from harness import REPOSITORY, Bench, LeftOut, free_port, require, say

VENV = REPOSITORY / "target/venv-bench"
GARAGE = REPOSITORY / "target/garage/bin/garage"
HERE = Path(__file__).resolve().parent
DISTRIBUTION = {"rclone": "rclone", "nginx": "nginx-light", "wrk": "wrk", "rabbitmq-server": "rabbitmq-server"}
REQUIREMENTS = ["duckdb", "celery", "boto3", "moto[server,s3]==5.*", "requests"]


def find(program: str) -> Path:
    """Where a program is; it is left out where it is not."""
    path = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/usr/lib/rabbitmq/bin"])
    found = shutil.which(program, path=path)
    if not found:
        raise LeftOut(f"{program} is not installed")
    return Path(found)


def in_venv(program: str) -> Path:
    found = VENV / "bin" / program
    if not found.exists():
        raise LeftOut(f"{program} is not installed under target/venv-bench")
    return found


def install(with_garage: bool) -> None:
    """Installs what is missing, where it can; what it cannot is left out of the measurement."""
    missing = []
    for program, package in DISTRIBUTION.items():
        try:
            find(program)
        except LeftOut:
            missing.append(package)
    if missing and shutil.which("apt-get"):
        root = [] if os.geteuid() == 0 else ["sudo", "-n"]
        # Packages would start servers of their own; these are private.
        quiet = ["env", "DEBIAN_FRONTEND=noninteractive", "RUNLEVEL=1"]
        say(f"installing {', '.join(missing)}")
        try_command([*root, "apt-get", "update", "-qq"])
        try_command([*root, *quiet, "apt-get", "install", "-y", "-qq", "--no-install-recommends", *missing])
    if not (VENV / "bin/celery").exists():
        say("installing duckdb, celery, boto3 and moto under target/venv-bench")
        try_command([sys.executable, "-m", "venv", str(VENV)])
        try_command([str(VENV / "bin/pip"), "install", "--quiet", "--disable-pip-version-check", *REQUIREMENTS])
    if with_garage and not GARAGE.exists():
        say("building Garage, some 8 minutes")
        try_command(["cargo", "install", "--quiet", "--locked", "--root", str(GARAGE.parents[1]), "garage"])


def try_command(command: list[str]) -> None:
    try:
        done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, timeout=1800)
        if done.returncode:
            say(f"{' '.join(command[:4])} … ended with {done.returncode}")
    except (OSError, subprocess.TimeoutExpired) as error:
        say(f"{command[0]}: {error}")


class S3Server:
    """A private S3 server: Garage where it is installed, else moto."""

    region = "us-east-1"

    def __init__(self, bench: Bench):
        self.buckets, self.port = 0, free_port()
        self.endpoint = f"http://127.0.0.1:{self.port}"
        garage = GARAGE if GARAGE.exists() else shutil.which("garage")
        # How many small cities a line takes: with moto fewer, so that it ends in minutes.
        self.many = 1000 if garage else 300
        if garage:
            self.name = "Garage"
            self.start_garage(bench, Path(garage))
        else:
            self.name = "moto"
            self.key, self.secret = "bench", "bench-secret"
            bench.note(
                "S3 server: moto, one Python process that nearly fills a core in lines with RabbitMQ, so these measure moto "
                "too, and 300 small cities stand for 1,000; with Garage they are real: scripts/bench --install-garage"
            )
            self.process = bench.start([in_venv("moto_server"), "-H", "127.0.0.1", "-p", self.port], "moto")
            self.process.wait_for_url(f"{self.endpoint}/moto-api/")

    def start_garage(self, bench: Bench, program: Path) -> None:
        folder, rpc = bench.folder("garage"), free_port()
        configuration = folder / "garage.toml"
        configuration.write_text(
            f'metadata_dir = "{folder}/meta"\ndata_dir = "{folder}/data"\ndb_engine = "sqlite"\nreplication_factor = 1\n'
            f'rpc_bind_addr = "127.0.0.1:{rpc}"\nrpc_public_addr = "127.0.0.1:{rpc}"\nrpc_secret = "{os.urandom(32).hex()}"\n'
            f'[s3_api]\ns3_region = "{self.region}"\napi_bind_addr = "127.0.0.1:{self.port}"\nroot_domain = ".s3.local"\n'
        )
        self.command = [str(program), "-c", str(configuration)]
        self.process = bench.start([*self.command, "server"], "garage", {"RUST_LOG": "warn"})
        self.process.wait_for_url(self.endpoint)
        node = self.call("node", "id", "-q").split("@")[0]
        self.call("layout", "assign", "-z", "one", "-c", "100G", node)
        self.call("layout", "apply", "--version", "1")
        text = self.call("key", "create", "bench")
        fields = dict(line.split(":", 1) for line in text.splitlines() if ":" in line)
        self.key, self.secret = fields["Key ID"].strip(), fields["Secret key"].strip()

    def call(self, *arguments: str) -> str:
        done = subprocess.run([*self.command, *arguments], capture_output=True, text=True, timeout=60)
        require(done.returncode == 0, f"garage {' '.join(arguments)}: {done.stderr[-300:]}")
        return done.stdout

    def make_bucket(self) -> str:
        self.buckets += 1
        name = f"bench{self.buckets}"
        if self.name == "Garage":
            self.call("bucket", "create", name)
            self.call("bucket", "allow", "--read", "--write", "--owner", name, "--key", "bench")
        else:
            urllib.request.urlopen(urllib.request.Request(self.presign("PUT", f"/{name}"), method="PUT"), timeout=30).close()
        return name

    def environment(self) -> dict[str, str]:
        return {
            "AWS_ENDPOINT_URL_S3": self.endpoint,
            "AWS_REGION": self.region,
            "AWS_ACCESS_KEY_ID": self.key,
            "AWS_SECRET_ACCESS_KEY": self.secret,
            "AWS_EC2_METADATA_DISABLED": "true",
        }

    def presign(self, method: str, path: str, query: dict[str, Any] | None = None) -> str:
        """An address with a signature (SigV4) in its query, so that a plain HTTP client can use it."""
        now = datetime.datetime.now(datetime.timezone.utc).strftime("%Y%m%dT%H%M%SZ")
        scope = f"{now[:8]}/{self.region}/s3/aws4_request"
        signed = {
            **(query or {}),
            "X-Amz-Algorithm": "AWS4-HMAC-SHA256",
            "X-Amz-Credential": f"{self.key}/{scope}",
            "X-Amz-Date": now,
            "X-Amz-Expires": "3600",
            "X-Amz-SignedHeaders": "host",
        }
        text = urllib.parse.urlencode(sorted(signed.items()), quote_via=urllib.parse.quote, safe="~")
        path = urllib.parse.quote(path, safe="/~")
        canonical = f"{method}\n{path}\n{text}\nhost:127.0.0.1:{self.port}\n\nhost\nUNSIGNED-PAYLOAD"
        key = f"AWS4{self.secret}".encode()
        for part in scope.split("/"):
            key = hmac.digest(key, part.encode(), "sha256")
        to_sign = f"AWS4-HMAC-SHA256\n{now}\n{scope}\n{hashlib.sha256(canonical.encode()).hexdigest()}"
        return f"{self.endpoint}{path}?{text}&X-Amz-Signature={hmac.digest(key, to_sign.encode(), 'sha256').hex()}"


def serve_files(bench: Bench, folder: Path) -> tuple[str, str]:
    """Serves a folder with nginx; its URL and the server's name. Without nginx: Python's http.server."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    try:
        nginx = find("nginx")
    except LeftOut:
        server = bench.start([sys.executable, "-m", "http.server", port, "--bind", "127.0.0.1", "--directory", folder], "files")
        server.wait_for_url(url)
        return url, "Python's http.server"
    own = bench.folder("nginx")
    configuration = own / "nginx.conf"
    user = "user root;\n" if os.geteuid() == 0 else ""
    temporary = "".join(f"  {kind}_temp_path {own}/{kind};\n" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
    configuration.write_text(
        f"{user}daemon off;\nworker_processes 1;\npid {own}/pid;\nerror_log {own}/error.log;\nevents {{}}\nhttp {{\n{temporary}"
        f"  access_log off;\n  sendfile on;\n  types {{ application/json json; }}\n"
        f"  server {{ listen 127.0.0.1:{port}; root {folder}; autoindex on; }}\n}}\n"
    )
    bench.start([nginx, "-c", configuration, "-p", own, "-e", own / "error.log"], "nginx").wait_for_url(url)
    return url, "nginx"
