"""One aggregate divided by another."""

from __future__ import annotations

import dataclasses
from typing import ClassVar

import numpy as np

from configs.catalog import AggregateName
from configs.schema import ColumnType
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

    def combine(self, numerator: Floats, denominator: Floats) -> Floats:
        """Of the finished features, float64 `[n]` each.

        >>> Ratio("a", "b").combine(np.array([1.0, 2.0]), np.array([4.0, 0.0])).tolist()
        [0.25, nan]
        """
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.where(denominator == 0, np.nan, numerator / denominator)
