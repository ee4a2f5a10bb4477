"""The standard deviation of a column."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import ClassVar

import numpy as np

from configs.catalog import ColumnName
from configs.schema import ColumnType
from transforms.velocity.aggregates.base import NUMBERS, Floats, Int64s, decimals
from transforms.velocity.cells import Ask, Cell
from transforms.velocity.wide import squared_deviations


@dataclasses.dataclass(frozen=True)
class Std:
    """The sample standard deviation (divisor n - 1) over the events before this one with a value.

    As `std` of pandas and polars and `STDDEV` of SQL. Sum and sum of squares are whole numbers, so
    that values which differ little from a large mean lose nothing.
    """

    op: ClassVar[str] = "std"
    about: ClassVar[str] = "standard deviation"
    windowed: ClassVar[bool] = True
    accepts: ClassVar[frozenset[ColumnType]] = NUMBERS
    unit: ClassVar[str] = ""
    null_rule: ClassVar[str] = "null with fewer than two events"
    least: ClassVar[int] = 0

    column: ColumnName
    decimals: int = decimals()

    def cells(self, ask: Ask) -> tuple[Cell, ...]:
        """How many values there are, their sum, and the sum of their squares."""
        return (
            ask.count(self.column),
            ask.sum(self.column, self.decimals),
            ask.squares(self.column, self.decimals),
        )

    def finish(self, outputs: Sequence[Int64s], ask: Ask) -> Floats:
        """In the column's unit."""
        count, total, high, low = outputs
        squared = squared_deviations(np.maximum(count, 1), total, high, low)
        variance = squared / np.maximum(count - 1, 1)
        return np.where(count > 1, np.sqrt(variance) / 10.0**self.decimals, np.nan)
