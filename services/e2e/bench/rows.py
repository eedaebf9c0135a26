"""Rows of a file, each sent by a request of its own: the rate, what a row costs, and the memory of a large upload."""

import http.client
import json
import re
import time
from collections.abc import Iterator
from pathlib import Path

from harness import MIB, REPOSITORY, Bench, Meter, Row, get_json, request, require, require_equal, wait_until
from load import s3_requests, started, watch
from waybill import Alone, Upstream


def relay_definition(folder: Path, rate: int) -> Path:
    """The shipped `relay` at another rate; it takes the place of the shipped one's name."""
    text = (REPOSITORY / "services/source/sources/relay.toml").read_text()
    (folder / "relay.toml").write_text(re.sub(r"requests = 7,", f"requests = {rate},", text))
    return folder


def rows(bench: Bench) -> None:
    """7 and 700 rows of an upload a second, one and three workers; a large upload (1 GB, 5 GB with --huge)."""
    for rate, seconds in ((700, 5),) if bench.quick else ((7, 40), (700, 15)):
        for workers in (0,) if bench.quick else (0, 1, 3):
            with bench.scope():
                measure_rate(bench, rate, rate * seconds, workers)
    with bench.scope():
        measure_upload(bench, 100 * MIB if bench.quick else 5_000 * MIB if bench.options.huge else 1_000 * MIB)


def measure_rate(bench: Bench, rate: int, count: int, workers: int) -> None:
    sources = relay_definition(bench.folder("sources"), rate)
    upstream = Upstream(bench, 1, 1)
    upstream.change({"posts_per_window": rate, "posts_window": "1s"})
    system, processes, where = started(bench, {"relay": upstream.url}, workers, sources)
    meter, before = Meter(processes), s3_requests(system)
    text = "userId,title,body\n" + "".join(f"{row},row {row},some text\n" for row in range(count))
    job = json.loads(request("POST", f"{system.url}/v1/jobs?source=relay", text.encode(), content_type="text/csv"))["id"]
    _, achieved = watch("the first row", lambda: upstream.counters()["posts"]["requests"], count, 4 * count / rate)
    usage = meter.read()
    system.finish(job, pause=1)
    received = get_json(f"{upstream.url}/posts/received")
    require_equal("rows received, and of the file", (received["total"], received["distinct"]), (count, count))
    require_equal("requests beyond the limit, and none", upstream.counters()["posts"]["violations"], 0)
    how = f"{count:,} rows in tasks of 200, as the upstream saw them; none beyond its limit in any second, none twice"
    bench.add(Row("rows", f"{rate} rows a second, {where}", "rows/s", "higher", achieved, how, usage, "the limit", rate))
    spent = {name: (now - before.get(name, 0)) / count for name, now in s3_requests(system).items()}
    split = ", ".join(f"{value:.3f} {name}" for name, value in sorted(spent.items()) if value >= 0.0005)
    how = f"/metrics before and after, all processes: {split}"
    bench.add(Row("rows", f"S3 requests a row at {rate} a second, {where}", "requests", "lower", sum(spent.values()), how))


def measure_upload(bench: Bench, size: int) -> None:
    upstream = Upstream(bench, 1, 1)
    system = Alone(bench, {"relay": upstream.url})
    count = 0

    def body() -> Iterator[bytes]:
        nonlocal count
        yield b"userId,title,body\n"
        sent, text = 18, "x" * 960
        while sent < size:
            part = "".join(f"{row},row {row},{text}\n" for row in range(count, count + 1_000)).encode()
            count, sent = count + 1_000, sent + len(part)
            yield part

    meter, begun = Meter(system.processes), time.monotonic()
    connection = http.client.HTTPConnection(system.url.removeprefix("http://"), timeout=600)
    connection.request("POST", "/v1/jobs?source=relay", body(), {"Content-Type": "text/csv"}, encode_chunked=True)
    answer = connection.getresponse()
    text = answer.read()
    require(answer.status == 202, f"an upload was answered with {answer.status}: {text[:300]!r}")
    job = json.loads(text)["id"]
    seconds, usage = time.monotonic() - begun, meter.read()
    what = f"an upload of {size // MIB:,} MiB"
    how = f"{count:,} rows, checked and stored as they come, by a client in Python; CPU and peak of `up`"
    bench.add(Row("rows", what, "MiB/s", "higher", size / MIB / seconds, how, usage))
    begun = time.monotonic()
    planned = wait_until("the plan", lambda: get_json(f"{system.url}/v1/jobs/{job}")["tasks"]["total"], 600)
    require_equal("tasks, and rows by 200", planned, -(-count // 200))
    how = "read once and cut into tasks, which are published; from the answer to the plan"
    bench.add(Row("rows", f"planning {what}", "s", "lower", time.monotonic() - begun, how, meter.read()))
    request("POST", f"{system.url}/v1/jobs/{job}/cancel")
