"""Moments as int64 microseconds since 1970-01-01T00:00:00Z, from text and from Arrow's types.

What enters: text (RFC 3339, or the same with a space, without seconds or with a day alone; UTC
where no zone is named; or digits, which are microseconds), Arrow timestamps of any unit and zone,
and dates. What leaves: int64, null for what is no moment. Of up to 12 digits of a second, those
beyond microseconds are cut.
"""

from __future__ import annotations

import dataclasses
import datetime as dt

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

_INTEGER = r"^[+-]?[0-9]{1,18}$"
# Year 0000 and offsets such as +01:60 are left out: readers of ISO 8601 disagree on them.
_YEAR = r"(\d{3}[1-9]|\d{2}[1-9]\d|\d[1-9]\d{2}|[1-9]\d{3})"
_ZONE = r"(Z|[+-]\d\d:[0-5]\d)"
_TIME = rf"^{_YEAR}-\d\d-\d\d([T ]\d\d:\d\d(:\d\d(\.\d{{1,6}})?)?{_ZONE}?)?$"
_PER_UNIT = {"s": 1_000_000, "ms": 1000, "us": 1}
_EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)


@dataclasses.dataclass(frozen=True)
class Reading:
    """What a time means that does not say it itself.

    Attributes:
      unit: of numbers: "s", "ms", "us" or "ns" since 1970.
      zone: of times without one. A time that clocks show twice is the earlier moment, one that they
        skip is the moment of the change.
    """

    unit: str = "us"
    zone: str = "UTC"


PLAIN = Reading()


def text_times(text: pa.StringArray, reading: Reading = PLAIN) -> pa.Array:
    """Moments that texts name: int64 `[n]`, microseconds UTC; integers are as they are.

    >>> text_times(pa.array(["1970-01-02", "1970-01-01 01:00:00.5+01:00", "soon"])).to_pylist()
    [86400000000, 500000, None]
    """
    text = pc.ascii_trim_whitespace(text)
    text = pc.replace_substring_regex(text, r"(\d)(z| ?UTC)$", r"\1Z")
    text = pc.replace_substring_regex(text, r"(\.\d{6})\d{1,6}", r"\1")
    text = pc.replace_substring_regex(text, r"(:\d\d(?:\.\d+)?[+-]\d\d)$", r"\1:00")
    text = pc.replace_substring_regex(text, r"(:\d\d(?:\.\d+)?[+-]\d\d)(\d\d)$", r"\1:\2")
    shaped = pc.match_substring_regex(text, _TIME)
    zoned = pc.and_(shaped, pc.match_substring_regex(text, rf"{_ZONE}$"))
    nothing = pa.scalar(None, pa.string())
    plain = _local(_cast(pc.if_else(pc.and_not(shaped, zoned), text, nothing), None), reading)
    with_zone = _cast(pc.if_else(zoned, text, nothing), "UTC")
    numeric = pc.match_substring_regex(text, _INTEGER)
    if not pc.any(numeric).as_py():
        return pc.coalesce(plain, with_zone)
    digits = pc.replace_substring_regex(pc.if_else(numeric, text, nothing), r"^\+", "")
    return pc.coalesce(plain, with_zone, digits.cast(pa.int64()))


def scale_numbers(array: pa.Array, unit: str) -> pa.Array:
    """Numbers since 1970 as int64 `[n]` microseconds; null beyond 64 bits, or not finite.

    Args:
      array: int64 or float64 `[n]`; floats are taken to the nearest microsecond.
      unit: "s", "ms", "us" or "ns".

    >>> scale_numbers(pa.array([1.5, None]), "s").to_pylist()
    [1500000, None]
    """
    if pa.types.is_integer(array.type):
        return scale_times(array.cast(pa.timestamp(unit)))
    values = array.to_numpy(zero_copy_only=False) * (_PER_UNIT[unit] if unit != "ns" else 1e-3)
    with np.errstate(invalid="ignore"):
        inside = np.abs(values) < 2.0**63
    return pa.array(np.rint(np.where(inside, values, 0)).astype(np.int64), mask=~inside)


def _local(times: pa.Array, reading: Reading) -> pa.Array:
    """Microseconds on clocks of the reading's zone as microseconds UTC."""
    if reading.zone == "UTC":
        return times
    stamps = times.cast(pa.timestamp("us"))
    moments = pc.assume_timezone(stamps, reading.zone, ambiguous="earliest", nonexistent="latest")
    return moments.cast(pa.int64())


def scale_times(array: pa.Array, reading: Reading = PLAIN) -> pa.Array:
    """Arrow timestamps and dates as int64 `[n]` microseconds; null beyond 64 bits.

    >>> scale_times(pa.array([5, None], pa.timestamp("s"))).to_pylist()
    [5000000, None]
    """
    if pa.types.is_date(array.type):
        array = array.cast(pa.timestamp("ms" if pa.types.is_date64(array.type) else "s"))
    local = array.type.tz is None
    unit = array.type.unit
    ticks = array.cast(pa.int64())
    if unit == "ns":
        floor = np.floor_divide(ticks.fill_null(0).to_numpy(zero_copy_only=False), 1000)
        times = pc.if_else(array.is_valid(), pa.array(floor), pa.scalar(None, pa.int64()))
        return _local(times, reading) if local else times
    most = (2**63 - 1) // _PER_UNIT[unit]
    inside = pc.and_(pc.less_equal(ticks, most), pc.greater_equal(ticks, -most))
    times = pc.multiply(pc.if_else(inside, ticks, pa.scalar(None, pa.int64())), _PER_UNIT[unit])
    return _local(times, reading) if local else times


def _cast(text: pa.Array, zone: str | None) -> pa.Array:
    """Shaped text as int64; value by value if some names no day of any calendar."""
    try:
        return text.cast(pa.timestamp("us", zone)).cast(pa.int64())
    except pa.ArrowInvalid:
        return pa.array([_one(value) for value in text.to_pylist()], pa.int64())


def _one(text: str | None) -> int | None:
    if text is None:
        return None
    try:
        moment = dt.datetime.fromisoformat(text)
    except ValueError:
        return None
    since = (moment if moment.tzinfo else moment.replace(tzinfo=dt.UTC)) - _EPOCH
    return (since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds
