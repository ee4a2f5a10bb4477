"""The last value of a column."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import ClassVar

from configs.catalog import Bounds, ColumnName, argument
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
class Last:
    """The value of a column in the last event before this one that has one.

    Of a text it is the place in `values`, counted from 0; any other text is the place after the
    last one. So a key keeps a small number, whatever text comes.
    """

    op: ClassVar[str] = "last"
    about: ClassVar[str] = "last value"
    windowed: ClassVar[bool] = False
    accepts: ClassVar[frozenset[ColumnType]] = NUMBERS | {ColumnType.STRING}
    unit: ClassVar[str] = ""
    null_rule: ClassVar[str] = "null without an earlier event"

    column: ColumnName
    decimals: int = decimals()
    values: tuple[str, ...] = argument(
        (), needed_for=ColumnType.STRING, only_for=frozenset({ColumnType.STRING})
    )

    def bounds(self, columns: Mapping[str, Column]) -> Bounds:
        """Those of the column; of a text, its places."""
        if self.values:
            return 0, len(self.values)
        return kept_bounds(columns.get(self.column), self.decimals)

    def cells(self, ask: Ask) -> tuple[Cell, ...]:
        """One scalar."""
        return (ask.last(self.column, self.decimals, self.values),)

    def finish(self, outputs: Sequence[Int64s], ask: Ask) -> Floats:
        """In the column's unit, or places."""
        return scaled(outputs[0], self.decimals)
