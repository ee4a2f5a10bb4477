"""`SharedUses`: events to the values that accounts share, and last judgements, by shard.

    events ─ Derive ─ Narrow ─ GroupByKey ─ Reduce ─ a batch per shard: of uses, hubs, judgements

Uses are of the shard of the value, judgements of that of the account. What a shard gives is a
function of its rows: an event that comes twice changes nothing, nor does any order. Values that one
account alone used, which are most, end here.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator

import apache_beam as beam
import pyarrow as pa

from configs.schema import Spec
from transforms.batches import ShardKey, one_batch
from transforms.campaigns.uses import HUBS, USES, VALUE, shared_uses, uses_of
from transforms.social.events import ACCOUNT, judgements_of
from transforms.steps.decode import Derive
from transforms.steps.shards import Keyed
from transforms.steps.social import JUDGEMENTS_GROUP, account_shard, by_shard, reduce_judgements
from transforms.velocity.rows import shard_of

USES_GROUP, HUBS_GROUP = "uses", "hubs"


@dataclasses.dataclass(eq=False)
class SharedUses(beam.PTransform):
    """Decoded events to what campaigns are found in, by shard.

    Args:
      spec: the use; it has campaigns.
    """

    spec: Spec

    def expand(self, events: beam.PCollection[pa.RecordBatch]) -> beam.PCollection[Keyed]:
        """Applies it."""
        return (
            events
            | Derive(self.spec)
            | "Narrow" >> beam.ParDo(_Narrow(self.spec)).with_output_types(Keyed)
            | "ByShard" >> beam.GroupByKey()
            | "Reduce" >> beam.ParDo(_Reduce(self.spec)).with_output_types(Keyed)
        )


class _Narrow(beam.DoFn):
    def __init__(self, spec: Spec) -> None:
        self._spec = spec

    def process(self, batch: pa.RecordBatch) -> Iterator[Keyed]:
        campaigns, shards = self._spec.campaigns, self._spec.shards
        if campaigns is None:
            return
        uses = uses_of(campaigns, batch)
        yield from by_shard(USES_GROUP, uses, shard_of(uses[VALUE].to_numpy(), shards))
        judged = judgements_of(self._spec, batch, campaigns.judged)
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
            groups = ((USES_GROUP, made.shared, USES), (HUBS_GROUP, made.hubs, HUBS))
            for group, table, schema in groups:
                if table.num_rows:
                    rows = table.combine_chunks().to_batches()
                    yield ShardKey(group, key.shard), one_batch(rows, schema)


__all__ = ["HUBS_GROUP", "USES_GROUP", "SharedUses"]
