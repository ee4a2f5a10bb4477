"""The median of a column."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import ClassVar

import numpy as np

from configs.catalog import Bounds, ColumnName
from configs.schema import Column, ColumnType
from transforms.velocity.aggregates.base import NUMBERS, Floats, Int64s, decimals, signed_bounds
from transforms.velocity.bins import CENTRES, ERRORS
from transforms.velocity.cells import NONE, Ask, Cell


@dataclasses.dataclass(frozen=True)
class Median:
    """The median over the events before this one with a value; of two middle ones the lower.

    By a histogram (`velocity.bins`), within 3.1 % of the value as long as no tile holds values in
    more than 64 bins.
    """

    op: ClassVar[str] = "median"
    about: ClassVar[str] = "median"
    windowed: ClassVar[bool] = True
    accepts: ClassVar[frozenset[ColumnType]] = NUMBERS
    unit: ClassVar[str] = ""
    null_rule: ClassVar[str] = "null without events"
    error: ClassVar[str] = (
        f"within {ERRORS[0]:.1%}; {ERRORS[1]:.1%} where a tile's values span more than a factor "
        f"of 15, {ERRORS[2]:.1%} beyond 250"
    )

    column: ColumnName
    decimals: int = decimals()

    def bounds(self, columns: Mapping[str, Column]) -> Bounds:
        """It has the sign of the values."""
        return signed_bounds(columns.get(self.column), self.decimals)

    def cells(self, ask: Ask) -> tuple[Cell, ...]:
        """One histogram."""
        return (ask.bins(self.column, self.decimals),)

    def finish(self, outputs: Sequence[Int64s], ask: Ask) -> Floats:
        """In the column's unit."""
        known = outputs[0] != NONE
        return np.where(
            known, CENTRES[np.where(known, outputs[0], 0)] / 10.0**self.decimals, np.nan
        )
