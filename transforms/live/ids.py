"""The shard of event ids: which events of a tick repeat an earlier one.

The rule and the order are those of batch (`transforms.steps.deduplicate`): of events with one id
within the horizon of event time, the first one in the order of the folds counts.
"""

from __future__ import annotations

import dataclasses

import numpy as np
import pyarrow as pa

from configs.schema import KIND, Spec
from transforms.batches import RecordBatchCoder, one_batch
from transforms.duplicates import RecentIds
from transforms.live.blocks import Blocks, pack_arrays, unpack_arrays
from transforms.live.shard_log import Tick, rows_of
from transforms.order import PLACE, PLACE_TYPE, total_order
from transforms.steps.stamps import CODE
from transforms.ticks import DAY_US, Int64s, TickSettings

IDS = 0
"""The kind of the blocks that a shard of ids reads."""
_STATE = ("hash_1", "hash_2", "time")


@dataclasses.dataclass(frozen=True)
class Ruled:
    """What was found about a tick's events.

    Attributes:
      tick: its number.
      kept: codes of the events that count, int64; each code is of one event.
      dropped: rows (`id_schema`) of those that repeat one, the same record twice included.
      gone: bool, which of them are to be left out by who holds their other columns (a record that
        came twice in one batch has one code, and is held once).
      overtaken: all of them are late.
      other_kind: how many of the dropped are of another kind than what was seen, as far as known.
    """

    tick: int
    kept: Int64s
    dropped: pa.RecordBatch
    gone: np.ndarray
    overtaken: bool
    other_kind: int = 0


def id_schema(spec: Spec) -> pa.Schema:
    """What a shard of ids reads of an event; `shard_…` is -1 where it has no key."""
    columns = {
        "hash_1": pa.uint64(),
        "hash_2": pa.uint64(),
        "time": pa.int64(),
        CODE: pa.int64(),
        PLACE: PLACE_TYPE,
        KIND: pa.int16(),
        "position": pa.int64(),
        "source": pa.string(),
    }
    columns |= {f"shard_{entity}": pa.int32() for entity in spec.entities}
    return pa.schema(columns)


class Ids:
    """Finds duplicates; a `Machine`.

    Args:
      spec: the use; `events.dedup` is the horizon.
      settings: how many shards there are.
    """

    name = "event ids"

    def __init__(self, spec: Spec, settings: TickSettings) -> None:
        self.blocks = Blocks("shards of event ids", [id_schema(spec)])
        self.fingerprint = f"{settings.homes} shards, horizon {spec.events.dedup_us} us"
        self.keep_us = spec.events.dedup_us + DAY_US
        self._horizon_us = spec.events.dedup_us

    def empty(self) -> RecentIds:
        """No ids."""
        return RecentIds(self._horizon_us)

    def load(self, data: bytes) -> RecentIds:
        """The reverse of `dump`; also of a night's batch of ids."""
        batch = RecordBatchCoder().decode(data)
        return RecentIds.from_table(pa.Table.from_batches([batch]), self._horizon_us)

    def dump(self, state: RecentIds) -> bytes:
        """An Arrow stream."""
        table = state.to_table(since=True)
        return RecordBatchCoder().encode(one_batch(table.to_batches(), table.schema))

    def merge(self, state: RecentIds, other: RecentIds) -> None:
        """Takes the ids over."""
        columns = other.to_table()
        state.take(*(columns.column(name).to_numpy() for name in _STATE))

    def fold(self, state: RecentIds, tick: Tick) -> tuple[bytes, Ruled]:
        """Drops what was seen before; the delta is what was not."""
        rows = one_batch(list(rows_of(self.blocks, tick.blocks, IDS)))
        # Of equal records, which differ in nothing, the source that is named is always the same.
        by_code = np.argsort(rows.column(CODE).to_numpy(), kind="stable")
        place = rows.column(PLACE).take(pa.array(by_code))
        rows = rows.take(
            pa.array(by_code[total_order(rows.column("time").to_numpy()[by_code], place)])
        )
        hash_1, hash_2, time = (rows.column(name).to_numpy() for name in _STATE)
        state.reach(tick.start_us)
        before = state.other_kind
        new = state.take(hash_1, hash_2, time, rows.column(KIND).to_numpy())
        codes = rows.column(CODE).to_numpy()
        kept = codes[new]
        dropped = rows.filter(pa.array(~new))
        gone = ~np.isin(codes[~new], kept)
        delta = pack_arrays(
            hash_1[new], hash_2[new], time[new], np.array([tick.start_us], np.int64)
        )
        other_kind = state.other_kind - before
        return delta, Ruled(tick.number, kept, dropped, gone, tick.overtaken, other_kind)

    def apply(self, state: RecentIds, delta: bytes) -> None:
        """Remembers the ids of a delta."""
        hash_1, hash_2, time, (reached,) = unpack_arrays(delta)
        state.reach(int(reached))
        state.take(hash_1.view(np.uint64), hash_2.view(np.uint64), time)

    def prune(self, state: RecentIds, now_us: int) -> None:
        """Forgets the ids that are older than the horizon."""
        state.prune(now_us)
