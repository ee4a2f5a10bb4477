"""Events and their features, back together at the shard of their id: a tick at a time.

An event is complete when the shard of its id has said whether it counts, and the shards of all its
keys have sent its features. In a tick whose end has passed all are; what a source gave out behind
its watermark may have to wait for a part, whose arrival sets the timer again.
"""

from __future__ import annotations

import dataclasses

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from configs.schema import EVENT_ID, EVENT_TIME, KIND, Spec
from transforms.batches import one_batch
from transforms.decode import event_schema
from transforms.inputs import numeric_columns
from transforms.live.blocks import BlockHeader, Blocks
from transforms.live.entity import feature_schema
from transforms.live.shard_log import SLOTS, Cells, rows_of, take_due
from transforms.order import PLACE, PLACE_TYPE, total_order
from transforms.selection import input_columns, scored_mask, scored_schema
from transforms.social.as_of import Sees
from transforms.social.shard_table import Floats
from transforms.steps.join import dataset_columns
from transforms.steps.shards import FEATURES
from transforms.steps.stamps import CODE, tag_batch
from transforms.ticks import (
    EVENT,
    LATE,
    PLACE_IN_TIME,
    SEQUENCES,
    SNAPSHOT,
    TICK,
    Bools,
    Int64s,
    TickSettings,
)
from transforms.velocity import make_plan

EVENTS, RULINGS, FIRST_ENTITY = 0, 1, 2
"""The kinds of the blocks that meet; features of the spec's entities follow in their order."""
PARTS = "parts"


@dataclasses.dataclass(frozen=True)
class Joined:
    """A tick's accepted events of one shard of ids.

    Attributes:
      rows: scored ones, with their features; None: none.
      others: those that are not scored; None: none.
      late: how many of both are late.
      waiting: how many are not complete yet.
    """

    rows: pa.RecordBatch | None
    others: pa.RecordBatch | None
    late: int
    waiting: int


def wide_schema(spec: Spec) -> pa.Schema:
    """The columns that are kept of an event: decoded ones, derived ones that are inputs, and ours.

    `parts` has a bit for each entity that the event has a key of.
    """
    fields = list(event_schema(spec))
    known = {field.name for field in fields}
    fields += [field for field in scored_schema(spec) if field.name not in known]
    ours = {
        CODE: pa.int64(),
        PLACE: PLACE_TYPE,
        LATE: pa.bool_(),
        PARTS: pa.int64(),
    }
    return pa.schema(fields + [pa.field(name, type_) for name, type_ in ours.items()])


def ruling_schema() -> pa.Schema:
    """What the shard of an event's id says about it."""
    return pa.schema({CODE: pa.int64(), "kept": pa.bool_(), "overtaken": pa.bool_()})


def part_blocks(spec: Spec) -> Blocks:
    """The blocks that meet."""
    features = [feature_schema(make_plan(spec, entity)) for entity in spec.entities]
    return Blocks("join of events and features", [wide_schema(spec), ruling_schema(), *features])


class Rejoin:
    """Joins a tick's events and features.

    Args:
      spec: the use.
      settings: of ticks.
      snapshots: of the social graph, that events see; None where the spec reads none.
    """

    def __init__(self, spec: Spec, settings: TickSettings, snapshots: Sees | None = None) -> None:
        self._snapshots = snapshots
        self.blocks = part_blocks(spec)
        self._spec, self._settings = spec, settings
        self._plans = [make_plan(spec, entity) for entity in spec.entities]

    def fire(self, cells: Cells, shard: int, tick: int, in_order: bool = True) -> list[Joined]:
        """Joins what waits for a tick; what is not complete goes on waiting.

        Args:
          cells: of the shard; only its buffer is used.
          shard: its number.
          tick: whose end has passed.
          in_order: see `take_due`.
        """
        return [self._join(cells, shard, *one) for one in take_due(cells, tick, in_order)]

    def _join(
        self, cells: Cells, shard: int, tick: int, found: list[tuple[BlockHeader, bytes]]
    ) -> Joined:
        pieces = list(rows_of(self.blocks, found, EVENTS))
        if not pieces:
            self._put_back(cells, tick, found)
            return Joined(None, None, 0, 0)
        wide = one_batch(pieces)
        codes, first = np.unique(wide.column(CODE).to_numpy(), return_index=True)
        if len(codes) < wide.num_rows:  # one batch was given twice
            wide = wide.take(pa.array(np.sort(first)))
        wide = wide.take(
            pa.array(total_order(wide.column(EVENT_TIME).to_numpy(), wide.column(PLACE)))
        )
        codes = wide.column(CODE).to_numpy()
        index = _Index(codes)
        late = wide.column(LATE).to_numpy(zero_copy_only=False).copy()
        kept, ruled = self._ruled(found, index, late)
        scored = scored_mask(self._spec, wide)
        parts = np.where(scored, wide.column(PARTS).to_numpy(), 0)
        matrices, sequences, here = self._features(found, index, late)
        complete = ruled & (~kept | ((here & parts) == parts))
        waiting = int((~complete).sum())
        if waiting:
            self._keep_waiting(cells, tick, wide, ~complete, found, codes)
        rows, others = complete & kept & scored, complete & kept & ~scored
        made: list[pa.RecordBatch | None] = []
        for mask in (rows, others):
            chosen = np.flatnonzero(mask)
            if not len(chosen):
                made.append(None)
                continue
            picked = wide.take(pa.array(chosen))
            features = [matrix[chosen] for matrix in matrices] if mask is rows else None
            batch = self._batch(picked, features, late[chosen], sequences[chosen], tick)
            made.append(tag_batch(batch, tick=tick * self._settings.tick_us, shard=shard))
        return Joined(made[0], made[1], int((late & (rows | others)).sum()), waiting)

    def _ruled(
        self, found: list[tuple[BlockHeader, bytes]], index: _Index, late: Bools
    ) -> tuple[Bools, Bools]:
        """Which events count, and of which this is known; marks late ones."""
        kept, ruled = np.zeros(len(late), np.bool_), np.zeros(len(late), np.bool_)
        for ruling in rows_of(self.blocks, found, RULINGS):
            at, which = index.of(ruling.column(CODE).to_numpy())
            kept[at] |= ruling.column("kept").to_numpy(zero_copy_only=False)[which]
            late[at] |= ruling.column("overtaken").to_numpy(zero_copy_only=False)[which]
            ruled[at] = True
        return kept, ruled

    def _features(
        self, found: list[tuple[BlockHeader, bytes]], index: _Index, late: Bools
    ) -> tuple[list[np.ndarray], Int64s, Int64s]:
        """Features and sequence numbers of each entity, and a bit for each that is there."""
        count = len(late)
        sequences = np.full((count, len(self._plans)), -1, np.int64)
        here = np.zeros(count, np.int64)
        matrices = []
        for number, plan in enumerate(self._plans):
            width = len(plan.features)
            matrix = np.full((count, width), np.nan, np.float32)
            for part in rows_of(self.blocks, found, FIRST_ENTITY + number):
                at, which = index.of(part.column(CODE).to_numpy())
                values = part.column(FEATURES).flatten().to_numpy().reshape(-1, width)
                matrix[at] = values[which]
                sequences[at, number] = part.column("sequence").to_numpy()[which]
                late[at] |= part.column("overtaken").to_numpy(zero_copy_only=False)[which]
                here[at] |= 1 << number
            matrices.append(matrix)
        return matrices, sequences, here

    def _batch(
        self,
        wide: pa.RecordBatch,
        features: list[np.ndarray] | None,
        late: Bools,
        sequences: Int64s,
        tick: int,
    ) -> pa.RecordBatch:
        spec, count = self._spec, wide.num_rows
        if features is None:
            batch = wide.select([EVENT_ID, EVENT_TIME, KIND])
        else:
            named: dict[str, Floats] = dict(zip(spec.entities, features, strict=True))
            if self._snapshots is not None:
                seen = self._snapshots.look(wide)
                named |= seen.features
            needed = dict.fromkeys([EVENT_ID, EVENT_TIME, KIND, *input_columns(spec)])
            events = wide.select(list(needed))
            batch = dataset_columns(spec, events, numeric_columns(spec, wide, named))
        schema = event_schema(spec)
        event = pa.StructArray.from_arrays(
            [wide.column(name) for name in schema.names], fields=list(schema)
        )
        numbers = pa.array(np.ascontiguousarray(sequences).ravel())
        ours = {
            LATE: pa.array(late),
            TICK: pa.array(np.full(count, tick * self._settings.tick_us, np.int64)),
            PLACE_IN_TIME: wide.column(PLACE),
            SEQUENCES: pa.FixedSizeListArray.from_arrays(numbers, max(sequences.shape[1], 1))
            if sequences.shape[1]
            else pa.nulls(count, pa.list_(pa.int64(), 0)),
            EVENT: event,
        }
        if features is not None and self._snapshots is not None:
            ours[SNAPSHOT] = seen.names
        for name, column in ours.items():
            batch = batch.append_column(name, column)
        return batch

    def _keep_waiting(
        self,
        cells: Cells,
        tick: int,
        wide: pa.RecordBatch,
        waiting: Bools,
        found: list[tuple[BlockHeader, bytes]],
        codes: Int64s,
    ) -> None:
        cells.put(tick % SLOTS, self.blocks.write(EVENTS, wide.filter(pa.array(waiting)), tick))
        wanted = pa.array(codes[waiting])
        for header, block in found:
            if header.kind == EVENTS:
                continue
            rows = self.blocks.read(block)
            rows = rows.filter(pc.is_in(rows.column(CODE), value_set=wanted))
            if rows.num_rows:
                cells.put(tick % SLOTS, self.blocks.write(header.kind, rows, tick))

    @staticmethod
    def _put_back(cells: Cells, tick: int, found: list[tuple[BlockHeader, bytes]]) -> None:
        for _, block in found:
            cells.put(tick % SLOTS, block)


class _Index:
    """Where codes stand among those of a tick's events."""

    def __init__(self, codes: Int64s) -> None:
        self._order = np.argsort(codes, kind="stable")
        self._sorted = codes[self._order]

    def of(self, codes: Int64s) -> tuple[Int64s, Int64s]:
        """Places of those that are there; and which of the given ones they are."""
        at = np.minimum(np.searchsorted(self._sorted, codes), len(self._sorted) - 1)
        there = np.flatnonzero(self._sorted[at] == codes)
        return np.asarray(self._order[at[there]], np.int64), there
