"""Numbers of expressions: whole ones, exact in 64 bits, and floats; each operation on both.

A whole number stays one through + - * min max abs floor coalesce; what does not fit into 64 bits
becomes null. Divided, or together with a float, it is a float (the nearest), but a comparison is
exact whatever is compared. Only operations that IEEE 754 rounds correctly are used on floats, and
the logarithm is made of these; so the result of a row does not depend on the batch that it is in,
nor on the machine.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

Floats = npt.NDArray[np.float64]


@dataclasses.dataclass(frozen=True)
class Whole:
    """Whole numbers: int64 `[n]` or one for all, and which of them are there (bool, likewise)."""

    values: Any
    known: Any

    @classmethod
    def of(cls, array: pa.Array) -> Whole:
        """An Arrow column of integers, times or booleans."""
        known = np.ones(len(array), np.bool_)
        if array.null_count:
            known = array.is_valid().to_numpy(zero_copy_only=False)
        plain = array if pa.types.is_int64(array.type) else array.cast(pa.int64())
        plain = plain.fill_null(0) if plain.null_count else plain
        return cls(plain.to_numpy(zero_copy_only=False), known)


Value = Whole | Any
"""Whole numbers, or float64 `[n]` (or one for all) in which NaN is null."""


def to_floats(array: pa.Array) -> Floats:
    """A numeric, boolean or timestamp column as float64 `[n]`, NaN where it is null.

    >>> to_floats(pa.array([True, None])).tolist()
    [1.0, nan]
    """
    kind = array.type
    if array.null_count == 0 and (pa.types.is_integer(kind) or pa.types.is_boolean(kind)):
        return np.asarray(array.to_numpy(zero_copy_only=False), np.float64)
    if pa.types.is_boolean(kind):
        array = array.cast(pa.int8())
    if pa.types.is_float64(kind):
        return np.asarray(array.to_numpy(zero_copy_only=False), np.float64)
    values: Floats = array.cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False)
    return np.asarray(values, np.float64)


def to_float(value: Value) -> Any:
    """As floats; a whole number beyond 2^53 becomes the nearest one."""
    if isinstance(value, Whole):
        return np.where(value.known, value.values.astype(np.float64), np.nan)
    return value


def known_mask(value: Value) -> Any:
    """Which values are not null."""
    return value.known if isinstance(value, Whole) else ~np.isnan(value)


def negative(value: Value) -> Value:
    """-x."""
    if isinstance(value, Whole):
        return arithmetic("-", Whole(np.int64(0), np.bool_(True)), value)
    return np.negative(value)


def arithmetic(op: str, one: Value, other: Value) -> Value:
    """x + y, x - y, x * y, x / y; overflow and division by zero are null.

    >>> large = Whole(np.array([2**62, 5]), np.array([True, True]))
    >>> arithmetic("+", large, large).known.tolist()
    [False, True]
    """
    if op == "/" or not (isinstance(one, Whole) and isinstance(other, Whole)):
        made = _FLOAT[op](to_float(one), to_float(other))
        return np.where(np.isfinite(made), made, np.nan)
    made, over = _WHOLE[op](one.values, other.values)
    return Whole(made, one.known & other.known & ~over)


def _add(one: Any, other: Any) -> tuple[Any, Any]:
    made = one + other
    return made, ((one ^ made) & (other ^ made)) < 0


def _subtract(one: Any, other: Any) -> tuple[Any, Any]:
    made = one - other
    return made, ((one ^ other) & (one ^ made)) < 0


def _multiply(one: Any, other: Any) -> tuple[Any, Any]:
    """Overflows where dividing does not lead back: a wrapped product is off by at least two."""
    made = one * other
    plain = (other != 0) & (other != -1)
    back = made // np.where(plain, other, 1)
    return made, (plain & (back != one)) | ((other == -1) & (one == _LEAST))


_LEAST = np.int64(-(2**63))
_WHOLE = {"+": _add, "-": _subtract, "*": _multiply}
_FLOAT = {"+": np.add, "-": np.subtract, "*": np.multiply, "/": np.divide}


def order(one: Value, other: Value) -> tuple[Any, Any]:
    """How values compare, exactly: -1, 0 or 1, and where both are known.

    >>> wide = Whole(np.array([2**53 + 1]), np.array([True]))
    >>> order(wide, np.array([2.0**53]))[0].tolist()
    [1]
    """
    known = known_mask(one) & known_mask(other)
    if isinstance(one, Whole) and isinstance(other, Whole):
        return _sign(one.values, other.values), known
    if isinstance(one, Whole):
        return _mixed(one.values, other), known
    if isinstance(other, Whole):
        return -_mixed(other.values, one), known
    return _sign(one, other), known


def _sign(one: Any, other: Any) -> Any:
    return np.greater(one, other).astype(np.int8) - np.less(one, other).astype(np.int8)


def _mixed(whole: Any, floats: Any) -> Any:
    """The sign of whole - float: by the float's whole part, then by whether it has another."""
    below = np.floor(floats)
    inside = (below >= -(2.0**63)) & (below < 2.0**63)
    sign = _sign(whole, np.where(inside, below, 0.0).astype(np.int64))
    sign = np.where((sign == 0) & (floats > below), -1, sign)
    return np.where(inside, sign, np.where(floats > 0, -1, 1))


def _coalesce(one: Value, other: Value) -> Value:
    if isinstance(one, Whole) and isinstance(other, Whole):
        return Whole(np.where(one.known, one.values, other.values), one.known | other.known)
    first = to_float(one)
    return np.where(np.isnan(first), to_float(other), first)


def _pick(choose: Callable[[Any, Any], Any]) -> Callable[[Value, Value], Value]:
    def chosen(one: Value, other: Value) -> Value:
        if isinstance(one, Whole) and isinstance(other, Whole):
            return Whole(choose(one.values, other.values), one.known & other.known)
        # One zero: which of two signs wins depends on the place in the array.
        return choose(to_float(one), to_float(other)) + 0.0

    return chosen


FUNCTIONS_OF_TWO: Mapping[str, Callable[[Value, Value], Value]] = {
    "min": _pick(np.minimum),
    "max": _pick(np.maximum),
    "coalesce": _coalesce,
}


def _abs(value: Value) -> Value:
    if isinstance(value, Whole):
        return Whole(np.abs(value.values), value.known & (value.values != _LEAST))
    return np.abs(value)


def log(value: Any) -> Any:
    """The natural logarithm, within 2 units in the last place; NaN at 0 and below.

    The C library's differs from machine to machine, and numpy's with the place in the array.
    With x = m * 2^k and m about 1: log x = k log 2 + 2 artanh((m - 1) / (m + 1)), whose series
    13 terms finish.

    >>> log(np.array([1.0, 0.0])).tolist()
    [0.0, nan]
    """
    part, power = np.frexp(np.where(value > 0, value, np.nan))
    small = part < _HALF_ROOT
    part, power = np.where(small, 2.0 * part, part), power - small
    slope = (part - 1.0) / (part + 1.0)
    square = slope * slope
    series = np.zeros_like(square)
    for odd in range(25, 1, -2):
        series = (series + 1.0 / odd) * square
    # log 2 in two parts: the product of the first with any exponent is exact.
    return power * _LOG2_HIGH + (2.0 * slope + (2.0 * slope * series + power * _LOG2_LOW))


_HALF_ROOT = 0.7071067811865476
_LOG2_HIGH = float.fromhex("0x1.62e42feep-1")
_LOG2_LOW = float.fromhex("0x1.a39ef35793c76p-33")

FUNCTIONS_OF_ONE: Mapping[str, Callable[[Value], Value]] = {
    "abs": _abs,
    "sqrt": lambda value: np.sqrt(to_float(value)),
    "log": lambda value: log(to_float(value)),
    "floor": lambda value: value if isinstance(value, Whole) else np.floor(value),
}
