"""The last value of a column."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import ClassVar

from configs.catalog import ColumnName
from configs.schema import ColumnType
from transforms.velocity.aggregates.base import NUMBERS, Floats, Int64s, decimals, scaled
from transforms.velocity.cells import Ask, Cell


@dataclasses.dataclass(frozen=True)
class Last:
    """The value of a column in the last event before this one that has one."""

    op: ClassVar[str] = "last"
    about: ClassVar[str] = "last value"
    windowed: ClassVar[bool] = False
    accepts: ClassVar[frozenset[ColumnType]] = NUMBERS
    unit: ClassVar[str] = ""
    null_rule: ClassVar[str] = "null without an earlier event"
    instead: ClassVar[Mapping[ColumnType, str]] = {
        ColumnType.STRING: "same_as_last says whether a text is what it was the last time"
    }

    column: ColumnName
    decimals: int = decimals()

    def cells(self, ask: Ask) -> tuple[Cell, ...]:
        """One scalar."""
        return (ask.last(self.column, self.decimals),)

    def finish(self, outputs: Sequence[Int64s], ask: Ask) -> Floats:
        """In the column's unit."""
        return scaled(outputs[0], self.decimals)
