"""The mean of a column."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import ClassVar

import numpy as np

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
class Mean:
    """The mean of a column over the events before this one that have a value."""

    op: ClassVar[str] = "mean"
    about: ClassVar[str] = "mean"
    windowed: ClassVar[bool] = True
    accepts: ClassVar[frozenset[ColumnType]] = NUMBERS
    unit: ClassVar[str] = ""
    null_rule: ClassVar[str] = "null without events"

    column: ColumnName
    decimals: int = decimals()

    def bounds(self, columns: Mapping[str, Column]) -> Bounds:
        """Those of the column, but for what the division rounds."""
        least, most = kept_bounds(columns.get(self.column), self.decimals)
        return _next(least, -np.inf), _next(most, np.inf)

    def cells(self, ask: Ask) -> tuple[Cell, ...]:
        """A sum, and how many values are in it."""
        return (ask.sum(self.column, self.decimals), ask.count(self.column))

    def finish(self, outputs: Sequence[Int64s], ask: Ask) -> Floats:
        """In the column's unit."""
        count = outputs[1].astype(np.float64)
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.where(count > 0, scaled(outputs[0], self.decimals) / count, np.nan)


def _next(bound: float | None, to: float) -> float | None:
    """The next 32-bit float; the mean of zeros is exact."""
    return float(np.nextafter(np.float32(bound), np.float32(to))) if bound else bound
