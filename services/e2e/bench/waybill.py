"""Waybill under measurement: in one process or as a fleet, beside its stand-in upstream."""

import json
import re
import subprocess
import time
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

from harness import REPOSITORY, Bench, Failed, Process, free_port, get_json, request, require, wait_until
from peers import S3Server, find

FIRST_DAY = date(2024, 1, 1)
ENDED = ("succeeded", "partial", "failed", "cancelled")
RECORD_BYTES = 114
# Records in a file of about 199 KB.
SMALL_CITY = 1750
# Records in a file that costs next to nothing: what is looked at is the work around it.
TINY_CITY = 20


def day(number: int) -> str:
    return str(FIRST_DAY + timedelta(days=number))


class Upstream:
    """The stand-in upstream."""

    def __init__(self, bench: Bench, cities: int, records: int, countries: int = 4):
        self.url = f"http://127.0.0.1:{free_port()}"
        shape = ["--cities", cities, "--records", records, "--countries", countries]
        listen = self.url.removeprefix("http://")
        self.process = bench.start([bench.binary, "upstream", "--listen", listen, "--control", *shape], "upstream")
        self.process.wait_for_url(f"{self.url}/control")

    def change(self, changes: dict[str, Any]) -> None:
        request("PUT", f"{self.url}/control", changes)

    def counters(self) -> dict[str, Any]:
        return get_json(f"{self.url}/control")


class System:
    """Services that take jobs: `url` is the API's, `stats_url` where statistics are asked for."""

    processes: list[Process]
    url: str
    stats_url: str
    urls: list[str]

    def submit(self, source: str, **params: str) -> str:
        return json.loads(request("POST", f"{self.url}/v1/jobs", {"source": source, "params": params}))["id"]

    def finish(self, job: str, timeout: float = 600, pause: float = 0.1) -> dict[str, Any]:
        def ended() -> dict[str, Any] | None:
            found = get_json(f"{self.url}/v1/jobs/{job}")
            return found if found["state"] in ENDED else None

        found = wait_until(f"job {job}", ended, timeout, pause)
        require(found["state"] == "succeeded", f"job {job} {found['state']}: {str(found['errors'])[:300]}")
        return found

    def run(self, source: str, timeout: float = 600, **params: str) -> tuple[float, dict[str, Any]]:
        """Seconds from the job's creation to its end, by its own times, and the job."""
        job = self.finish(self.submit(source, **params), timeout)
        return job_seconds(job), job

    def country_stats(self, first: str, last: str, timeout: float = 120) -> dict[str, dict[str, Any]]:
        """Without the days on which there was nothing."""
        answer = get_json(f"{self.stats_url}/country-stats?from={first}&to={last}", timeout)
        found = {(country, at): entry for country, days in answer.items() for at, entry in days.items()}
        return {key: entry for key, entry in found.items() if entry["bus_count"]}

    def metrics(self, name: str) -> dict[str, float]:
        """The samples of a counter, summed over all processes, by their labels."""
        found: dict[str, float] = {}
        for url in dict.fromkeys(self.urls):
            text = request("GET", f"{url}/metrics").decode()
            for labels, value in re.findall(rf"^{name}(?:\{{(.*?)\}})? (\S+)$", text, re.MULTILINE):
                found[labels] = found.get(labels, 0) + float(value)
        return found


def job_seconds(job: dict[str, Any]) -> float:
    def parse(name: str) -> datetime:
        # Python reads six digits of a second.
        return datetime.fromisoformat(re.sub(r"(\.\d{6})\d*Z$", r"\1+00:00", job[name]).replace("Z", "+00:00"))

    return (parse("finished") - parse("created")).total_seconds()


class Alone(System):
    """`waybill up` with everything embedded."""

    def __init__(self, bench: Bench, base_urls: dict[str, str], sources: Path | None = None, data: Path | None = None):
        self.bench, self.data = bench, data or bench.folder("data")
        self.arguments = ["up", "--s3-listen", "127.0.0.1:0", "--data", self.data, *server_arguments(base_urls, sources)]
        self.start()

    def start(self) -> float:
        """Starts it; returns the seconds until /ready."""
        self.url = f"http://127.0.0.1:{free_port()}"
        self.stats_url, self.urls = self.url, [self.url]
        begun = time.monotonic()
        command = [self.bench.binary, *self.arguments, "--listen", self.url.removeprefix("http://")]
        process = self.bench.start(command, "up", {"OPENWEATHER_API_KEY": "test"})
        process.wait_for_url(f"{self.url}/ready", pause=0.001)
        self.processes = [process]
        return time.monotonic() - begun

    def stop(self) -> None:
        self.processes[0].stop()


class Fleet(System):
    """API, workers and statistics apart, on RabbitMQ and an S3 server."""

    def __init__(
        self, bench: Bench, base_urls: dict[str, str], broker: "Broker", s3: S3Server, workers: int = 1, sources: Path | None = None
    ):
        bucket = s3.make_bucket()
        vhost = broker.make_vhost()
        environment = {"OPENWEATHER_API_KEY": "test", "WAYBILL_AMQP_URL": vhost, "WAYBILL_S3_BUCKET": bucket, **s3.environment()}
        self.bucket, self.urls, self.processes = bucket, [], []
        data = bench.folder("data")
        for target in ["api", "stats", *["worker"] * workers]:
            url = f"http://127.0.0.1:{free_port()}"
            common = ["--data", data, "--listen", url.removeprefix("http://"), *server_arguments(base_urls, sources)]
            process = bench.start([bench.binary, target, *common], target, environment)
            self.urls.append(url)
            self.processes.append(process)
        for url, process in zip(self.urls, self.processes):
            process.wait_for_url(f"{url}/ready")
        self.url, self.stats_url = self.urls[:2]
        self.workers = self.processes[2:]


def server_arguments(base_urls: dict[str, str], sources: Path | None) -> list[Any]:
    arguments: list[Any] = ["--sources", sources] if sources else []
    return arguments + [word for pair in base_urls.items() for word in ("--base-url", "=".join(pair))]


@dataclass
class Counts:
    """Messages that clients published to the broker, and that it delivered."""

    published: int
    delivered: int


class Broker:
    """A private RabbitMQ."""

    def __init__(self, bench: Bench):
        find("rabbitmq-server")
        self.script, self.folder = REPOSITORY / "scripts/rabbitmq", bench.folder("rabbitmq")
        bench.cleanups.append(lambda: self.call("stop"))
        self.url, self.vhosts = self.call("start").strip(), 0

    def call(self, action: str, *arguments: str) -> str:
        command = [str(self.script), action, str(self.folder), *arguments]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120)
        if done.returncode:
            raise Failed(f"scripts/rabbitmq {action} {' '.join(arguments)}: {done.stderr[-300:]}")
        return done.stdout

    def make_vhost(self) -> str:
        """An empty virtual host; its URL."""
        self.vhosts += 1
        name = f"bench{self.vhosts}"
        self.call("ctl", "add_vhost", name)
        self.call("ctl", "set_permissions", "-p", name, "guest", ".*", ".*", ".*")
        return f"{self.url}/{name}"

    def counts(self) -> Counts:
        text = self.call("ctl", "eval", "rabbit_global_counters:overview().")

        def total(name: str) -> int:
            return sum(int(number) for number in re.findall(rf"{name}\s*=>\s*(\d+)", text))

        return Counts(total("messages_received_total"), total("messages_delivered_total"))
