"""The shard of an entity's keys: the fold of a tick, and its features by where they are wanted."""

from __future__ import annotations

import dataclasses
import struct
from collections.abc import Mapping

import numpy as np
import pyarrow as pa

from configs.schema import Spec
from transforms.batches import RecordBatchCoder, one_batch
from transforms.live.blocks import Blocks, pack_arrays, unpack_arrays
from transforms.live.shard_log import Tick, rows_of
from transforms.order import PLACE, total_order
from transforms.steps.shards import FEATURES, TOMBSTONE, narrow_schema, rows_to_keep
from transforms.steps.stamps import CODE
from transforms.ticks import DAY_US, Int64s, TickSettings
from transforms.velocity import Plan, ShardState, finish, fold, make_plan, rows_from_batch

ROWS, TOMBSTONES = 0, 1
"""The kinds of the blocks that an entity's shard reads."""
HOME = "home"
_EXPIRY = struct.Struct("<?q")


@dataclasses.dataclass(frozen=True)
class FoldedTick:
    """Features of a tick.

    Attributes:
      tick: its number.
      features: `feature_schema`, of the scored rows.
      homes: int64 `[n]`, the shard of event ids of each.
      saturated: as `velocity.Folded`.
    """

    tick: int
    features: pa.RecordBatch
    homes: Int64s
    saturated: Mapping[str, int]


def row_schema(plan: Plan) -> pa.Schema:
    """What an entity's shard reads of an event."""
    return narrow_schema(plan).append(pa.field(HOME, pa.int32()))


def tombstone_schema() -> pa.Schema:
    """Codes of rows that are left out."""
    return pa.schema({TOMBSTONE: pa.int64()})


def feature_schema(plan: Plan) -> pa.Schema:
    """What an entity's shard says about an event."""
    return pa.schema(
        {
            CODE: pa.int64(),
            FEATURES: pa.list_(pa.float32(), len(plan.features)),
            "sequence": pa.int64(),
            "overtaken": pa.bool_(),
        }
    )


class EntityKeys:
    """Folds an entity's rows; a `Machine`.

    Args:
      spec: the use.
      entity: its name.
      settings: of ticks.
    """

    def __init__(self, spec: Spec, entity: str, settings: TickSettings) -> None:
        self.plan = make_plan(spec, entity)
        schemas = [row_schema(self.plan), tombstone_schema()]
        self.blocks = Blocks(f"shards of entity {entity!r}", schemas)
        self.name = f"entity {entity!r}"
        self.fingerprint = f"{self.plan.fingerprint}, {spec.shards} shards"
        self.keep_us = self.plan.retention_us + DAY_US

    def empty(self) -> ShardState:
        """No keys."""
        return ShardState.empty(self.plan)

    def load(self, data: bytes) -> ShardState:
        """The reverse of `dump`; also of a night's batch of the shard."""
        batch = RecordBatchCoder().decode(data)
        return ShardState.from_table(pa.Table.from_batches([batch]), self.plan)

    def dump(self, state: ShardState) -> bytes:
        """An Arrow stream, with digest and fingerprint."""
        table = state.to_table()
        return RecordBatchCoder().encode(
            one_batch(table.combine_chunks().to_batches(), table.schema)
        )

    def merge(self, state: ShardState, other: ShardState) -> None:
        """Takes the keys over."""
        state.merge(other)

    def fold(self, state: ShardState, tick: Tick) -> tuple[bytes, FoldedTick]:
        """Folds in total order; the delta is the new bytes of each touched key."""
        plan, dropped = self.plan, np.empty(0, np.int64)
        found = [one.column(TOMBSTONE).to_numpy() for one in self._of(tick, TOMBSTONES)]
        if found:
            dropped = np.unique(np.concatenate(found))
        pieces = self._of(tick, ROWS)
        rows = one_batch(pieces, self.blocks.schemas[ROWS])
        keep = rows_to_keep(rows.column(CODE).to_numpy(), dropped)
        if keep is not None:
            rows = rows.take(pa.array(keep))
        rows = rows.take(pa.array(total_order(rows.column("time").to_numpy(), rows.column(PLACE))))
        if tick.expire_us is not None:
            state.expire(tick.expire_us)
        narrow = rows_from_batch(plan, rows)
        folded = fold(plan, state, narrow)
        state.update(folded.delta)
        asked = pa.array(np.flatnonzero(narrow.query))
        values = finish(plan, folded.outputs)
        features = pa.RecordBatch.from_arrays(
            [
                rows.column(CODE).take(asked),
                pa.FixedSizeListArray.from_arrays(pa.array(values.ravel()), len(plan.features)),
                pa.array(folded.sequence),
                pa.array(np.full(len(values), tick.overtaken)),
            ],
            schema=feature_schema(plan),
        )
        homes = rows.column(HOME).take(asked).to_numpy().astype(np.int64)
        made = FoldedTick(tick.number, features, homes, folded.saturated)
        return _delta(folded.delta, tick.expire_us), made

    def apply(self, state: ShardState, delta: bytes) -> None:
        """Frees what was freed, and puts the new bytes in their place."""
        known, expire_us = _EXPIRY.unpack_from(delta)
        if known:
            state.expire(expire_us)
        keys, lengths = unpack_arrays(delta[_EXPIRY.size :])
        at = len(delta) - int(lengths.sum())
        made = {}
        for key, length in zip(keys.view(np.uint64).tolist(), lengths.tolist(), strict=True):
            made[key] = delta[at : at + length]
            at += length
        state.update(made)

    def prune(self, state: ShardState, now_us: int) -> None:
        """Nothing: keys are freed at the first tick of a day (`transforms.ticks`)."""

    def _of(self, tick: Tick, kind: int) -> list[pa.RecordBatch]:
        return list(rows_of(self.blocks, tick.blocks, kind))


def _delta(changed: dict[int, bytes], expire_us: int | None) -> bytes:
    keys = np.fromiter(changed, np.uint64, len(changed))
    lengths = np.fromiter(map(len, changed.values()), np.int64, len(changed))
    head = _EXPIRY.pack(expire_us is not None, expire_us or 0)
    return head + pack_arrays(keys, lengths) + b"".join(changed.values())
