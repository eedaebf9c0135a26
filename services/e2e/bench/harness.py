"""Processes, what they use, HTTP, and the results of a run."""

import contextlib
import http.client
import json
import os
import shutil
import signal
import socket
import statistics
import subprocess
import tempfile
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

REPOSITORY = Path(__file__).resolve().parents[3]
MIB = 1 << 20
CLOCK_TICKS = os.sysconf("SC_CLK_TCK")


class Failed(Exception):
    """Why a line could not be measured."""


class LeftOut(Exception):
    """What a line needs and this machine does not have."""


def say(text: str) -> None:
    print(f"bench: {text}", file=os.sys.stderr, flush=True)


def require(condition: bool, text: str) -> None:
    if not condition:
        raise Failed(text)


def require_equal(what: str, ours: Any, theirs: Any) -> None:
    """Two sides that disagree fail the line."""
    if isinstance(ours, dict) and isinstance(theirs, dict):
        differing = [key for key in ours | theirs if ours.get(key) != theirs.get(key)]
        ours, theirs = ({key: side.get(key) for key in differing} for side in (ours, theirs))
    require(ours == theirs, f"{what}: the two sides disagree: {str(ours)[:300]} and {str(theirs)[:300]}")


@dataclass
class Usage:
    """What processes used during a measurement."""

    cpu: float
    peak_mib: float


@dataclass
class Row:
    """One row of the table. `ratio` is value / peer_value."""

    line: str
    what: str
    unit: str
    better: str  # "lower" or "higher"
    value: float
    how: str
    usage: Usage | None = None
    peer: str | None = None
    peer_value: float | None = None
    peer_usage: Usage | None = None
    runs: list[float] = field(default_factory=list)

    @property
    def ratio(self) -> float | None:
        return self.value / self.peer_value if self.peer_value else None


@dataclass
class Curve:
    """How a cost grows with a size, and how it should."""

    name: str
    x: str
    y: str
    points: list[tuple[float, float]]
    expected: float  # the exponent: 0 is flat, 1 is linear


def median(values: list[float]) -> float:
    require(bool(values), "no run gave a value")
    return statistics.median(values)


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def wait_until(what: str, condition: Callable[[], Any], timeout: float, pause: float = 0.02) -> Any:
    """The first true value of `condition`, which is asked again every `pause` seconds."""
    until = time.monotonic() + timeout
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > until:
            raise Failed(f"waited {timeout:.0f} s for {what}")
        time.sleep(pause)


def request(method: str, url: str, body: Any = None, timeout: float = 60, content_type: str = "application/json") -> bytes:
    data = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
    headers = {} if body is None else {"Content-Type": content_type}
    try:
        asked = urllib.request.Request(url, data=data, headers=headers, method=method)
        with urllib.request.urlopen(asked, timeout=timeout) as answer:
            return answer.read()
    except urllib.error.HTTPError as error:
        raise Failed(f"{method} {url}: {error.code} {error.read(300).decode(errors='replace')}") from None
    except (OSError, http.client.HTTPException) as error:
        raise Failed(f"{method} {url}: {error}") from None


def get_json(url: str, timeout: float = 60) -> Any:
    return json.loads(request("GET", url, timeout=timeout))


class Process:
    """A child in a session of its own, with its descendants; `stop` ends them all."""

    def __init__(
        self,
        command: list[str],
        output: IO[bytes],
        environment: dict[str, str] | None = None,
        cwd: Path | None = None,
        errors: IO[bytes] | None = None,
    ):
        inherited = {k: v for k, v in os.environ.items() if not k.startswith(("WAYBILL_", "AWS_", "OTEL_"))}
        self.command = command
        self.child = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=errors or subprocess.STDOUT,
            env={**inherited, **(environment or {})},
            cwd=cwd,
            start_new_session=True,
        )
        self.log = Path(str(output.name))

    def check(self) -> None:
        if self.child.poll() is not None:
            tail = self.log.read_text(errors="replace")[-400:]
            raise Failed(f"{Path(self.command[0]).name} ended with {self.child.returncode}: {tail}")

    def wait_for_url(self, url: str, timeout: float = 60, pause: float = 0.02) -> None:
        def answers() -> bool:
            self.check()
            try:
                urllib.request.urlopen(url, timeout=5).close()
            except urllib.error.HTTPError as error:
                # A server that asks who is there is there; one that is not ready says so with 503.
                return error.code in (401, 403, 404)
            except (OSError, http.client.HTTPException):
                return False
            return True

        wait_until(url, answers, timeout, pause)

    def pids(self) -> list[int]:
        """This process and its descendants."""
        found, queue = [], [self.child.pid]
        while queue:
            pid = queue.pop()
            found.append(pid)
            with contextlib.suppress(OSError):
                for task in Path(f"/proc/{pid}/task").iterdir():
                    queue += [int(child) for child in (task / "children").read_text().split()]
        return found

    def stop(self) -> None:
        for number in (signal.SIGTERM, signal.SIGKILL):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.child.pid, number)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.child.wait(10)
                # Children that outlived their parent.
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(self.child.pid, signal.SIGKILL)
                return


def cpu_seconds(pids: list[int]) -> float:
    total = 0.0
    for pid in pids:
        with contextlib.suppress(OSError):
            fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
            total += (int(fields[11]) + int(fields[12])) / CLOCK_TICKS
    return total


def status_mib(pids: list[int], name: str) -> float:
    """The sum of VmHWM or VmRSS."""
    total = 0
    for pid in pids:
        with contextlib.suppress(OSError):
            for entry in Path(f"/proc/{pid}/status").read_text().splitlines():
                if entry.startswith(f"{name}:"):
                    total += int(entry.split()[1])
    return total / 1024


def temporary_mib(pids: list[int]) -> float:
    """What deleted files that are still open take on the disk: the worker's spool."""
    total = 0
    for pid in pids:
        with contextlib.suppress(OSError):
            for entry in Path(f"/proc/{pid}/fd").iterdir():
                with contextlib.suppress(OSError):
                    if os.readlink(entry).endswith("(deleted)"):
                        total += entry.stat().st_blocks * 512
    return total / MIB


class Meter:
    """Measures what running processes use from here on."""

    def __init__(self, processes: list[Process], watch_disk: bool = False):
        self.pids = [pid for process in processes for pid in process.pids()]
        for pid in self.pids:
            # 5: VmHWM begins anew at VmRSS.
            with contextlib.suppress(OSError):
                Path(f"/proc/{pid}/clear_refs").write_text("5")
        self.cpu, self.disk_mib, self.done = cpu_seconds(self.pids), 0.0, threading.Event()
        self.watcher = threading.Thread(target=self.watch, daemon=True) if watch_disk else None
        if self.watcher:
            self.watcher.start()

    def watch(self) -> None:
        while not self.done.wait(0.02):
            self.disk_mib = max(self.disk_mib, temporary_mib(self.pids))

    def read(self) -> Usage:
        self.done.set()
        if self.watcher:
            self.watcher.join()
        return Usage(cpu_seconds(self.pids) - self.cpu, status_mib(self.pids, "VmHWM"))


def run_measured(command: list[Any], timeout: float, environment: dict[str, str] | None = None) -> tuple[float, Usage, str]:
    """Runs a command to its end: its seconds, what it and its children used, and its stdout.

    CPU is what wait4 says. Peaks are read every 10 ms, since ru_maxrss begins with what this process has.
    """
    words, peak = [str(word) for word in command], 0.0
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        begun = time.monotonic()
        process = Process(words, out, environment, errors=err)
        try:
            while True:
                pid, status, usage = os.wait4(process.child.pid, os.WNOHANG)
                if pid:
                    break
                peak = max(peak, status_mib(process.pids(), "VmHWM"))
                require(time.monotonic() - begun < timeout, f"{words[0]} took more than {timeout:.0f} s")
                time.sleep(0.01)
        except BaseException:
            process.stop()
            raise
        seconds = time.monotonic() - begun
        process.child.returncode = os.waitstatus_to_exitcode(status)
        out.seek(0)
        err.seek(0)
        ended = f"{words[0]} ended with {process.child.returncode}"
        require(process.child.returncode == 0, f"{ended}: {err.read()[-400:].decode(errors='replace')}")
        return seconds, Usage(usage.ru_utime + usage.ru_stime, peak), out.read().decode()


class Bench:
    """What a line is given: options, a folder, a way to start processes that always end, and the results."""

    def __init__(self, binary: Path, quick: bool, options: Any):
        self.binary, self.quick, self.options = binary, quick, options
        self.runs = options.runs or 3
        self.root = Path(tempfile.mkdtemp(prefix="waybill-bench.", dir=options.tmp))
        self.rows: list[Row] = []
        self.curves: list[Curve] = []
        self.notes: list[str] = []
        self.cleanups: list[Callable[[], None]] = []

    def add(self, row: Row) -> None:
        self.rows.append(row)
        ratio = f", {row.ratio:.2f} × {row.peer}" if row.ratio else ""
        say(f"  {row.what}: {row.value:.4g} {row.unit}{ratio}")

    def note(self, text: str) -> None:
        if text not in self.notes:
            self.notes.append(text)
            say(f"  {text}")

    def start(self, command: list[Any], name: str, environment: dict[str, str] | None = None, cwd: Path | None = None) -> Process:
        with (self.root / f"{name}.log").open("ab") as log:
            process = Process([str(word) for word in command], log, environment, cwd)
        self.cleanups.append(process.stop)
        return process

    def folder(self, name: str) -> Path:
        return Path(tempfile.mkdtemp(prefix=f"{name}.", dir=self.root))

    @contextlib.contextmanager
    def scope(self) -> Iterator[None]:
        """Ends what was started within, newest first, and empties the folder."""
        kept = len(self.cleanups)
        try:
            yield
        finally:
            while len(self.cleanups) > kept:
                self.cleanups.pop()()
            for entry in self.root.iterdir():
                shutil.rmtree(entry, ignore_errors=True) if entry.is_dir() else entry.unlink(missing_ok=True)

    def close(self) -> None:
        while self.cleanups:
            self.cleanups.pop()()
        shutil.rmtree(self.root, ignore_errors=True)
