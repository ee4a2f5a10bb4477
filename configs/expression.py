"""The language of `where`, `positive` and `computed`: a small subset of Python's expressions.

Numbers, 'text', column names, + - * /, comparisons, in [..], and, or, not, and the functions in
`FUNCTIONS`; nothing else parses, so nothing else can run.
"""

from __future__ import annotations

import ast
import dataclasses
import functools
import math
from collections.abc import Mapping
from typing import Union


@dataclasses.dataclass(frozen=True)
class Function:
    """A function of the language: how many arguments it takes, and what it is, for people."""

    fewest: int
    most: int
    about: str
    example: str


FUNCTIONS: Mapping[str, Function] = {
    "is_null": Function(1, 1, "whether a value is absent; never null itself", "is_null(country)"),
    "coalesce": Function(2, 8, "the first number that is not null", "coalesce(amount, 0)"),
    "abs": Function(1, 1, "the size of a number, without its sign", "abs(amount)"),
    "min": Function(2, 8, "the smallest number; null if one is null", "min(amount, 100)"),
    "max": Function(2, 8, "the largest number; null if one is null", "max(amount, 0)"),
    "sqrt": Function(1, 1, "the square root; null below 0", "sqrt(amount)"),
    "log": Function(1, 1, "the natural logarithm; null at 0 and below", "log(amount + 1)"),
    "floor": Function(1, 1, "the largest whole number that is not larger", "floor(amount / 10)"),
    "starts_with": Function(
        2, 2, "whether a text begins with one that is written out; false where it is null",
        "starts_with(country, 'D')",
    ),
}  # fmt: skip


def _place() -> int:
    """Where a node begins in the text; equal trees may stand at different places."""
    place: int = dataclasses.field(default=0, compare=False, repr=False)
    return place


@dataclasses.dataclass(frozen=True)
class Number:
    """A literal number: an int where it is written as one; true and false are 1 and 0."""

    value: int | float
    at: int = _place()


@dataclasses.dataclass(frozen=True)
class Text:
    """A literal string."""

    value: str
    at: int = _place()


@dataclasses.dataclass(frozen=True)
class ColumnRef:
    """A column's value in the row."""

    name: str
    at: int = _place()


@dataclasses.dataclass(frozen=True)
class Unary:
    """`-x` or `not x`."""

    op: str
    operand: Node
    at: int = _place()


@dataclasses.dataclass(frozen=True)
class Binary:
    """`x + y`, `-`, `*`, `/`."""

    op: str
    left: Node
    right: Node
    at: int = _place()


@dataclasses.dataclass(frozen=True)
class Compare:
    """`x == y`, `!=`, `<`, `<=`, `>`, `>=`."""

    op: str
    left: Node
    right: Node
    at: int = _place()


@dataclasses.dataclass(frozen=True)
class In:
    """`x in [a, b]` or `x not in [a, b]`; the list holds literals only."""

    op: str
    operand: Node
    options: tuple[Node, ...]
    at: int = _place()


@dataclasses.dataclass(frozen=True)
class Logic:
    """`x and y`, `x or y`."""

    op: str
    operands: tuple[Node, ...]
    at: int = _place()


@dataclasses.dataclass(frozen=True)
class Call:
    """A function of `FUNCTIONS`."""

    name: str
    arguments: tuple[Node, ...]
    at: int = _place()


Node = Union[Number, Text, ColumnRef, Unary, Binary, Compare, In, Logic, Call]  # noqa: UP007

_BINARY = {ast.Add: "+", ast.Sub: "-", ast.Mult: "*", ast.Div: "/"}
_COMPARE = {
    ast.Eq: "==",
    ast.NotEq: "!=",
    ast.Lt: "<",
    ast.LtE: "<=",
    ast.Gt: ">",
    ast.GtE: ">=",
}


_IN = {ast.In: "in", ast.NotIn: "not in"}
_EXACT = 2.0**53  # whole numbers below it are exact as floats
_OR_FLOAT = ", or one with a point or an exponent, such as 1e20"


class ExpressionError(ValueError):
    """A text that is no expression; `column` is where, counted from 0, and `name` what was meant.

    Attributes:
      column: offset in the text.
      name: an unknown name, for a did-you-mean; or None.
      choices: what it may have meant; empty: a column.
      hint: what to do, where no name was meant.
    """

    def __init__(
        self,
        message: str,
        column: int = 0,
        name: str | None = None,
        choices: tuple[str, ...] = (),
        hint: str = "",
    ) -> None:
        super().__init__(message)
        self.column = column
        self.name = name
        self.choices = choices
        self.hint = hint


@functools.lru_cache(maxsize=4096)
def parse(text: str) -> Node:
    """The tree of an expression.

    Raises:
      ExpressionError: it does not parse, or uses more than the language has; the first fault.

    >>> parse("links > 0")
    Compare(op='>', left=ColumnRef(name='links'), right=Number(value=0))
    """
    faults: list[ExpressionError] = []
    node = parse_with_faults(text, faults)
    if faults:
        raise faults[0]
    return node


def columns(node: Node) -> tuple[str, ...]:
    """Names of the columns that a tree reads, each once, in order of appearance.

    >>> columns(parse("a + coalesce(b, a)"))
    ('a', 'b')
    """
    found: dict[str, None] = {}
    for one in walk(node):
        if isinstance(one, ColumnRef):
            found[one.name] = None
    return tuple(found)


def walk(node: Node) -> list[Node]:
    """The node and all below it, from left to right."""
    below: tuple[Node, ...] = ()
    match node:
        case Unary(_, operand):
            below = (operand,)
        case Binary(_, left, right) | Compare(_, left, right):
            below = (left, right)
        case Logic(_, operands) | Call(_, operands):
            below = operands
        case In(_, operand, options):
            below = (operand, *options)
    return [node, *(inner for one in below for inner in walk(one))]


_EXPECTED = "expected one such as 'amount > 5 and not is_null(country)', or 'amount / 100'"
_TOO_DEEP = "more than 50 levels deep"
_NOTHING = math.nan
_LINE_ENDS = dict.fromkeys(map(ord, "\r\n"), " ")  # so that places stay what they were


def parse_with_faults(text: str, faults: list[ExpressionError]) -> Node:
    """The tree; what does not parse is noted, and a number that is none stands for it."""
    indent = len(text) - len(text.lstrip())
    line = text.strip().translate(_LINE_ENDS)
    try:
        tree = ast.parse(line, mode="eval")
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        offset = (getattr(error, "offset", 1) or 1) - 1
        at = indent + max(0, min(offset, len(line) - 1))
        deep = isinstance(error, (RecursionError, MemoryError)) or "too many nested" in str(error)
        message = _TOO_DEEP if deep else f"this is not an expression; {_EXPECTED}"
        faults.append(ExpressionError(message, at))
        return Number(_NOTHING, indent)
    return _Reader(line.encode(), indent, faults).node(tree.body, 0)


class _Reader:
    """Makes nodes of Python's; places are characters of the text as it was written."""

    def __init__(self, line: bytes, indent: int, faults: list[ExpressionError]) -> None:
        self._line, self._indent, self._faults = line, indent, faults

    def node(self, tree: ast.expr, depth: int) -> Node:
        at = self._at(tree)
        if depth > 50:
            return self._fault(_TOO_DEEP, at)
        match tree:
            case ast.Constant(value=bool(value)):
                return Number(int(value), at)
            case ast.Constant(value=int(value)) | ast.Constant(value=float(value)):
                return self._number(value, tree, at)
            case ast.Constant(value=str(value)):
                return Text(value, at)
            case ast.Name(id="true" | "false"):
                return Number(int(tree.id == "true"), at)
            case ast.Name(id=name):
                return ColumnRef(name, at)
            case ast.UnaryOp(
                op=ast.USub(),
                operand=ast.Constant(value=int(value) | float(value)) as digits,
            ) if type(value) is not bool:
                return self._number(-value, digits, at)
            case ast.UnaryOp(op=ast.USub(), operand=operand):
                return Unary("-", self.node(operand, depth + 1), at)
            case ast.UnaryOp(op=ast.Not(), operand=operand):
                return Unary("not", self.node(operand, depth + 1), at)
            case ast.BinOp(left=left, op=op, right=right) if type(op) in _BINARY:
                one, other = self.node(left, depth + 1), self.node(right, depth + 1)
                return Binary(_BINARY[type(op)], one, other, at)
            case ast.Compare(left=left, ops=[op], comparators=[right]) if type(op) in _COMPARE:
                one, other = self.node(left, depth + 1), self.node(right, depth + 1)
                return Compare(_COMPARE[type(op)], one, other, at)
            case ast.Compare(left=left, ops=[op], comparators=[right]) if type(op) in _IN:
                return self._in(_IN[type(op)], left, right, at, depth)
            case ast.BoolOp(op=op, values=values):
                name = "and" if isinstance(op, ast.And) else "or"
                return Logic(name, tuple(self.node(value, depth + 1) for value in values), at)
            case ast.Call(func=ast.Name(id=name), args=arguments, keywords=[]):
                return self._call(name, arguments, at, depth)
        return self._fault(
            "only numbers, text, columns, + - * /, comparisons of two, in [..], and, or, not, and "
            f"the functions {', '.join(FUNCTIONS)} are allowed",
            at,
        )

    def _call(self, name: str, arguments: list[ast.expr], at: int, depth: int) -> Node:
        if name not in FUNCTIONS:
            return self._fault(f"there is no function {name!r}", at, name, tuple(FUNCTIONS))
        fewest, most = FUNCTIONS[name].fewest, FUNCTIONS[name].most
        if not fewest <= len(arguments) <= most:
            count = str(fewest) if fewest == most else f"{fewest} to {most}"
            return self._fault(f"{name} takes {count} argument(s), not {len(arguments)}", at)
        return Call(name, tuple(self.node(argument, depth + 1) for argument in arguments), at)

    def _in(self, op: str, left: ast.expr, right: ast.expr, at: int, depth: int) -> Node:
        operand = self.node(left, depth + 1)
        if not isinstance(right, ast.List | ast.Tuple) or not right.elts:
            return self._fault(f"{op} takes a list, such as x {op} ['a', 'b']", self._at(right))
        options = tuple(self.node(one, depth + 1) for one in right.elts)
        for one in options:
            if not isinstance(one, Number | Text):
                return self._fault(f"the list of {op} holds numbers or texts only", one.at)
        return In(op, operand, options, at)

    def _number(self, value: int | float, tree: ast.expr, at: int) -> Node:
        """Of what is written; a number that nothing holds is a fault, not its neighbour."""
        if isinstance(value, int):
            if -(2**63) <= value < 2**63:
                return Number(value, at)
            return self._fault(f"expected a whole number of 64 bits{_OR_FLOAT}", at)
        if math.isinf(value):
            return self._fault("expected a number within those of a 64-bit float", at)
        written = self._line[tree.col_offset : tree.end_col_offset].decode()
        whole = written.replace("_", "").partition(".")[0]
        if "e" in written.lower():  # who gives an exponent asks for no exact number
            return Number(value, at)
        if abs(value) >= _EXACT and whole.isdigit() and int(whole) != abs(value):
            return self._fault(f"no 64-bit float is {whole}: write it without the point", at)
        return Number(value, at)

    def _fault(
        self, message: str, at: int, name: str | None = None, choices: tuple[str, ...] = ()
    ) -> Node:
        self._faults.append(ExpressionError(message, at, name, choices))
        return Number(_NOTHING, at)

    def _at(self, tree: ast.expr) -> int:
        """Python counts bytes of UTF-8."""
        return self._indent + len(self._line[: tree.col_offset].decode(errors="ignore"))
