"""State at a day's end: one object per shard, of each entity and of the event ids."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping

import apache_beam as beam
import numpy as np
import pyarrow as pa

from configs.errors import StateError
from configs.schema import Spec
from pipelines.failures import reported
from pipelines.files import read_published
from transforms.batches import ShardKey, one_batch
from transforms.duplicates import RecentIds
from transforms.steps import RECENT_IDS
from transforms.steps.shards import Keyed
from transforms.steps.spread import Spread
from transforms.velocity import ShardState, make_plan, shard_of

WHOLE_RECENT_IDS = "recent-ids.arrow"
"""Ids of all shards in one file: of a scorer's snapshot, and of days that earlier builds made."""


@dataclasses.dataclass(eq=False)
class ReadStates(beam.PTransform):
    """The state at the end of a day, by shard; dealt out anew if it was cut into other shards.

    Args:
      files: name -> path of the day's state (`Layout.state`).
      spec: the use.
      entities: whose state is read.
      attempt: where failures are written down.
    """

    files: Mapping[str, str]
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
            | Spread(ShardKey)
            | "Read"
            >> beam.ParDo(_ReadState(self.files, self.spec, self.attempt)).with_output_types(Keyed)
        )


def state_file(group: str, shard: int) -> str:
    """The name of a shard's state of a day, without the digest.

    >>> state_file("author", 3)
    'author-003.arrow'
    """
    return f"{group}-{shard:03d}.arrow"


def group_of(name: str) -> str:
    """The entity, or `RECENT_IDS`, of a shard's state, by its name.

    >>> group_of("author-003.arrow")
    'author'
    """
    return RECENT_IDS if name == WHOLE_RECENT_IDS else name.rpartition("-")[0]


def read_recent_ids(files: Mapping[str, str], horizon_us: int, of: str) -> RecentIds:
    """The ids of a day or a snapshot, all shards together.

    Args:
      files: name -> path.
      horizon_us: how long ids are known.
      of: whose they are, for messages.
    """
    paths = [path for name, path in sorted(files.items()) if group_of(name) == RECENT_IDS]
    if not paths:
        raise StateError(f"{of} has no event ids; run the backfill of that day anew")
    table = pa.concat_tables(
        [read_published(path, StateError).replace_schema_metadata(None) for path in paths]
    )
    return RecentIds.from_table(table, horizon_us)


class _ReadState(beam.DoFn):
    def __init__(self, files: Mapping[str, str], spec: Spec, attempt: str) -> None:
        self._files, self._spec, self._attempt = dict(files), spec, attempt

    def process(self, key: ShardKey) -> Iterator[Keyed]:
        with reported(self._attempt):
            table = self._read(key)
        yield key, one_batch(table.combine_chunks().to_batches(), table.schema)

    def _read(self, key: ShardKey) -> pa.Table:
        shards = self._spec.shards
        paths = {name: path for name, path in self._files.items() if group_of(name) == key.group}
        name = state_file(*key)
        if not paths or (len(paths) == shards and name not in paths):
            raise StateError(f"the day before has no {name}; run the backfill of that day anew")
        if len(paths) == shards and WHOLE_RECENT_IDS not in paths:
            return read_published(paths[name], StateError)
        tables = [read_published(path, StateError) for path in paths.values()]  # of other shards
        if key.group == RECENT_IDS:
            table = pa.concat_tables(tables)
            numbers = shard_of(table.column("hash_1").to_numpy(), shards)
            return table.filter(pa.array(np.asarray(numbers == key.shard)))
        plan = make_plan(self._spec, key.group)
        whole = ShardState.empty(plan)
        for table in tables:
            whole.merge(ShardState.from_table(table, plan))
        return whole.split(plan, shards)[key.shard].to_table()
