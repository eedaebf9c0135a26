"""Small cities: embedded, and with RabbitMQ and an S3 server."""

import json
import statistics
import sys
from typing import Any

from harness import Bench, LeftOut, Meter, Row, Usage, get_json, median, require_equal, run_measured, wait_until
from peer_city import Totals, to_statistics
from peers import HERE, S3Server, in_venv
from waybill import RECORD_BYTES, SMALL_CITY, Alone, Broker, Fleet, System, Upstream, day


def totals(system: System, date: str) -> tuple[int, int, bool]:
    entries = system.country_stats(date, date).values()
    return (
        sum(entry["bus_count"] for entry in entries),
        sum(entry["passenger_count"] for entry in entries),
        any(entry["exist_accident"] for entry in entries),
    )


def run_with_stdin(
    bench: Bench, command: list[Any], given: Any, environment: dict[str, str] | None = None
) -> tuple[dict[str, Any], Usage]:
    """A peer that reads JSON and prints JSON."""
    file = bench.root / "stdin.json"
    file.write_text(json.dumps(given))
    shell = ["sh", "-c", 'exec "$@" <"$0"', file, *command]
    _, usage, out = run_measured(shell, 900, environment)
    return json.loads(out), usage


def embedded(bench: Bench) -> None:
    """Small cities (about 199 KB each), everything embedded, beside a Python client that stores files."""
    cities = 300 if bench.quick else 3000
    upstream = Upstream(bench, cities, SMALL_CITY)
    system = Alone(bench, {"buses": upstream.url})
    ours, theirs, usages, peer_usages = [], [], [], []
    for run in range(bench.runs):
        date = day(run)
        meter = Meter(system.processes)
        seconds, job = system.run("buses", date=date)
        usages.append(meter.read())
        ours.append(job["tasks"]["total"] / seconds)
        urls = [f"{upstream.url}/cities/{number}/stats?date={date}" for number in range(cities)]
        peer, usage = run_with_stdin(bench, [sys.executable, HERE / "peer_plain.py", "files", bench.folder("files")], urls)
        theirs.append(cities / peer["seconds"])
        peer_usages.append(usage)
        require_equal(f"statistics of {date}", list(totals(system, date)), peer["total"][:3])
    bench.add(
        Row(
            "small",
            f"{cities:,} small cities, embedded",
            "cities/s",
            "higher",
            median(ours),
            "from the job's creation to its end, by its own times; the peer: 4 processes of Python's standard library that "
            "check, add up and store durably",
            middle(usages),
            "Python",
            median(theirs),
            middle(peer_usages),
            ours,
        )
    )


def middle(usages: list[Usage]) -> Usage:
    return Usage(statistics.median(u.cpu for u in usages), max(u.peak_mib for u in usages))


def fleet(bench: Bench) -> None:
    """1,000 small cities with RabbitMQ and an S3 server: beside bare PUTs and Celery, at the first and tenth date."""
    broker, s3 = Broker(bench), S3Server(bench)
    cities, last = (100, 2) if bench.quick else (s3.many, 9)
    upstream = Upstream(bench, cities, SMALL_CITY)
    system = Fleet(bench, {"buses": upstream.url}, broker, s3)
    bucket = s3.make_bucket()
    size = SMALL_CITY * RECORD_BYTES
    for date in range(last + 1):
        meter, server = Meter(system.workers), Meter([s3.process])
        seconds, job = system.run("buses", date=day(date))
        usage, share = meter.read(), server.read().cpu / seconds
        if date not in (0, last):
            continue
        rate = job["tasks"]["total"] / seconds
        at = f"{cities:,} small cities, RabbitMQ and {s3.name}, one worker, date {date + 1}"
        urls = [s3.presign("PUT", f"/{bucket}/{day(date)}/{number}") for number in range(cities)]
        puts, put_usage = run_with_stdin(bench, [sys.executable, HERE / "peer_plain.py", "puts", size], urls)
        how = "one run: how it changes with the dates before it is measured; usage of the worker; "
        how += f"{s3.name} used {share:.2f} of a core; the peer: "
        bench.add(
            Row(
                "fleet",
                at,
                "cities/s",
                "higher",
                rate,
                how + f"4 processes that PUT {size:,} bytes with addresses signed before",
                usage,
                "bare PUTs",
                cities / puts["seconds"],
                put_usage,
            )
        )
        try:
            total, rate_of_celery, celery_usage = celery(bench, broker, s3, upstream, day(date))
        except LeftOut as reason:
            bench.note(f"Celery was left out: {reason}")
            continue
        require_equal(f"statistics of {day(date)}", list(totals(system, day(date))), total)
        how += "Celery with 4 processes, requests, json, boto3; acknowledged late, confirmed publishes"
        bench.add(Row("fleet", at, "cities/s", "higher", rate, how, usage, "Celery", rate_of_celery, celery_usage))


def celery(bench: Bench, broker: Broker, s3: S3Server, upstream: Upstream, date: str) -> tuple[list[Any], float, Usage]:
    """Its totals, cities a second, and what its worker used."""
    program = in_venv("celery")
    environment = {
        **s3.environment(),
        "AWS_DEFAULT_REGION": s3.region,
        "BENCH_BROKER": broker.make_vhost(),
        "BENCH_BUCKET": s3.make_bucket(),
        "PYTHONPATH": str(HERE),
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    command = [program, "-A", "peer_celery", "worker", "--concurrency", 4, "--loglevel", "INFO"]
    worker = bench.start(command, "celery", environment, HERE)
    wait_until("Celery", lambda: (worker.check(), " ready." in worker.log.read_text(errors="replace"))[1], 60, 0.2)
    meter = Meter([worker])
    cities = get_json(f"{upstream.url}/cities")
    arguments = [in_venv("python"), HERE / "peer_celery_run.py", upstream.url, date, 600, worker.log]
    found, _ = run_with_stdin(bench, arguments, cities, environment)
    usage = meter.read()
    worker.stop()
    worker.log.unlink()
    return found["total"][:3], len(cities) / found["seconds"], usage


def reference_statistics(bodies: dict[tuple[str, str], list[Totals]]) -> dict[tuple[str, str], dict[str, Any]]:
    """Totals of files by country and day, as /country-stats shows them, without days of nothing."""
    found = {}
    for key, parts in bodies.items():
        counts, passengers, accidents, delays = zip(*parts)
        total = (sum(counts), sum(passengers), any(accidents), sum(delays))
        if total[0]:
            found[key] = to_statistics(total)
    return found
