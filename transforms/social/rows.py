"""Neighbours of every node: compressed sparse rows without values, ascending and unique.

The layout of `scipy.sparse.csr_array` without its values, which would be ones: a graph of 100
million edges takes 4 bytes an edge instead of 12. Everything here is linear in nodes and entries:
rows are put in order by transposing, not by comparing.
"""

from __future__ import annotations

import dataclasses
import itertools
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar, cast

import numba
import numpy as np
import numpy.typing as npt

Int64s = npt.NDArray[np.int64]
Int32s = npt.NDArray[np.int32]

T = TypeVar("T")

_jit = numba.njit(cache=True, nogil=True)


@dataclasses.dataclass(frozen=True, eq=False)
class NeighbourRows:
    """Neighbours of consecutive nodes.

    Attributes:
      starts: int64 `[rows + 1]`: where each row begins in `to`.
      to: int32 `[entries]`: nodes, within each row ascending and each once.
      columns: how many nodes there are to be neighbours.
      first: the number of the first row's node; not 0 in a shard of the rows.
    """

    starts: Int64s
    to: Int32s
    columns: int
    first: int = 0

    def __len__(self) -> int:
        return len(self.starts) - 1

    @property
    def degrees(self) -> Int64s:
        """int64 `[rows]`."""
        return np.diff(self.starts)

    def shard(self, begin: int, end: int) -> NeighbourRows:
        """The rows `[begin, end)` of all, without a copy."""
        starts = self.starts[begin : end + 1]
        return NeighbourRows(
            starts - starts[0], self.to[starts[0] : starts[-1]], self.columns, self.first + begin
        )


def make_rows(source: Int32s, target: Int32s, nodes: int) -> NeighbourRows:
    """Rows of directed edges in any order, with repetitions and edges from a node to itself.

    Args:
      source, target: int32 `[n]`, numbers of nodes below `nodes`.

    >>> source, target = np.array([[2, 0, 0, 2, 1], [0, 2, 1, 0, 1]], np.int32)
    >>> rows = make_rows(source, target, 3)
    >>> rows.starts.tolist(), rows.to.tolist()
    ([0, 2, 2, 3], [1, 2, 0])
    """
    source, target = (np.ascontiguousarray(one, np.int32) for one in (source, target))
    starts, to = _grouped(target, source, nodes)
    starts, to = _unique(*_transposed(starts, to, nodes))
    return NeighbourRows(starts, to, nodes)


def transpose(rows: NeighbourRows) -> NeighbourRows:
    """The same edges seen from their other end: row v holds every u whose row holds v.

    >>> rows = make_rows(np.array([0, 0], np.int32), np.array([1, 2], np.int32), 3)
    >>> transpose(rows).to.tolist()
    [0, 0]
    """
    return NeighbourRows(*_transposed(rows.starts, rows.to, rows.columns), len(rows))


def merge(one: NeighbourRows, other: NeighbourRows) -> NeighbourRows:
    """Rows that hold what either of the two holds.

    >>> rows = make_rows(np.array([0, 1, 1], np.int32), np.array([1, 0, 2], np.int32), 3)
    >>> both = merge(rows, transpose(rows))
    >>> both.starts.tolist(), both.to.tolist()
    ([0, 1, 3, 4], [1, 0, 2, 1])
    """
    starts, to = _merged(one.starts, one.to, other.starts, other.to)
    return NeighbourRows(starts, to, one.columns, one.first)


def shared(one: NeighbourRows, other: NeighbourRows) -> Int64s:
    """How many neighbours each row of the two has in common: int64 `[rows]`."""
    return one.degrees + other.degrees - merge(one, other).degrees


def parts_of(rows: NeighbourRows, least: int = 1 << 20) -> list[tuple[int, int]]:
    """Ranges of rows `[begin, end)` with about as many entries each, one for each core.

    Args:
      least: entries for which another part is worth a thread.
    """
    parts = min(len(os.sched_getaffinity(0)), 1 + len(rows.to) // least)
    goals = np.linspace(0, len(rows.to), parts + 1)[1:-1]
    cuts = [0, *np.searchsorted(rows.starts, goals).tolist(), len(rows)]
    return list(itertools.pairwise(cuts))


def in_threads(function: Callable[[int, int], T], parts: Sequence[tuple[int, int]]) -> list[T]:
    """What a function that lets go of the interpreter's lock gives for each part, in order."""
    if len(parts) == 1:
        return [function(*parts[0])]
    with ThreadPoolExecutor(len(parts)) as pool:
        return list(pool.map(lambda part: function(*part), parts))


def _starts(counts: Int64s) -> Int64s:
    starts = np.zeros(len(counts) + 1, np.int64)
    np.cumsum(counts, out=starts[1:])
    return starts


def _grouped(source: Int32s, target: Int32s, nodes: int) -> tuple[Int64s, Int32s]:
    starts = _starts(np.bincount(source, minlength=nodes).astype(np.int64, copy=False))
    return starts, cast(Int32s, _fill(starts[:-1].copy(), source, target))


def _transposed(starts: Int64s, to: Int32s, columns: int) -> tuple[Int64s, Int32s]:
    turned = _starts(np.bincount(to, minlength=columns).astype(np.int64, copy=False))
    return turned, cast(Int32s, _turn(turned[:-1].copy(), starts, to))


@_jit
def _fill(places: Int64s, source: Int32s, target: Int32s) -> Int32s:
    """Each edge's target to the next place of its source's row."""
    to = np.empty(len(target), np.int32)
    for edge in range(len(source)):
        to[places[source[edge]]] = target[edge]
        places[source[edge]] += 1
    return to


@_jit
def _turn(places: Int64s, starts: Int64s, to: Int32s) -> Int32s:
    """Rows are visited in order, so what is written to each row of the transpose ascends."""
    turned = np.empty(len(to), np.int32)
    for row in range(len(starts) - 1):
        for place in range(starts[row], starts[row + 1]):
            turned[places[to[place]]] = row
            places[to[place]] += 1
    return turned


@_jit
def _unique(starts: Int64s, to: Int32s) -> tuple[Int64s, Int32s]:
    """Without repetitions and without a row's own number; `to` is overwritten."""
    kept = np.empty_like(starts)
    kept[0] = 0
    end = 0
    for row in range(len(starts) - 1):
        for place in range(starts[row], starts[row + 1]):
            if to[place] != row and (end == kept[row] or to[end - 1] != to[place]):
                to[end] = to[place]
                end += 1
        kept[row + 1] = end
    return kept, to[:end].copy()


@_jit
def _merged(
    starts: Int64s, to: Int32s, other_starts: Int64s, other_to: Int32s
) -> tuple[Int64s, Int32s]:
    merged_starts = np.empty_like(starts)
    merged = np.empty(len(to) + len(other_to), np.int32)
    merged_starts[0] = 0
    end = 0
    for row in range(len(starts) - 1):
        one, other = starts[row], other_starts[row]
        while one < starts[row + 1] or other < other_starts[row + 1]:
            if other == other_starts[row + 1]:
                merged[end] = to[one]
                one += 1
            elif one == starts[row + 1] or other_to[other] < to[one]:
                merged[end] = other_to[other]
                other += 1
            else:
                merged[end] = to[one]
                other += other_to[other] == to[one]
                one += 1
            end += 1
        merged_starts[row + 1] = end
    return merged_starts, merged[:end].copy()
