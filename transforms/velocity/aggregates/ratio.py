"""One aggregate divided by another."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import ClassVar

import numpy as np

from configs.catalog import AggregateName, Bounds
from configs.schema import Aggregate, ColumnType
from transforms.velocity.aggregates.base import NO_COLUMN, Floats


@dataclasses.dataclass(frozen=True)
class Ratio:
    """The quotient of two aggregates of the same key and window; null where the divisor is 0."""

    op: ClassVar[str] = "ratio"
    about: ClassVar[str] = "ratio of two aggregates"
    windowed: ClassVar[bool] = True
    accepts: ClassVar[frozenset[ColumnType]] = NO_COLUMN
    unit: ClassVar[str] = "share"
    null_rule: ClassVar[str] = "null where the divisor is 0 or null"

    numerator: AggregateName
    denominator: AggregateName

    @staticmethod
    def combined_bounds(parts: Sequence[Aggregate], bounds: Sequence[Bounds]) -> Bounds:
        """Of a ratio of `parts`, without their names, and the bounds of these."""
        if parts[0] == parts[1]:
            return 1, 1
        signed = all(least is not None and least >= 0 for least, _ in bounds)
        return (0, None) if signed else (None, None)

    def combine(self, numerator: Floats, denominator: Floats) -> Floats:
        """Of the finished features, float64 `[n]` each.

        >>> Ratio("a", "b").combine(np.array([1.0, 2.0]), np.array([4.0, 0.0])).tolist()
        [0.25, nan]
        """
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.where(denominator == 0, np.nan, numerator / denominator)
