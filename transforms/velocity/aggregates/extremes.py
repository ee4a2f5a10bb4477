"""The largest and the smallest value of a column."""

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
    kept_bounds,
    scaled,
)
from transforms.velocity.cells import Ask, Cell


@dataclasses.dataclass(frozen=True)
class Max:
    """The largest value of a column before this event."""

    op: ClassVar[str] = "max"
    about: ClassVar[str] = "largest value"
    windowed: ClassVar[bool] = True
    accepts: ClassVar[frozenset[ColumnType]] = NUMBERS
    unit: ClassVar[str] = ""
    null_rule: ClassVar[str] = "null without events"

    column: ColumnName
    decimals: int = decimals()

    def bounds(self, columns: Mapping[str, Column]) -> Bounds:
        """Those of the column."""
        return kept_bounds(columns.get(self.column), self.decimals)

    def cells(self, ask: Ask) -> tuple[Cell, ...]:
        """One extreme."""
        return (ask.extreme(self.column, self.decimals, 1),)

    def finish(self, outputs: Sequence[Int64s], ask: Ask) -> Floats:
        """In the column's unit."""
        return scaled(outputs[0], self.decimals)


@dataclasses.dataclass(frozen=True)
class Min(Max):
    """The smallest value of a column before this event."""

    op: ClassVar[str] = "min"
    about: ClassVar[str] = "smallest value"

    def cells(self, ask: Ask) -> tuple[Cell, ...]:
        """One extreme."""
        return (ask.extreme(self.column, self.decimals, -1),)
