"""Lengths of time as people write them: "90s", "15m", "1h", "7d"."""

from __future__ import annotations

import re
from fractions import Fraction

_UNITS_US = {
    "us": 1,
    "ms": 1_000,
    "s": 1_000_000,
    "m": 60_000_000,
    "h": 3_600_000_000,
    "d": 86_400_000_000,
}
_DURATION = re.compile(r"([0-9]+(?:\.[0-9]+)?)\s*(us|ms|s|m|h|d)")
_LONGEST_DAYS = 100_000  # times stay far within 64 bits


def parse_duration(text: str) -> int:
    """Microseconds of a length of time.

    Raises:
      ValueError: not a number with one of the units us, ms, s, m, h, d; not whole microseconds; or
        longer than any state could live.

    >>> parse_duration("1.5h")
    5400000000
    """
    match = _DURATION.fullmatch(text.strip())
    if not match:
        raise ValueError("a number and a unit (us, ms, s, m, h or d), such as 15m")
    if len(match[1]) > 100:
        raise ValueError(f"at most {_LONGEST_DAYS}d")
    length = Fraction(match[1]) * _UNITS_US[match[2]]
    if length.denominator != 1:
        raise ValueError("a whole number of microseconds")
    if length > _LONGEST_DAYS * _UNITS_US["d"]:
        raise ValueError(f"at most {_LONGEST_DAYS}d")
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
