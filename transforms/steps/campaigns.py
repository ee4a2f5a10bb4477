"""`SharedUses`: events to the values that accounts share, and last judgements, by shard.

    events ─ Derive ─ Narrow ─ GroupByKey ─ Reduce ─ a batch per shard: of uses, hubs, judgements
                                              └ ByAccount ─ GroupByKey ─ Count ─ of counts

Uses are of the shard of the value, judgements and counts of that of the account. What a shard gives
is a function of its rows: an event that comes twice changes nothing, nor does any order. Values
that one account alone used, which are most, end here; with `campaigns.rarity`, as a number for each
account that shares something with another one: the second line.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator

import apache_beam as beam
import pyarrow as pa
import pyarrow.compute as pc

from configs.schema import Spec
from transforms.batches import ShardKey, one_batch
from transforms.campaigns.uses import (
    ALONE,
    HUBS,
    USES,
    VALUE,
    VALUES,
    shared_uses,
    sum_alone,
    uses_of,
)
from transforms.social.events import ACCOUNT, judgements_of
from transforms.steps.decode import Derive
from transforms.steps.shards import Keyed
from transforms.steps.social import JUDGEMENTS_GROUP, account_shard, by_shard, reduce_judgements
from transforms.velocity.rows import shard_of

USES_GROUP, HUBS_GROUP, ALONE_GROUP = "uses", "hubs", "alone"
_SHARING = "sharing"


@dataclasses.dataclass(eq=False)
class SharedUses(beam.PTransform):
    """Decoded events to what campaigns are found in, by shard.

    Args:
      spec: the use; it has campaigns.
    """

    spec: Spec

    def expand(self, events: beam.PCollection[pa.RecordBatch]) -> beam.PCollection[Keyed]:
        """Applies it."""
        made = (
            events
            | Derive(self.spec)
            | "Narrow" >> beam.ParDo(_Narrow(self.spec)).with_output_types(Keyed)
            | "ByShard" >> beam.GroupByKey()
            | "Reduce" >> beam.ParDo(_Reduce(self.spec)).with_output_types(Keyed)
        )
        if self.spec.campaigns is None or self.spec.campaigns.rarity is None:
            return made
        counts = (
            made
            | "ByAccount" >> beam.ParDo(_ByAccount(self.spec.shards)).with_output_types(Keyed)
            | "ByAccountShard" >> beam.GroupByKey()
            | "Count" >> beam.Map(_count).with_output_types(Keyed)
        )
        found = made | "Found" >> beam.Filter(_is_found).with_output_types(Keyed)
        return (found, counts) | "All" >> beam.Flatten()


class _Narrow(beam.DoFn):
    def __init__(self, spec: Spec) -> None:
        self._spec = spec

    def process(self, batch: pa.RecordBatch) -> Iterator[Keyed]:
        campaigns, shards = self._spec.campaigns, self._spec.shards
        if campaigns is None:
            return
        uses = uses_of(campaigns, batch)
        yield from by_shard(USES_GROUP, uses, shard_of(uses[VALUE].to_numpy(), shards))
        judged = judgements_of(self._spec, batch, campaigns.judged, [campaigns.account])
        yield from by_shard(JUDGEMENTS_GROUP, judged, account_shard(judged[ACCOUNT], shards))


class _Reduce(beam.DoFn):
    def __init__(self, spec: Spec) -> None:
        self._spec = spec

    def process(self, element: tuple[ShardKey, Iterable[pa.RecordBatch]]) -> Iterator[Keyed]:
        key, batches = element
        bare = [batch.replace_schema_metadata(None) for batch in batches]
        if key.group == JUDGEMENTS_GROUP:
            yield key, reduce_judgements(bare)
        elif self._spec.campaigns is not None:
            made = shared_uses(self._spec.campaigns, pa.Table.from_batches(bare, USES))
            groups = [(USES_GROUP, made.shared, USES), (HUBS_GROUP, made.hubs, HUBS)]
            if self._spec.campaigns.rarity is not None:
                groups.append((ALONE_GROUP, made.alone, ALONE))
            for group, table, schema in groups:
                if table.num_rows:
                    rows = table.combine_chunks().to_batches()
                    yield ShardKey(group, key.shard), one_batch(rows, schema)


class _ByAccount(beam.DoFn):
    """Counts by the shard of the account; whoever shares something has one of 0 there."""

    def __init__(self, shards: int) -> None:
        self._shards = shards

    def process(self, element: Keyed) -> Iterator[Keyed]:
        key, batch = element
        table = pa.Table.from_batches([batch])
        if key.group == USES_GROUP:
            sharing = table.group_by(ACCOUNT).aggregate([])
            zeros = [pa.repeat(pa.scalar(0, ALONE.field(at).type), len(sharing)) for at in (1, 2)]
            table = pa.table([sharing[ACCOUNT], *zeros], schema=ALONE)
        elif key.group != ALONE_GROUP:
            return
        table = table.append_column(_SHARING, pa.repeat(key.group == USES_GROUP, len(table)))
        yield from by_shard(ALONE_GROUP, table, account_shard(table[ACCOUNT], self._shards))


def _is_found(element: Keyed) -> bool:
    return element[0].group != ALONE_GROUP


def _count(element: tuple[ShardKey, Iterable[pa.RecordBatch]]) -> Keyed:
    """Of the accounts of a shard that share something: how many values each alone used."""
    key, batches = element
    table = pa.Table.from_batches([one.replace_schema_metadata(None) for one in batches])
    sharing = table.filter(table[_SHARING])[ACCOUNT]
    table = table.filter(pc.is_in(table[ACCOUNT], value_set=sharing.combine_chunks()))
    made = sum_alone(table.select(ALONE.names))
    made = made.filter(pc.greater(made[VALUES], 0)).combine_chunks()
    return key, one_batch(made.to_batches(), ALONE)


__all__ = ["ALONE_GROUP", "HUBS_GROUP", "USES_GROUP", "SharedUses"]
