"""Moments as int64 microseconds since 1970-01-01T00:00:00Z, from text and from Arrow's types.

What enters: text (RFC 3339, or the same with a space, without seconds or with a day alone; UTC
where no zone is named; or digits, which are microseconds), Arrow timestamps of any unit and zone,
and dates. What leaves: int64, null for what is no moment. Of up to 12 digits of a second, those
beyond microseconds are cut.
"""

# numba compiles some of these; annotations would be lost on it.
# mypy: disable-error-code="no-untyped-def,no-untyped-call"

from __future__ import annotations

import dataclasses
import datetime as dt

import numba
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from transforms.hashing import string_buffers

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
    valid = np.ones(len(text), np.bool_)
    if text.null_count:
        valid = text.is_valid().to_numpy(zero_copy_only=False)
    times, read = _written_whole(*string_buffers(text))
    if np.all(read | ~valid):
        return pa.array(times, mask=~valid)
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


_jit = numba.njit(cache=True, nogil=True)


@_jit
def _written_whole(offsets, data):
    """Texts as most programs write them, `2026-03-01T10:00:00.5+01:00`: times, and which are so.

    With a `T` or a space, seconds, up to six digits of their fraction, and a zone: `Z` or an offset
    in hours and minutes. It reads what ten regular expressions and Arrow's parser do.
    """
    times = np.zeros(len(offsets) - 1, np.int64)
    read = np.zeros(len(offsets) - 1, np.bool_)
    for row in range(len(read)):
        at, end = offsets[row], offsets[row + 1]
        if end - at < 20 or data[at + 4] != 45 or data[at + 7] != 45:
            continue
        if (data[at + 10] != 84 and data[at + 10] != 32) or data[at + 13] != 58:
            continue
        if data[at + 16] != 58:
            continue
        high, low = _two_digits(data, at), _two_digits(data, at + 2)
        month, day = _two_digits(data, at + 5), _two_digits(data, at + 8)
        hour, minute = _two_digits(data, at + 11), _two_digits(data, at + 14)
        second = _two_digits(data, at + 17)
        if min(high, low, month, day, hour, minute, second) < 0:
            continue
        year = 100 * high + low
        if year < 1 or month < 1 or month > 12 or day < 1 or day > _days_in(year, month):
            continue
        if hour > 23 or minute > 59 or second > 59:
            continue
        at += 19
        micros, unit = np.int64(0), 1_000_000
        if data[at] == 46:
            at += 1
            while at < end and 48 <= data[at] <= 57 and unit > 1:
                unit //= 10
                micros += unit * (np.int64(data[at]) - 48)
                at += 1
            if unit == 1_000_000:
                continue
        left, shift = end - at, np.int64(0)
        if left == 6 and (data[at] == 43 or data[at] == 45) and data[at + 3] == 58:
            hours, minutes = _two_digits(data, at + 1), _two_digits(data, at + 4)
            if min(hours, minutes) < 0 or hours > 23 or minutes > 59:
                continue
            shift = 60 * hours + minutes
            if data[at] == 45:
                shift = -shift
        elif left != 1 or data[at] != 90:
            continue
        seconds = (_days_since(year, month, day) * 24 + hour) * 3600
        times[row] = (seconds + (minute - shift) * 60 + second) * 1_000_000 + micros
        read[row] = True
    return times, read


@_jit
def _two_digits(data, at):
    """Their number; -1: they are none."""
    tens, ones = np.int64(data[at]) - 48, np.int64(data[at + 1]) - 48
    if tens < 0 or tens > 9 or ones < 0 or ones > 9:
        return -1
    return 10 * tens + ones


@_jit
def _days_in(year, month):
    if month == 2:
        return 29 if year % 4 == 0 and (year % 100 != 0 or year % 400 == 0) else 28
    return 30 if month in (4, 6, 9, 11) else 31


@_jit
def _days_since(year, month, day):
    """Days since 1970-01-01 (H. Hinnant, "chrono-Compatible Low-Level Date Algorithms")."""
    year -= month <= 2
    era, month = year // 400, (month + 9) % 12
    within = year - era * 400
    days = (153 * month + 2) // 5 + day - 1
    return era * 146_097 + within * 365 + within // 4 - within // 100 + days - 719_468
