"""The table, the plot, the JSON, and the comparison of two of them."""

import json
import math
import os
import platform
import shutil
import subprocess
from dataclasses import asdict
from pathlib import Path
from typing import Any

from harness import REPOSITORY, Curve, Row, Usage

COLOURS = ("#1b6ca8", "#c8553d", "#3a7d44", "#7d4f9e")


def machine(folder: Path) -> dict[str, Any]:
    """Its size, and how busy it is before the run."""
    model = next((line.split(":")[1].strip() for line in read("/proc/cpuinfo").splitlines() if line.startswith("model name")), "")
    memory = next((int(line.split()[1]) for line in read("/proc/meminfo").splitlines() if line.startswith("MemTotal")), 0)
    return {
        "cores": os.cpu_count(),
        "processor": model or platform.machine(),
        "memory_gib": round(memory / (1 << 20), 1),
        "disk_free_gib": round(shutil.disk_usage(folder).free / (1 << 30)),
        "kernel": platform.release(),
        "load": [round(value, 2) for value in os.getloadavg()],
        "commit": git("rev-parse", "--short", "HEAD") + ("+" if git("status", "--porcelain", "--untracked-files=no") else ""),
    }


def read(path: str) -> str:
    try:
        return Path(path).read_text()
    except OSError:
        return ""


def git(*arguments: str) -> str:
    done = subprocess.run(["git", "-C", str(REPOSITORY), *arguments], capture_output=True, text=True)
    return done.stdout.strip()


def number(value: float) -> str:
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:.3g}"


def usage_text(usage: Usage | None) -> str:
    return f"{number(usage.cpu)} s, {usage.peak_mib:.0f} MiB" if usage else ""


def exponent(curve: Curve) -> float:
    """From the first to the last point: 0 is flat, 1 linear, 2 square."""
    (x0, y0), (x1, y1) = curve.points[0], curve.points[-1]
    return math.log(max(y1, 1e-9) / max(y0, 1e-9)) / math.log(x1 / x0)


def sentence(curve: Curve) -> str:
    found = exponent(curve)
    text = f"{curve.name}: it grows with the {found:.2f}th power of {curve.x} (expected {curve.expected:g})"
    if abs(found - curve.expected) <= 0.15:
        return f"{text}."
    if curve.expected == 1 and found < 1:
        return f"{text}; less than linear: a fixed part weighs on the small ones, or something else is the limit."
    if curve.expected == 0 and found < 0:
        return f"{text}; it does not cost more: what falls is a warm-up, or noise."
    return f"{text}; **this is not {'flat' if curve.expected == 0 else 'linear'}**."


def markdown(rows: list[Row], curves: list[Curve], notes: list[str], failures: dict[str, str], about: dict[str, Any]) -> str:
    lines = [
        f"{about['cores']} cores ({about['processor']}), {about['memory_gib']} GiB of memory, "
        f"{about['disk_free_gib']} GiB of disk free, Linux {about['kernel']}; load before the run {about['load'][0]}; commit {about['commit']}; {about['mode']}.",
        "",
        "| what | Waybill | CPU, peak | beside | it | CPU, peak | ratio | measured |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for row in rows:
        ratio = f"{row.ratio:.2f} ×" if row.ratio else ""
        peer = number(row.peer_value) if row.peer_value else ""
        spread = f" ({number(min(row.runs))} to {number(max(row.runs))}, {len(row.runs)} runs)" if len(row.runs) > 1 else ""
        lines.append(
            f"| {row.what} | {number(row.value)} {row.unit}{spread} | {usage_text(row.usage)} | {row.peer or ''} | {peer} | "
            f"{usage_text(row.peer_usage)} | {ratio} | {row.how} |"
        )
    lines.append("")
    lines += [f"- FAILED {line}: {reason}" for line, reason in failures.items()]
    lines += [f"- {note}" for note in notes]
    lines += [f"- {sentence(curve)}" for curve in curves if len(curve.points) > 1]
    return "\n".join(lines) + "\n"


def to_json(rows: list[Row], curves: list[Curve], notes: list[str], failures: dict[str, str], about: dict[str, Any]) -> str:
    table = [{**asdict(row), "ratio": row.ratio} for row in rows]
    found = {"machine": about, "rows": table, "curves": [asdict(curve) for curve in curves], "notes": notes, "failures": failures}
    return json.dumps(found, indent=1)


def svg(curves: list[Curve]) -> str:
    """Both axes logarithmic; each curve in multiples of its first point, so that slopes can be compared."""
    width, height, left, top = 640, 400, 60, 20
    scaled = [(curve, [(x / curve.points[0][0], y / curve.points[0][1]) for x, y in curve.points]) for curve in curves]
    top_x = max(x for _, points in scaled for x, _ in points)
    low = min(1, *(y for _, points in scaled for _, y in points)) / 1.5
    high = max(top_x, *(y for _, points in scaled for _, y in points))

    def place(x: float, y: float) -> str:
        across = left + math.log(x) / math.log(top_x) * (width - left - 20)
        down = top + (1 - math.log(y / low) / math.log(high / low)) * (height - top - 40)
        return f"{across:.1f},{down:.1f}"

    def text(at: str, words: str, colour: str = "#444") -> str:
        x, y = at.split(",")
        return f'<text x="{x}" y="{y}" fill="{colour}">{words}</text>'

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" font-family="sans-serif" font-size="12">',
        f'<rect width="{width}" height="{height}" fill="white"/>',
        f'<polyline points="{place(1, 1)} {place(top_x, top_x)}" fill="none" stroke="#bbb" stroke-dasharray="4"/>',
        f'<polyline points="{place(1, 1)} {place(top_x, 1)}" fill="none" stroke="#bbb" stroke-dasharray="4"/>',
        text(f"{left},{height - 8}", f"size, in multiples of the smallest (to {top_x:g}×); grey: flat and linear"),
    ]
    for step in range(math.ceil(math.log10(low)), math.floor(math.log10(high)) + 1):
        at = place(1, 10**step).split(",")[1]
        parts.append(text(f"8,{at}", f"{10**step:g}×"))
    for index, (curve, points) in enumerate(scaled):
        colour = COLOURS[index % len(COLOURS)]
        line = " ".join(place(x, y) for x, y in points)
        parts.append(f'<polyline points="{line}" fill="none" stroke="{colour}" stroke-width="2"/>')
        parts += [f'<circle cx="{p.split(",")[0]}" cy="{p.split(",")[1]}" r="3" fill="{colour}"/>' for p in line.split()]
        parts.append(text(f"{left + 10},{top + 16 * (index + 1)}", f"{curve.name} ({curve.y})", colour))
    return "\n".join([*parts, "</svg>\n"])


def compare(first: Path, second: Path) -> str:
    """Ratios of two runs, row by row."""
    runs = [json.loads(path.read_text()) for path in (first, second)]
    before, after = ({(row["line"], row["what"], row["peer"]): row for row in run["rows"]} for run in runs)
    machines = [run["machine"] for run in runs]
    names = [f"{path} ({about['commit']}, load {about['load'][0]})" for path, about in zip((first, second), machines)]
    lines = [f"| what | {names[0]} | {names[1]} | second / first | |", "| --- | --- | --- | --- | --- |"]
    for key, row in before.items():
        other = after.get(key)
        if other is None:
            lines.append(f"| {row['what']} | {number(row['value'])} {row['unit']} | not measured | | |")
            continue
        ratio = other["value"] / row["value"] if row["value"] else math.inf
        better = (ratio > 1) == (row["better"] == "higher")
        verdict = "" if abs(ratio - 1) < 0.05 else "better" if better else "worse"
        value, beside = f"{number(row['value'])} {row['unit']}", f", beside {row['peer']}" if row["peer"] else ""
        lines.append(f"| {row['what']}{beside} | {value} | {number(other['value'])} {row['unit']} | {ratio:.2f} × | {verdict} |")
    new = [row for key, row in after.items() if key not in before]
    lines += [f"| {row['what']} | not measured | {number(row['value'])} {row['unit']} | | |" for row in new]
    return "\n".join(lines) + "\n"
