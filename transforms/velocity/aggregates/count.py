"""How many events."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import ClassVar

import numpy as np

from configs.schema import ColumnType
from transforms.velocity.aggregates.base import NO_COLUMN, Floats, Int64s
from transforms.velocity.cells import Ask, Cell


@dataclasses.dataclass(frozen=True)
class Count:
    """The number of events before this one."""

    op: ClassVar[str] = "count"
    about: ClassVar[str] = "number of events"
    windowed: ClassVar[bool] = True
    accepts: ClassVar[frozenset[ColumnType]] = NO_COLUMN
    unit: ClassVar[str] = "events"
    null_rule: ClassVar[str] = "0 without events"
    least: ClassVar[int] = 0

    def cells(self, ask: Ask) -> tuple[Cell, ...]:
        """One sum of ones."""
        return (ask.count(),)

    def finish(self, outputs: Sequence[Int64s], ask: Ask) -> Floats:
        """Events."""
        return outputs[0].astype(np.float64)
