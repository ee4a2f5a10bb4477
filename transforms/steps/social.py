"""`SocialEdges`: events to the live edges and last judgements of each shard of accounts.

    events ─ Derive ─ Narrow ─ GroupByKey ─ Reduce ─ a batch per shard, of edges or of judgements

Edges are of the shard of the account that acts, those between accounts that share a group of the
group's. What a shard gives is a function of its rows: an event that comes twice changes nothing,
nor does any order.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Mapping

import apache_beam as beam
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from configs.schema import EVENT_TIME, Spec
from transforms.batches import ShardKey, one_batch
from transforms.social.edges import EDGES, FROM, RELATION, TO, latest, live, shared
from transforms.social.events import (
    ACCOUNT,
    JUDGEMENTS,
    edges_of,
    judgements_of,
    latest_judgements,
    memberships_of,
)
from transforms.social.shard_table import account_hashes
from transforms.steps.decode import Derive
from transforms.steps.shards import Keyed
from transforms.velocity.rows import shard_of

EDGES_GROUP, JUDGEMENTS_GROUP, SHARED_GROUP = "edges", "judgements", "shared"


@dataclasses.dataclass(eq=False)
class SocialEdges(beam.PTransform):
    """Decoded events to a snapshot's edges and judgements, by shard.

    Args:
      spec: the use; it has a graph.
      as_of: the snapshot's moment, microseconds UTC: of events strictly before it.
    """

    spec: Spec
    as_of: int

    def expand(self, events: beam.PCollection[pa.RecordBatch]) -> beam.PCollection[Keyed]:
        """Applies it."""
        return (
            events
            | Derive(self.spec)
            | "Narrow" >> beam.ParDo(_Narrow(self.spec, self.as_of)).with_output_types(Keyed)
            | "ByAccountShard" >> beam.GroupByKey()
            | "Reduce" >> beam.Map(_reduce, _most_accounts(self.spec)).with_output_types(Keyed)
        )


def account_shard(accounts: pa.ChunkedArray, shards: int) -> npt.NDArray[np.int32]:
    """The shard of each account: int32 `[n]`."""
    return shard_of(account_hashes(accounts), shards)


class _Narrow(beam.DoFn):
    def __init__(self, spec: Spec, as_of: int) -> None:
        self._spec, self._as_of = spec, as_of

    def process(self, batch: pa.RecordBatch) -> Iterator[Keyed]:
        if self._spec.graph is None:
            return
        edges = latest(live(edges_of(self._spec.graph, batch), self._as_of))
        yield from by_shard(EDGES_GROUP, edges, account_shard(edges[FROM], self._spec.shards))
        members = latest(live(memberships_of(self._spec.graph, batch), self._as_of))
        yield from by_shard(SHARED_GROUP, members, account_shard(members[TO], self._spec.shards))
        graph = self._spec.graph
        judged = judgements_of(self._spec, batch, graph.judged, graph.account_columns)
        judged = judged.filter(pc.less(judged[EVENT_TIME], self._as_of))
        shard = account_shard(judged[ACCOUNT], self._spec.shards)
        yield from by_shard(JUDGEMENTS_GROUP, judged, shard)


def by_shard(group: str, table: pa.Table, shard: npt.NDArray[np.int32]) -> Iterator[Keyed]:
    """The rows of each shard, as a batch of their own.

    Args:
      group: of the keys.
      shard: int32 `[n]`, of each row.
    """
    for number in np.unique(shard).tolist():
        rows = table.filter(pa.array(shard == number)).combine_chunks()
        yield ShardKey(group, number), one_batch(rows.to_batches(), table.schema)


def reduce_judgements(batches: Iterable[pa.RecordBatch]) -> pa.RecordBatch:
    """The last judgement of each account of a shard, as one batch."""
    table = latest_judgements(pa.Table.from_batches(batches, JUDGEMENTS))
    return one_batch(table.combine_chunks().to_batches(), table.schema)


def _most_accounts(spec: Spec) -> dict[str, int]:
    """Of a group, by rule."""
    rules = spec.graph.edges.values() if spec.graph else ()
    return {rule.name: rule.most_accounts for rule in rules if rule.group is not None}


def _reduce(
    element: tuple[ShardKey, Iterable[pa.RecordBatch]], most_accounts: Mapping[str, int]
) -> Keyed:
    """All rows of a shard as one batch, in an order of their own, so that its bytes are too."""
    key, batches = element
    bare = [batch.replace_schema_metadata(None) for batch in batches]
    if key.group == JUDGEMENTS_GROUP:
        return key, reduce_judgements(bare)
    table = latest(pa.Table.from_batches(bare, EDGES))
    if key.group == SHARED_GROUP:
        table = latest(shared(table, most_accounts))
    table = table.sort_by([(name, "ascending") for name in (FROM, TO, RELATION)])
    return key, one_batch(table.combine_chunks().to_batches(), table.schema)


__all__ = [
    "EDGES_GROUP",
    "JUDGEMENTS_GROUP",
    "SHARED_GROUP",
    "SocialEdges",
    "account_shard",
    "by_shard",
    "reduce_judgements",
]
