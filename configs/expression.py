"""The language of `where`, `positive` and `computed`: a small subset of Python's expressions.

What enters: text. What leaves: a tree of frozen nodes, checked against the types of columns.
`transforms.expression` evaluates it. Numbers, 'text', column names, + - * /, comparisons, and, or,
not, and the functions in `FUNCTIONS`; nothing else parses, so nothing else can run.
"""

from __future__ import annotations

import ast
import dataclasses
import functools
from collections.abc import Mapping
from typing import Union

from configs.schema import ColumnType

FUNCTIONS: Mapping[str, tuple[int, int]] = {
    "is_null": (1, 1),
    "coalesce": (2, 8),
    "abs": (1, 1),
    "min": (2, 8),
    "max": (2, 8),
    "sqrt": (1, 1),
    "floor": (1, 1),
}
"""Name -> fewest and most arguments."""

NUMBER, TEXT, BOOLEAN = "number", "text", "boolean"


@dataclasses.dataclass(frozen=True)
class Number:
    """A literal number; true and false are 1 and 0."""

    value: float


@dataclasses.dataclass(frozen=True)
class Text:
    """A literal string."""

    value: str


@dataclasses.dataclass(frozen=True)
class ColumnRef:
    """A column's value in the row."""

    name: str


@dataclasses.dataclass(frozen=True)
class Unary:
    """`-x` or `not x`."""

    op: str
    operand: Node


@dataclasses.dataclass(frozen=True)
class Binary:
    """`x + y`, `-`, `*`, `/`."""

    op: str
    left: Node
    right: Node


@dataclasses.dataclass(frozen=True)
class Compare:
    """`x == y`, `!=`, `<`, `<=`, `>`, `>=`."""

    op: str
    left: Node
    right: Node


@dataclasses.dataclass(frozen=True)
class Logic:
    """`x and y`, `x or y`."""

    op: str
    operands: tuple[Node, ...]


@dataclasses.dataclass(frozen=True)
class Call:
    """A function of `FUNCTIONS`."""

    name: str
    arguments: tuple[Node, ...]


Node = Union[Number, Text, ColumnRef, Unary, Binary, Compare, Logic, Call]  # noqa: UP007

_BINARY = {ast.Add: "+", ast.Sub: "-", ast.Mult: "*", ast.Div: "/"}
_COMPARE = {
    ast.Eq: "==",
    ast.NotEq: "!=",
    ast.Lt: "<",
    ast.LtE: "<=",
    ast.Gt: ">",
    ast.GtE: ">=",
}


class ExpressionError(ValueError):
    """A text that is no expression; `column` is where, counted from 0, and `name` what was meant.

    Attributes:
      column: offset in the text.
      name: an unknown name, for a did-you-mean; or None.
      choices: what it may have meant; empty: a column.
    """

    def __init__(
        self,
        message: str,
        column: int = 0,
        name: str | None = None,
        choices: tuple[str, ...] = (),
    ) -> None:
        super().__init__(message)
        self.column = column
        self.name = name
        self.choices = choices


@functools.lru_cache(maxsize=4096)
def parse(text: str) -> Node:
    """The tree of an expression.

    Raises:
      ExpressionError: it does not parse, or uses more than the language has.

    >>> parse("links > 0")
    Compare(op='>', left=ColumnRef(name='links'), right=Number(value=0.0))
    """
    try:
        tree = ast.parse(text.strip(), mode="eval")
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        offset = (getattr(error, "offset", 1) or 1) - 1
        raise ExpressionError("this is not an expression", offset) from error
    return _node(tree.body, 0)


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
    return [node, *(inner for one in below for inner in walk(one))]


def check(node: Node, types: Mapping[str, ColumnType]) -> str:
    """The type of an expression's value: "number", "text" or "boolean".

    Raises:
      ExpressionError: an unknown column, or operands of types that do not go together.

    >>> check(parse("a > 1 and not is_null(b)"), {"a": ColumnType.NUMBER, "b": ColumnType.STRING})
    'boolean'
    """
    match node:
        case Number():
            return NUMBER
        case Text():
            return TEXT
        case ColumnRef(name):
            if name not in types:
                raise ExpressionError(f"there is no column {name!r}", name=name)
            return _TYPES[types[name]]
        case Unary(op, operand):
            _want(check(operand, types), op, _NUMERIC)
            return BOOLEAN if op == "not" else NUMBER
        case Binary(op, left, right):
            _want(check(left, types), op, _NUMERIC)
            _want(check(right, types), op, _NUMERIC)
            return NUMBER
        case Compare(op, left, right):
            one, other = check(left, types), check(right, types)
            if (one == TEXT) != (other == TEXT):
                raise ExpressionError(f"{op} compares a {one} with a {other}")
            if one == TEXT and op not in ("==", "!="):
                raise ExpressionError(f"text is compared by == and != only, not by {op}")
            return BOOLEAN
        case Logic(op, operands):
            for operand in operands:
                _want(check(operand, types), op, _NUMERIC)
            return BOOLEAN
        case Call("is_null", (argument,)):
            check(argument, types)
            return BOOLEAN
        case Call(name, arguments):
            for argument in arguments:
                _want(check(argument, types), name, _NUMERIC)
            return NUMBER


_NUMERIC = (NUMBER, BOOLEAN)
_TYPES = {
    ColumnType.STRING: TEXT,
    ColumnType.INTEGER: NUMBER,
    ColumnType.NUMBER: NUMBER,
    ColumnType.BOOLEAN: BOOLEAN,
    ColumnType.TIMESTAMP: NUMBER,
}


def _want(given: str, op: str, accepted: tuple[str, ...]) -> None:
    if given not in accepted:
        raise ExpressionError(f"{op} takes a {accepted[0]}, not a {given}")


def _node(tree: ast.expr, depth: int) -> Node:
    if depth > 50:
        raise ExpressionError("more than 50 levels deep", tree.col_offset)
    match tree:
        case ast.Constant(value=bool(value)):
            return Number(float(value))
        case ast.Constant(value=int(value)) | ast.Constant(value=float(value)):
            return Number(float(value))
        case ast.Constant(value=str(value)):
            return Text(value)
        case ast.Name(id="true" | "false"):
            return Number(float(tree.id == "true"))
        case ast.Name(id=name):
            return ColumnRef(name)
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            return Unary("-", _node(operand, depth + 1))
        case ast.UnaryOp(op=ast.Not(), operand=operand):
            return Unary("not", _node(operand, depth + 1))
        case ast.BinOp(left=left, op=op, right=right) if type(op) in _BINARY:
            return Binary(_BINARY[type(op)], _node(left, depth + 1), _node(right, depth + 1))
        case ast.Compare(left=left, ops=[op], comparators=[right]) if type(op) in _COMPARE:
            return Compare(_COMPARE[type(op)], _node(left, depth + 1), _node(right, depth + 1))
        case ast.BoolOp(op=op, values=values):
            name = "and" if isinstance(op, ast.And) else "or"
            return Logic(name, tuple(_node(value, depth + 1) for value in values))
        case ast.Call(func=ast.Name(id=name), args=arguments, keywords=[]):
            return _call(name, arguments, tree.col_offset, depth)
    raise ExpressionError(
        "only numbers, text, columns, + - * /, comparisons of two, and, or, not and the functions "
        f"{', '.join(FUNCTIONS)} are allowed",
        tree.col_offset,
    )


def _call(name: str, arguments: list[ast.expr], column: int, depth: int) -> Call:
    if name not in FUNCTIONS:
        raise ExpressionError(f"there is no function {name!r}", column, name, tuple(FUNCTIONS))
    fewest, most = FUNCTIONS[name]
    if not fewest <= len(arguments) <= most:
        count = str(fewest) if fewest == most else f"{fewest} to {most}"
        raise ExpressionError(f"{name} takes {count} argument(s), not {len(arguments)}", column)
    return Call(name, tuple(_node(argument, depth + 1) for argument in arguments))
