"""Events to narrow rows by shard, and the fold of a shard: the two sides of the shuffle.

`SplitByShard` narrows each batch of derived events to what the folds need and sends every row to
the shard of its key; `FoldShards` folds a shard's rows in total order, and gives out features and
the state at each wanted moment. Which events are duplicates is found meanwhile, by shards of the
id (`transforms.steps.deduplicate`); it reaches a shard as tombstones, the codes of dropped rows.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import apache_beam as beam
import numpy as np
import numpy.typing as npt
import pyarrow as pa
from apache_beam.metrics import Metrics
from apache_beam.pvalue import TaggedOutput

from configs.schema import EVENT_ID, EVENT_TIME, KIND, Spec
from transforms.batches import ShardKey, one_batch
from transforms.duplicates import hash_ids, kind_numbers
from transforms.exchange import THROUGH_ENGINE, Exchange
from transforms.order import PLACE, PLACE_TYPE, places, total_order
from transforms.selection import (
    kept_columns,
    scored_mask,
    verdict_mask,
    verdict_rows,
)
from transforms.steps.stamps import (
    CODE,
    batch_numbers,
    positions_of,
    row_codes,
    source_of,
    tag_batch,
)
from transforms.velocity import (
    Plan,
    Rows,
    SortedState,
    finish,
    fold_touched,
    make_plan,
    rows_by_entity,
    rows_from_batch,
    rows_to_batch,
    shard_of,
)

IDS, KEPT, MINUTES, STATES = "ids", "kept", "minutes", "states"
RECENT_IDS = "recent-ids"
"""The group of the shards of event ids."""
TOMBSTONE, FEATURES, TIME = "tombstone", "features", "time"
MINUTE_US = 60_000_000
SATURATED = "saturated_values "
"""How the counter of each aggregate's values that did not fit begins."""
IS_SCORED, IS_VERDICT = 1, 2
_FINISH_ROWS = 32_768

Floats = npt.NDArray[np.float32]
Int64s = npt.NDArray[np.int64]
Keyed = tuple[ShardKey, pa.RecordBatch]


@beam.typehints.with_input_types(pa.RecordBatch)
@dataclasses.dataclass(eq=False)
class SplitByShard(beam.PTransform):
    """Derived events to narrow rows of each entity's shards, and what is kept of them otherwise.

    Args:
      spec: the use.
      entities: those whose features are wanted; all if None.
      exchange: how batches travel from here on.

    Outputs: `rows`, narrow rows by shard of their key; `ids`, rows by shard of the event id;
    `kept`, scored events and verdicts with the columns that are kept; `minutes`, how many scored
    events each minute has.
    """

    spec: Spec
    entities: Sequence[str] | None = None
    exchange: Exchange = THROUGH_ENGINE

    def expand(self, events: beam.PCollection[pa.RecordBatch]) -> Any:
        """Applies it."""
        entities = tuple(self.spec.entities if self.entities is None else self.entities)
        return events | "Split" >> beam.ParDo(
            _Split(self.spec, entities, self.exchange)
        ).with_output_types(
            Keyed, **{IDS: Keyed, KEPT: pa.RecordBatch, MINUTES: pa.RecordBatch}
        ).with_outputs(IDS, KEPT, MINUTES, main="rows")


@dataclasses.dataclass(eq=False)
class FoldShards(beam.PTransform):
    """Narrow rows, tombstones and earlier state of each shard to features and later state.

    Args:
      spec: the use.
      moments: when state is given out, ascending, microseconds UTC: of all rows before it.
      exchange: how batches travel.

    Outputs: `features`, batches of time, code and features in total order; `states`, by shard,
    tagged with their moment.
    """

    spec: Spec
    moments: Sequence[int] = ()
    exchange: Exchange = THROUGH_ENGINE

    def expand(self, grouped: beam.PCollection[tuple[ShardKey, Iterable[pa.RecordBatch]]]) -> Any:
        """Applies it."""
        return grouped | "Fold" >> beam.ParDo(
            _Fold(self.spec, tuple(self.moments), self.exchange)
        ).with_output_types(pa.RecordBatch, **{STATES: Keyed}).with_outputs(STATES, main=FEATURES)


def narrow_rows(rows: Rows, codes: Int64s, place: pa.BinaryArray) -> pa.RecordBatch:
    """An entity's rows of a batch, with the code and the place of each.

    Args:
      rows: of `n` events (`rows_by_entity`).
      codes: int64 `[n]`.
      place: where each stands among the events of its time (`transforms.order`).
    """
    narrow = rows_to_batch(rows).append_column(CODE, pa.array(codes[rows.row]))
    return narrow.append_column(PLACE, place.take(pa.array(rows.row)))


def id_rows(
    batch: pa.RecordBatch,
    codes: Int64s,
    place: pa.BinaryArray,
    shards: dict[str, npt.NDArray[np.int32]],
    scored: npt.NDArray[np.bool_],
    verdicts: npt.NDArray[np.bool_],
    kinds: npt.NDArray[np.int16],
) -> pa.RecordBatch:
    """What finds duplicates, and tells those who hold a duplicate's other columns."""
    hash_1, hash_2 = hash_ids(batch.column(EVENT_ID))
    columns = {
        "hash_1": pa.array(hash_1),
        "hash_2": pa.array(hash_2),
        TIME: batch.column(EVENT_TIME),
        CODE: pa.array(codes),
        PLACE: place,
        "position": pa.array(positions_of(batch)),
        KEPT: pa.array((scored * IS_SCORED + verdicts * IS_VERDICT).astype(np.int8)),
        KIND: pa.array(kinds),
    }
    columns |= {f"shard_{entity}": pa.array(numbers) for entity, numbers in shards.items()}
    return tag_batch(pa.RecordBatch.from_pydict(columns), source=source_of(batch))


def shard_slices(
    shards: npt.NDArray[np.int32], count: int
) -> tuple[Int64s, list[tuple[int, int, int]]]:
    """How rows are ordered by shard, and where each shard's begin and end.

    >>> order, slices = shard_slices(np.array([2, 0, 2], np.int32), 4)
    >>> order.tolist(), slices
    ([1, 0, 2], [(0, 0, 1), (2, 1, 3)])
    """
    narrow = shards.astype(np.int16) if count < 1 << 15 else shards  # 16 bits: a radix sort
    order = np.argsort(narrow, kind="stable")
    ends = np.cumsum(np.bincount(shards, minlength=count)).tolist()
    starts = [0, *ends[:-1]]
    return order, [(n, a, z) for n, (a, z) in enumerate(zip(starts, ends, strict=True)) if z > a]


def is_state(batch: pa.RecordBatch) -> bool:
    """Whether a batch of a shard is its earlier state."""
    return bool(batch.schema.names == ["key", "state"])


def without_tombstones(
    batches: Iterable[pa.RecordBatch],
) -> tuple[list[pa.RecordBatch], Int64s]:
    """The batches that are rows, and the codes of rows to drop: int64, ascending."""
    rows, dropped = [], []
    for batch in batches:
        if batch.schema.names[0] == TOMBSTONE:
            dropped.append(batch.column(TOMBSTONE).to_numpy())
        else:
            rows.append(batch)
    codes = np.unique(np.concatenate(dropped)) if dropped else np.empty(0, np.int64)
    return rows, codes


def rows_to_keep(codes: Int64s, dropped: Int64s) -> Int64s | None:
    """Rows whose code is not dropped, each code once: int64; None: all."""
    keep = np.ones(len(codes), np.bool_)
    if len(dropped):
        keep &= ~np.isin(codes, dropped)
    if not _each_once(codes):  # one batch was given twice
        once = np.zeros(len(codes), np.bool_)
        once[np.unique(codes, return_index=True)[1]] = True
        keep &= once
    return None if keep.all() else np.flatnonzero(keep)


def _each_once(codes: Int64s) -> bool:
    """Whether codes are seen at a glance to differ: runs of batches, each once and ascending."""
    batches = batch_numbers(codes)
    same = batches[1:] == batches[:-1]
    begins = np.concatenate([batches[:1], batches[1:][~same]])
    return len(np.unique(begins)) == len(begins) and bool((codes[1:] > codes[:-1])[same].all())


def by_time(batches: Sequence[pa.RecordBatch], column: str) -> list[pa.RecordBatch]:
    """Batches by their first time: of an input in order of time, nothing is left to be sorted."""
    there = [batch for batch in batches if batch.num_rows] or list(batches[:1])
    return sorted(there, key=lambda batch: batch.column(column)[0].as_py() if batch.num_rows else 0)


def is_in_order(order: Int64s) -> bool:
    """Whether an order leaves every row where it is."""
    return bool((order[1:] > order[:-1]).all())


def fold_shard(
    plan: Plan, state: SortedState, rows: Rows, moments: Sequence[int], values: Floats
) -> Iterator[tuple[int | None, SortedState]]:
    """Folds a shard's rows.

    Args:
      plan: the entity's.
      state: before all of the rows.
      rows: in total order.
      moments: microseconds UTC, ascending.
      values: float32 `[q, features]`, of the rows that query; written here.

    Yields:
      Each moment and the state at it, last None and the state after all rows.
    """
    cuts = [0, *np.searchsorted(rows.time, np.array(moments, np.int64)).tolist(), len(rows)]
    waiting: list[Int64s] = []  # what is to be finished: the rows of a few days take as long as one
    finished = held = 0
    for index, (first, last) in enumerate(itertools.pairwise(cuts)):
        moment = moments[index] if index < len(moments) else None
        if last > first:
            made = fold_touched(plan, state.read, rows.part(first, last))
            state = state.after(made)
            count_saturated(made.saturated)
            waiting.append(made.outputs)
            held += len(made.outputs)
        if held > _FINISH_ROWS or (held and moment is None):
            outputs = waiting[0] if len(waiting) == 1 else np.concatenate(waiting)
            finish(plan, outputs, values[finished : finished + held])
            waiting, finished, held = [], finished + held, 0
        if moment is not None:
            state = state.at(moment)
        yield moment, state


def count_saturated(saturated: Mapping[str, int]) -> None:
    """Counts by aggregate what did not fit (`velocity.Folded`)."""
    for name, count in saturated.items():
        Metrics.counter("lockstep", f"{SATURATED}{name}").inc(count)


class _Split(beam.DoFn):
    def __init__(self, spec: Spec, entities: tuple[str, ...], exchange: Exchange) -> None:
        self._spec, self._entities, self._exchange = spec, entities, exchange
        self._events = Metrics.counter("lockstep", "events")
        self._scored = Metrics.counter("lockstep", "scored_events")

    def process(self, batch: pa.RecordBatch) -> Iterator[Any]:
        spec = self._spec
        if not batch.num_rows:
            return
        codes = row_codes(batch)
        place = places(spec, batch)
        order = total_order(batch.column(EVENT_TIME).to_numpy(), place)
        if not is_in_order(order):
            batch, codes = batch.take(pa.array(order)), codes[order]
            place = place.take(pa.array(order))
        scored, verdicts = scored_mask(spec, batch), verdict_mask(spec, batch)
        self._events.inc(batch.num_rows)
        self._scored.inc(int(scored.sum()))
        shards = {}
        plans = {entity: make_plan(spec, entity) for entity in self._entities}
        for entity, rows in rows_by_entity(plans, batch).items():
            narrow = narrow_rows(rows, codes, place)
            numbers = shard_of(narrow.column("key").to_numpy(), spec.shards)
            shards[entity] = np.full(batch.num_rows, -1, np.int32)
            shards[entity][narrow.column("row").to_numpy()] = numbers
            yield from self._cut(entity, narrow, numbers)
        kinds = kind_numbers(spec, batch.column(KIND))
        ids = id_rows(batch, codes, place, shards, scored, verdicts, kinds)
        for one in self._cut(
            RECENT_IDS, ids, shard_of(ids.column("hash_1").to_numpy(), spec.shards)
        ):
            yield TaggedOutput(IDS, one)
        if scored.any():
            wide = batch.select([EVENT_ID, EVENT_TIME, KIND, *kept_columns(spec)])
            yield self._kept("rows", wide.append_column(PLACE, place), scored, codes)
            minutes, counts = np.unique(
                batch.column(EVENT_TIME).to_numpy()[scored] // MINUTE_US, return_counts=True
            )
            yield TaggedOutput(
                MINUTES, pa.RecordBatch.from_pydict({"minute": minutes, "events": counts})
            )
        if verdicts.any():
            only = pa.array(verdicts)
            chosen = verdict_rows(spec, batch.filter(only))
            chosen = chosen.append_column(PLACE, place.filter(only))
            yield self._kept("verdicts", chosen, None, codes[verdicts])

    def _cut(
        self, group: str, rows: pa.RecordBatch, numbers: npt.NDArray[np.int32]
    ) -> Iterator[Keyed]:
        order, slices = shard_slices(numbers, self._spec.shards)
        if not slices:
            return
        token = self._exchange.put(rows.take(pa.array(order)))
        for shard, first, last in slices:
            yield ShardKey(group, shard), self._exchange.cut(token, first, last)

    def _kept(
        self,
        group: str,
        rows: pa.RecordBatch,
        mask: npt.NDArray[np.bool_] | None,
        codes: Int64s,
    ) -> TaggedOutput:
        rows = rows.append_column(CODE, pa.array(codes))
        if mask is not None and not mask.all():
            rows = rows.filter(pa.array(mask))
        return TaggedOutput(
            KEPT, tag_batch(self._exchange.put(tag_batch(rows, group=group)), group=group)
        )


class _Fold(beam.DoFn):
    def __init__(self, spec: Spec, moments: tuple[int, ...], exchange: Exchange) -> None:
        self._spec, self._moments, self._exchange = spec, moments, exchange
        self._rows = Metrics.distribution("lockstep", "rows_per_shard")
        self._bytes = Metrics.distribution("lockstep", "state_bytes_per_shard")

    def process(self, element: tuple[ShardKey, Iterable[pa.RecordBatch]]) -> Iterator[Any]:
        key, tokens = element
        plan = make_plan(self._spec, key.group)
        before = after = SortedState.empty(plan)
        batches, dropped = without_tombstones(map(self._exchange.get, tokens))
        for earlier in filter(is_state, batches):
            before = SortedState.from_table(pa.Table.from_batches([earlier]), plan)
        rows = [batch for batch in batches if not is_state(batch)]
        del batches
        ordered = self._ordered(rows, dropped) if rows else _no_rows(plan)
        self._rows.update(ordered.num_rows)
        narrow = rows_from_batch(plan, ordered)
        asked = np.flatnonzero(narrow.query)
        values = np.empty((len(asked), len(plan.features)), np.float32)
        for moment, after in fold_shard(plan, before, narrow, self._moments, values):
            if moment is not None:
                table = after.to_table()
                batch = one_batch(table.to_batches(), table.schema)
                yield TaggedOutput(STATES, (key, tag_batch(batch, moment=moment)))
        if len(asked):
            features = {name: ordered.column(name).take(pa.array(asked)) for name in (TIME, CODE)}
            features[FEATURES] = pa.FixedSizeListArray.from_arrays(
                pa.array(values.ravel()), len(plan.features)
            )
            put = self._exchange.put(
                tag_batch(pa.RecordBatch.from_pydict(features), entity=plan.entity)
            )
            yield tag_batch(put, entity=plan.entity, group="rows")
        self._bytes.update(after.nbytes)

    @staticmethod
    def _ordered(rows: list[pa.RecordBatch], dropped: Int64s) -> pa.RecordBatch:
        batch = one_batch(by_time(rows, TIME))
        keep = rows_to_keep(batch.column(CODE).to_numpy(), dropped)
        if keep is not None:
            batch = batch.take(pa.array(keep))
        order = total_order(batch.column(TIME).to_numpy(), batch.column(PLACE))
        batch = batch.drop_columns([PLACE])
        return batch if is_in_order(order) else batch.take(pa.array(order))


def _no_rows(plan: Plan) -> pa.RecordBatch:
    schema = narrow_schema(plan)
    return one_batch([], schema.remove(schema.get_field_index(PLACE)))


def narrow_schema(plan: Plan) -> pa.Schema:
    """Columns of `narrow_rows`."""
    empty = rows_to_batch(Rows.empty(plan))
    return empty.schema.append(pa.field(CODE, pa.int64())).append(pa.field(PLACE, PLACE_TYPE))
