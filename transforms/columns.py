"""Typed columns: an Arrow array of whatever type becomes the declared one, or faults row by row.

What enters: a column as Parquet, CSV or JSON gave it, and its declaration. What leaves: an array
of exactly the declared Arrow type, null where the value is absent or at fault, and the faults. The
same facts give the same array whatever the file format was: integers may come as text, times as
text, integers or Arrow timestamps.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from configs.schema import Column, ColumnType
from transforms.dead_letter import Reason

Mask = npt.NDArray[np.bool_]

ARROW_TYPES = {
    ColumnType.STRING: pa.string(),
    ColumnType.INTEGER: pa.int64(),
    ColumnType.NUMBER: pa.float64(),
    ColumnType.BOOLEAN: pa.bool_(),
    ColumnType.TIMESTAMP: pa.int64(),
}

_INTEGER = r"^[+-]?[0-9]{1,19}$"
_DIGITS = r"^[+-]?[0-9]+$"
_NUMBER = r"^[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]{1,4})?$"
_NONFINITE = r"^[+-]?(?i:nan|inf|infinity)$"
_TRUE, _FALSE = pa.array(["true", "1", "yes"]), pa.array(["false", "0", "no"])
_ONE, _ZERO = pa.array(["1"]), pa.array(["0", "-0"])
_TIME = r"^\d{4}-\d\d-\d\d([T ]\d\d:\d\d(:\d\d(\.\d{1,9})?)?(Z|z|[+-]\d\d:?\d\d)?)?$"
_ZONE = r"(Z|z|[+-]\d\d:?\d\d)$"


@dataclasses.dataclass(frozen=True)
class Fault:
    """Rows at fault for one reason: bool `[n]`, and what was expected."""

    rows: Mask
    reason: Reason
    detail: str


@dataclasses.dataclass(frozen=True)
class Typed:
    """A typed column and its faults; rows at fault are null."""

    array: pa.Array
    faults: tuple[Fault, ...] = ()


def type_column(array: pa.Array, column: Column) -> Typed:
    """A column as its declaration wants it.

    Args:
      array: any Arrow type, `[n]`.
      column: the declaration.

    >>> typed = type_column(pa.array(["1", "x", None]), Column("n", ColumnType.INTEGER))
    >>> typed.array.to_pylist(), [str(fault.reason) for fault in typed.faults]
    ([1, None, None], ['wrong_type'])
    """
    array = _plain(array)
    made = _READERS[column.type](array, column)
    faults = [fault for fault in made.faults if fault.rows.any()]
    checked = made.array
    for fault in _limits(checked, column):
        if fault.rows.any():
            faults.append(fault)
            checked = _without(checked, fault.rows)
    return Typed(checked, tuple(faults))


def _plain(array: pa.Array) -> pa.Array:
    """Decodes dictionaries, and brings all kinds of strings and bytes to two."""
    if pa.types.is_dictionary(array.type):
        array = array.dictionary_decode()
    kind = array.type
    if pa.types.is_large_string(kind) or kind == pa.string_view():
        return array.cast(pa.string())
    if pa.types.is_large_binary(kind) or pa.types.is_fixed_size_binary(kind):
        return array.cast(pa.binary())
    return array


def _read_string(array: pa.Array, column: Column) -> Typed:
    if pa.types.is_string(array.type):
        return Typed(array)
    if pa.types.is_integer(array.type):
        return Typed(array.cast(pa.string()))
    if pa.types.is_binary(array.type):
        try:
            return Typed(array.cast(pa.string()))
        except pa.ArrowInvalid:
            values = array.to_pylist()
        texts = [None if one is None else _utf8(one) for one in values]
        bad = np.array([a is not None and b is None for a, b in zip(values, texts, strict=True)])
        return Typed(pa.array(texts, pa.string()), (Fault(bad, Reason.NOT_UTF8, "expected UTF-8"),))
    return _wrong(array, column)


def _read_integer(array: pa.Array, column: Column) -> Typed:
    if pa.types.is_integer(array.type):
        if pa.types.is_uint64(array.type):
            bad = _mask(pc.greater(array, pa.scalar(2**63 - 1, pa.uint64())))
            fine = _without(array, bad).cast(pa.int64())
            return Typed(fine, (Fault(bad, Reason.OUT_OF_RANGE, "expected a 64-bit integer"),))
        return Typed(array.cast(pa.int64()))
    if pa.types.is_floating(array.type) or pa.types.is_decimal(array.type):
        return _integer_from_float(array.cast(pa.float64()))
    if pa.types.is_string(array.type):
        text = pc.ascii_trim_whitespace(array)
        digits = _mask(pc.match_substring_regex(text, _DIGITS))
        short = _mask(pc.match_substring_regex(text, _INTEGER))
        values = [
            int(one) if good else None for one, good in zip(text.to_pylist(), short, strict=True)
        ]
        beyond = np.array([v is not None and not -(2**63) <= v < 2**63 for v in values], np.bool_)
        wide = (digits & ~short) | beyond
        fine = pa.array([None if b else v for v, b in zip(values, beyond, strict=True)], pa.int64())
        wrong = _mask(array.is_valid()) & ~digits
        return Typed(
            fine,
            (
                Fault(wrong, Reason.WRONG_TYPE, "expected an integer"),
                Fault(wide, Reason.OUT_OF_RANGE, "expected a 64-bit integer"),
            ),
        )
    return _wrong(array, column)


def _integer_from_float(array: pa.Array) -> Typed:
    values = array.to_numpy(zero_copy_only=False)
    valid = _mask(array.is_valid())
    with np.errstate(invalid="ignore"):
        whole = np.isfinite(values) & (np.floor(values) == values)
        inside = whole & (np.abs(values) < 2.0**63)
    fine = pa.array(np.where(inside, values, 0).astype(np.int64), mask=~(inside & valid))
    nan = valid & np.isnan(values)  # how pandas writes an absent integer
    return Typed(
        fine,
        (
            Fault(valid & ~whole & ~nan, Reason.WRONG_TYPE, "expected an integer"),
            Fault(valid & whole & ~inside, Reason.OUT_OF_RANGE, "expected a 64-bit integer"),
        ),
    )


def _read_number(array: pa.Array, column: Column) -> Typed:
    faults: list[Fault] = []
    if pa.types.is_string(array.type):
        text = pc.ascii_trim_whitespace(array)
        good = _mask(pc.match_substring_regex(text, _NUMBER))
        nonfinite = _mask(pc.match_substring_regex(text, _NONFINITE))
        wrong = _mask(array.is_valid()) & ~good & ~nonfinite
        faults.append(Fault(wrong, Reason.WRONG_TYPE, "expected a number"))
        if not column.allow_nonfinite:
            faults.append(Fault(nonfinite, Reason.NOT_FINITE, "expected a finite number"))
        array = _without(text, ~good).cast(pa.float64())
    elif pa.types.is_integer(array.type) or pa.types.is_floating(array.type):
        array = array.cast(pa.float64(), safe=False)
    elif pa.types.is_decimal(array.type):
        array = array.cast(pa.float64())
    else:
        return _wrong(array, column)
    infinite = _mask(pc.invert(pc.is_finite(array)))
    if infinite.any():
        if not column.allow_nonfinite:
            faults.append(Fault(infinite, Reason.NOT_FINITE, "expected a finite number"))
        array = _without(array, infinite)
    return Typed(array, tuple(faults))


def _read_boolean(array: pa.Array, column: Column) -> Typed:
    if pa.types.is_boolean(array.type):
        return Typed(array)
    if pa.types.is_integer(array.type) or pa.types.is_floating(array.type):
        array = array.cast(pa.float64(), safe=False).cast(pa.string())
        true, false = _ONE, _ZERO
    elif pa.types.is_string(array.type):
        array = pc.ascii_lower(pc.ascii_trim_whitespace(array))
        true, false = _TRUE, _FALSE
    else:
        return _wrong(array, column)
    yes = _mask(pc.is_in(array, value_set=true))
    known = yes | _mask(pc.is_in(array, value_set=false))
    wrong = _mask(array.is_valid()) & ~known
    return Typed(
        pa.array(yes, mask=~known), (Fault(wrong, Reason.WRONG_TYPE, "expected true or false"),)
    )


def _read_time(array: pa.Array, column: Column) -> Typed:
    kind = array.type
    if pa.types.is_timestamp(kind) or pa.types.is_date(kind):
        zone = "UTC" if pa.types.is_timestamp(kind) and kind.tz else None
        return Typed(array.cast(pa.timestamp("us", zone), safe=False).cast(pa.int64()))
    if pa.types.is_integer(kind) or pa.types.is_floating(kind):
        return _read_integer(array, column)
    if not pa.types.is_string(kind):
        return _wrong(array, column)
    text = pc.ascii_trim_whitespace(array)
    numeric = _mask(pc.match_substring_regex(text, _INTEGER))
    shaped = _mask(pc.match_substring_regex(text, _TIME))
    times = _parse_times(_without(text, ~shaped))
    if numeric.any():
        whole = _read_integer(_without(text, ~numeric), column).array
        times = pc.if_else(pa.array(numeric), whole, times)
    wrong = _mask(array.is_valid()) & _mask(times.is_null())
    detail = "expected RFC 3339, such as 2026-03-01T10:00:00Z, or microseconds"
    return Typed(times, (Fault(wrong, Reason.BAD_TIME, detail),))


def _parse_times(text: pa.Array) -> pa.Array:
    """int64 microseconds of RFC 3339 text; UTC where it names no zone; null for no such day."""
    text = pc.replace_substring_regex(text, r"(\.\d{6})\d+", r"\1")
    text = pc.replace_substring_regex(text, r"([+-]\d\d):?(\d\d)$", r"\1:\2")
    zoned = _mask(pc.match_substring_regex(text, _ZONE))
    plain = _cast_times(_without(text, zoned), None)
    if not zoned.any():
        return plain
    return pc.if_else(pa.array(zoned), _cast_times(_without(text, ~zoned), "UTC"), plain)


def _cast_times(text: pa.Array, zone: str | None) -> pa.Array:
    try:
        return text.cast(pa.timestamp("us", zone)).cast(pa.int64())
    except pa.ArrowInvalid:
        return pa.array([_one_time(one) for one in text.to_pylist()], pa.int64())


def _one_time(text: str | None) -> int | None:
    if text is None:
        return None
    try:
        moment = dt.datetime.fromisoformat(text)
        moment = moment if moment.tzinfo else moment.replace(tzinfo=dt.UTC)
        since = moment - dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
    except (ValueError, OverflowError):
        return None
    return (since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds


def _limits(array: pa.Array, column: Column) -> list[Fault]:
    faults = []
    if column.type is ColumnType.STRING:
        large = _mask(pc.greater(pc.binary_length(array), column.max_bytes))
        detail = f"expected at most {column.max_bytes} bytes"
        faults.append(Fault(large, Reason.TOO_LARGE, detail))
    if column.minimum is not None:
        low = _mask(pc.less(array.cast(pa.float64(), safe=False), float(column.minimum)))
        detail = f"expected at least {column.minimum:g}"
        faults.append(Fault(low, Reason.OUT_OF_RANGE, detail))
    if column.maximum is not None:
        high = _mask(pc.greater(array.cast(pa.float64(), safe=False), float(column.maximum)))
        detail = f"expected at most {column.maximum:g}"
        faults.append(Fault(high, Reason.OUT_OF_RANGE, detail))
    return faults


def _wrong(array: pa.Array, column: Column) -> Typed:
    rows = _mask(array.is_valid())
    nothing = pa.nulls(len(array), ARROW_TYPES[column.type])
    return Typed(nothing, (Fault(rows, Reason.WRONG_TYPE, f"expected a {column.type}"),))


def _without(array: pa.Array, rows: Mask) -> pa.Array:
    if not rows.any():
        return array
    return pc.if_else(pa.array(rows), pa.scalar(None, array.type), array)


def _mask(array: pa.Array) -> Mask:
    """True where an Arrow boolean is true; null is false."""
    if array.null_count:
        array = array.fill_null(False)
    mask: Mask = array.to_numpy(zero_copy_only=False)
    return mask


def _utf8(data: bytes) -> str | None:
    try:
        return data.decode()
    except UnicodeDecodeError:
        return None


_READERS: dict[ColumnType, Callable[[pa.Array, Column], Typed]] = {
    ColumnType.STRING: _read_string,
    ColumnType.INTEGER: _read_integer,
    ColumnType.NUMBER: _read_number,
    ColumnType.BOOLEAN: _read_boolean,
    ColumnType.TIMESTAMP: _read_time,
}
