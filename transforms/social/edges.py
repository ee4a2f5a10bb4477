"""Edges between accounts: directed, timed, expiring.

A record batch of `EDGES`. Which event makes which edge is the config's to say (`graph.edges`).
"""

from __future__ import annotations

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
