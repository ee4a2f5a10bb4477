"""Evaluates expressions of the config over columns, whole batches at a time.

Whole numbers stay int64 as far as the language keeps them (`transforms.numbers`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from configs.expression import (
    Binary,
    Call,
    ColumnRef,
    Compare,
    In,
    Logic,
    Node,
    Number,
    Text,
    Unary,
    parse,
)
from configs.schema import Expression
from transforms.numbers import (
    FUNCTIONS_OF_ONE,
    FUNCTIONS_OF_TWO,
    Value,
    Whole,
    arithmetic,
    known_mask,
    negative,
    order,
    to_float,
    to_floats,
)

Floats = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]

_EXACT = 2**53

_COMPARE = {
    "==": np.equal,
    "!=": np.not_equal,
    "<": np.less,
    "<=": np.less_equal,
    ">": np.greater,
    ">=": np.greater_equal,
}


def evaluate(expression: Expression, batch: pa.RecordBatch) -> Floats:
    """Values of a numeric expression, NaN where null: float64 `[n]`.

    A whole number that float64 does not hold exactly (beyond 2^53) is null, not its neighbour.

    >>> batch = pa.RecordBatch.from_pydict({"a": [6, 1, None], "b": [4.0, 0.0, 1.0]})
    >>> evaluate(Expression("a / b", ("a", "b")), batch).tolist()
    [1.5, nan, nan]
    """
    return _Evaluator(_of_batch(expression, batch), batch.num_rows).numbers(
        parse(expression.text), exact=True
    )


def evaluate_mask(expression: Expression, batch: pa.RecordBatch) -> Mask:
    """Where a condition holds; a null makes a comparison false: bool `[n]`.

    >>> batch = pa.RecordBatch.from_pydict({"links": [0, 2, None]})
    >>> evaluate_mask(Expression("links > 0", ("links",)), batch).tolist()
    [False, True, False]
    """
    return _Evaluator(_of_batch(expression, batch), batch.num_rows).truth(parse(expression.text))


def evaluate_arrays(
    expression: Expression, arrays: Mapping[str, pa.Array | Floats], count: int
) -> Floats:
    """Values of an expression over arrays `[n]`: float64 `[n]`.

    Args:
      expression: over the names of `arrays`; it may name none.
      arrays: of `count` values each: Arrow's, or floats in which NaN is null.
      count: n.

    >>> evaluate_arrays(Expression("x * 2", ("x",)), {"x": np.array([1.5, np.nan])}, 2).tolist()
    [3.0, nan]
    """
    return _Evaluator(arrays, count).numbers(parse(expression.text))


def _of_batch(expression: Expression, batch: pa.RecordBatch) -> dict[str, pa.Array]:
    return {name: batch.column(name) for name in expression.columns}


class _Evaluator:
    """Walks a tree over columns of `count` values."""

    def __init__(self, arrays: Mapping[str, pa.Array | Floats], count: int) -> None:
        self._arrays, self._count = arrays, count

    def numbers(self, node: Node, exact: bool = False) -> Floats:
        """float64 `[n]`; NaN is null. `exact`: so is a whole number that would be rounded."""
        with np.errstate(all="ignore"):
            value = self._value(node)
            floats = to_float(value)
            if exact and isinstance(value, Whole):
                beyond = (value.values > _EXACT) | (value.values < -_EXACT)
                floats = np.where(beyond, np.nan, floats)
            return np.broadcast_to(floats, (self._count,)).astype(np.float64)

    def truth(self, node: Node) -> Mask:
        """bool `[n]`; null is False."""
        with np.errstate(all="ignore"):
            return np.array(np.broadcast_to(self._truth(node), (self._count,)), np.bool_)

    def _value(self, node: Node) -> Value:
        match node:
            case Number(int(value)):
                return Whole(np.int64(value), np.bool_(True))
            case Number(value):
                return np.float64(value)
            case ColumnRef(name):
                return self._column(name)
            case Unary("-", operand):
                return negative(self._value(operand))
            case Binary(op, left, right):
                return arithmetic(op, self._value(left), self._value(right))
            case Call(("abs" | "sqrt" | "log" | "floor") as name, (argument,)):
                return FUNCTIONS_OF_ONE[name](self._value(argument))
            case Call(("min" | "max" | "coalesce") as name, arguments):
                made = self._value(arguments[0])
                for argument in arguments[1:]:
                    made = FUNCTIONS_OF_TWO[name](made, self._value(argument))
                return made
            case Text():
                raise TypeError("a text is no number")  # the loader has checked types
        return Whole(np.asarray(self._truth(node)).astype(np.int64), np.bool_(True))

    def _truth(self, node: Node) -> Any:
        match node:
            case Unary("not", operand):
                return ~np.asarray(self._truth(operand))
            case Logic("and", operands):
                return np.logical_and.reduce([self._wide(self._truth(o)) for o in operands])
            case Logic("or", operands):
                return np.logical_or.reduce([self._wide(self._truth(o)) for o in operands])
            case Call("is_null", (argument,)):
                return self._is_null(argument)
            case Call("starts_with", (argument, Text(beginning))):
                return _plain(pc.starts_with(self._strings(argument), beginning))
            case In(op, operand, options):
                return self._in(op == "in", operand, options)
            case Compare(op, left, right) if self._is_text(left):
                compare = pc.equal if op == "==" else pc.not_equal
                return _plain(compare(self._strings(left), self._strings(right)))
            case Compare(op, left, right):
                sign, known = order(self._value(left), self._value(right))
                return _COMPARE[op](sign, 0) & known
        value = self._value(node)
        if isinstance(value, Whole):
            return (value.values != 0) & value.known
        return (value != 0) & ~np.isnan(value)

    def _in(self, wanted: bool, operand: Node, options: tuple[Node, ...]) -> Any:
        """Whether a value is one of some; a null neither is nor is not."""
        if self._is_text(operand):
            texts = [option.value for option in options if isinstance(option, Text)]
            strings = self._strings(operand)
            found = pc.is_in(strings, value_set=pa.array(texts, pa.string()))
            return (_plain(found) == wanted) & _plain(pc.is_valid(strings))
        value = self._value(operand)
        known = known_mask(value)
        one_of = np.zeros(np.shape(known), np.bool_)
        for option in options:
            sign, _ = order(value, self._value(option))
            one_of |= sign == 0
        return (one_of == wanted) & known

    def _wide(self, value: Any) -> Any:
        return np.broadcast_to(value, (self._count,))

    def _column(self, name: str) -> Value:
        array = self._arrays[name]
        if isinstance(array, np.ndarray):
            return np.asarray(array, np.float64)
        if pa.types.is_floating(array.type) or pa.types.is_null(array.type):
            return to_floats(array)
        return Whole.of(array)

    def _is_text(self, node: Node) -> bool:
        if isinstance(node, ColumnRef):
            array = self._arrays[node.name]
            return isinstance(array, pa.Array) and pa.types.is_string(array.type)
        return isinstance(node, Text)

    def _is_null(self, node: Node) -> Any:
        if self._is_text(node):
            return _plain(pc.is_null(self._strings(node)))
        return ~known_mask(self._value(node))

    def _strings(self, node: Node) -> Any:
        if isinstance(node, Text):
            return pa.scalar(node.value, pa.string())
        if isinstance(node, ColumnRef):
            return self._arrays[node.name]
        raise TypeError(f"{node} is not text")  # the loader has checked types


def _plain(truth: Any) -> Any:
    """An Arrow boolean, or an array of them, for numpy; null is False."""
    if isinstance(truth, pa.Scalar):
        return np.bool_(bool(truth.as_py()))
    return truth.fill_null(False).to_numpy(zero_copy_only=False)
