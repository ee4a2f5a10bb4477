"""What the edges around a node look like: answered, closed to triangles."""

from __future__ import annotations

from collections.abc import Iterable
from typing import cast

import numba
import numpy as np

from transforms.social.neighbours import Float64s
from transforms.social.rows import Int32s, Int64s, NeighbourRows, in_threads, parts_of, shared

_jit = numba.njit(cache=True, nogil=True)


def reciprocity(out: NeighbourRows, into: NeighbourRows) -> Float64s:
    """Share of a node's edges that the other end answers with one of its own: float64 `[rows]`.

    Args:
      out, into: edges from and to each node; for the share of requests that were accepted, the
        requests that it sent and the answers that it got.

    Returns:
      NaN for a node without an edge of its own.

    >>> from transforms.social.rows import make_rows, transpose
    >>> out = make_rows(np.array([0, 0, 1], np.int32), np.array([1, 2, 0], np.int32), 3)
    >>> reciprocity(out, transpose(out)).tolist()
    [0.5, 1.0, nan]
    """
    return _share(shared(out, into), out.degrees)


def clustering(both: NeighbourRows) -> Float64s:
    """Share of the pairs of a node's neighbours that are neighbours: float64 `[rows]`.

    Watts and Strogatz, "Collective dynamics of 'small-world' networks", Nature 393, 1998.

    Args:
      both: neighbours whatever the direction: as many rows as columns.

    Returns:
      NaN for a node with fewer than two neighbours.

    >>> from transforms.social.rows import make_rows, merge, transpose
    >>> edges = np.array([[0, 1], [1, 2], [2, 0], [2, 3]], np.int32).T
    >>> rows = make_rows(edges[0], edges[1], 4)
    >>> clustering(merge(rows, transpose(rows))).round(2).tolist()
    [1.0, 1.0, 0.33, nan]
    """
    degrees = both.degrees
    return _share(triangles(both), degrees * (degrees - 1) // 2)


def triangles(both: NeighbourRows, shards: Iterable[tuple[int, int]] | None = None) -> Int64s:
    """Triangles that each node is part of: int64 `[rows]`.

    Every triangle is found from its node of lowest degree, so that hubs cost no more than others
    (Latapy, "Main-memory triangle computations for very large (sparse (power-law)) graphs",
    Theoretical Computer Science 407, 2008). Counts of shards add up to those of all.

    Args:
      shards: ranges `[begin, end)` of nodes from which triangles are looked for; all if None.
    """
    starts, to = _upward(both.starts, both.to)
    upward = NeighbourRows(starts, to, both.columns)
    parts = parts_of(upward) if shards is None else list(shards)

    def found(begin: int, end: int) -> Int64s:
        return cast(Int64s, _triangles(starts, to, begin, end))

    return cast(Int64s, sum(in_threads(found, parts)))


def _share(part: Int64s, whole: Int64s) -> Float64s:
    with np.errstate(invalid="ignore"):
        return part / whole


@_jit
def _upward(starts: Int64s, to: Int32s) -> tuple[Int64s, Int32s]:
    """Only neighbours of higher degree, and of the same degree those of higher number."""
    kept, upward = np.empty_like(starts), np.empty(len(to) // 2, np.int32)
    kept[0] = 0
    end = 0
    for row in range(len(starts) - 1):
        degree = starts[row + 1] - starts[row]
        for place in range(starts[row], starts[row + 1]):
            other = starts[to[place] + 1] - starts[to[place]]
            if other > degree or (other == degree and to[place] > row):
                upward[end] = to[place]
                end += 1
        kept[row + 1] = end
    return kept, upward


@_jit
def _triangles(starts: Int64s, to: Int32s, begin: int, end: int) -> Int64s:
    found = np.zeros(len(starts) - 1, np.int64)
    marked = np.full(len(starts) - 1, -1, np.int32)
    for row in range(begin, end):
        for place in range(starts[row], starts[row + 1]):
            marked[to[place]] = row
        for place in range(starts[row], starts[row + 1]):
            middle = to[place]
            for far in range(starts[middle], starts[middle + 1]):
                if marked[to[far]] == row:
                    found[row] += 1
                    found[middle] += 1
                    found[to[far]] += 1
    return found
