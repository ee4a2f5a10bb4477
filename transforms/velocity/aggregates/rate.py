"""Events per second."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import ClassVar

from configs.schema import ColumnType
from transforms.velocity.aggregates.base import NO_COLUMN, Floats, Int64s
from transforms.velocity.cells import Ask, Cell


@dataclasses.dataclass(frozen=True)
class Rate:
    """The number of events before this one, divided by the window's length."""

    op: ClassVar[str] = "rate"
    about: ClassVar[str] = "events per second"
    windowed: ClassVar[bool] = True
    accepts: ClassVar[frozenset[ColumnType]] = NO_COLUMN
    unit: ClassVar[str] = "events per second"
    null_rule: ClassVar[str] = "0 without events"
    least: ClassVar[int] = 0
    needs_length: ClassVar[bool] = True

    def cells(self, ask: Ask) -> tuple[Cell, ...]:
        """One sum of ones."""
        return (ask.count(),)

    def finish(self, outputs: Sequence[Int64s], ask: Ask) -> Floats:
        """Events per second."""
        return outputs[0] / ask.seconds
