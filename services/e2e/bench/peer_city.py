"""What a Python program does with one city's file: parse it, check the fields, add up. Shared by the peers."""

import json
import re
from datetime import datetime
from fractions import Fraction

DURATION = re.compile(r"([+-]?)P(?:([\d.]+)W)?(?:([\d.]+)D)?(?:T(?:([\d.]+)H)?(?:([\d.]+)M)?(?:([\d.]+)S)?)?")
# Records, passengers, whether there was an accident, and the sum of delays in seconds.
Totals = tuple[int, int, bool, int | Fraction]
SECONDS = (604800, 86400, 3600, 60, 1)


def duration(text: str) -> int | Fraction:
    """Seconds of an ISO 8601 duration, exactly. Whole seconds, which are frequent, are quick."""
    if text.startswith("PT") and text.endswith("S") and text[2:-1].isdecimal():
        return int(text[2:-1])
    found = DURATION.fullmatch(text)
    if not found:
        raise ValueError(f"no duration: {text}")
    total = Fraction(0)
    for number, unit in zip(found.groups()[1:], SECONDS):
        if number:
            total += (int(number) if number.isdigit() else Fraction(number)) * unit
    return -total if found[1] == "-" else total


def add_up(body: bytes) -> Totals:
    """The totals of a file; ValueError for a wrong record."""
    passengers, accident, delay = 0, False, 0
    records = json.loads(body)
    for record in records:
        datetime.fromisoformat(record["departure-time"])
        if not isinstance(record["bus-type"], str) or not isinstance(record["accident"], bool):
            raise ValueError(f"wrong record: {record}")
        if not isinstance(record["passengers"], int) or record["passengers"] < 0:
            raise ValueError(f"wrong passengers: {record}")
        passengers += record["passengers"]
        accident |= record["accident"]
        delay += duration(record["delay"])
    return len(records), passengers, accident, delay


def to_statistics(total: Totals) -> dict[str, int | bool]:
    """As /country-stats shows them: the mean in whole seconds, halves away from zero."""
    count, passengers, accident, delay = total
    mean = Fraction(delay) / count if count else Fraction(0)
    whole = int(abs(mean) + Fraction(1, 2))
    return {
        "bus_count": count,
        "passenger_count": passengers,
        "exist_accident": accident,
        "average_delay_s": whole if mean >= 0 else -whole,
    }
