"""The language of `where`, `positive` and `computed`: a small subset of Python's expressions.

What enters: text. What leaves: a tree of frozen nodes, checked against the types of columns.
`transforms.expression` evaluates it. Numbers, 'text', column names, + - * /, comparisons, and, or,
not, and the functions in `FUNCTIONS`; nothing else parses, so nothing else can run.
"""

from __future__ import annotations

import ast
import dataclasses
import functools
import math
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


def _place() -> int:
    """Where a node begins in the text; equal trees may stand at different places."""
    place: int = dataclasses.field(default=0, compare=False, repr=False)
    return place


@dataclasses.dataclass(frozen=True)
class Number:
    """A literal number; true and false are 1 and 0."""

    value: float
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
      ExpressionError: it does not parse, or uses more than the language has; the first fault.

    >>> parse("links > 0")
    Compare(op='>', left=ColumnRef(name='links'), right=Number(value=0.0))
    """
    faults: list[ExpressionError] = []
    node = _parse(text, faults)
    if faults:
        raise faults[0]
    return node


def read(
    text: str, types: Mapping[str, ColumnType], want: str
) -> tuple[Node, tuple[ExpressionError, ...]]:
    """The tree of an expression, and everything that is wrong with it, from left to right.

    Args:
      text: as written.
      types: of the columns that it may name.
      want: `BOOLEAN` or `NUMBER`; either may stand for the other (true is 1, 0 is false), text for
        none of them.

    >>> _, faults = read("lnks > 0 and text > 1", {"text": ColumnType.STRING}, BOOLEAN)
    >>> [(fault.column, str(fault)) for fault in faults]
    [(0, "there is no column 'lnks'"), (13, '> compares a text with a number')]
    """
    faults: list[ExpressionError] = []
    node = _parse(text, faults)
    given = _Types(types, faults).of(node)
    if given == TEXT:
        wanted = "a condition, such as x == 'a'" if want == BOOLEAN else "a number"
        faults.append(ExpressionError(f"expected {wanted}, found a text", node.at))
    return node, tuple(sorted(faults, key=lambda fault: fault.column))


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


class _Types:
    """Finds the types of an expression's parts; a part with a fault has none (None)."""

    def __init__(self, types: Mapping[str, ColumnType], faults: list[ExpressionError]) -> None:
        self._types, self._faults = types, faults

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
            case Logic(op, operands):
                self._want(op, *operands)
                return BOOLEAN
            case Call("is_null", (argument,)):
                self.of(argument)
                if isinstance(argument, Text):
                    message = "is_null takes a column or a number, not a text that is written out"
                    self._faults.append(ExpressionError(message, argument.at))
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
        elif one == TEXT and op not in ("==", "!="):
            message = f"text is compared by == and != only, not by {op}"
        else:
            return
        self._faults.append(ExpressionError(message, left.at))


_TYPES = {
    ColumnType.STRING: TEXT,
    ColumnType.INTEGER: NUMBER,
    ColumnType.NUMBER: NUMBER,
    ColumnType.BOOLEAN: BOOLEAN,
    ColumnType.TIMESTAMP: NUMBER,
}


_EXPECTED = "expected one such as 'amount > 5 and not is_null(country)', or 'amount / 100'"
_NOTHING = math.nan
_LINE_ENDS = dict.fromkeys(map(ord, "\r\n"), " ")  # so that places stay what they were


def _parse(text: str, faults: list[ExpressionError]) -> Node:
    """The tree; what does not parse is noted, and a number that is none stands for it."""
    indent = len(text) - len(text.lstrip())
    line = text.strip().translate(_LINE_ENDS)
    try:
        tree = ast.parse(line, mode="eval")
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        offset = (getattr(error, "offset", 1) or 1) - 1
        at = indent + max(0, min(offset, len(line) - 1))
        faults.append(ExpressionError(f"this is not an expression; {_EXPECTED}", at))
        return Number(_NOTHING, indent)
    return _Reader(line.encode(), indent, faults).node(tree.body, 0)


class _Reader:
    """Makes nodes of Python's; places are characters of the text as it was written."""

    def __init__(self, line: bytes, indent: int, faults: list[ExpressionError]) -> None:
        self._line, self._indent, self._faults = line, indent, faults

    def node(self, tree: ast.expr, depth: int) -> Node:
        at = self._at(tree)
        if depth > 50:
            return self._fault("more than 50 levels deep", at)
        match tree:
            case ast.Constant(value=bool(value)):
                return Number(float(value), at)
            case ast.Constant(value=int(value)) | ast.Constant(value=float(value)):
                return self._number(value, at)
            case ast.Constant(value=str(value)):
                return Text(value, at)
            case ast.Name(id="true" | "false"):
                return Number(float(tree.id == "true"), at)
            case ast.Name(id=name):
                return ColumnRef(name, at)
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
            case ast.BoolOp(op=op, values=values):
                name = "and" if isinstance(op, ast.And) else "or"
                return Logic(name, tuple(self.node(value, depth + 1) for value in values), at)
            case ast.Call(func=ast.Name(id=name), args=arguments, keywords=[]):
                return self._call(name, arguments, at, depth)
        return self._fault(
            "only numbers, text, columns, + - * /, comparisons of two, and, or, not and the "
            f"functions {', '.join(FUNCTIONS)} are allowed",
            at,
        )

    def _call(self, name: str, arguments: list[ast.expr], at: int, depth: int) -> Node:
        if name not in FUNCTIONS:
            return self._fault(f"there is no function {name!r}", at, name, tuple(FUNCTIONS))
        fewest, most = FUNCTIONS[name]
        if not fewest <= len(arguments) <= most:
            count = str(fewest) if fewest == most else f"{fewest} to {most}"
            return self._fault(f"{name} takes {count} argument(s), not {len(arguments)}", at)
        return Call(name, tuple(self.node(argument, depth + 1) for argument in arguments), at)

    def _number(self, value: float, at: int) -> Node:
        try:
            number = float(value)
        except OverflowError:
            number = math.inf
        if math.isinf(number):
            return self._fault("expected a number within those of a 64-bit float", at)
        return Number(number, at)

    def _fault(
        self, message: str, at: int, name: str | None = None, choices: tuple[str, ...] = ()
    ) -> Node:
        self._faults.append(ExpressionError(message, at, name, choices))
        return Number(_NOTHING, at)

    def _at(self, tree: ast.expr) -> int:
        """Python counts bytes of UTF-8."""
        return self._indent + len(self._line[: tree.col_offset].decode(errors="ignore"))
