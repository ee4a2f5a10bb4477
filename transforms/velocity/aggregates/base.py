"""The protocol of an aggregate, and what several of them share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, Protocol

import numpy as np
import numpy.typing as npt

from configs.catalog import Bounds, argument
from configs.schema import Column, ColumnType
from transforms.velocity.cells import NONE, Ask, Cell

Int64s = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

NUMBERS = frozenset({ColumnType.INTEGER, ColumnType.NUMBER, ColumnType.BOOLEAN})
ANY_COLUMN = frozenset(ColumnType)
NO_COLUMN: frozenset[ColumnType] = frozenset()


def decimals() -> Any:
    """The field of an aggregate that keeps a column's values: digits after the point.

    Whole numbers have none. Of a `number` column they must be said: any default would round some
    amounts. More than 9 would leave too few digits before the point (`LIMIT`).
    """
    return argument(0, least=0, most=9, needed_for=ColumnType.NUMBER, only_for=NUMBERS)


def kept_bounds(column: Column | None, decimals: int) -> Bounds:
    """The smallest and the largest of a column's values, as they are kept.

    >>> kept_bounds(Column("x", ColumnType.NUMBER, minimum=0.5, maximum=9.96), 1)
    (0.5, 10.0)
    """
    if column is None or column.type is ColumnType.BOOLEAN:
        return (None, None) if column is None else (0, 1)
    least, most = (_kept(bound, column, decimals) for bound in (column.minimum, column.maximum))
    return least, most


def _kept(bound: float | None, column: Column, decimals: int) -> float | None:
    """As `rows.fixed_point` and `scaled` make it."""
    if bound is None:
        return None
    if column.type is ColumnType.INTEGER:
        return float(bound * 10**decimals) / 10.0**decimals
    return float(np.rint(bound * 10.0**decimals)) / 10.0**decimals


def signed_bounds(column: Column | None, decimals: int) -> Bounds:
    """Of what has the sign of a column's values, if all have the same, and any size."""
    least, most = kept_bounds(column, decimals)
    return (
        0 if least is not None and least >= 0 else None,
        0 if most is not None and most <= 0 else None,
    )


class AggregateLogic(Protocol):
    """What the fold needs of an aggregate, beside `configs.catalog.AggregateOp`."""

    windowed: ClassVar[bool]

    def cells(self, ask: Ask) -> tuple[Cell, ...]:
        """The cells that a key keeps for it, for one window (or none)."""

    def finish(self, outputs: Sequence[Int64s], ask: Ask) -> Floats:
        """The feature, float64 `[n]`, NaN for null.

        Args:
          outputs: the cells' outputs before the event, int64 `[n]` each: one per sum, extreme or
            scalar (`NONE`: not there), three per sketch (see `sketch.estimate`), two per sum of
            squares (high and low word), one per histogram (a place in `bins.CENTRES`, or `NONE`).
          ask: as in `cells`.
        """


def scaled(values: Int64s, decimals: int) -> Floats:
    """Whole multiples of 10^-decimals as numbers; NaN where `NONE`.

    >>> scaled(np.array([150, NONE]), 2).tolist()
    [1.5, nan]
    """
    return np.where(values == NONE, np.nan, values / 10.0**decimals)
