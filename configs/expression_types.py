"""Types in an expression: whether its operators and functions fit what they are given.

A whole number stays one through + - * and the functions that keep it, so that ids of 64 bits are
compared exactly; `is_whole` says where.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

from configs.expression import (
    Binary,
    Call,
    ColumnRef,
    Compare,
    ExpressionError,
    In,
    Logic,
    Node,
    Number,
    Text,
    Unary,
    parse_with_faults,
)
from configs.expression import columns as names_in
from configs.expression_ranges import impossible, impossible_beginning, range_of
from configs.expression_truth import TextSet, constant_conditions, is_never_true
from configs.schema import KIND, RESERVED_COLUMNS, Column, ColumnType

NUMBER, TEXT, BOOLEAN = "number", "text", "boolean"

_TYPES = {
    ColumnType.STRING: TEXT,
    ColumnType.INTEGER: NUMBER,
    ColumnType.NUMBER: NUMBER,
    ColumnType.BOOLEAN: BOOLEAN,
    ColumnType.TIMESTAMP: NUMBER,
}

_WHOLE = (ColumnType.INTEGER, ColumnType.TIMESTAMP, ColumnType.BOOLEAN)
_EQUALITY = ("==", "!=", "in", "not in")
_EXACT_IN_32_BITS = 2**24


def read(
    text: str,
    types: Mapping[str, ColumnType],
    want: str,
    kinds: Collection[str] = (),
    features: Collection[str] = (),
    columns: Mapping[str, Column] | None = None,
    present: Collection[str] = (),
) -> tuple[Node, tuple[ExpressionError, ...]]:
    """The tree of an expression, and everything that is wrong with it, from left to right.

    Args:
      text: as written.
      types: of the columns that it may name.
      want: `BOOLEAN` or `NUMBER`; either may stand for the other (true is 1, 0 is false), text for
        none of them.
      kinds: the kinds of event; a comparison of `kind` with any other text is a fault.
      features: which of the columns are features, 32-bit floats: from 2^24 on they do not tell
        whole numbers apart, so to ask whether one equals such a number is a fault.
      columns: what is known of the values of some; what is the same for every value is a fault.
      present: columns that no event lacks.

    >>> _, faults = read("lnks > 0 and text > 1", {"text": ColumnType.STRING}, BOOLEAN)
    >>> [(fault.column, str(fault)) for fault in faults]
    [(0, "there is no column 'lnks'"), (13, '> compares a text with a number')]
    """
    faults: list[ExpressionError] = []
    node = parse_with_faults(text, faults)
    present = {*present, *RESERVED_COLUMNS}
    known = columns or {}
    given = _Types(types, kinds, faults, frozenset(features), known, present).of(node)
    if given == TEXT:
        wanted = "a condition, such as x == 'a'" if want == BOOLEAN else "a number"
        faults.append(ExpressionError(f"expected {wanted}, found a text", node.at))
    if not faults:
        texts = {name: TextSet() for name in names_in(node) if _TYPES[types[name]] == TEXT}
        texts |= {KIND: TextSet(frozenset(kinds))} if kinds else {}
        faults += constant_conditions(node, known, texts, present)
    if not faults:
        faults += _constants(node, want, known)
    return node, tuple(sorted(faults, key=lambda fault: fault.column))


def _constants(node: Node, want: str, columns: Mapping[str, Column]) -> list[ExpressionError]:
    if not names_in(node):
        never = want == BOOLEAN and is_never_true(node)
        message = "this is never true, whatever an event holds"
        return [ExpressionError(message, node.at, hint="compare a column")] if never else []
    possible = range_of(node, columns)
    if possible.least != possible.most:
        return []
    message = f"this is {possible.least} for every event that has its values"
    return [ExpressionError(message, node.at, hint="leave it out")]


def is_whole(node: Node, types: Mapping[str, ColumnType]) -> bool:
    """Whether the values of a tree are whole numbers of 64 bits, exact.

    >>> from configs.expression import parse
    >>> types = {"n": ColumnType.INTEGER, "x": ColumnType.NUMBER}
    >>> [is_whole(parse(text), types) for text in ("n * 2 + 1", "n / 2", "min(n, x)", "x > 1")]
    [True, False, False, True]
    """
    match node:
        case Number(value):
            return isinstance(value, int)
        case ColumnRef(name):
            return types.get(name) in _WHOLE
        case Unary("-", operand):
            return is_whole(operand, types)
        case Binary(op, left, right):
            return op != "/" and is_whole(left, types) and is_whole(right, types)
        case Call("abs" | "floor" | "min" | "max" | "coalesce", arguments):
            return all(is_whole(one, types) for one in arguments)
        case Call("sqrt" | "log") | Text():
            return False
    return True  # a condition: 1 or 0


class _Types:
    """Finds the types of an expression's parts; a part with a fault has none (None)."""

    def __init__(
        self,
        types: Mapping[str, ColumnType],
        kinds: Collection[str],
        faults: list[ExpressionError],
        features: frozenset[str],
        columns: Mapping[str, Column],
        present: Collection[str],
    ) -> None:
        self._types, self._kinds, self._faults = types, kinds, faults
        self._features, self._columns, self._present = features, columns, present

    def of(self, node: Node) -> str | None:
        match node:
            case Number(value):
                return NUMBER if value == value else None  # NaN stands for what did not parse
            case Text():
                return TEXT
            case ColumnRef(name):
                if name in self._types:
                    return _TYPES[self._types[name]]
                self._faults.append(ExpressionError(f"there is no column {name!r}", node.at, name))
                return None
            case Unary(op, operand):
                self._want(op, operand)
                return BOOLEAN if op == "not" else NUMBER
            case Binary(op, left, right):
                self._want(op, left, right)
                return NUMBER
            case Compare(op, left, right):
                self._compare(op, left, right)
                return BOOLEAN
            case In(op, operand, options):
                for option in options:
                    self._compare(op, operand, option)
                return BOOLEAN
            case Logic(op, operands):
                self._want(op, *operands)
                return BOOLEAN
            case Call("is_null", (argument,)):
                self.of(argument)
                if isinstance(argument, Text):
                    message = "is_null takes a column or a number, not a text that is written out"
                    self._faults.append(ExpressionError(message, argument.at))
                return BOOLEAN
            case Call("starts_with", (argument, beginning)):
                for one, what in ((argument, "a text column"), (beginning, "a text written out")):
                    wanted = ColumnRef if one is argument else Text
                    if self.of(one) not in (TEXT, None) or not isinstance(one, wanted | Number):
                        message = f"starts_with takes {what} here"
                        self._faults.append(ExpressionError(message, one.at))
                if isinstance(argument, ColumnRef) and isinstance(beginning, Text):
                    self._check_beginning(argument, beginning)
                return BOOLEAN
            case Call(name, arguments):
                self._want(name, *arguments)
                return NUMBER

    def _want(self, op: str, *operands: Node) -> None:
        for operand in operands:
            given = self.of(operand)
            if given not in (NUMBER, BOOLEAN, None):
                message = f"{op} takes a number, not a {given}"
                self._faults.append(ExpressionError(message, operand.at))

    def _compare(self, op: str, left: Node, right: Node) -> None:
        one, other = self.of(left), self.of(right)
        if one is None or other is None:
            return
        if (one == TEXT) != (other == TEXT):
            message = f"{op} compares a {one} with a {other}"
        elif one == TEXT and op not in _EQUALITY:
            message = f"text is compared by {', '.join(_EQUALITY)} only, not by {op}"
        else:
            known = len(self._faults)
            for side, opposite in ((left, right), (right, left)):
                self._check_literal(op, side, opposite)
            if len(self._faults) == known:
                self._check_ranges(op, left, right)
            return
        self._faults.append(ExpressionError(message, left.at))

    def _check_literal(self, op: str, literal: Node, other: Node) -> None:
        """What is written out must be something that the other side can be."""
        match literal:
            case Text(value) if _is_kind(other) and self._kinds:
                if value not in self._kinds:
                    message, known = f"there is no kind {value!r} here", tuple(self._kinds)
                    self._faults.append(ExpressionError(message, literal.at, value, known))
            case Number(value) if (
                op in _EQUALITY
                and abs(value) >= _EXACT_IN_32_BITS
                and not self._features.isdisjoint(names_in(other))
            ):
                message = (
                    f"a feature is a 32-bit float, and whole numbers from {_EXACT_IN_32_BITS:,} on "
                    "are not told apart: compare with < or >, or the column itself in a `where`"
                )
                self._faults.append(ExpressionError(message, literal.at))
            case Number(int(value)) if op in _EQUALITY and not is_whole(other, self._types):
                if int(float(value)) != value:
                    message = f"a number is never {value}: no 64-bit float is; its column needs "
                    self._faults.append(ExpressionError(f"{message}type: integer", literal.at))

    def _check_ranges(self, op: str, left: Node, right: Node) -> None:
        equality = "==" if op in ("in", "not in") else op
        found = impossible(equality, left, right, self._columns, self._features, self._present)
        if found is not None:
            place = right if isinstance(right, Number | Text) else left
            self._faults.append(ExpressionError(found[0], place.at, hint=found[1]))

    def _check_beginning(self, column: ColumnRef, beginning: Text) -> None:
        reason = impossible_beginning(beginning.value, column, self._columns)
        if reason is not None:
            hint = "write what the text begins with, within the column's max_bytes"
            self._faults.append(ExpressionError(reason, beginning.at, hint=hint))
        elif not _is_kind(column) or not self._kinds:
            return
        elif not any(kind.startswith(beginning.value) for kind in self._kinds):
            message = f"no kind here begins with {beginning.value!r}"
            known = tuple(self._kinds)
            self._faults.append(ExpressionError(message, beginning.at, beginning.value, known))


def _is_kind(node: Node) -> bool:
    return isinstance(node, ColumnRef) and node.name == KIND
