"""What values an expression can have, so that a comparison that no event can meet is a mistake.

Ranges come from what a column declares (`minimum`, `maximum`, `max_bytes`, its type) and from what
an operation always makes (an hour is 0 to 23). They are never too narrow: where nothing is known,
everything is possible.
"""

from __future__ import annotations

import dataclasses
import math
import struct
from collections.abc import Collection, Iterable, Mapping
from types import MappingProxyType
from typing import Any

from configs.expression import Binary, Call, ColumnRef, Node, Number, Text, Unary
from configs.expression import columns as columns_in
from configs.schema import Column, ColumnType

_LEAST, _MOST = -(2**63), 2**63 - 1
_LONGEST = 2**62  # bytes of a text that has no limit
OPPOSITE = {"<": ">", ">": "<", "<=": ">=", ">=": "<="}


@dataclasses.dataclass(frozen=True)
class Range:
    """The values that a part can have, null aside: a closed range, of whole numbers or of any."""

    least: int | float
    most: int | float
    whole: bool

    def __str__(self) -> str:
        what = "a whole number" if self.whole else "a number"
        low = self.least > (_LEAST if self.whole else -math.inf)
        high = self.most < (_MOST if self.whole else math.inf)
        if low and high:
            return f"{what} from {self.least} to {self.most}"
        if low:
            return f"{what} of at least {self.least}"
        return f"{what} of at most {self.most}" if high else what


_ANY = Range(-math.inf, math.inf, False)
_ANY_WHOLE = Range(_LEAST, _MOST, True)
_TRUTH = Range(0, 1, True)
COMPARE = (
    "compare with what it can be; a column's type, minimum and maximum may be declared wrongly"
)


def columns_of(operations: Iterable[tuple[str, ColumnType, type[Any] | None]]) -> dict[str, Column]:
    """What operations make, as columns with ranges.

    Args:
      operations: names, types and classes of derived columns or features; a class may say `least`
        and `most` (`configs.catalog`).
    """
    return {
        name: Column(
            name,
            type_,
            max_bytes=_LONGEST,
            minimum=getattr(operation, "least", None),
            maximum=getattr(operation, "most", None),
        )
        for name, type_, operation in operations
    }


def range_of(
    node: Node, columns: Mapping[str, Column], known: Mapping[Node, Range] = MappingProxyType({})
) -> Range:
    """The values that a number or a condition can have.

    Args:
      node: of a tree without faults.
      columns: what is known of columns and features.
      known: of parts, where more is known than they themselves say.

    >>> from configs.expression import parse
    >>> n = {"n": Column("n", ColumnType.INTEGER, minimum=0, maximum=9)}
    >>> print(range_of(parse("min(n, 5) * 2 - 1"), n))
    a whole number from -1 to 9
    """
    if node in known:
        return known[node]
    match node:
        case Number(value):
            return Range(value, value, isinstance(value, int))
        case ColumnRef(name):
            return _of_column(columns[name]) if name in columns else _ANY
        case Unary("-", operand):
            one = range_of(operand, columns, known)
            return _bounded([-one.least, -one.most], one.whole)
        case Binary("-" | "/" as op, left, right) if left == right:
            return Range(int(op == "/"), int(op == "/"), True)
        case Binary(op, left, right):
            one, other = range_of(left, columns, known), range_of(right, columns, known)
            return _arithmetic(op, one, other)
        case Call("is_null" | "starts_with"):
            return _TRUTH
        case Call(name, arguments):
            return _call(name, [range_of(one, columns, known) for one in arguments])
        case Text():
            return _ANY
    return _TRUTH


def impossible(
    op: str,
    left: Node,
    right: Node,
    columns: Mapping[str, Column],
    features: Collection[str] = (),
    present: Collection[str] = (),
) -> tuple[str, str] | None:
    """Why a comparison is the same for all events that have its values, and what to do; or None.

    Args:
      op: `==`, `!=`, `<`, `<=`, `>`, `>=`; `in` and `not in` are asked for each option, as `==`.
      left, right: of one type, numbers or texts.
      columns: what is known of columns and features.
      features: which of them are features, 32-bit floats.
      present: columns that no event lacks.
    """
    for literal, side in ((right, left), (left, right)):
        if isinstance(literal, Text):
            return _text(literal.value, side, columns)
    if isinstance(left, Number) and isinstance(right, Number):
        return None
    one, other = range_of(left, columns), range_of(right, columns)
    if op in ("==", "!="):
        for literal, side in ((right, left), (left, right)):
            if isinstance(literal, Number) and not isinstance(side, Number):
                reason = _never_equals(literal.value, side, columns, features)
                if reason:
                    return reason, COMPARE
        apart = one.most < other.least or one.least > other.most
        same = one.least == one.most == other.least == other.most
        truth = (op == "==") if same else (op != "==") if apart else None
    else:
        truth = _ordered(op, one, other)
    if truth is None:
        return None
    sides = [f"{_name(side)} is {range_of(side, columns)}" for side in (left, right)
             if not isinstance(side, Number)]  # fmt: skip
    given = f": {', '.join(sides)}" if sides else ""
    if truth:
        hint = leave_out([*columns_in(left), *columns_in(right)], present)
        return f"this is true for every value{given}", hint
    return f"this is never true{given}", COMPARE


def leave_out(names: Iterable[str], present: Collection[str]) -> str:
    """What to do about a condition that is true wherever its columns have values.

    >>> leave_out(["n", "who"], {"who"})
    'leave it out; or write not is_null(n), if a value is what it asks for'
    """
    asks = [f"not is_null({name})" for name in dict.fromkeys(names) if name not in present]
    if not asks:
        return "leave it out"
    return f"leave it out; or write {' and '.join(asks)}, if a value is what it asks for"


def impossible_beginning(text: str, column: Node, columns: Mapping[str, Column]) -> str | None:
    """Why no text of a column, or each of them, begins so; None: some may."""
    if not text:
        return "every text begins with ''"
    found = _text(text, column, columns)
    return found[0] if found else None


def _text(text: str, other: Node, columns: Mapping[str, Column]) -> tuple[str, str] | None:
    try:
        size = len(text.encode())
    except UnicodeEncodeError:
        return "no text is this: half of a surrogate pair is no character", "write the character"
    if isinstance(other, ColumnRef) and other.name in columns:
        most = columns[other.name].max_bytes
        if size > most:
            reason = (
                f"{other.name!r} is never this: it has at most {most} bytes, and this has {size}"
            )
            return reason, "a shorter text, or raise its max_bytes"
    return None


def _never_equals(
    value: int | float, side: Node, columns: Mapping[str, Column], features: Collection[str]
) -> str | None:
    possible = range_of(side, columns)
    if isinstance(side, Call) and side.name == "floor" and value != int(value):
        return f"floor is never {value}: it is a whole number"
    if possible.least <= value <= possible.most and (not possible.whole or value == int(value)):
        if not isinstance(side, ColumnRef) or side.name not in features or _fits_32_bits(value):
            return None
        return f"{_name(side)} is never {value}: it is a 32-bit float, and none is {value}"
    return f"{_name(side)} is never {value}: it is {possible}"


def _fits_32_bits(value: int | float) -> bool:
    try:
        return bool(struct.unpack("f", struct.pack("f", value))[0] == value)
    except OverflowError:
        return False


def _name(node: Node) -> str:
    return repr(node.name) if isinstance(node, ColumnRef) else "this side"


def _of_column(column: Column) -> Range:
    if column.type is ColumnType.BOOLEAN:
        return _TRUTH
    whole = column.type in (ColumnType.INTEGER, ColumnType.TIMESTAMP)
    every = _ANY_WHOLE if whole else _ANY
    least = every.least if column.minimum is None else column.minimum
    most = every.most if column.maximum is None else column.maximum
    return Range(least, most, whole) if least <= most else every  # else that is the mistake


def _ordered(op: str, one: Range, other: Range) -> bool | None:
    """Whether all of one are before all of the other, or none; None: some are."""
    if op in (">", ">="):
        op, one, other = OPPOSITE[op], other, one
    if op == "<":
        return True if one.most < other.least else False if one.least >= other.most else None
    return True if one.most <= other.least else False if one.least > other.most else None


def _arithmetic(op: str, one: Range, other: Range) -> Range:
    whole = one.whole and other.whole
    if op == "/":
        return _ANY
    pairs = [(a, b) for a in (one.least, one.most) for b in (other.least, other.most)]
    if op == "+":
        return _bounded([one.least + other.least, one.most + other.most], whole)
    if op == "-":
        return _bounded([one.least - other.most, one.most - other.least], whole)
    return _bounded([a * b for a, b in pairs], whole)


def _call(name: str, given: list[Range]) -> Range:
    whole = all(one.whole for one in given)
    if name == "coalesce":
        return _bounded([end for one in given for end in (one.least, one.most)], whole)
    if name in ("min", "max"):
        choose = min if name == "min" else max
        ends = [choose(one.least for one in given), choose(one.most for one in given)]
        return _bounded(ends, whole)
    [one] = given
    if name == "abs":
        ends = [abs(one.least), abs(one.most)] + ([0] if one.least <= 0 <= one.most else [])
        return _bounded(ends, whole)
    return Range(0.0, math.inf, False) if name == "sqrt" else _ANY


def _bounded(ends: list[int | float], whole: bool) -> Range:
    """From the least to the largest; whole numbers beyond 64 bits are null: they do not count."""
    if any(end != end for end in ends):
        return _ANY
    least, most = min(ends), max(ends)
    if not whole:
        return Range(float(least), float(most), False)
    clipped = Range(max(least, _LEAST), min(most, _MOST), True)
    return clipped if clipped.least <= clipped.most else _ANY_WHOLE
