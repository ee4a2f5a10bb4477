"""Whether a column is as it was the last time."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import ClassVar

import numpy as np

from configs.catalog import ColumnName
from configs.schema import ColumnType
from transforms.velocity.aggregates.base import ANY_COLUMN, Floats, Int64s
from transforms.velocity.cells import NONE, Ask, Cell


@dataclasses.dataclass(frozen=True)
class SameAsLast:
    """1 where the event's own value is that of the last event before it that has one, else 0.

    `last` for a text: what the model can use of a device, a country or an address is whether it
    changed. A key keeps 63 bits of a hash, never the text.
    """

    op: ClassVar[str] = "same_as_last"
    about: ClassVar[str] = "equality (1 or 0) with the last value"
    windowed: ClassVar[bool] = False
    accepts: ClassVar[frozenset[ColumnType]] = ANY_COLUMN
    unit: ClassVar[str] = "1 or 0"
    null_rule: ClassVar[str] = "null without an earlier event, or without a value of its own"
    least: ClassVar[int] = 0
    most: ClassVar[int] = 1

    column: ColumnName

    def cells(self, ask: Ask) -> tuple[Cell, ...]:
        """One scalar."""
        return (ask.same_as_last(self.column),)

    def finish(self, outputs: Sequence[Int64s], ask: Ask) -> Floats:
        """1 or 0."""
        return np.where(outputs[0] == NONE, np.nan, outputs[0].astype(np.float64))
