"""The graph of a set of edges: accounts numbered in the order of their ids, and their rows."""

from __future__ import annotations

import dataclasses
from typing import cast

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from transforms.social.edges import FROM, RELATION, SINCE, TO
from transforms.social.rows import Int32s, Int64s, NeighbourRows, make_rows, merge, transpose


@dataclasses.dataclass(frozen=True, eq=False)
class Graph:
    """Who is linked to whom at one moment.

    Attributes:
      ids: string `[n]`, ascending by the bytes of UTF-8; a node's number is its place here.
      since: int64 `[n]`: when its first edge was made, microseconds UTC.
      out, into: neighbours that its edges lead to, and come from; of all relations together.
      both: neighbours whatever the direction.
      requests: relation -> what it asked for; only of relations that another one answers.
      answers: relation that is answered -> from whom each node got an answer.
    """

    ids: pa.StringArray
    since: Int64s
    out: NeighbourRows
    into: NeighbourRows
    both: NeighbourRows
    requests: dict[str, NeighbourRows] = dataclasses.field(default_factory=dict)
    answers: dict[str, NeighbourRows] = dataclasses.field(default_factory=dict)

    def numbers(self, ids: pa.Array) -> Int64s:
        """Ascending numbers of those of these ids that are in the graph: int64 `[k]`."""
        found = pc.drop_null(pc.index_in(ids, value_set=self.ids))
        return np.unique(found.to_numpy().astype(np.int64))


def graph_of(edges: pa.Table, answers: dict[str, str] | None = None) -> Graph:
    """The graph of edges in any order, repeated or not; an edge from an account to itself is none.

    Args:
      edges: of `EDGES`, as `live` gives them.
      answers: relation -> the relation that it answers, the other way round: who accepts points at
        who had asked.

    >>> pairs = [("b", "a", "ask"), ("a", "b", "accept"), ("b", "c", "ask")]
    >>> columns = dict(zip(("from", "to", "relation"), zip(*pairs)))
    >>> edges = pa.table(columns | {name: [1] * 3 for name in ("since", "time", "until")})
    >>> graph = graph_of(edges, {"accept": "ask"})
    >>> graph.ids.to_pylist(), graph.out.degrees.tolist(), graph.both.degrees.tolist()
    (['a', 'b', 'c'], [1, 2, 0], [1, 2, 1])
    >>> graph.requests["ask"].degrees.tolist(), graph.answers["ask"].degrees.tolist()
    ([0, 2, 0], [0, 1, 0])
    """
    edges = edges.filter(pc.not_equal(edges[FROM], edges[TO]))
    ids = _ascending(edges)
    source, target = (_number(edges[name], ids) for name in (FROM, TO))
    since = np.full(len(ids), np.iinfo(np.int64).max)
    times = edges[SINCE].to_numpy()
    np.minimum.at(since, source, times)
    np.minimum.at(since, target, times)
    out = make_rows(source, target, len(ids))
    into = transpose(out)
    requests: dict[str, NeighbourRows] = {}
    answered: dict[str, NeighbourRows] = {}
    for relation, asked in (answers or {}).items():
        rows = [
            make_rows(source[mask], target[mask], len(ids))
            for mask in (
                pc.equal(edges[RELATION], name).to_numpy(zero_copy_only=False)
                for name in (asked, relation)
            )
        ]
        requests[asked] = rows[0]
        got = transpose(rows[1])
        answered[asked] = merge(answered[asked], got) if asked in answered else got
    return Graph(ids, since, out, into, merge(out, into), requests, answered)


def _ascending(edges: pa.Table) -> pa.StringArray:
    both = pa.chunked_array([*edges[FROM].chunks, *edges[TO].chunks], pa.string())
    ids = pc.unique(both)
    return ids.take(pc.array_sort_indices(ids))


def _number(column: pa.ChunkedArray, ids: pa.StringArray) -> Int32s:
    return cast(Int32s, pc.index_in(column, value_set=ids).to_numpy().astype(np.int32))
