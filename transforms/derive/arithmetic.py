"""Arithmetic on columns of the same row."""

from __future__ import annotations

import dataclasses
from typing import ClassVar

import numpy as np
import pyarrow as pa

from configs.schema import ColumnType, Expression
from transforms.expression import evaluate


@dataclasses.dataclass(frozen=True)
class Arithmetic:
    """The value of an expression; null where an operand is null or a divisor zero.

    >>> batch = pa.RecordBatch.from_pydict({"a": [1, None], "b": [4, 2]})
    >>> Arithmetic(Expression("a / b", ("a", "b"))).apply(batch).to_pylist()
    [0.25, None]
    """

    op: ClassVar[str] = "arithmetic"
    about: ClassVar[str] = "value of an expression"
    returns: ClassVar[ColumnType] = ColumnType.NUMBER
    accepts: ClassVar[frozenset[ColumnType]] = frozenset()

    expression: Expression

    def apply(self, batch: pa.RecordBatch) -> pa.Array:
        """float64 `[n]`."""
        values = evaluate(self.expression, batch)
        return pa.array(values, mask=np.isnan(values))
