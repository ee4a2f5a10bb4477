"""Columns of a scorer's log: matrices as lists, values of some rows, and the clock."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from configs.schema import EVENT_TIME
from transforms.campaigns.lookup import EventCampaigns
from transforms.ticks import LATE

NEVER_US = int(np.iinfo(np.int64).min)
"""Before every time."""
CAMPAIGN, CAMPAIGN_SNAPSHOT = "lockstep_campaign", "lockstep_campaign_snapshot"
"""Of a log whose decisions name campaigns: an event's, and the snapshot that says so."""


def spread(values: npt.NDArray[Any], mask: npt.NDArray[np.bool_]) -> pa.ListArray:
    """Rows of a matrix put where `mask` is true, null elsewhere: list `[n]`.

    >>> spread(np.array([[1.0, 2.0]], np.float32), np.array([False, True])).to_pylist()
    [None, [1.0, 2.0]]
    """
    width = values.shape[1] if mask.any() else 0
    offsets = np.concatenate([[0], np.cumsum(mask) * width]).astype(np.int32)
    flat = pa.array(np.ascontiguousarray(values).ravel())
    return pa.ListArray.from_arrays(pa.array(offsets), flat, mask=pa.array(~mask))


def matrix(column: pa.Array, dtype: npt.DTypeLike) -> npt.NDArray[np.generic]:
    """The lists of a column that are there, as rows: `[s, width]`."""
    lists = column.drop_null()
    count = len(lists)
    flat = lists.flatten().to_numpy(zero_copy_only=False).astype(dtype)
    return flat.reshape(count, -1) if count else np.empty((0, 0), dtype)


def spread_values(values: pa.Array, mask: npt.NDArray[np.bool_]) -> pa.Array:
    """Values put where `mask` is true, null elsewhere: `[n]`."""
    if len(values) == len(mask) and mask.all():
        return values
    index = np.maximum(np.cumsum(mask) - 1, 0)
    return (
        values.take(pa.array(index, mask=~mask))
        if len(values)
        else pa.nulls(len(mask), values.type)
    )


def campaign_columns(
    named: EventCampaigns | None, mask: npt.NDArray[np.bool_]
) -> dict[str, pa.Array]:
    """Columns of a log `[n]`, null where `mask` is not true; none where no campaigns are named."""
    if named is None:
        return {}
    return {
        CAMPAIGN: spread_values(named.campaigns, mask),
        CAMPAIGN_SNAPSHOT: spread_values(named.snapshots, mask),
    }


def clock_of(batch: pa.RecordBatch, before: int = NEVER_US) -> npt.NDArray[np.int64]:
    """The scorer's clock at each event: the latest time folded so far, late events aside.

    Args:
      batch: logged events `[n]`.
      before: the clock before the first one.

    Returns:
      int64 `[n]`, microseconds UTC, never falling.
    """
    times = batch.column(EVENT_TIME).to_numpy()
    late = batch.column(LATE).to_numpy(zero_copy_only=False)
    clocks = np.maximum.accumulate(np.where(late, NEVER_US, times))
    return np.maximum(clocks, before)
