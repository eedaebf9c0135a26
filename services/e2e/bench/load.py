"""Submit and status under load, a rate of single items, cold start, and what a task and a query cost."""

import re
import shutil
import time
from collections.abc import Callable
from pathlib import Path

from harness import (
    REPOSITORY,
    Bench,
    Meter,
    Process,
    Row,
    median,
    require,
    require_equal,
    run_measured,
    status_mib,
    wait_until,
)
from peers import S3Server, find
from waybill import SMALL_CITY, Alone, Broker, Fleet, System, Upstream, day

CONNECTIONS = 16
# Each request of a day of its own, as clients do; days of jobs that were submitted before come again.
SUBMIT = """
wrk.method = "POST"
wrk.headers["Content-Type"] = "application/json"
local number = 0
request = function()
  number = number + 1
  local date = os.date("!%Y-%m-%d", 1704067200 + number % 3000 * 86400)
  return wrk.format(nil, nil, nil, '{"source":"buses","params":{"date":"' .. date .. '"}}')
end
"""
REPORT = """
done = function(summary, latency, requests)
  local errors = summary.errors
  io.write(string.format("RESULT %d %d %f %f\\n", summary.requests,
    errors.connect + errors.read + errors.write + errors.timeout + errors.status, summary.duration / 1e6,
    latency:percentile(99.0) / 1e3))
end
"""


def wrk(bench: Bench, url: str, script: str = "") -> tuple[float, float]:
    """Requests a second and the 99th percentile in milliseconds; an answer that is not 2xx fails."""
    program, lua = find("wrk"), bench.root / "load.lua"
    lua.write_text(script + REPORT)
    seconds = 3 if bench.quick else 10
    command = [program, "-t", 1, "-c", CONNECTIONS, "-d", f"{seconds}s", "--timeout", "30s", "-s", lua, url]
    _, _, out = run_measured(command, seconds + 60)
    found = re.search(r"RESULT (\d+) (\d+) (\S+) (\S+)", out)
    require(bool(found), f"wrk printed no result: {out[-200:]}")
    done, errors, took, p99 = (float(part) for part in found.groups())
    require(errors == 0, f"{errors:.0f} of {done:.0f} requests to {url} were refused or lost")
    return done / took, p99


def requests(bench: Bench) -> None:
    """Submit and status under wrk while workers are busy; embedded, and (not with --quick) with RabbitMQ and S3."""
    find("wrk")
    with bench.scope():
        upstream = Upstream(bench, 1, 1)
        measure_requests(bench, Alone(bench, {"buses": upstream.url}), "embedded")
    if not bench.quick:
        broker, s3 = Broker(bench), S3Server(bench)
        upstream = Upstream(bench, 1, 1)
        measure_requests(bench, Fleet(bench, {"buses": upstream.url}, broker, s3), f"RabbitMQ and {s3.name}")


def measure_requests(bench: Bench, system: System, where: str) -> None:
    job = system.submit("buses", date=day(0))
    how = f"wrk, {CONNECTIONS} connections; all processes of Waybill; the peer: /live of the same server before, without work"
    idle, idle_p99 = wrk(bench, f"{system.url}/live")
    before, meter = sum(system.metrics("waybill_jobs_submitted_total").values()), Meter(system.processes)
    rate, p99 = wrk(bench, f"{system.url}/v1/jobs", SUBMIT)
    usage = meter.read()
    accepted = sum(system.metrics("waybill_jobs_submitted_total").values()) - before
    require(accepted > 0, "no job was submitted")
    bench.add(Row("requests", f"submit, {where}", "requests/s", "higher", rate, how, usage, "/live", idle))
    bench.add(Row("requests", f"submit, {where}, p99", "ms", "lower", p99, how, usage, "/live", idle_p99))
    meter = Meter(system.processes)
    rate, p99 = wrk(bench, f"{system.url}/v1/jobs/{job}")
    how += "; the workers are busy with the jobs that were just submitted"
    usage = meter.read()
    bench.add(Row("requests", f"status, {where}", "requests/s", "higher", rate, how, usage, "/live", idle))
    bench.add(Row("requests", f"status, {where}, p99", "ms", "lower", p99, how, usage, "/live", idle_p99))


def weather_definition(folder: Path, items: int, rate: int) -> Path:
    """The shipped `weather` for single items, at another rate; it takes the place of the shipped one's name."""
    text = (REPOSITORY / "services/source/sources/weather.toml").read_text()
    head, rest = text.split("list   = [", 1)
    text = f"{head}list = [{', '.join(str(item) for item in range(1, items + 1))}]{rest.split(']', 1)[1]}"
    text = re.sub(r"batch += 20", "batch = 1", text)
    text = re.sub(r"rate += \{.*?\}", f'rate = {{ items = {rate}, per = "PT1S" }}', text)
    (folder / "weather.toml").write_text(text)
    return folder


def rate(bench: Bench) -> None:
    """500 (and 1,000) single items a second: embedded, and with RabbitMQ, one and three workers."""
    for wanted in (500,) if bench.quick else (500, 1000):
        seconds = 5 if bench.quick else 15
        for workers in (0,) if bench.quick else (0, 1, 3):
            with bench.scope():
                measure_rate(bench, wanted, wanted * seconds, workers)


def started(
    bench: Bench, base_urls: dict[str, str], workers: int, sources: Path
) -> tuple[System, list[Process], str]:
    """A system with so many workers, or embedded with none; the processes that work, and where."""
    if not workers:
        alone = Alone(bench, base_urls, sources)
        return alone, alone.processes, "embedded"
    s3 = S3Server(bench)
    fleet = Fleet(bench, base_urls, Broker(bench), s3, workers, sources)
    return fleet, fleet.workers, f"RabbitMQ and {s3.name}, {workers} worker{'s' * (workers > 1)}"


def watch(first: str, seen: Callable[[], int], wanted: int, limit: float) -> tuple[int, float]:
    """How many the upstream saw within `limit` seconds of the first, and how many a second from the first to the last."""
    initial = at = wait_until(first, seen, 60)
    begun = last = time.monotonic()
    while at < wanted and time.monotonic() < begun + limit:
        time.sleep(0.05)
        if (now := seen()) > at:
            last, at = time.monotonic(), now
    return at, (at - initial) / (last - begun)


def measure_rate(bench: Bench, wanted: int, items: int, workers: int) -> None:
    sources = weather_definition(bench.folder("sources"), items, wanted)
    upstream = Upstream(bench, items + 1, 1)
    upstream.change({"weather_items_per_window": wanted, "weather_window": "1s"})
    system, processes, where = started(bench, {"weather": upstream.url}, workers, sources)
    meter = Meter(processes)
    job = system.submit("weather", id="bench")
    limit = 4 * items / wanted
    seen, achieved = watch("the first item", lambda: upstream.counters()["weather"], items, limit)
    usage = meter.read()
    how = f"{items:,} items, one request each, as the upstream saw them; none beyond its limit; the peer: what the limit allows"
    if seen == items:
        system.finish(job, pause=0.5)
        require_equal("items asked for, and of the job", upstream.counters()["weather"], items)
    else:
        how += f"; **{seen:,} were done after {limit:.0f} s, when the measurement was ended**"
    require_equal("requests beyond the limit, and none", upstream.counters()["violations"], 0)
    what = f"{wanted} single items a second, {where}"
    bench.add(Row("rate", what, "items/s", "higher", achieved, how, usage, "the limit", wanted))


def start(bench: Bench) -> None:
    """Cold start of `waybill up` to /ready, and memory at rest; with --first-build also the first build."""
    system = Alone(bench, {})
    system.stop()
    times = []
    for _ in range(max(bench.runs, 5)):
        times.append(system.start())
        system.stop()
    how = "from the start of the process to 200 from /ready, asked every millisecond"
    bench.add(Row("start", "cold start of `waybill up`", "ms", "lower", median(times) * 1000, how))
    system.start()
    meter = Meter(system.processes)
    seconds = 3 if bench.quick else 30
    time.sleep(seconds)
    usage = meter.read()
    memory = status_mib(system.processes[0].pids(), "VmRSS")
    bench.add(Row("start", "memory at rest of `waybill up`", "MiB", "lower", memory, f"VmRSS {seconds} s after /ready", usage))
    bench.add(Row("start", "size of the binary", "MB", "lower", bench.binary.stat().st_size / 1e6, "as it was built"))
    if bench.options.first_build:
        target = bench.folder("target")
        command = ["cargo", "build", "--release", "--quiet", "--manifest-path", REPOSITORY / "Cargo.toml", "-p", "waybill"]
        seconds, usage, _ = run_measured(command, 3600, {"CARGO_TARGET_DIR": str(target)})
        shutil.rmtree(target, ignore_errors=True)
        how = "cargo build --release -p waybill into an empty folder, crates downloaded before; CPU and peak of cargo's children"
        bench.add(Row("start", "first build", "s", "lower", seconds, how, usage))


def cost(bench: Bench) -> None:
    """S3 requests of a small task and of a query, and (not with --quick) messages of RabbitMQ."""
    cities = 100 if bench.quick else 500
    with bench.scope():
        upstream = Upstream(bench, cities, SMALL_CITY)
        count_requests(bench, Alone(bench, {"buses": upstream.url}), cities, "embedded")
    if bench.quick:
        return
    broker, s3 = Broker(bench), S3Server(bench)
    upstream = Upstream(bench, cities, SMALL_CITY)
    system = Fleet(bench, {"buses": upstream.url}, broker, s3)
    before = broker.counts()
    count_requests(bench, system, cities, f"RabbitMQ and {s3.name}")
    after = broker.counts()
    published, delivered = after.published - before.published, after.delivered - before.delivered
    how = f"RabbitMQ's own counters over two jobs of {cities} tasks and a pause; {delivered / cities / 2:.2f} delivered"
    bench.add(Row("cost", "messages published a task", "messages", "lower", published / cities / 2, how))


def s3_requests(system: System) -> dict[str, float]:
    """Of all processes, by operation."""
    found: dict[str, float] = {}
    for labels, value in system.metrics("waybill_s3_requests_total").items():
        operation = re.search(r'operation="(\w+)"', labels)[1]
        found[operation] = found.get(operation, 0) + value
    return found


def count_requests(bench: Bench, system: System, cities: int, where: str) -> None:
    def spent(before: dict[str, float], pause: float, parts: int) -> tuple[float, str]:
        """Requests since `before`, less those of a pause, for one of the parts."""
        now = s3_requests(system)
        time.sleep(pause)
        idle = s3_requests(system)
        found = {name: max(now[name] - before.get(name, 0) - (idle[name] - now[name]), 0) / parts for name in now}
        split = ", ".join(f"{value:.2f} {name}" for name, value in sorted(found.items()) if value >= 0.005)
        return sum(found.values()), split

    system.run("buses", date=day(0))
    before, begun = s3_requests(system), time.monotonic()
    system.finish(system.submit("buses", date=day(1)), pause=1)
    total, split = spent(before, time.monotonic() - begun, cities)
    how = f"a job of {cities} tasks, asked for once a second, /metrics before and after, less a pause as long: {split}"
    bench.add(Row("cost", f"S3 requests a small task, {where}", "requests", "lower", total, how))
    for name in ("first", "second"):
        before = s3_requests(system)
        system.country_stats(day(0), day(1))
        total, split = spent(before, 1, 1)
        how = f"/metrics before and after, less a second at rest: {split or 'none'}"
        bench.add(Row("cost", f"S3 requests of the {name} query of 2 days, {where}", "requests", "lower", total, how))
