"""Parts of the time of day and week, in UTC."""

from __future__ import annotations

import dataclasses
from typing import ClassVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from configs.catalog import ColumnName, argument
from configs.schema import ColumnType

_HOUR_US = 3_600_000_000
_DAY_US = 24 * _HOUR_US
_TIMES = frozenset({ColumnType.TIMESTAMP})


@dataclasses.dataclass(frozen=True)
class HourOfDay:
    """Hour of the day, 0 to 23, UTC.

    >>> batch = pa.RecordBatch.from_pydict({"t": [3_600_000_000]})
    >>> HourOfDay("t").apply(batch).to_pylist()
    [1]
    """

    op: ClassVar[str] = "hour_of_day"
    about: ClassVar[str] = "hour of the day, UTC"
    returns: ClassVar[ColumnType] = ColumnType.INTEGER
    least: ClassVar[int] = 0
    most: ClassVar[int] = 23
    accepts: ClassVar[frozenset[ColumnType]] = _TIMES

    of: ColumnName

    def apply(self, batch: pa.RecordBatch) -> pa.Array:
        """int64 `[n]`."""
        times, null = _times(batch, self.of)
        return pa.array(times % _DAY_US // _HOUR_US, mask=null)


@dataclasses.dataclass(frozen=True)
class IsWeekend:
    """Whether it is Saturday or Sunday, UTC (1970-01-01 was a Thursday).

    >>> batch = pa.RecordBatch.from_pydict({"t": [0, 2 * 86_400_000_000]})
    >>> IsWeekend("t").apply(batch).to_pylist()
    [False, True]
    """

    op: ClassVar[str] = "is_weekend"
    about: ClassVar[str] = "whether it is Saturday or Sunday, UTC"
    returns: ClassVar[ColumnType] = ColumnType.BOOLEAN
    accepts: ClassVar[frozenset[ColumnType]] = _TIMES

    of: ColumnName

    def apply(self, batch: pa.RecordBatch) -> pa.Array:
        """bool `[n]`."""
        times, null = _times(batch, self.of)
        weekday = (times // _DAY_US + 3) % 7  # Monday is 0
        return pa.array(weekday >= 5, mask=null)


@dataclasses.dataclass(frozen=True)
class IsNight:
    """Whether the hour lies between two hours, both included, UTC.

    >>> batch = pa.RecordBatch.from_pydict({"t": [6 * 3_600_000_000, 7 * 3_600_000_000]})
    >>> IsNight("t").apply(batch).to_pylist()
    [True, False]
    """

    op: ClassVar[str] = "is_night"
    about: ClassVar[str] = "whether the hour lies in the night, UTC"
    returns: ClassVar[ColumnType] = ColumnType.BOOLEAN
    accepts: ClassVar[frozenset[ColumnType]] = _TIMES

    of: ColumnName
    from_hour: int = argument(0, least=0, most=23, counted=True)
    to_hour: int = argument(6, least=0, most=23, counted=True)

    def apply(self, batch: pa.RecordBatch) -> pa.Array:
        """bool `[n]`."""
        times, null = _times(batch, self.of)
        hour = times % _DAY_US // _HOUR_US
        if self.from_hour <= self.to_hour:
            night = (hour >= self.from_hour) & (hour <= self.to_hour)
        else:  # over midnight
            night = (hour >= self.from_hour) | (hour <= self.to_hour)
        return pa.array(night, mask=null)


def _times(
    batch: pa.RecordBatch, column: str
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.bool_]]:
    array = batch.column(column)
    null = array.is_null().to_numpy(zero_copy_only=False)
    return array.fill_null(0).to_numpy(zero_copy_only=False), null
