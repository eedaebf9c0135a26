"""Scanning: one file of buses in three formats, beside DuckDB and serde_json."""

import json
import subprocess
from pathlib import Path
from typing import Any

from harness import REPOSITORY, Bench, Failed, LeftOut, Row, Usage, median, request, require_equal, run_measured
from peers import HERE, in_venv
from waybill import Upstream, day

MB = 1_000_000


def program(bench: Bench) -> Path:
    """The example `scan_file`, built where it is not there."""
    if bench.options.scan_binary:
        return Path(bench.options.scan_binary)
    command = ["cargo", "build", "--release", "--quiet", "-p", "waybill-source", "--example", "scan_file"]
    try:
        done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=1800)
    except FileNotFoundError:
        raise LeftOut("cargo is not installed") from None
    if done.returncode:
        raise Failed(f"scan_file cannot be built: {done.stderr[-300:]}")
    return REPOSITORY / "target/release/examples/scan_file"


def write_files(bench: Bench, size: int) -> dict[str, Path]:
    """One file of the stand-in upstream's buses, repeated up to `size`, in three formats."""
    upstream = Upstream(bench, 2, 20_000)
    records = request("GET", f"{upstream.url}/cities/1/stats?date={day(1)}").strip()[1:-1]
    rows = json.loads(b"[" + records + b"]")
    lines = b"".join(json.dumps(row, separators=(",", ":"), ensure_ascii=False).encode() + b"\n" for row in rows)
    values = (",".join(json.dumps(value).strip('"') for value in row.values()) + "\n" for row in rows)
    table = "".join(values).encode()
    times = max(size // len(records), 1)
    paths = {form: bench.root / f"scan.{form}" for form in ("json", "ndjson", "csv")}
    paths["json"].write_bytes(b"[" + b",".join([records] * times) + b"]")
    paths["ndjson"].write_bytes(lines * times)
    paths["csv"].write_bytes((",".join(rows[0]) + "\n").encode() + table * times)
    return paths


def measure(command: list[Any], name: str) -> tuple[float, Usage, Any]:
    """The median of the seconds it prints, what it used for all runs, and its last line."""
    _, usage, out = run_measured(command, 600)
    lines = [json.loads(line) for line in out.splitlines()]
    if not lines:
        raise Failed(f"{name} printed nothing")
    return median([line["seconds"] for line in lines]), Usage(usage.cpu / len(lines), usage.peak_mib), lines[-1]


def scan(bench: Bench) -> None:
    """Scan, check and add up one file (JSON, NDJSON, CSV), beside DuckDB and serde_json."""
    binary, runs = program(bench), bench.runs if bench.quick else max(bench.runs, 5)
    paths = write_files(bench, (64 if bench.quick else 256) * MB)
    for form, path in paths.items():
        size = path.stat().st_size / MB
        seconds, usage, line = measure([binary, path, form, runs], "scan_file")
        ours = line["statistics"]
        what = f"scan of {size:.0f} MB {form.upper()}"

        def add(peer: str, peer_seconds: float, peer_usage: Usage, how: str) -> None:
            how = f"reading the file included, from the page cache; {how}"
            bench.add(Row("scan", what, "MB/s", "higher", size / seconds, how, usage, peer, size / peer_seconds, peer_usage))

        if form != "csv":
            theirs, their_usage, line = measure([binary, path, form, runs, "serde"], "serde_json")
            require_equal(f"{form}, serde_json", {name: ours[name] for name in line["statistics"]}, line["statistics"])
            add("serde_json", theirs, their_usage, "serde_json: typed, borrowed, from memory; it checks JSON types only")
        try:
            python = in_venv("python")
        except LeftOut as reason:
            bench.note(f"DuckDB was left out: {reason}")
            continue
        for threads in (1, 2):
            theirs, their_usage, line = measure([python, HERE / "peer_duckdb.py", path, form, runs, threads], "DuckDB")
            names = ("bus_count", "passenger_count", "exist_accident", "average_delay_s")
            require_equal(f"{form}, DuckDB", [ours[name] for name in names], line["rows"][0])
            add(f"DuckDB, {threads} thread{'s' * (threads > 1)}", theirs, their_usage, "the same types and statistics in SQL")
