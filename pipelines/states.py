"""State at a day's end: one object per shard, of each entity and of the event ids."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterator
from pathlib import Path

import apache_beam as beam
import numpy as np
import pyarrow as pa

from configs.errors import StateError
from configs.schema import Spec
from pipelines.failures import reported
from pipelines.files import read_arrow
from transforms.batches import ShardKey, one_batch
from transforms.duplicates import RecentIds
from transforms.steps import RECENT_IDS
from transforms.steps.shards import Keyed
from transforms.velocity import shard_of

WHOLE_RECENT_IDS = "recent-ids.arrow"
"""Ids of all shards in one file: of a scorer's snapshot, and of days that earlier builds made."""


@dataclasses.dataclass(eq=False)
class ReadStates(beam.PTransform):
    """The state at the end of a day, by shard.

    Args:
      folder: of the day.
      spec: the use.
      entities: whose state is read.
      attempt: where failures are written down.
    """

    folder: str
    spec: Spec
    entities: tuple[str, ...]
    attempt: str

    def expand(self, root: beam.pvalue.PBegin) -> beam.PCollection[Keyed]:
        """Applies it."""
        groups = (*self.entities, RECENT_IDS)
        keys = [ShardKey(group, n) for group in groups for n in range(self.spec.shards)]
        return (
            root
            | "Shards" >> beam.Create(keys, reshuffle=False).with_output_types(ShardKey)
            | "Spread" >> beam.Reshuffle()
            | "Read"
            >> beam.ParDo(_ReadState(self.folder, self.spec, self.attempt)).with_output_types(Keyed)
        )


def state_file(group: str, shard: int) -> str:
    """The name of a shard's state in a day's folder.

    >>> state_file("author", 3)
    'author-003.arrow'
    """
    return f"{group}-{shard:03d}.arrow"


def read_recent_ids(folder: Path, horizon_us: int) -> RecentIds:
    """The ids of a day's folder, all shards together."""
    whole = folder / WHOLE_RECENT_IDS
    paths = [whole] if whole.exists() else sorted(folder.glob(f"{RECENT_IDS}-*.arrow"))
    if not paths:
        raise StateError(f"{folder} has no event ids; run the backfill of that day anew")
    table = pa.concat_tables(
        [read_arrow(str(path)).replace_schema_metadata(None) for path in paths]
    )
    return RecentIds.from_table(table, horizon_us)


class _ReadState(beam.DoFn):
    def __init__(self, folder: str, spec: Spec, attempt: str) -> None:
        self._folder, self._spec, self._attempt = folder, spec, attempt

    def process(self, key: ShardKey) -> Iterator[Keyed]:
        with reported(self._attempt):
            table = self._read(key)
        yield key, one_batch(table.combine_chunks().to_batches(), table.schema)

    def _read(self, key: ShardKey) -> pa.Table:
        whole = os.path.join(self._folder, WHOLE_RECENT_IDS)
        if key.group == RECENT_IDS and os.path.exists(whole):
            table = read_arrow(whole)
            numbers = shard_of(table.column("hash_1").to_numpy(), self._spec.shards)
            return table.filter(pa.array(np.asarray(numbers == key.shard)))
        path = os.path.join(self._folder, state_file(*key))
        if not os.path.exists(path):
            raise StateError(f"{path} is missing; run the backfill of that day anew")
        return read_arrow(path)
