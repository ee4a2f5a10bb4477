"""What goes where: an event to its shards, what they find to the shard of its id.

event batch ── split_events ─┬─ id row ────── shard of the id ──┬─ tombstones ─┐
                             ├─ narrow rows ─ shards of its keys ┼◄────────────┘
                             └─ wide row ──── join ◄─ rulings ───┴─ features
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from configs.schema import EVENT_ID, EVENT_TIME, KIND, Spec
from transforms.batches import RecordBatchCoder, ShardKey, one_batch
from transforms.dead_letter import DEAD_LETTER_SCHEMA, Reason, Stage
from transforms.derive import derive
from transforms.duplicates import hash_ids, kind_numbers
from transforms.live.blocks import Blocks, cut_by, pack_blocks
from transforms.live.entity import HOME, ROWS, TOMBSTONES, EntityKeys, FoldedTick
from transforms.live.ids import IDS, Ids, Ruled
from transforms.live.rejoin import EVENTS, FIRST_ENTITY, PARTS, RULINGS, ruling_schema
from transforms.live.shard_log import seed_block
from transforms.order import places
from transforms.selection import verdict_columns, verdict_mask, verdict_rows
from transforms.steps.shards import RECENT_IDS, TOMBSTONE, narrow_rows
from transforms.steps.stamps import CODE, positions_of, row_codes, source_of, tags_of
from transforms.ticks import EVENT, LATE, Int64s, TickSettings, fold_ticks
from transforms.velocity import rows_by_entity, shard_of

JOIN = "join"
"""The group of the shards of event ids where events meet their features."""
DUPLICATE = "an event with this id was taken before, within the horizon of events.dedup"

Routed = tuple[ShardKey, bytes]


class Routes:
    """Where the rows of a spec's events go.

    Args:
      spec: the use.
      settings: of ticks.
      parts: blocks of the join.
    """

    def __init__(self, spec: Spec, settings: TickSettings, parts: Blocks) -> None:
        self._spec, self._settings, self.parts = spec, settings, parts
        self.ids = Ids(spec, settings)
        self.entities = {entity: EntityKeys(spec, entity, settings) for entity in spec.entities}

    def split_events(self, batch: pa.RecordBatch, watermark_us: int) -> Iterator[Routed]:
        """Blocks of a batch of decoded events, by shard.

        Args:
          batch: `[n]` events; the source's stamp and position are kept for dead letters.
          watermark_us: of their source, when it gave them out.
        """
        spec, settings, count = self._spec, self._settings, batch.num_rows
        codes, positions, source = row_codes(batch), positions_of(batch), source_of(batch)
        batch = derive(spec, batch)
        place = places(spec, batch)
        ticks, late = fold_ticks(
            batch.column(EVENT_TIME).to_numpy(), watermark_us, settings.tick_us
        )
        hash_1, hash_2 = hash_ids(batch.column(EVENT_ID))
        home = shard_of(hash_1, settings.homes)
        parts = np.zeros(count, np.int64)
        shards = {}
        plans = {entity: machine.plan for entity, machine in self.entities.items()}
        made = rows_by_entity(plans, batch)
        for number, (entity, machine) in enumerate(self.entities.items()):
            narrow = narrow_rows(made[entity], codes, place)
            where = narrow.column("row").to_numpy()
            own = shard_of(narrow.column("key").to_numpy(), spec.shards)
            shards[entity] = np.full(count, -1, np.int32)
            shards[entity][where] = own
            parts[where] |= 1 << number
            narrow = narrow.append_column(HOME, pa.array(home[where]))
            yield from _cut(entity, machine.blocks, ROWS, narrow, own, ticks[where])
        columns = {
            "hash_1": pa.array(hash_1),
            "hash_2": pa.array(hash_2),
            "time": batch.column(EVENT_TIME),
            CODE: pa.array(codes),
            "place": place,
            KIND: pa.array(kind_numbers(spec, batch.column(KIND))),
            "position": pa.array(positions),
            "source": pa.repeat(source, count),
        }
        columns |= {f"shard_{entity}": pa.array(own) for entity, own in shards.items()}
        ids = pa.RecordBatch.from_pydict(columns)
        yield from _cut(RECENT_IDS, self.ids.blocks, IDS, ids, home, ticks)
        ours = {CODE: pa.array(codes), "place": place, LATE: late, PARTS: parts}
        kept = [f.name for f in self.parts.schemas[EVENTS] if f.name not in ours]
        wide = batch.select(kept).replace_schema_metadata(None)
        for name, values in ours.items():
            wide = wide.append_column(name, pa.array(values))
        yield from _cut(JOIN, self.parts, EVENTS, wide, home, ticks)

    def of_ruled(self, home: int, ruled: Ruled) -> Iterator[Routed]:
        """What a shard of ids found: to the join, and to the shards that hold what is dropped."""
        gone = ruled.dropped.filter(pa.array(ruled.gone))
        codes = gone.column(CODE).to_numpy()
        known = np.concatenate([ruled.kept, codes])
        rulings = pa.RecordBatch.from_arrays(
            [
                pa.array(known),
                pa.array(np.arange(len(known)) < len(ruled.kept)),
                pa.array(np.full(len(known), ruled.overtaken)),
            ],
            schema=ruling_schema(),
        )
        yield ShardKey(JOIN, home), self.parts.write(RULINGS, rulings, ruled.tick)
        if not len(codes):
            return
        for entity, machine in self.entities.items():
            shards = gone.column(f"shard_{entity}").to_numpy()
            for shard, where in cut_by(shards):
                if shard < 0:
                    continue
                schema = machine.blocks.schemas[TOMBSTONES]
                tombstones = pa.RecordBatch.from_pydict({TOMBSTONE: codes[where]}, schema)
                block = machine.blocks.write(TOMBSTONES, tombstones, ruled.tick)
                yield ShardKey(entity, shard), block

    def of_folded(self, entity: str, found: Iterable[FoldedTick]) -> Iterator[Routed]:
        """Features of an entity's shards, to the join: a block by tick and shard of ids."""
        kind = FIRST_ENTITY + list(self.entities).index(entity)
        by_tick: dict[int, list[FoldedTick]] = {}
        for one in found:
            if one.features.num_rows:
                by_tick.setdefault(one.tick, []).append(one)
        for tick, folded in by_tick.items():
            features = one_batch([one.features for one in folded])
            homes = np.concatenate([one.homes for one in folded])
            order = np.argsort(homes, kind="stable")
            features = features.take(pa.array(order))
            for home, first, last in _runs(homes[order]):
                part = features.slice(first, last - first)
                yield ShardKey(JOIN, home), self.parts.write(kind, part, tick)


def duplicate_dead_letters(dropped: pa.RecordBatch) -> pa.RecordBatch:
    """Dead letters of dropped events (`Ruled.dropped`)."""
    values = {
        "stage": str(Stage.DEDUPLICATE),
        "reason": str(Reason.DUPLICATE_ID),
        "column": EVENT_ID,
        "detail": DUPLICATE,
    }
    columns = {name: pa.repeat(value, dropped.num_rows) for name, value in values.items()}
    columns |= {name: dropped.column(name) for name in ("source", "position")}
    table = pa.table(columns).select(DEAD_LETTER_SCHEMA.names).cast(DEAD_LETTER_SCHEMA)
    return one_batch(table.to_batches(), DEAD_LETTER_SCHEMA)


def verdicts_of(spec: Spec, others: pa.RecordBatch) -> pa.RecordBatch:
    """The verdicts among accepted events that are not scored (`verdict_schema`)."""
    event = others.column(EVENT)
    batch = pa.RecordBatch.from_arrays(event.flatten(), names=[f.name for f in event.type])
    batch = batch.filter(pa.array(verdict_mask(spec, batch)))
    if verdict_columns(spec) & spec.derived.keys():
        batch = derive(spec, batch)
    return verdict_rows(spec, batch)


def seed_pieces(key: ShardKey, state: pa.RecordBatch, settings: TickSettings) -> Iterator[Routed]:
    """A shard's state of an earlier run, by the shards of this one.

    Where it is tagged with its `moment`, events before that are late.

    Shards of ids may be others here than there; those of an entity are the spec's.
    """
    moment = tags_of(state).get("moment")
    as_of = None if moment is None else int(moment)
    if key.group != RECENT_IDS:
        yield key, seed_block(RecordBatchCoder().encode(state), as_of)
        return
    homes = shard_of(state.column("hash_1").to_numpy(), settings.homes)
    for home, where in cut_by(homes):
        piece = state.take(pa.array(where)).replace_schema_metadata(None)
        yield ShardKey(RECENT_IDS, home), seed_block(RecordBatchCoder().encode(piece), as_of)


def _cut(
    group: str,
    blocks: Blocks,
    kind: int,
    rows: pa.RecordBatch,
    shards: npt.NDArray[np.int32],
    ticks: Int64s,
) -> Iterator[Routed]:
    """Rows as an element for each shard, with a block for each of its ticks.

    They are put in order once; the pieces are slices of them.
    """
    order = np.lexsort((ticks, shards))
    rows, shards, ticks = rows.take(pa.array(order)), shards[order], ticks[order]
    for shard, begin, end in _runs(shards):
        made = [
            blocks.write(kind, rows.slice(begin + first, last - first), tick)
            for tick, first, last in _runs(ticks[begin:end])
        ]
        yield ShardKey(group, shard), pack_blocks(made)


def _runs(numbers: npt.NDArray[np.integer]) -> Iterator[tuple[int, int, int]]:
    """Runs of equal numbers: (number, first place, place after the last)."""
    if not len(numbers):
        return
    cuts = [0, *(np.flatnonzero(numbers[1:] != numbers[:-1]) + 1).tolist(), len(numbers)]
    for first, last in itertools.pairwise(cuts):
        yield int(numbers[first]), first, last


__all__ = [
    "DUPLICATE",
    "JOIN",
    "Routed",
    "Routes",
    "duplicate_dead_letters",
    "seed_pieces",
    "verdicts_of",
]
