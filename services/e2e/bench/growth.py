"""How cost grows with tasks, objects and workers. Days are in the line `statistics`."""

import time
from typing import Any

from harness import Bench, Curve, Meter, Row, Usage, median, status_mib
from peers import S3Server
from waybill import SMALL_CITY, TINY_CITY, Alone, Broker, Fleet, Upstream, day


def growth(bench: Bench) -> None:
    """1×, 10×, 100× of tasks a job and of objects in the bucket; 1, 2, 4 workers (not with --quick)."""
    with bench.scope():
        tasks(bench)
    with bench.scope():
        objects(bench)
    if not bench.quick:
        workers(bench)


def add(bench: Bench, what: str, unit: str, value: float, how: str, usage: Any) -> None:
    bench.add(Row("growth", what, unit, "higher" if unit.endswith("/s") else "lower", value, how, usage))


def tasks(bench: Bench) -> None:
    points = []
    for cities in (10, 100, 1000) if bench.quick else (50, 500, 5000):
        with bench.scope():
            upstream = Upstream(bench, cities, TINY_CITY)
            system = Alone(bench, {"buses": upstream.url})
            meter = Meter(system.processes)
            seconds, _ = system.run("buses", date=day(0))
            add(bench, f"a job of {cities:,} tasks", "s", seconds, "embedded, an empty bucket, tiny files", meter.read())
            points.append((cities, seconds))
    bench.curves.append(Curve("a job, by its tasks", "tasks", "seconds", points, 1))


def objects(bench: Bench) -> None:
    cities = 100
    upstream = Upstream(bench, cities, TINY_CITY)
    system = Alone(bench, {"buses": upstream.url})
    points, date = [], 0
    for wanted in (1, 10) if bench.quick else (1, 10, 100):
        while date < wanted:
            system.run("buses", date=day(date))
            date += 1
        meter, runs = Meter(system.processes), []
        for _ in range(bench.runs):
            runs.append(system.run("buses", date=day(date))[0])
            date += 1
        usage = Usage(meter.read().cpu / bench.runs, status_mib(meter.pids, "VmHWM"))
        seconds = median(runs)
        what = f"a job of {cities} tasks beside {wanted * cities:,} objects"
        add(bench, what, "s", seconds, f"embedded, tiny files; median of {bench.runs} jobs", usage)
        begun = time.monotonic()
        system.country_stats(day(date - 1), day(date - 1))
        points.append((wanted * cities, seconds))
        add(bench, f"statistics of one day beside {wanted * cities:,} objects", "s", time.monotonic() - begun, "once", None)
    bench.curves.append(Curve("a job of 100 tasks, by objects in the bucket", "objects", "seconds", points, 0))


def workers(bench: Bench) -> None:
    broker, s3 = Broker(bench), S3Server(bench)
    cities, points = s3.many, []
    for count in (1, 2, 4):
        upstream = Upstream(bench, cities, SMALL_CITY)
        system = Fleet(bench, {"buses": upstream.url}, broker, s3, count)
        meter, server = Meter(system.workers), Meter([s3.process])
        seconds, _ = system.run("buses", date=day(0))
        share = server.read().cpu / seconds
        how = f"RabbitMQ and {s3.name}, which used {share:.2f} of a core; at most 16 requests to the upstream at once over all workers; usage of the workers"
        add(bench, f"{cities:,} small cities, workers: {count}", "cities/s", cities / seconds, how, meter.read())
        points.append((count, cities / seconds))
        for process in [*system.processes, upstream.process]:
            process.stop()
    bench.curves.append(Curve("small cities a second, by workers", "workers", "cities a second", points, 1))
