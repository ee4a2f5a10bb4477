"""Typed columns: an Arrow array of whatever type becomes the declared one, or faults row by row.

What enters: a column as Parquet, CSV or JSON gave it, and its declaration. What leaves: an array
of exactly the declared Arrow type, null where the value is absent or at fault, and the faults. The
same facts give the same array whatever the file format was: integers may come as text, times as
text, integers or Arrow timestamps (docs/input.md has the table). A row's result depends on its own
value alone, never on what else is in the batch.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from configs.schema import Column, ColumnType
from transforms.dead_letter import EXPECTED_UTF8, Reason
from transforms.hashing import string_buffers
from transforms.numbers import Whole, order, to_floats
from transforms.times import PLAIN, Reading, scale_numbers, scale_times, text_times

Mask = npt.NDArray[np.bool_]

ARROW_TYPES = {
    ColumnType.STRING: pa.string(),
    ColumnType.INTEGER: pa.int64(),
    ColumnType.NUMBER: pa.float64(),
    ColumnType.BOOLEAN: pa.bool_(),
    ColumnType.TIMESTAMP: pa.int64(),
}

_SHORT = r"^-?[0-9]{1,18}$"  # an integer that Arrow reads itself
_DIGITS = r"^[+-]?[0-9]+$"
_EXACT_DIGITS = r"^[+-]?[0-9]+(\.0*)?$"  # of a decimal, which never was a float
_NUMBER = r"^[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]{1,4})?$"
_NONFINITE = r"^[+-]?(?i:nan|inf|infinity)$"
_IS_TEXT = (pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view)
_IS_BYTES = (
    pa.types.is_binary,
    pa.types.is_large_binary,
    pa.types.is_fixed_size_binary,
    pa.types.is_binary_view,
)
_TRUE, _FALSE = pa.array(["true", "1", "1.0", "yes"]), pa.array(["false", "0", "0.0", "no"])
_EXACT = 2.0**53  # whole numbers below it are exact as floats
_INTEGER = "expected an integer"
_ROUNDED = (
    "expected an integer; a float from 2^53 on (single precision: 2^24), also one written with a "
    "point or an exponent, stands for its neighbours too"
)


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


def type_column(array: pa.Array, column: Column, reading: Reading = PLAIN) -> Typed:
    """A column as its declaration wants it.

    Args:
      array: any Arrow type, `[n]`.
      column: the declaration.
      reading: what times mean that do not say it.

    >>> typed = type_column(pa.array(["1", "x", None]), Column("n", ColumnType.INTEGER))
    >>> typed.array.to_pylist(), [str(fault.reason) for fault in typed.faults]
    ([1, None, None], ['wrong_type'])
    """
    if array.null_count == len(array):  # as most columns of a few events are
        return Typed(pa.nulls(len(array), ARROW_TYPES[column.type]))
    if pa.types.is_union(array.type):
        return _type_union(array, column, reading)
    array, garbled = _plain(array)
    if column.type is ColumnType.TIMESTAMP:
        made = _read_time(array, column, reading)
    else:
        made = _READERS[column.type](array, column)
    typed = made.array
    faults = [fault for fault in (garbled, *made.faults) if fault.rows.any()]
    for limit in _limits(typed, column):
        if limit.rows.any():
            faults.append(limit)
            typed = _without(typed, limit.rows)
    return Typed(typed, tuple(faults))


def without_empty(array: pa.Array) -> pa.Array:
    """The column with null for an empty text, which names nothing.

    >>> without_empty(pa.array(["ann", "", None])).to_pylist(), without_empty(pa.array([0]))[0]
    (['ann', None, None], <pyarrow.Int64Scalar: 0>)
    """
    if not pa.types.is_string(array.type):
        return array
    return pc.if_else(pc.equal(array, ""), pa.scalar(None, pa.string()), array)


def _type_union(array: pa.UnionArray, column: Column, reading: Reading) -> Typed:
    """Each value read by its own type: the children of a dense union, one after the other."""
    children = [type_column(array.field(i), column, reading) for i in range(array.type.num_fields)]
    starts = np.cumsum([0, *(len(child.array) for child in children)])
    place = starts[array.type_codes.to_numpy()] + array.offsets.to_numpy()
    faults = []
    for start, child in zip(starts, children, strict=False):
        for fault in child.faults:
            rows = np.zeros(starts[-1], np.bool_)
            rows[start : start + len(fault.rows)] = fault.rows
            faults.append(Fault(rows[place], fault.reason, fault.detail))
    return Typed(pa.concat_arrays([one.array for one in children]).take(place), tuple(faults))


def _plain(array: pa.Array) -> tuple[pa.Array, Fault]:
    """Decodes dictionaries, brings all kinds of text and bytes to one, of valid UTF-8."""
    if pa.types.is_dictionary(array.type):
        array = array.dictionary_decode()
    if isinstance(array.type, pa.UuidType):  # how Parquet files of DuckDB and Spark have them
        texts = [None if one is None else str(one) for one in array.to_pylist()]
        array = pa.array(texts, pa.string())
    elif isinstance(array.type, pa.BaseExtensionType):
        array = array.storage
    bad = np.zeros(len(array), np.bool_)
    if any(is_it(array.type) for is_it in _IS_TEXT):
        array, bad = _utf8(array if pa.types.is_string(array.type) else array.cast(pa.string()))
    elif any(is_it(array.type) for is_it in _IS_BYTES):
        array, bad = _utf8(array.cast(pa.binary()))
    return array, Fault(bad, Reason.NOT_UTF8, EXPECTED_UTF8)


def _utf8(array: pa.Array) -> tuple[pa.StringArray, Mask]:
    """Text or bytes as text, and which rows are no UTF-8 (Parquet files may call such text)."""
    try:
        text = array if pa.types.is_string(array.type) else array.cast(pa.string())
        text.validate(full=True)
    except pa.ArrowInvalid:
        values = [_decoded(one) for one in array.cast(pa.binary()).to_pylist()]
        text = pa.array(values, pa.string())
    else:
        return text, np.zeros(len(array), np.bool_)
    return text, true_mask(array.is_valid()) & true_mask(text.is_null())


def _decoded(data: bytes | None) -> str | None:
    if data is None:
        return None
    try:
        return data.decode()
    except UnicodeDecodeError:
        return None


def _read_string(array: pa.Array, column: Column) -> Typed:
    if pa.types.is_string(array.type):
        return Typed(array)
    if pa.types.is_integer(array.type):
        return Typed(array.cast(pa.string()))
    if pa.types.is_decimal(array.type):  # how warehouses export integers; exact
        text = pc.replace_substring_regex(array.cast(pa.string()), r"\.0*$", "")
        whole = true_mask(pc.match_substring_regex(text, r"^-?[0-9]+$"))
        wrong = Fault(
            true_mask(array.is_valid()) & ~whole,
            Reason.WRONG_TYPE,
            "expected a string or an integer",
        )
        return Typed(_without(text, ~whole), (wrong,))
    if pa.types.is_floating(array.type):  # how pandas writes integers of which some are absent
        below = _exact_below(array.type)
        values = array.cast(pa.float64()).to_numpy(zero_copy_only=False)
        valid = true_mask(array.is_valid()) & ~np.isnan(values)
        with np.errstate(invalid="ignore"):
            whole = valid & (np.floor(values) == values) & (np.abs(values) < below)
        digits = pa.array(np.where(whole, values, 0).astype(np.int64), mask=~whole)
        wrong = Fault(valid & ~whole, Reason.WRONG_TYPE, "expected a string or an integer")
        return Typed(digits.cast(pa.string()), (wrong,))
    return _wrong(array, column)


def _read_integer(array: pa.Array, column: Column) -> Typed:
    if pa.types.is_uint64(array.type):
        bad = true_mask(pc.greater(array, pa.scalar(2**63 - 1, pa.uint64())))
        fine = _without(array, bad).cast(pa.int64())
        return Typed(fine, (Fault(bad, Reason.OUT_OF_RANGE, "expected a 64-bit integer"),))
    if pa.types.is_integer(array.type):
        return Typed(array.cast(pa.int64()))
    if pa.types.is_floating(array.type):
        return _integer_from_float(array.cast(pa.float64()), _exact_below(array.type))
    if pa.types.is_decimal(array.type):  # exact, where a float would round
        return _integer_from_text(array.cast(pa.string()), _EXACT_DIGITS)
    if pa.types.is_string(array.type):
        return _integer_from_text(pc.ascii_trim_whitespace(array), _DIGITS)
    return _wrong(array, column)


def _exact_below(type_: pa.DataType) -> float:
    """Where floats of a width begin to leave out integers."""
    return {16: 2.0**11, 32: 2.0**24}.get(type_.bit_width, _EXACT)


def _integer_from_float(array: pa.Array, below: float = _EXACT) -> Typed:
    values = array.to_numpy(zero_copy_only=False)
    valid = true_mask(array.is_valid()) & ~np.isnan(values)  # pandas writes an absent one as NaN
    with np.errstate(invalid="ignore"):
        whole = np.isfinite(values) & (np.floor(values) == values)
        inside = valid & whole & (np.abs(values) < below)
    fine = pa.array(np.where(inside, values, 0).astype(np.int64), mask=~inside)
    return Typed(
        fine,
        (
            Fault(valid & ~whole, Reason.WRONG_TYPE, _INTEGER),
            Fault(valid & whole & ~inside, Reason.OUT_OF_RANGE, _ROUNDED),
        ),
    )


def _integer_from_text(text: pa.Array, pattern: str) -> Typed:
    """Digits as they are; with a point or an exponent, as the float that JSON makes of it."""
    short = true_mask(pc.match_substring_regex(text, _SHORT))
    valid = true_mask(text.is_valid())
    fine = _without(text, ~short).cast(pa.int64())
    if np.array_equal(short, valid):
        return Typed(fine)
    whole = true_mask(pc.match_substring_regex(text, pattern)) & ~short
    number = true_mask(_is_number(text)) & ~short & ~whole  # such as 1e3, which JSON may write
    other = _integer_from_float(_floats(_without(text, ~number)))
    values = [_integer(one) for one in _without(text, ~whole).to_pylist()]
    wide = pa.array(values, pa.int64())
    beyond = whole & true_mask(wide.is_null())
    wrong = valid & ~short & ~whole & ~number
    return Typed(
        pc.coalesce(fine, wide, other.array),
        (
            Fault(wrong, Reason.WRONG_TYPE, _INTEGER),
            Fault(beyond, Reason.OUT_OF_RANGE, "expected a 64-bit integer"),
            *other.faults,
        ),
    )


def _integer(text: str | None) -> int | None:
    """Digits as an integer, null if it takes more than 64 bits."""
    if text is None:
        return None
    digits = text.partition(".")[0].lstrip("+-").lstrip("0") or "0"
    if len(digits) > 19:
        return None
    value = -int(digits) if text.startswith("-") else int(digits)
    return value if -(2**63) <= value < 2**63 else None


def _read_number(array: pa.Array, column: Column) -> Typed:
    faults: list[Fault] = []
    if pa.types.is_decimal(array.type):
        array = array.cast(pa.string())  # so that it rounds as text does
    if pa.types.is_string(array.type):
        text = pc.ascii_trim_whitespace(array)
        good = true_mask(_is_number(text))
        nonfinite = true_mask(pc.match_substring_regex(text, _NONFINITE))
        wrong = true_mask(array.is_valid()) & ~good & ~nonfinite
        faults.append(Fault(wrong, Reason.WRONG_TYPE, "expected a number"))
        if not column.allow_nonfinite:
            faults.append(Fault(nonfinite, Reason.NOT_FINITE, "expected a finite number"))
        array = _floats(_without(text, ~good))
    elif pa.types.is_integer(array.type) or pa.types.is_floating(array.type):
        array = array.cast(pa.float64(), safe=False)
    else:
        return _wrong(array, column)
    infinite = true_mask(pc.invert(pc.is_finite(array)))
    if infinite.any():
        if not column.allow_nonfinite:
            faults.append(Fault(infinite, Reason.NOT_FINITE, "expected a finite number"))
        array = _without(array, infinite)
    return Typed(pc.add(array, 0.0), tuple(faults))  # one zero: JSON's -0 is an integer's


def _is_number(text: pa.Array) -> pa.Array:
    return pc.match_substring_regex(text, _NUMBER)


def _floats(text: pa.Array) -> pa.Array:
    return text.cast(pa.float64())


def _read_boolean(array: pa.Array, column: Column) -> Typed:
    if pa.types.is_boolean(array.type):
        return Typed(array)
    valid = true_mask(array.is_valid())
    if pa.types.is_integer(array.type) or pa.types.is_floating(array.type):
        values = array.cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False)
        valid = valid & ~np.isnan(values)  # pandas writes an absent one as NaN
        yes, known = valid & (values == 1), valid & ((values == 1) | (values == 0))
    elif pa.types.is_string(array.type):
        text = pc.ascii_lower(pc.ascii_trim_whitespace(array))
        yes = true_mask(pc.is_in(text, value_set=_TRUE))
        known = yes | true_mask(pc.is_in(text, value_set=_FALSE))
        if not np.array_equal(known, valid):  # such as 1e0, which JSON may write
            number = _floats(_without(text, known | ~true_mask(_is_number(text))))
            one = true_mask(pc.equal(number, 1.0))
            yes, known = yes | one, known | one | true_mask(pc.equal(number, 0.0))
    else:
        return _wrong(array, column)
    wrong = Fault(valid & ~known, Reason.WRONG_TYPE, "expected true or false")
    return Typed(pa.array(yes, mask=~known), (wrong,))


def _read_time(array: pa.Array, column: Column, reading: Reading) -> Typed:
    kind = array.type
    if pa.types.is_timestamp(kind) or pa.types.is_date(kind):
        times = scale_times(array, reading)
    elif pa.types.is_string(kind):
        times = text_times(array, reading)
        if times.null_count == array.null_count and reading.unit == "us":
            return Typed(times)
        if reading.unit != "us":
            return _with_numbers(array, column, times, reading)
        text = pc.ascii_trim_whitespace(_without(array, true_mask(times.is_valid())))
        number = true_mask(_is_number(text))
        if number.any():  # integers with a point or an exponent, or of 19 digits
            whole = _integer_from_text(_without(text, ~number), _DIGITS)
            times = pc.coalesce(times, whole.array)
            unread = true_mask(array.is_valid()) & true_mask(times.is_null()) & ~number
            return _whole(Typed(times, (Fault(unread, Reason.BAD_TIME, _TIME), *whole.faults)))
    elif reading.unit == "us":
        return _whole(_read_integer(array, column))
    elif not _is_numeric(kind):
        return _wrong(array, column)
    else:
        return _with_numbers(array, column, pa.nulls(len(array), pa.int64()), reading)
    wrong = true_mask(array.is_valid()) & true_mask(times.is_null())
    return Typed(times, (Fault(wrong, Reason.BAD_TIME, _TIME),))


def _whole(typed: Typed) -> Typed:
    """The same, where a number that is no integer says which units may have a fraction."""
    return dataclasses.replace(
        typed,
        faults=tuple(
            dataclasses.replace(one, detail=_WHOLE_TIME) if one.detail == _INTEGER else one
            for one in typed.faults
        ),
    )


def _is_numeric(kind: pa.DataType) -> bool:
    return bool(
        pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind)
    )


def _with_numbers(array: pa.Array, column: Column, times: pa.Array, reading: Reading) -> Typed:
    """Times of text, and numbers (of any type, or as text) in the reading's unit."""
    valid = true_mask(array.is_valid())
    if pa.types.is_integer(array.type):
        whole, other = _read_integer(array, column).array, pa.nulls(len(array), pa.float64())
    elif pa.types.is_floating(array.type):
        whole, other = pa.nulls(len(array), pa.int64()), array.cast(pa.float64())
        valid &= ~np.isnan(other.to_numpy(zero_copy_only=False))  # absent, as pandas writes it
    else:
        text = pc.ascii_trim_whitespace(array.cast(pa.string()))
        digits = true_mask(pc.match_substring_regex(text, _DIGITS))
        number = true_mask(_is_number(text)) & ~digits
        whole = _integer_from_text(_without(text, ~digits), _DIGITS).array
        other = _floats(_without(text, ~number))
        times = _without(times, digits | number)
    times = pc.coalesce(
        scale_numbers(whole, reading.unit), scale_numbers(other, reading.unit), times
    )
    return Typed(times, (Fault(valid & true_mask(times.is_null()), Reason.BAD_TIME, _TIME),))


_WHOLE_TIME = (
    "expected microseconds since 1970 without a fraction; if numbers are seconds, say `events: "
    "{time_unit: s}`, or ms or ns"
)
_TIME = "expected RFC 3339, such as 2026-03-01T10:00:00Z, or a number of events.time_unit"


def _limits(array: pa.Array, column: Column) -> list[Fault]:
    faults = []
    if column.type is ColumnType.STRING and _longest(array) > column.max_bytes:
        large = true_mask(pc.greater(pc.binary_length(array), column.max_bytes))
        detail = f"expected at most {column.max_bytes} bytes"
        faults.append(Fault(large, Reason.TOO_LARGE, detail))
    for bound, outside, words in (
        (column.minimum, np.less, "at least"),
        (column.maximum, np.greater, "at most"),
    ):
        if bound is not None:
            value = Whole.of(array) if pa.types.is_integer(array.type) else to_floats(array)
            limit = Whole(np.int64(bound), np.bool_(True)) if isinstance(bound, int) else bound
            sign, known = order(value, limit)
            faults.append(
                Fault(outside(sign, 0) & known, Reason.OUT_OF_RANGE, f"expected {words} {bound}")
            )
    return faults


def _longest(texts: pa.StringArray) -> int:
    """Bytes of the longest text, or more where a null has some."""
    return int(np.diff(string_buffers(texts)[0]).max(initial=0))


def _wrong(array: pa.Array, column: Column) -> Typed:
    """No value of this type can be meant."""
    rows = true_mask(array.is_valid())
    nothing = pa.nulls(len(array), ARROW_TYPES[column.type])
    return Typed(nothing, (Fault(rows, Reason.WRONG_TYPE, f"expected a {column.type}"),))


def _without(array: pa.Array, rows: Mask) -> pa.Array:
    if not rows.any():
        return array
    return pc.if_else(pa.array(rows), pa.scalar(None, array.type), array)


def true_mask(array: pa.Array) -> Mask:
    """Where an Arrow boolean is true; null is not: bool `[n]`.

    >>> true_mask(pa.array([True, None])).tolist()
    [True, False]
    """
    if array.null_count:
        array = array.fill_null(False)
    mask: Mask = array.to_numpy(zero_copy_only=False)
    return mask


_READERS: dict[ColumnType, Callable[[pa.Array, Column], Typed]] = {
    ColumnType.STRING: _read_string,
    ColumnType.INTEGER: _read_integer,
    ColumnType.NUMBER: _read_number,
    ColumnType.BOOLEAN: _read_boolean,
}
