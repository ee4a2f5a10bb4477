"""How many different values a column had."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import ClassVar

from configs.catalog import ColumnName
from configs.schema import ColumnType
from transforms.velocity.aggregates.base import ANY_COLUMN, Floats, Int64s
from transforms.velocity.cells import Ask, Cell
from transforms.velocity.sketch import STANDARD_ERROR, estimate


@dataclasses.dataclass(frozen=True)
class Distinct:
    """The number of different values, by a sketch (`velocity.sketch`): within 9.2 %, one sigma."""

    op: ClassVar[str] = "distinct"
    about: ClassVar[str] = "number of different values"
    windowed: ClassVar[bool] = True
    accepts: ClassVar[frozenset[ColumnType]] = ANY_COLUMN
    unit: ClassVar[str] = "values"
    null_rule: ClassVar[str] = "0 without events"
    least: ClassVar[int] = 0
    error: ClassVar[str] = f"standard error {STANDARD_ERROR:.1%} of large counts"

    column: ColumnName

    def cells(self, ask: Ask) -> tuple[Cell, ...]:
        """One sketch."""
        return (ask.sketch(self.column),)

    def finish(self, outputs: Sequence[Int64s], ask: Ask) -> Floats:
        """Values; not a whole number, since it is an estimate."""
        return estimate(outputs[0], outputs[1], outputs[2])
