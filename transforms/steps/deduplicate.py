"""Duplicates, found by shards of the event id.

What is dropped goes on as tombstones: the codes of rows that the folds and the join leave out. So
wide columns are in no shuffle for it, and no task has to know all ids.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import apache_beam as beam
import numpy as np
import numpy.typing as npt
import pyarrow as pa
from apache_beam.metrics import Metrics
from apache_beam.pvalue import TaggedOutput

from configs.schema import EVENT_ID, KIND, Spec
from transforms.batches import ShardKey, one_batch
from transforms.dead_letter import DEAD_LETTER_SCHEMA, Reason, Stage
from transforms.duplicates import RecentIds
from transforms.exchange import THROUGH_ENGINE, Exchange
from transforms.order import PLACE, PLACE_TYPE, total_order
from transforms.steps.shards import IS_SCORED, KEPT, STATES, TIME, TOMBSTONE, Keyed
from transforms.steps.stamps import CODE, tag_batch, tags_of

DEAD_LETTERS = "dead_letters"
OTHER_KIND = "duplicates_of_another_kind"
"""The counter of events that were dropped for one of another kind with the same id."""
_DAY_US = 86_400_000_000
_DETAIL = "an event with this id was taken before, within the horizon of events.dedup"

Int64s = npt.NDArray[np.int64]


@dataclasses.dataclass(eq=False)
class Deduplicate(beam.PTransform):
    """The ids of a shard to the events that repeat an earlier one.

    Args:
      spec: the use; `events.dedup` is the horizon.
      moments: when the ids that are still to be known are given out, microseconds UTC.
      exchange: how batches travel.

    Outputs: `dropped`, tombstones by entity shard; `kept`, the same by time, for whoever keeps
    other columns of the events; `dead_letters`; `states`, by shard, tagged with their moment.
    """

    spec: Spec
    moments: Sequence[int] = ()
    exchange: Exchange = THROUGH_ENGINE

    def expand(self, grouped: beam.PCollection[tuple[ShardKey, Iterable[pa.RecordBatch]]]) -> Any:
        """Applies it."""
        return grouped | "DropSeen" >> beam.ParDo(
            _DropSeen(self.spec, tuple(self.moments), self.exchange)
        ).with_output_types(
            Keyed, **{KEPT: pa.RecordBatch, DEAD_LETTERS: pa.RecordBatch, STATES: Keyed}
        ).with_outputs(KEPT, DEAD_LETTERS, STATES, main="dropped")


def is_recent_ids(batch: pa.RecordBatch) -> bool:
    """Whether a batch of a shard is the ids known from before."""
    return bool(batch.schema.names == ["hash_1", "hash_2", "time"])


def drop_seen(
    recent: RecentIds, rows: pa.RecordBatch, moments: Sequence[int]
) -> Iterator[tuple[Int64s, int | None]]:
    """Rows that are duplicates, up to each moment.

    Args:
      recent: the ids known before; moved on.
      rows: `hash_1`, `hash_2`, `time`, `kind`, in the order in which they are taken.
      moments: microseconds UTC, ascending.

    Yields:
      places of duplicates among the rows, ascending; and the moment that `recent` now stands at,
      None after the last.
    """
    hash_1, hash_2, times = (rows.column(name).to_numpy() for name in ("hash_1", "hash_2", TIME))
    kinds = rows.column(KIND).to_numpy()
    cuts = [0, *np.searchsorted(times, np.array(moments, np.int64)).tolist(), len(times)]
    for index, (first, last) in enumerate(itertools.pairwise(cuts)):
        part = slice(first, last)
        keep = recent.take(hash_1[part], hash_2[part], times[part], kinds[part])
        moment = moments[index] if index < len(moments) else None
        if moment is not None:
            recent.prune(moment)
        yield first + np.flatnonzero(~keep), moment


class _DropSeen(beam.DoFn):
    def __init__(self, spec: Spec, moments: tuple[int, ...], exchange: Exchange) -> None:
        self._spec, self._moments, self._exchange = spec, moments, exchange
        self._duplicates = Metrics.counter("lockstep", "duplicate_events")
        self._scored = Metrics.counter("lockstep", "scored_events")
        self._other_kind = Metrics.counter("lockstep", OTHER_KIND)

    def process(self, element: tuple[ShardKey, Iterable[pa.RecordBatch]]) -> Iterator[Any]:
        key, tokens = element
        recent = RecentIds(self._spec.events.dedup_us)
        parts, sources = [], []
        for batch in map(self._exchange.get, tokens):
            if is_recent_ids(batch):
                table = pa.Table.from_batches([batch])
                recent = RecentIds.from_table(table, recent.horizon_us)
            elif batch.schema.names != [TOMBSTONE]:
                source = str(tags_of(batch)["source"])
                parts.append(batch.replace_schema_metadata(None))
                sources += [source] * batch.num_rows
        rows = one_batch(parts) if parts else _no_rows()
        # Of equal records, which differ in nothing, the source that is named is always the same.
        by_code = np.argsort(rows.column(CODE).to_numpy(), kind="stable")
        place = rows.column(PLACE).take(pa.array(by_code))
        order = by_code[total_order(rows.column(TIME).to_numpy()[by_code], place)]
        rows = rows.take(pa.array(order))
        found = []
        for places, moment in drop_seen(recent, rows, self._moments):
            found.append(places)
            if moment is not None:
                table = recent.to_table()
                state = one_batch(table.to_batches(), table.schema)
                yield TaggedOutput(STATES, (key, tag_batch(state, moment=moment)))
        if recent.other_kind:
            self._other_kind.inc(recent.other_kind)
        places = np.concatenate(found)
        if len(places):
            self._duplicates.inc(len(places))
            flags = rows.column(KEPT).to_numpy()[places]
            self._scored.dec(int((flags & IS_SCORED > 0).sum()))  # counted where they were split
            named = pa.array([sources[one] for one in order[places]], pa.string())
            yield from self._report(rows, places, named)

    def _report(self, rows: pa.RecordBatch, places: Int64s, sources: pa.Array) -> Iterator[Any]:
        dropped = rows.take(pa.array(places))
        codes = dropped.column(CODE).to_numpy()
        kept = np.delete(rows.column(CODE).to_numpy(), places)
        apart = ~np.isin(codes, kept)  # a batch that was given twice: its rows have one code
        for entity in self._spec.entities:
            name = f"shard_{entity}"
            if name not in rows.schema.names:
                continue
            shards = dropped.column(name).to_numpy()
            for shard in np.unique(shards[(shards >= 0) & apart]).tolist():
                chosen = codes[(shards == shard) & apart]
                yield ShardKey(entity, shard), tombstones(chosen)
        flags, times = dropped.column(KEPT).to_numpy(), dropped.column(TIME).to_numpy()
        for bit, group in ((1, "rows"), (2, "verdicts")):
            chosen = np.flatnonzero((flags & bit > 0) & apart)
            if len(chosen):
                batch = tombstones(codes[chosen]).append_column(TIME, pa.array(times[chosen]))
                yield TaggedOutput(KEPT, tag_batch(batch, group=group))
        days = times // _DAY_US
        for day in np.unique(days).tolist():
            here = np.flatnonzero(days == day)
            batch = _dead_letters(
                sources.take(pa.array(here)), dropped.column("position").take(pa.array(here))
            )
            yield TaggedOutput(DEAD_LETTERS, tag_batch(batch, day=day * _DAY_US))


def tombstones(codes: Int64s) -> pa.RecordBatch:
    """Codes of rows that are left out."""
    return pa.RecordBatch.from_pydict({TOMBSTONE: pa.array(codes, pa.int64())})


def _no_rows() -> pa.RecordBatch:
    columns = {
        "hash_1": pa.uint64(),
        "hash_2": pa.uint64(),
        TIME: pa.int64(),
        CODE: pa.int64(),
        PLACE: PLACE_TYPE,
        KIND: pa.int16(),
    }
    return one_batch([], pa.schema(columns))


def _dead_letters(sources: pa.Array, positions: pa.Array) -> pa.RecordBatch:
    values = {
        "stage": str(Stage.DEDUPLICATE),
        "reason": str(Reason.DUPLICATE_ID),
        "column": EVENT_ID,
        "detail": _DETAIL,
    }
    columns = {name: pa.repeat(value, len(sources)) for name, value in values.items()}
    columns |= {"source": sources, "position": positions}
    table = pa.table(columns).select(DEAD_LETTER_SCHEMA.names).cast(DEAD_LETTER_SCHEMA)
    return one_batch(table.to_batches(), DEAD_LETTER_SCHEMA)
