"""The sum of a column."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import ClassVar

from configs.catalog import Bounds, ColumnName
from configs.schema import Column, ColumnType
from transforms.velocity.aggregates.base import (
    NUMBERS,
    Floats,
    Int64s,
    decimals,
    scaled,
    signed_bounds,
)
from transforms.velocity.cells import Ask, Cell


@dataclasses.dataclass(frozen=True)
class Total:
    """The sum of a column over the events before this one, in fixed point."""

    op: ClassVar[str] = "sum"
    about: ClassVar[str] = "sum"
    windowed: ClassVar[bool] = True
    accepts: ClassVar[frozenset[ColumnType]] = NUMBERS
    unit: ClassVar[str] = ""
    null_rule: ClassVar[str] = "0 without events"

    column: ColumnName
    decimals: int = decimals()

    def bounds(self, columns: Mapping[str, Column]) -> Bounds:
        """It has the sign of the values."""
        return signed_bounds(columns.get(self.column), self.decimals)

    def cells(self, ask: Ask) -> tuple[Cell, ...]:
        """One sum."""
        return (ask.sum(self.column, self.decimals),)

    def finish(self, outputs: Sequence[Int64s], ask: Ask) -> Floats:
        """In the column's unit."""
        return scaled(outputs[0], self.decimals)
