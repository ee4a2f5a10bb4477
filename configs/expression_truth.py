"""Whether a condition can be true, and whether it can be false: a mistake if only one of them.

A condition is followed with the values that its parts can have (`expression_ranges`): `n > 50`
leaves of `n` what is above 50, so nothing meets `n < 20` beside it. Null is a value of its own: a
comparison with it is false, and so `not` of one is true. What is kept of a part is never too
little, so a condition without a fault may still never hold.
"""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

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
    columns,
    walk,
)
from configs.expression_ranges import COMPARE, OPPOSITE, Range, leave_out, range_of
from configs.schema import Column

_NOT = {"==": "!=", "!=": "==", "<": ">=", ">=": "<", ">": "<=", "<=": ">"}
_HOLDS = ("==", "<=", ">=")  # where both sides are one
_SIGN = "<=>"  # no operator of the language: how two parts compare, as a part of its own


@dataclasses.dataclass(frozen=True)
class TextSet:
    """The texts that a column can have: some, or all but some that begin in one way.

    Attributes:
      among: the texts; None: any.
      without: texts that it does not have, where it can have any.
      beginning: of all of them, likewise.
    """

    among: frozenset[str] | None = None
    without: frozenset[str] = frozenset()
    beginning: str = ""

    def only(self, texts: Iterable[str]) -> TextSet | None:
        """Those that are among some; None if there are none."""
        kept = frozenset(
            one
            for one in texts
            if (self.among is None or one in self.among)
            and one not in self.without
            and one.startswith(self.beginning)
        )
        return TextSet(kept) if kept else None

    def but(self, texts: Iterable[str]) -> TextSet | None:
        """Those that are none of some."""
        if self.among is None:
            return dataclasses.replace(self, without=self.without.union(texts))
        return self.only(self.among.difference(texts))

    def begun(self, beginning: str, wanted: bool) -> TextSet | None:
        """Those that begin in a way, or do not."""
        if self.among is not None:
            return self.only(one for one in self.among if one.startswith(beginning) == wanted)
        if self.beginning.startswith(beginning):
            return self if wanted else None
        if not wanted:
            return self
        fits = beginning.startswith(self.beginning)
        return dataclasses.replace(self, beginning=beginning) if fits else None

    def __or__(self, other: TextSet) -> TextSet:
        if self.among is not None and other.among is not None:
            return TextSet(self.among | other.among)
        if self.among is None and other.among is None:
            same = self.beginning == other.beginning
            return TextSet(None, self.without & other.without, self.beginning if same else "")
        some = (self.among or frozenset()) | (other.among or frozenset())
        return TextSet(None, (self.without | other.without) - some)

    def __str__(self) -> str:
        return " or ".join(sorted(map(repr, self.among or ()))) or "any text"


@dataclasses.dataclass(frozen=True)
class _Part:
    """What a part can be: values, unless None, and null."""

    values: Range | TextSet | None
    null: bool

    def __or__(self, other: _Part) -> _Part:
        return _Part(_union(self.values, other.values), self.null or other.null)


_Known = Mapping[Node, _Part]


def constant_conditions(
    node: Node,
    values: Mapping[str, Column],
    texts: Mapping[str, TextSet],
    present: Collection[str] = (),
) -> list[ExpressionError]:
    """The innermost conditions within a tree that are the same for every event that has the values.

    Args:
      node: without other faults.
      values: what is known of columns of numbers.
      texts: the columns of texts, with what is known of them.
      present: columns that no event lacks.

    >>> from configs.expression import parse
    >>> [fault] = constant_conditions(parse("n > 50 and n < 20 or c == 'a'"), {}, {"c": TextSet()})
    >>> print(fault.column, fault)
    11 this and what is before it are never true together
    """
    below = [
        fault for one in _parts(node) for fault in constant_conditions(one, values, texts, present)
    ]
    if below or not _is_condition(node) or not columns(node):
        return below
    strict = _Conditions(values, texts, frozenset(present), False)
    if strict.meet(node, {}, True) is None:
        return [strict.never(node)]
    asked = {
        name
        for one in walk(node)
        if isinstance(one, Call) and one.name in ("is_null", "coalesce")
        for name in columns(one)
    }
    loose = _Conditions(values, texts, {*present, *columns(node)} - asked, True)
    if strict.meet(node, {}, False) is None or loose.meet(node, {}, False) is None:
        return [strict.always(node)]
    return []


def is_never_true(node: Node) -> bool:
    """Of a condition that names no column."""
    return _Conditions({}, {}, (), True).meet(node, {}, True) is None


def _parts(node: Node) -> Sequence[Node]:
    """The parts of a node itself, from left to right."""
    match node:
        case Unary(_, operand):
            return (operand,)
        case Binary(_, left, right) | Compare(_, left, right):
            return (left, right)
        case Logic(_, operands) | Call(_, operands):
            return operands
        case In(_, operand, _):
            return (operand,)
    return ()


def _is_condition(node: Node) -> bool:
    match node:
        case Compare() | In() | Logic() | Unary("not") | Call("is_null" | "starts_with"):
            return True
    return False


@dataclasses.dataclass(frozen=True)
class _Conditions:
    """Narrows what is known by what a condition asks; None where nothing meets it.

    Attributes:
      loose: whether arithmetic of values that are there gives a value; else it may be null.
    """

    columns: Mapping[str, Column]
    texts: Mapping[str, TextSet]
    present: Collection[str]
    loose: bool

    def meet(self, node: Node, known: _Known, wanted: bool) -> _Known | None:
        """What is known of events for which a condition is true, or not."""
        match node:
            case Number(value):
                return known if (value != 0) == wanted else None
            case Unary("not", operand):
                return self.meet(operand, known, not wanted)
            case Logic(op, operands):
                if (op == "and") == wanted:
                    return self._all(operands, known, wanted)
                return _either(self.meet(one, known, wanted) for one in operands)
            case In(op, operand, options):
                return self._in(operand, options, known, (op == "in") == wanted, not wanted)
            case Compare(op, left, right):
                return self._compare(op, left, right, known, wanted)
            case Call("is_null", (argument,)):
                part = self._part(argument, known)
                if wanted:
                    return {**known, argument: _Part(None, True)} if part.null else None
                there = part.values is not None
                return {**known, argument: _Part(part.values, False)} if there else None
            case Call("starts_with", (argument, Text(beginning))):
                return self._keep(
                    argument,
                    known,
                    lambda texts: _begun(texts, beginning, wanted),
                    not wanted,
                )
        return self._compare("!=", node, Number(0), known, wanted)

    def never(self, node: Node) -> ExpressionError:
        """Says that a condition is never true, at the part that makes it so."""
        match node:
            case Logic("and", operands):
                known: _Known | None = {}
                for one in operands:
                    known = self.meet(one, known or {}, True)
                    if known is None:
                        break
                return ExpressionError(
                    "this and what is before it are never true together",
                    one.at,
                    hint="write or, if one of them is enough; or correct one of them",
                )
            case Call("is_null", (ColumnRef(name),)) if name in self.present:
                return ExpressionError(
                    f"this is never true: every event here has {name!r}",
                    node.at,
                    hint="leave it out",
                )
        message = f"this is never true{self._given(node)}"
        return ExpressionError(message, _place(node), hint=COMPARE)

    def always(self, node: Node) -> ExpressionError:
        """Says that a condition is true for all events that have its values."""
        hint = leave_out(columns(node), self.present)
        if isinstance(node, Logic) and node.op == "or":
            return ExpressionError(
                "this or what is before it is true for every value",
                node.operands[-1].at,
                hint=f"write and, if all of them must be met; else {hint}",
            )
        return ExpressionError(
            f"this is true for every value{self._given(node)}", _place(node), hint=hint
        )

    def _given(self, node: Node) -> str:
        match node:
            case Compare(_, left, right) if left == right:
                return ": both sides are the same"
            case Compare(_, ColumnRef() as one, _) | In(_, ColumnRef() as one, _):
                return f": {one.name!r} is {self._part(one, {}).values}"
        return ""

    def _all(self, operands: Sequence[Node], known: _Known, wanted: bool) -> _Known | None:
        again = [one for one in operands if not _is_made_of_conditions(one)]
        for one in (*operands, *again):  # the first again, with what the last has told
            narrowed = self.meet(one, known, wanted)
            if narrowed is None:
                return None
            known = narrowed
        return known

    def _compare(
        self, op: str, left: Node, right: Node, known: _Known, wanted: bool
    ) -> _Known | None:
        if isinstance(left, Number | Text) and not isinstance(right, Number | Text):
            op, left, right = OPPOSITE.get(op, op), right, left
        if isinstance(right, Number | Text):
            value, kept = right.value, op if wanted else _NOT[op]
            return self._keep(left, known, lambda values: _kept(values, kept, value), not wanted)
        one, other = self._part(left, known), self._part(right, known)
        if not wanted and (one.null or other.null):
            if left == right and op in _HOLDS:
                return {**known, left: _Part(None, True)} if one.null else None
            return known  # where one is null, whatever the other is
        if one.values is None or other.values is None:
            return None
        op = op if wanted else _NOT[op]
        if left == right and op not in _HOLDS:
            return None
        if repr(left) > repr(right):
            op, left, right = OPPOSITE.get(op, op), right, left
        there = {left: _Part(self._part(left, known).values, False)}
        there[right] = _Part(self._part(right, known).values, False)
        sign = Binary(_SIGN, left, right)
        return self._keep(sign, {**known, **there}, lambda values: _kept(values, op, 0), False)

    def _in(
        self, operand: Node, options: Iterable[Node], known: _Known, wanted: bool, null: bool
    ) -> _Known | None:
        given = [one.value for one in options if isinstance(one, Number | Text)]

        def keep(values: Range | TextSet) -> Range | TextSet | None:
            if isinstance(values, TextSet):
                texts = [one for one in given if isinstance(one, str)]
                return values.only(texts) if wanted else values.but(texts)
            numbers = sorted(one for one in given if not isinstance(one, str))
            if wanted:
                return functools.reduce(_union, [_kept(values, "==", one) for one in numbers])
            kept: Range | TextSet | None = values
            for one in numbers:  # from below, so that each that is left out moves the end
                kept = _kept(kept, "!=", one) if kept is not None else None
            return kept

        return self._keep(operand, known, keep, null)

    def _keep(
        self,
        node: Node,
        known: _Known,
        keep: Callable[[Range | TextSet], Range | TextSet | None],
        null: bool,
    ) -> _Known | None:
        part = self._part(node, known)
        values = None if part.values is None else keep(part.values)
        kept = _Part(values, part.null and null)
        return None if values is None and not kept.null else {**known, node: kept}

    def _part(self, node: Node, known: _Known) -> _Part:
        if node in known:
            return known[node]
        match node:
            case Binary("<=>"):
                return _Part(Range(-1, 1, True), False)
            case Text(value):
                return _Part(TextSet(frozenset({value})), False)
            case ColumnRef(name) if name in self.texts:
                return _Part(self.texts[name], name not in self.present)
        ranges = {one: part.values for one, part in known.items() if isinstance(part.values, Range)}
        return _Part(range_of(node, self.columns, ranges), self._may_be_null(node, known))

    def _may_be_null(self, node: Node, known: _Known) -> bool:
        match node:
            case Number() | Text():
                return False
            case Call("coalesce", arguments):
                return all(self._part(one, known).null for one in arguments)
        if _is_condition(node):
            return False
        if isinstance(node, ColumnRef) or self.loose:
            return not {*columns(node)} <= {*self.present}
        return True  # too large, or divided by zero


def _is_made_of_conditions(node: Node) -> bool:
    """Such ones are followed once: twice at each of 50 levels would be without end."""
    return isinstance(node, Logic) or (isinstance(node, Unary) and node.op == "not")


def _begun(values: Range | TextSet, beginning: str, wanted: bool) -> Range | TextSet | None:
    return values.begun(beginning, wanted) if isinstance(values, TextSet) else values


def _place(node: Node) -> int:
    """Where to point: at what is written out, if one side is."""
    return node.right.at if isinstance(node, Compare) and isinstance(node.right, Text) else node.at


def _kept(values: Range | TextSet, op: str, value: float | str) -> Range | TextSet | None:
    """Those of some values that compare so with one; None if there are none."""
    if isinstance(values, TextSet) or isinstance(value, str):
        if not isinstance(values, TextSet) or not isinstance(value, str):
            return values  # a fault of types, which is told elsewhere
        return values.only([value]) if op == "==" else values.but([value])
    least, most, whole = values.least, values.most, values.whole
    if op == "==":
        if whole and value != int(value):
            return None
        least, most = max(least, value), min(most, value)
    elif op == "!=":
        if whole:
            least, most = least + (least == value), most - (most == value)
        elif least == most == value:
            return None
    elif op in ("<", "<="):
        most = min(most, _largest(value, op == "<", whole))
    else:
        least = max(least, -_largest(-value, op == ">", whole))
    return Range(least, most, whole) if least <= most else None


def _largest(value: float, strict: bool, whole: bool) -> float:
    """The largest number below one, or no larger: a whole one, or a float."""
    if whole:
        return math.ceil(value) - 1 if strict else math.floor(value)
    near = float(value)
    return near if (near < value if strict else near <= value) else math.nextafter(near, -math.inf)


def _union(one: Range | TextSet | None, other: Range | TextSet | None) -> Range | TextSet | None:
    if one is None or other is None:
        return other if one is None else one
    if isinstance(one, TextSet):
        return one | other if isinstance(other, TextSet) else TextSet()
    if isinstance(other, TextSet):
        return TextSet()
    least, most = min(one.least, other.least), max(one.most, other.most)
    return Range(least, most, one.whole and other.whole)


def _either(cases: Iterable[_Known | None]) -> _Known | None:
    """What is known whichever of some cases it is."""
    possible = [one for one in cases if one is not None]
    if not possible:
        return None
    return functools.reduce(
        lambda one, other: {node: one[node] | other[node] for node in one if node in other},
        possible,
    )
