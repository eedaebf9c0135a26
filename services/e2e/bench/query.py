"""Statistics over many days, beside DuckDB over the same files, and checked against a computation of our own."""

import json
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from harness import Bench, Curve, LeftOut, Meter, Row, get_json, median, request, require, require_equal, run_measured
from peer_city import add_up
from peers import HERE, in_venv
from small import reference_statistics
from waybill import RECORD_BYTES, TINY_CITY, Alone, Upstream, day

DAYS_AT_ONCE = 8


def country_slugs(system: Alone, upstream: Upstream) -> dict[int, str]:
    """The country of each city as the object keys spell it."""
    job = get_json(f"{system.url}/v1/jobs")["jobs"][0]["id"]
    tasks: list[dict[str, Any]] = []
    token = None
    while token is not None or not tasks:
        page = get_json(f"{system.url}/v1/jobs/{job}/tasks" + (f"?page_token={token}" if token else ""))
        tasks += page["tasks"]
        token = page["next_page_token"]
    return {int(task["items"][0].split("-")[0]): task["object"].split("country=")[1].split("/")[0] for task in tasks}


def save_files(upstream: Upstream, folder: Path, countries: dict[int, str], days: list[str]) -> dict[tuple[str, str], Any]:
    """The same files for DuckDB, in folders as hive partitions; the totals of each."""

    def save(wanted: tuple[int, str]) -> tuple[tuple[str, str], Any]:
        city, date = wanted
        body = request("GET", f"{upstream.url}/cities/{city}/stats?date={date}")
        target = folder / f"country={countries[city]}" / f"date={date}"
        target.mkdir(parents=True, exist_ok=True)
        (target / f"{city}.json").write_bytes(body)
        return (countries[city], date), add_up(body)

    found: dict[tuple[str, str], Any] = {}
    with ThreadPoolExecutor(4) as pool:
        for key, total in pool.map(save, [(city, date) for city in countries for date in days]):
            found.setdefault(key, []).append(total)
    return found


def fill(bench: Bench, system: Alone, days: list[str]) -> None:
    """A job for each day, some at once: the real engine, tiny files."""
    begun, meter, tasks = time.monotonic(), Meter(system.processes), 0
    for at in range(0, len(days), DAYS_AT_ONCE):
        jobs = [system.submit("buses", date=date) for date in days[at : at + DAYS_AT_ONCE]]
        tasks += sum(system.finish(job, pause=0.25)["tasks"]["total"] for job in jobs)
    seconds = time.monotonic() - begun
    how = f"{len(days)} jobs, {DAYS_AT_ONCE} at once; files of {TINY_CITY * RECORD_BYTES / 1000:.1f} KB"
    bench.add(Row("statistics", f"filling {tasks:,} objects", "tasks/s", "higher", tasks / seconds, how, meter.read()))


def statistics(bench: Bench) -> None:
    """/country-stats over 1 day to all: cold, warm, after a change; DuckDB over the same files (--days, --cities)."""
    cities = bench.options.cities or (20 if bench.quick else 100)
    count = bench.options.days or (30 if bench.quick else 365)
    days = [day(number) for number in range(count)]
    upstream = Upstream(bench, cities, TINY_CITY, countries=20)
    system = Alone(bench, {"buses": upstream.url})
    fill(bench, system, days)
    countries = country_slugs(system, upstream)
    files = bench.folder("files")
    bodies = save_files(upstream, files, countries, days)
    spans = [span for span in (1, 30, 365, 3650) if span < count] + [count]
    warm_curve = []
    for span in spans:
        first, last = days[0], days[span - 1]
        expected = reference_statistics({key: parts for key, parts in bodies.items() if key[1] <= last})
        what, how = f"statistics of {span} days × {cities} cities", "/country-stats of `up`, checked against Python's own sums; "
        system.stop()
        system.start()
        seconds, usage = ask(bench, system, first, last, expected)
        bench.add(Row("statistics", f"{what}, cold", "s", "lower", seconds, how + "the first request of a new process", usage))
        asked = [ask(bench, system, first, last, expected) for _ in range(bench.runs)]
        warm = median([seconds for seconds, _ in asked])
        warm_curve.append((span, warm))
        peer: tuple[Any, ...] = (None, None, None)
        try:
            command = [in_venv("python"), HERE / "peer_duckdb.py", files / "**/*.json", "json", 1, 2, "country"]
            if span == count:
                _, peer_usage, out = run_measured(command, 600)
                line = json.loads(out)
                theirs = {(row[0], row[1]): dict(zip(next(iter(expected.values())), row[2:])) for row in line["rows"]}
                require_equal(f"{what}, DuckDB", expected, {key: entry for key, entry in theirs.items() if entry["bus_count"]})
                peer = ("DuckDB over the JSON files", line["seconds"], peer_usage)
        except LeftOut as reason:
            bench.note(f"DuckDB was left out: {reason}")
        bench.add(Row("statistics", f"{what}, warm", "s", "lower", warm, how + "again", asked[-1][1], *peer))
        if span == count:
            after_change(bench, system, upstream, countries, bodies, days)
    bench.curves.append(Curve("statistics, warm", "days", "seconds", warm_curve, 1))


def ask(bench: Bench, system: Alone, first: str, last: str, expected: dict[Any, Any]) -> tuple[float, Any]:
    meter, begun = Meter(system.processes), time.monotonic()
    found = system.country_stats(first, last)
    seconds = time.monotonic() - begun
    require(found == expected, f"/country-stats of {first} to {last} is not what the files say")
    return seconds, meter.read()


def after_change(
    bench: Bench, system: Alone, upstream: Upstream, countries: dict[int, str], bodies: dict[tuple[str, str], Any], days: list[str]
) -> None:
    """One city has new data on one day; the next answer has it."""
    date = days[len(days) // 2]
    upstream.change({"versions": {"0": 1}})
    system.run("buses", date=date)
    again = [city for city, country in countries.items() if country == countries[0]]
    parts = [add_up(request("GET", f"{upstream.url}/cities/{city}/stats?date={date}")) for city in again]
    expected = reference_statistics({**bodies, (countries[0], date): parts})
    seconds, usage = ask(bench, system, days[0], days[-1], expected)
    what = f"statistics of {len(days)} days × {len(countries)} cities, after one city changed"
    how = "/country-stats of `up`, the first request after the job that brought it; checked against Python's own sums"
    bench.add(Row("statistics", what, "s", "lower", seconds, how, usage))
