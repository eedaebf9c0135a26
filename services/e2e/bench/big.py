"""One big city: time, CPU, peak memory and temporary disk, beside rclone."""

import hashlib
import shutil
from pathlib import Path

from harness import REPOSITORY, Bench, LeftOut, Meter, Process, Row, Usage, get_json, median, request, require, run_measured
from peers import S3Server, find, serve_files
from small import middle
from waybill import Alone, Broker, Fleet, System, Upstream, day

MB = 1_000_000
# Like `buses`, for a server of plain files.
DEFINITION = """
name     = "big"
title    = "Bus departures in big files"
base_url = "http://127.0.0.1:8000"
params   = [{ name = "date", type = "date" }]
[[items]]
name    = "city"
path    = "/cities.json"
records = "$[*]"
key     = "{{ city.id }}"
fields  = [{ name = "id", type = "string" }]
[fetch]
path        = "/city-{{ city.id }}.json"
format      = "json"
records     = "$[*]"
concurrency = 16
timeout     = "PT10M"
max_bytes   = "10 GB"
"""


def definition(shipped: str) -> str:
    """The record, the statistics and the partition are those of the shipped `buses`, but for the country."""
    rest = shipped[shipped.index("[record]") :]
    return DEFINITION + rest.replace('"country={{ city.country | slug }}", ', "")


def write_file(upstream: Upstream, path: Path, size: int) -> str:
    """A file of about `size` bytes, of one file of the stand-in upstream repeated; its hash."""
    records = request("GET", f"{upstream.url}/cities/1/stats?date={day(1)}").strip()[1:-1]
    digest = hashlib.sha256()
    with path.open("wb") as file:
        for number in range(max(size // len(records), 1)):
            for part in (b"," if number else b"[", records):
                digest.update(part)
                file.write(part)
        digest.update(b"]")
        file.write(b"]")
    return digest.hexdigest()


def big(bench: Bench) -> None:
    """One big file from nginx, embedded and (not with --quick) to an S3 server, beside `rclone copyurl`."""
    sizes = [64] if bench.quick else [227, 1000] + ([5000] if bench.options.huge else [])
    site, sources = bench.folder("site"), bench.folder("sources")
    shipped = (REPOSITORY / "services/source/sources/buses.toml").read_text()
    (sources / "big.toml").write_text(definition(shipped))
    upstream = Upstream(bench, 2, 50_000)
    url, server = serve_files(bench, site)
    system = Alone(bench, {"big": url}, sources)
    measure(bench, system, system.processes, upstream, site, f"{url}/", sizes, f"{server} → up, embedded", None)
    system.stop()
    if bench.quick:
        return
    broker, s3 = Broker(bench), S3Server(bench)
    fleet = Fleet(bench, {"big": url}, broker, s3, sources=sources)
    sizes = sizes if s3.name == "Garage" else sizes[:1]
    measure(bench, fleet, fleet.workers, upstream, site, f"{url}/", sizes, f"{server} → worker → {s3.name}", s3)


def measure(
    bench: Bench,
    system: System,
    processes: list[Process],
    upstream: Upstream,
    site: Path,
    url: str,
    sizes: list[int],
    way: str,
    s3: S3Server | None,
) -> None:
    for number, size in enumerate(sizes):
        free = shutil.disk_usage(bench.root).free // MB
        if free < size * 8:
            bench.note(f"{size} MB was left out: {free} MB are free, and it takes {size * 8}")
            continue
        name = f"{size}mb"
        digest = write_file(upstream, site / f"city-{name}.json", size * MB)
        (site / "cities.json").write_text(f'[{{"id": "{name}"}}]')
        ours, theirs, usages, peer_usages, disk = [], [], [], [], 0.0
        for run in range(bench.runs):
            meter = Meter(processes, watch_disk=True)
            seconds, job = system.run("big", date=day(number * 100 + run))
            usages.append(meter.read())
            disk = max(disk, meter.disk_mib)
            ours.append(seconds)
            stored = get_json(f"{system.url}/v1/jobs/{job['id']}/tasks")["tasks"][0]["object"]
            require(digest[:12] in stored, f"{stored} is not the file that was served, whose SHA-256 is {digest}")
            try:
                seconds, usage = rclone(bench, f"{url}city-{name}.json", s3, digest)
            except LeftOut as reason:
                bench.note(f"rclone was left out: {reason}")
                continue
            theirs.append(seconds)
            peer_usages.append(usage)
        how = "from the job's creation to its end; all checks on; peak of the processes that fetch; "
        how += f"temporary disk {disk:.0f} MiB at most; rclone looks at nothing{'' if s3 else ', then sync'}"
        peer = ("rclone", median(theirs), middle(peer_usages)) if theirs else (None, None, None)
        bench.add(Row("big", f"a city of {size} MB, {way}", "s", "lower", median(ours), how, middle(usages), *peer, ours))
        (site / f"city-{name}.json").unlink()


def rclone(bench: Bench, url: str, s3: S3Server | None, digest: str) -> tuple[float, Usage]:
    """Its seconds and usage; what it stored is compared."""
    program = find("rclone")
    if s3 is None:
        target = bench.folder("rclone") / "file"
        # As durable as what Waybill stores.
        script = '"$0" copyurl "$1" "$2" --config /dev/null && sync "$2"'
        seconds, usage, _ = run_measured(["sh", "-c", script, program, url, target], 600)
        with target.open("rb") as file:
            require(hashlib.file_digest(file, "sha256").hexdigest() == digest, "rclone stored another file")
        target.unlink()
        return seconds, usage
    options = f":s3,provider=Other,env_auth=true,no_check_bucket=true,region={s3.region},endpoint='{s3.endpoint}':"
    target = f"{options}{s3.make_bucket()}/file"
    # moto refuses the parts of rclone 1.60 with 400; one PUT passes.
    whole = ["--s3-upload-cutoff", "5G"] if s3.name == "moto" else []
    command = [program, "copyurl", url, target, "--config", "/dev/null", *whole]
    seconds, usage, _ = run_measured(command, 600, s3.environment())
    check = [program, "hashsum", "SHA256", "--download", target, "--config", "/dev/null"]
    _, _, said = run_measured(check, 600, s3.environment())
    require(said.startswith(digest), f"rclone stored another file: {said}")
    return seconds, usage
