"""Measures Waybill, line by line, side by side with what a user would take instead."""

import argparse
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import report
from big import big
from growth import growth
from harness import REPOSITORY, Bench, Failed, LeftOut, say
from load import cost, rate, requests, start
from peers import install
from query import statistics
from rows import rows
from scan import scan
from small import embedded, fleet

LINES: dict[str, Callable[[Bench], None]] = {
    "start": start,
    "scan": scan,
    "big": big,
    "small": embedded,
    "fleet": fleet,
    "statistics": statistics,
    "requests": requests,
    "rate": rate,
    "rows": rows,
    "cost": cost,
    "growth": growth,
}
# What --quick runs: nothing that wants RabbitMQ or an S3 server.
QUICK = ("start", "scan", "big", "small", "statistics", "requests", "rate", "rows", "cost", "growth")


def arguments() -> argparse.Namespace:
    lines = "\n".join(f"  {name:11} {function.__doc__}" for name, function in LINES.items())
    parser = argparse.ArgumentParser(
        prog="scripts/bench",
        description=__doc__,
        epilog=f"lines:\n{lines}\n\nBegin with `scripts/bench --quick`: under 3 minutes once built. Two commits: run it in a "
        "worktree of each,\nor give --binary, then `scripts/bench --compare before.json after.json`.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("lines", metavar="LINE", nargs="*", help="run only these (default: all)")
    parser.add_argument("--list", action="store_true", help="list the lines")
    parser.add_argument("--quick", action="store_true", help="small sizes, and installs nothing; peers that are there are used")
    parser.add_argument("--compare", nargs=2, type=Path, metavar="JSON", help="print the ratios of two runs")
    parser.add_argument("--binary", type=Path, metavar="PATH", help="the waybill to measure (default: cargo build --release)")
    parser.add_argument("--scan-binary", type=Path, metavar="PATH", help="its example scan_file (default: cargo build --release)")
    parser.add_argument("--runs", type=int, metavar="N", help="runs of which the median is taken (default: 3)")
    parser.add_argument("--days", type=int, metavar="N", help="days of `statistics` (default: 365, 30 with --quick)")
    parser.add_argument("--cities", type=int, metavar="N", help="cities of `statistics` (default: 100, 20 with --quick)")
    parser.add_argument("--huge", action="store_true", help="also a city of 5 GB in `big`")
    parser.add_argument("--first-build", action="store_true", help="also the first build in `start`; takes minutes")
    parser.add_argument("--no-install", action="store_true", help="install nothing")
    parser.add_argument("--install-garage", action="store_true", help="build Garage, the S3 server to compare with; 8 minutes")
    parser.add_argument("--tmp", type=Path, metavar="DIR", help="where files and data go while it runs (default: the system's)")
    parser.add_argument("--out", type=Path, default=Path("target/bench"), metavar="DIR", help="for bench.{md,json,svg}")
    found = parser.parse_args()
    unknown = [line for line in found.lines if line not in LINES]
    if unknown:
        parser.error(f"there is no line {unknown[0]}; there are: {', '.join(LINES)}")
    return found


def binary(options: argparse.Namespace) -> Path:
    if options.binary:
        if not options.binary.is_file():
            sys.exit(f"scripts/bench: --binary: there is no file {options.binary}")
        return options.binary.resolve()
    say("building waybill (cargo build --release)")
    command = ["cargo", "build", "--release", "--quiet", "-p", "waybill"]
    if subprocess.run(command, cwd=REPOSITORY).returncode:
        sys.exit("scripts/bench: waybill cannot be built")
    return REPOSITORY / "target/release/waybill"


def main() -> int:
    options = arguments()
    if options.list:
        print("\n".join(f"{name:11} {function.__doc__}" for name, function in LINES.items()))
        return 0
    if options.compare:
        print(report.compare(*options.compare), end="")
        return 0
    if not options.quick and not options.no_install:
        install(options.install_garage)
    program = binary(options)
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda received, _: sys.exit(128 + received))
    bench = Bench(program, options.quick, options)
    about = report.machine(bench.root)
    about["mode"] = "--quick" if options.quick else "full"
    failures: dict[str, str] = {}
    try:
        for line in options.lines or (QUICK if options.quick else LINES):
            say(line)
            begun = time.monotonic()
            try:
                with bench.scope():
                    LINES[line](bench)
            except LeftOut as reason:
                bench.note(f"`{line}` was left out: {reason}")
            except (Failed, OSError, KeyError, ValueError, subprocess.SubprocessError) as error:
                failures[line] = " ".join((str(error) if isinstance(error, Failed) else repr(error)).split())
                say(f"  FAILED: {failures[line]}")
            say(f"  {line} took {time.monotonic() - begun:.0f} s")
    finally:
        bench.close()
    results = (bench.rows, bench.curves, bench.notes, failures, about)
    options.out.mkdir(parents=True, exist_ok=True)
    text = report.markdown(*results)
    (options.out / "bench.md").write_text(text)
    (options.out / "bench.json").write_text(report.to_json(*results))
    if bench.curves:
        (options.out / "bench.svg").write_text(report.svg(bench.curves))
    print(text, end="")
    say(f"written: {options.out}/bench.md, bench.json" + (", bench.svg" if bench.curves else ""))
    return 1 if failures else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
