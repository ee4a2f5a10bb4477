"""Which rows of a shard are kept: none that is dropped, and each once."""

import numpy as np
import pytest

from transforms.steps.shards import rows_to_keep

BATCH = 1 << 24


def slow(codes, dropped):
    seen, kept = set(dropped.tolist()), []
    for row, code in enumerate(codes.tolist()):
        if code not in seen:
            seen.add(code)
            kept.append(row)
    return kept


@pytest.mark.parametrize(
    "codes",
    [
        [],
        [5],
        [1, 2, 7, BATCH + 1, BATCH + 2],
        [1, 2, 7, BATCH + 1, 1, 2, 7],  # the first batch was given twice
        [1, 2, 2, 3],
        [7, 2, 1],  # a batch that was in no order of time
        [1, 2, BATCH + 1, 3, 4],  # two slices of one batch
        [3, 4, BATCH + 1, 3, 4],
        [1, 1],
    ],
)
@pytest.mark.parametrize("dropped", [[], [2], [1, 2, 7, BATCH + 1]])
def test_each_row_is_kept_once_and_no_dropped_one(codes, dropped):
    codes, dropped = np.array(codes, np.int64), np.array(dropped, np.int64)
    kept = rows_to_keep(codes, dropped)
    assert (list(range(len(codes))) if kept is None else kept.tolist()) == slow(codes, dropped)


def test_all_rows_is_none():
    assert rows_to_keep(np.array([1, 2, BATCH], np.int64), np.array([], np.int64)) is None
