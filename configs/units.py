"""Lengths of time as people write them: "90s", "15m", "1h", "7d".

What enters: text from YAML. What leaves: microseconds, and the same back as text.
"""

from __future__ import annotations

import re

_UNITS_US = {
    "us": 1,
    "ms": 1_000,
    "s": 1_000_000,
    "m": 60_000_000,
    "h": 3_600_000_000,
    "d": 86_400_000_000,
}
_DURATION = re.compile(r"(\d+(?:\.\d+)?)\s*(us|ms|s|m|h|d)")


def parse_duration(text: str) -> int:
    """Microseconds of a length of time.

    Raises:
      ValueError: not a number with one of the units us, ms, s, m, h, d; or not whole microseconds.

    >>> parse_duration("1.5h")
    5400000000
    """
    match = _DURATION.fullmatch(text.strip())
    if not match:
        raise ValueError("a number and a unit (us, ms, s, m, h or d), such as 15m")
    length = float(match[1]) * _UNITS_US[match[2]]
    if length != int(length):
        raise ValueError("a whole number of microseconds")
    return int(length)


def format_duration(length_us: int) -> str:
    """The shortest text that `parse_duration` reads back.

    >>> format_duration(5_400_000_000)
    '90m'
    """
    for unit in ("d", "h", "m", "s", "ms"):
        if length_us and length_us % _UNITS_US[unit] == 0:
            return f"{length_us // _UNITS_US[unit]}{unit}"
    return f"{length_us}us"
