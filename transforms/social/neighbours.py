"""Sums and means over neighbours, of all rows or of a shard of them.

A row is summed whole, by whoever holds it, in the ascending order of its neighbours: the bits of a
mean depend on the graph and on nothing else.
"""

from __future__ import annotations

from typing import cast

import numba
import numpy as np
import numpy.typing as npt

from transforms.social.rows import Int32s, Int64s, NeighbourRows, in_threads, parts_of

Float64s = npt.NDArray[np.float64]

_jit = numba.njit(cache=True, nogil=True)


def neighbour_sums(rows: NeighbourRows, values: Int64s) -> Int64s:
    """Sums of whole numbers over each row's neighbours: int64 `[rows]`.

    Args:
      values: int64 `[columns]`, of every node.

    >>> from transforms.social.rows import make_rows
    >>> rows = make_rows(np.array([0, 0], np.int32), np.array([1, 2], np.int32), 3)
    >>> neighbour_sums(rows, np.array([1, 10, 100])).tolist()
    [110, 0, 0]
    """

    def sums(begin: int, end: int) -> Int64s:
        part = rows.shard(begin, end)
        return cast(Int64s, _sums(part.starts, part.to, values))

    return np.concatenate(in_threads(sums, parts_of(rows)))


def neighbour_means(rows: NeighbourRows, values: Float64s) -> Float64s:
    """Means over each row's neighbours, of those that have a value: float64 `[rows, K]`.

    Applied twice it gives the means at two hops, in which a neighbour's neighbours count as one.
    Neighbour means beside a node's own features, given to boosted trees, are what Tang et al. found
    ahead of every specialised network ("GADBench: Revisiting and Benchmarking Supervised Graph
    Anomaly Detection", NeurIPS 2023).

    Args:
      values: float64 `[columns, K]`, of every node; NaN where there is none.

    Returns:
      NaN where no neighbour has a value.

    >>> from transforms.social.rows import make_rows
    >>> rows = make_rows(np.array([0, 0, 1], np.int32), np.array([1, 2, 2], np.int32), 3)
    >>> neighbour_means(rows, np.array([[1.0], [2.0], [np.nan]])).tolist()
    [[2.0], [nan], [nan]]
    """
    values = np.ascontiguousarray(values)

    def means(begin: int, end: int) -> Float64s:
        part = rows.shard(begin, end)
        return cast(Float64s, _means(part.starts, part.to, values))

    return np.concatenate(in_threads(means, parts_of(rows)))


@_jit
def _sums(starts: Int64s, to: Int32s, values: Int64s) -> Int64s:
    sums = np.zeros(len(starts) - 1, np.int64)
    for row in range(len(sums)):
        total = np.int64(0)
        for place in range(starts[row], starts[row + 1]):
            total += values[to[place]]
        sums[row] = total
    return sums


@_jit
def _means(starts: Int64s, to: Int32s, values: Float64s) -> Float64s:
    means = np.zeros((len(starts) - 1, values.shape[1]), np.float64)
    known = np.empty(values.shape[1], np.int64)
    for row in range(len(means)):
        known[:] = 0
        for place in range(starts[row], starts[row + 1]):
            for column in range(values.shape[1]):
                value = values[to[place], column]
                if value == value:  # no NaN
                    means[row, column] += value
                    known[column] += 1
        for column in range(values.shape[1]):
            means[row, column] = means[row, column] / known[column] if known[column] else np.nan
    return means
