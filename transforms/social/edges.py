"""Edges between accounts: directed, timed, expiring.

A record batch of `EDGES`. Which event makes which edge is the config's to say (`graph.edges`).
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

FROM, TO, RELATION, SINCE, TIME, UNTIL = "from", "to", "relation", "since", "time", "until"

EDGES = pa.schema(
    [
        (FROM, pa.string()),
        (TO, pa.string()),
        (RELATION, pa.string()),
        (SINCE, pa.int64()),
        (TIME, pa.int64()),
        (UNTIL, pa.int64()),
    ]
)
"""From whom to whom, by which rule; the first and the last event that made it, and the moment from
which on it is no more, in microseconds UTC."""


def live(edges: pa.Table, as_of: int) -> pa.Table:
    """The edges that were there at a moment: made strictly before it, and not expired by then.

    Args:
      edges: of `EDGES`; one row per event, so that no event after the moment hides an earlier one.
      as_of: microseconds UTC.
    """
    made = pc.less(edges[TIME], as_of)
    return edges.filter(pc.and_(made, pc.greater(edges[UNTIL], as_of)))


def latest(edges: pa.Table) -> pa.Table:
    """One row for all edges of a relation between the same two, whatever their order.

    Edges can be so reduced shard by shard, and again. Rows are in no order.

    >>> one = {"from": "a", "to": "b", "relation": "friend"}
    >>> rows = [one | {"since": t, "time": t, "until": t + 10} for t in (5, 3)]
    >>> latest(pa.Table.from_pylist(rows, EDGES)).to_pylist()[0]["since"]
    3
    """
    grouped = edges.group_by([FROM, TO, RELATION], use_threads=False).aggregate(
        [(SINCE, "min"), (TIME, "max"), (UNTIL, "max")]
    )
    names = {f"{SINCE}_min": SINCE, f"{TIME}_max": TIME, f"{UNTIL}_max": UNTIL}
    return grouped.rename_columns([names.get(name, name) for name in grouped.column_names]).select(
        EDGES.names
    )


def shared(memberships: pa.Table, most: Mapping[str, int]) -> pa.Table:
    """Edges between the accounts of each group, both ways, in no order; of `EDGES`.

    An edge is there once both are in the group, and until one of them is no more. A group of more
    than `most` accounts links nobody: it would link everybody, and says nothing (block purging:
    Papadakis et al., TKDE 25, 2013).

    Args:
      memberships: of `EDGES` with groups as `to`: all of a group, a row per account (`latest`).
      most: relation -> accounts.

    >>> rows = [{"from": a, "to": "room", "relation": "room", "since": t, "time": t, "until": t + 9}
    ...         for a, t in (("a", 1), ("b", 3))]
    >>> members = pa.Table.from_pylist(rows, EDGES)
    >>> [(one["from"], one["to"], one["since"], one["until"])
    ...  for one in shared(members, {"room": 2}).to_pylist()]
    [('a', 'b', 3, 10), ('b', 'a', 3, 10)]
    >>> shared(members, {"room": 1}).num_rows
    0
    """
    order = [(name, "ascending") for name in (RELATION, TO, FROM)]
    rows = memberships.sort_by(order).combine_chunks()
    if not len(rows):
        return EDGES.empty_table()
    relation, group = (
        pc.dictionary_encode(rows[name].chunk(0)).indices.to_numpy() for name in (RELATION, TO)
    )
    fresh = np.append(True, (relation[1:] != relation[:-1]) | (group[1:] != group[:-1]))
    starts = np.flatnonzero(fresh)
    sizes = np.diff(np.append(starts, len(rows)))
    limits = np.array([most[name] for name in rows[RELATION].take(pa.array(starts)).to_pylist()])
    kept = (sizes > 1) & (sizes <= limits)
    starts, sizes = starts[kept], sizes[kept]
    # Of a group of n accounts n * n pairs, less those of an account with itself.
    pairs = sizes**2
    number = np.arange(pairs.sum()) - np.repeat(np.cumsum(pairs) - pairs, pairs)
    begin, size = np.repeat(starts, pairs), np.repeat(sizes, pairs)
    one, other = begin + number // np.maximum(size, 1), begin + number % np.maximum(size, 1)
    one, other = one[one != other], other[one != other]
    mine, theirs = rows.take(pa.array(one)), rows.take(pa.array(other))
    return pa.table(
        {
            FROM: mine[FROM],
            TO: theirs[FROM],
            RELATION: mine[RELATION],
            SINCE: pc.max_element_wise(mine[SINCE], theirs[SINCE]),
            TIME: pc.max_element_wise(mine[TIME], theirs[TIME]),
            UNTIL: pc.min_element_wise(mine[UNTIL], theirs[UNTIL]),
        },
        schema=EDGES,
    )
