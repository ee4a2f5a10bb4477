"""Evaluates expressions of the config over columns, whole batches at a time.

What enters: an `Expression` and a batch (or arrays). What leaves: float64 values with NaN for null,
or a mask. Only operations that IEEE 754 rounds correctly are used (+ - * / sqrt floor min max), so
the result of a row does not depend on the batch that it is in, nor on the machine.
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
    Logic,
    Node,
    Number,
    Text,
    Unary,
    parse,
)
from configs.schema import Expression

Floats = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]

_BINARY = {"+": np.add, "-": np.subtract, "*": np.multiply}
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

    >>> batch = pa.RecordBatch.from_pydict({"a": [6, 1, None], "b": [4.0, 0.0, 1.0]})
    >>> evaluate(Expression("a / b", ("a", "b")), batch).tolist()
    [1.5, nan, nan]
    """
    return _Evaluator(batch, {}, batch.num_rows).numbers(parse(expression.text))


def evaluate_mask(expression: Expression, batch: pa.RecordBatch) -> Mask:
    """Where a condition holds; a null makes a comparison false: bool `[n]`.

    >>> batch = pa.RecordBatch.from_pydict({"links": [0, 2, None]})
    >>> evaluate_mask(Expression("links > 0", ("links",)), batch).tolist()
    [False, True, False]
    """
    return _Evaluator(batch, {}, batch.num_rows).truth(parse(expression.text))


def evaluate_arrays(expression: Expression, arrays: Mapping[str, Floats], count: int) -> Floats:
    """Values of an expression over float arrays `[n]` in which NaN is null: float64 `[n]`.

    Args:
      expression: over the names of `arrays`; it may name none.
      arrays: of `count` values each.
      count: n.

    >>> evaluate_arrays(Expression("x * 2", ("x",)), {"x": np.array([1.5, np.nan])}, 2).tolist()
    [3.0, nan]
    """
    return _Evaluator(None, arrays, count).numbers(parse(expression.text))


class _Evaluator:
    """Walks a tree over the columns of one batch."""

    def __init__(
        self, batch: pa.RecordBatch | None, arrays: Mapping[str, Floats], count: int
    ) -> None:
        self._batch, self._arrays, self._count = batch, arrays, count

    def numbers(self, node: Node) -> Floats:
        """float64 `[n]`; NaN is null."""
        with np.errstate(all="ignore"):
            return np.broadcast_to(self._numbers(node), (self._count,)).astype(np.float64)

    def truth(self, node: Node) -> Mask:
        """bool `[n]`; null is False."""
        with np.errstate(all="ignore"):
            return np.array(np.broadcast_to(self._truth(node), (self._count,)), np.bool_)

    def _numbers(self, node: Node) -> Any:
        match node:
            case Number(value):
                return np.float64(value)
            case ColumnRef(name):
                return self._column(name)
            case Unary("-", operand):
                return np.negative(self._numbers(operand))
            case Binary("/", left, right):
                numerator, divisor = self._numbers(left), self._numbers(right)
                return _finite(np.divide(numerator, divisor))
            case Binary(op, left, right):
                return _finite(_BINARY[op](self._numbers(left), self._numbers(right)))
            case Call("coalesce", arguments):
                value = self._numbers(arguments[0])
                for argument in arguments[1:]:
                    value = np.where(np.isnan(value), self._numbers(argument), value)
                return value
            case Call("min", arguments):
                return self._fold(np.minimum, arguments)
            case Call("max", arguments):
                return self._fold(np.maximum, arguments)
            case Call("abs", (argument,)):
                return np.abs(self._numbers(argument))
            case Call("sqrt", (argument,)):
                return np.sqrt(self._numbers(argument))
            case Call("floor", (argument,)):
                return np.floor(self._numbers(argument))
            case Text():
                raise TypeError("a text is no number")  # the loader has checked types
        return np.where(self._truth(node), 1.0, 0.0)

    def _fold(self, function: Any, arguments: tuple[Node, ...]) -> Any:
        value = self._numbers(arguments[0])
        for argument in arguments[1:]:
            value = function(value, self._numbers(argument))
        return value + 0.0  # one zero: which of two signs wins depends on the place in the array

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
            case Compare(op, left, right) if self._is_text(left):
                return self._compare_text(op, left, right)
            case Compare(op, left, right):
                one, other = self._numbers(left), self._numbers(right)
                known = ~(np.isnan(one) | np.isnan(other))
                return _COMPARE[op](one, other) & known
        value = self._numbers(node)
        return (value != 0) & ~np.isnan(value)

    def _wide(self, value: Any) -> Any:
        return np.broadcast_to(value, (self._count,))

    def _column(self, name: str) -> Floats:
        if self._batch is None:
            return np.asarray(self._arrays[name], np.float64)
        return to_floats(self._batch.column(name))

    def _is_text(self, node: Node) -> bool:
        if isinstance(node, Text):
            return True
        return (
            isinstance(node, ColumnRef)
            and self._batch is not None
            and pa.types.is_string(self._batch.schema.field(node.name).type)
        )

    def _is_null(self, node: Node) -> Any:
        if self._is_text(node) and isinstance(node, ColumnRef) and self._batch is not None:
            return self._batch.column(node.name).is_null().to_numpy(zero_copy_only=False)
        return np.isnan(self._numbers(node))

    def _compare_text(self, op: str, left: Node, right: Node) -> Any:
        compare = pc.equal if op == "==" else pc.not_equal
        result = compare(self._strings(left), self._strings(right))
        if isinstance(result, pa.Scalar):
            return bool(result.as_py())
        return result.fill_null(False).to_numpy(zero_copy_only=False)

    def _strings(self, node: Node) -> Any:
        if isinstance(node, Text):
            return pa.scalar(node.value, pa.string())
        if isinstance(node, ColumnRef) and self._batch is not None:
            return self._batch.column(node.name)
        raise TypeError(f"{node} is not text")  # the loader has checked types


def to_floats(array: pa.Array) -> Floats:
    """A numeric, boolean or timestamp column as float64 `[n]`, NaN where it is null.

    >>> to_floats(pa.array([True, None])).tolist()
    [1.0, nan]
    """
    if pa.types.is_boolean(array.type):
        array = array.cast(pa.int8())
    values: Floats = array.cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False)
    return np.asarray(values, np.float64)


def _finite(value: Any) -> Any:
    """Overflow and division by zero are null."""
    return np.where(np.isfinite(value), value, np.nan)
