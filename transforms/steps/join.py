"""Events and their features, back together: a day's parts in total order.

A day is cut into parts at full minutes, chosen from its own counts, so that a part depends on the
day's events alone: not on workers, on how the input was split, or on where a killed run went on.
Whatever belongs to a part meets in one group: the columns that are kept, the features of each
entity, and tombstones. Verdicts of a day are a group as well.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import apache_beam as beam
import numba
import numpy as np
import numpy.typing as npt
import pyarrow as pa
from apache_beam.pvalue import TaggedOutput

from configs.schema import EVENT_ID, EVENT_TIME, KIND, Spec
from transforms.batches import ShardKey, one_batch
from transforms.exchange import THROUGH_ENGINE, Exchange
from transforms.inputs import numeric_columns, numeric_names
from transforms.order import PLACE, total_order
from transforms.selection import input_columns, scored_schema, verdict_schema
from transforms.social.as_of import Sees
from transforms.steps.shards import (
    FEATURES,
    MINUTE_US,
    TIME,
    Keyed,
    by_time,
    is_in_order,
    rows_to_keep,
    without_tombstones,
)
from transforms.steps.stamps import CODE, tag_batch, tags_of
from transforms.velocity import make_plan

PART_ROWS = 131_072
DAY_US = 86_400_000_000
ROWS, VERDICTS = "rows", "verdicts"

Floats = npt.NDArray[np.float32]
Int64s = npt.NDArray[np.int64]
Known = Callable[[pa.RecordBatch, int], Mapping[str, Floats]]


@dataclasses.dataclass(eq=False)
class CutParts(beam.PTransform):
    """Batches that are sorted by time to slices by part of the day.

    Args:
      starts: where parts begin (`part_starts`), as a side input.
      exchange: how batches travel.
    """

    starts: Any
    exchange: Exchange = THROUGH_ENGINE

    def expand(self, batches: beam.PCollection[pa.RecordBatch]) -> beam.PCollection[Keyed]:
        """Applies it."""
        return batches | "Cut" >> beam.ParDo(_Cut(self.exchange), self.starts).with_output_types(
            Keyed
        )


@dataclasses.dataclass(eq=False)
class PlanParts(beam.PTransform):
    """Counts of scored events by minute to one batch of the times at which parts begin.

    Args:
      days: days that have a part whatever they hold, by their first microsecond.
    """

    days: Sequence[int] = ()

    def expand(self, minutes: beam.PCollection[pa.RecordBatch]) -> beam.PCollection[pa.RecordBatch]:
        """Applies it."""
        none = (
            minutes.pipeline
            | "NoMinutes" >> beam.Create([0], reshuffle=False)
            | "Empty" >> beam.Map(lambda _: _no_minutes()).with_output_types(pa.RecordBatch)
        )
        return (
            (minutes, none)
            | beam.Flatten()
            | "ByOneKey"
            >> beam.Map(lambda batch: (ShardKey("minutes", 0), batch)).with_output_types(Keyed)
            | beam.GroupByKey()
            | "Starts" >> beam.Map(_Starts(tuple(self.days))).with_output_types(pa.RecordBatch)
        )


@dataclasses.dataclass(eq=False)
class JoinFeatures(beam.PTransform):
    """What meets at a part of a day to its scored events with their features, in total order.

    Args:
      spec: the use.
      entities: those whose features come with the group.
      known: gives the features of the other entities; None: there are no others.
      exchange: how batches travel.
      snapshots: of the social graph, that events see; None where the spec reads none.

    Outputs: `rows`, one batch per part, tagged with the time at which the part starts; `verdicts`,
    one batch per day, tagged likewise.
    """

    spec: Spec
    entities: Sequence[str] | None = None
    known: Known | None = None
    exchange: Exchange = THROUGH_ENGINE
    snapshots: Sees | None = None

    def expand(self, grouped: beam.PCollection[tuple[ShardKey, Iterable[pa.RecordBatch]]]) -> Any:
        """Applies it."""
        entities = tuple(self.spec.entities if self.entities is None else self.entities)
        return grouped | "Join" >> beam.ParDo(
            _Join(self.spec, entities, self.known, self.exchange, self.snapshots)
        ).with_output_types(pa.RecordBatch, **{VERDICTS: pa.RecordBatch}).with_outputs(
            VERDICTS, main=ROWS
        )


def part_starts(minutes: Int64s, counts: Int64s, days: Iterable[int]) -> Int64s:
    """Cuts days at full minutes into parts of about `PART_ROWS` events; at least one part a day.

    Args:
      minutes: int64 `[m]`, minutes since 1970, ascending.
      counts: int64 `[m]`, scored events of each.
      days: days that have a part whatever they hold, by their first microsecond.

    Returns:
      int64: where each part begins, microseconds UTC, ascending.

    >>> part_starts(np.array([0, 1, 2]), np.array([100_000, 30_000, 50_000]), [0]).tolist()
    [0, 120000000]
    """
    starts = set(days)
    day_of = minutes * MINUTE_US // DAY_US
    for day in np.unique(day_of).tolist():
        starts.add(day * DAY_US)
        here = day_of == day
        if counts[here].sum() <= PART_ROWS:
            continue
        held = 0
        for minute, count in zip(minutes[here].tolist(), counts[here].tolist(), strict=True):
            if held and held + count > PART_ROWS:
                starts.add(minute * MINUTE_US)
                held = 0
            held += count
    return np.array(sorted(starts), np.int64)


def join_features(
    spec: Spec, events: pa.RecordBatch, codes: Int64s, made: Sequence[pa.RecordBatch]
) -> dict[str, Floats]:
    """Features joined to their events.

    Args:
      spec: the use.
      events: scored events `[n]`.
      codes: int64 `[n]`, of the events.
      made: batches of code and features, in any order.

    Returns:
      entity -> float32 `[n, F]`; NaN where an event has no key.
    """
    if not made:
        return {}
    slots = _slots(codes)
    features: dict[str, Floats] = {}
    for batch in made:
        entity = str(tags_of(batch)["entity"])
        width = len(make_plan(spec, entity).features)
        if entity not in features:
            features[entity] = np.full((events.num_rows, width), np.nan, np.float32)
        values = batch.column(FEATURES).flatten().to_numpy().reshape(-1, width)
        if not _put(slots, codes, batch.column(CODE).to_numpy(), values, features[entity]):
            raise RuntimeError(f"features of entity {entity!r} came without their event")
    return features


@numba.njit(cache=True, nogil=True)
def _slots(codes):  # type: ignore[no-untyped-def]
    """Where each code stands, by its hash: int64 `[2^k]`, at least half of them -1, for none."""
    bits = 1
    while 1 << bits < 2 * len(codes):
        bits += 1
    slots = np.full(1 << bits, -1, np.int64)
    for row in range(len(codes)):
        at = _begin(codes[row], len(slots))
        while slots[at] >= 0:
            at = (at + 1) & (len(slots) - 1)
        slots[at] = row
    return slots


@numba.njit(cache=True, nogil=True)
def _begin(code, count):  # type: ignore[no-untyped-def]
    """Where a code is looked for first."""
    mixed = np.uint64(code) * np.uint64(0x9E3779B97F4A7C15)  # the golden ratio, which spreads them
    return np.int64((mixed >> np.uint64(32)) & np.uint64(count - 1))


@numba.njit(cache=True, nogil=True)
def _put(slots, codes, found, values, made):  # type: ignore[no-untyped-def]
    """Writes the rows of `values` to where their codes stand; False if one is not there."""
    for row in range(len(found)):
        at = _begin(found[row], len(slots))
        while slots[at] >= 0 and codes[slots[at]] != found[row]:
            at = (at + 1) & (len(slots) - 1)
        if slots[at] < 0:
            return False
        made[slots[at]] = values[row]
    return True


def dataset_columns(spec: Spec, events: pa.RecordBatch, numeric: Floats) -> pa.RecordBatch:
    """Scored events as a dataset holds them: id, time, kind, numeric columns, other inputs.

    Features have no null (NaN stands for it); said in the schema, Parquet writes no levels.

    Args:
      spec: the use.
      events: `scored_schema`, `[n]`.
      numeric: float32 `[K, n]` (`transforms.inputs.numeric_columns`).
    """
    columns = {name: events.column(name) for name in (EVENT_ID, EVENT_TIME, KIND)}
    made = zip(numeric_names(spec), numeric, strict=True)
    columns |= {name: pa.array(values) for name, values in made}
    for name in input_columns(spec):
        columns.setdefault(name, events.column(name))
    fields = [
        pa.field(name, values.type, nullable=not pa.types.is_float32(values.type))
        for name, values in columns.items()
    ]
    return pa.RecordBatch.from_arrays(list(columns.values()), schema=pa.schema(fields))


@dataclasses.dataclass(frozen=True)
class _Starts:
    days: tuple[int, ...]

    def __call__(self, element: tuple[ShardKey, Iterable[pa.RecordBatch]]) -> pa.RecordBatch:
        table = pa.Table.from_batches(list(element[1]))
        minutes, counts = (table.column(name).to_numpy() for name in ("minute", "events"))
        unique, place = np.unique(minutes, return_inverse=True)
        totals = np.zeros(len(unique), np.int64)
        np.add.at(totals, place, counts)
        return pa.RecordBatch.from_pydict({"start": part_starts(unique, totals, self.days)})


class _Cut(beam.DoFn):
    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange

    def process(self, token: pa.RecordBatch, starts: pa.RecordBatch) -> Iterator[Keyed]:
        group = str(tags_of(token)["group"])
        batch = self._exchange.get(token)
        if batch.schema.names[0] == TIME or TIME in batch.schema.names:
            times = batch.column(TIME).to_numpy()
        else:
            times = batch.column(EVENT_TIME).to_numpy()
        if group == VERDICTS:
            places = times // DAY_US * DAY_US
        else:
            begins = starts.column("start").to_numpy()
            places = begins[np.searchsorted(begins, times, side="right") - 1]
        cuts = [0, *(np.flatnonzero(places[1:] != places[:-1]) + 1).tolist(), len(places)]
        for first, last in itertools.pairwise(cuts):
            yield (
                ShardKey(group, int(places[first])),
                self._exchange.cut(token, first, last),
            )


class _Join(beam.DoFn):
    def __init__(
        self,
        spec: Spec,
        entities: tuple[str, ...],
        known: Known | None,
        exchange: Exchange,
        snapshots: Sees | None,
    ) -> None:
        self._spec, self._entities = spec, entities
        self._known, self._exchange, self._snapshots = known, exchange, snapshots

    def process(self, element: tuple[ShardKey, Iterable[pa.RecordBatch]]) -> Iterator[Any]:
        (group, start), tokens = element
        batches, dropped = without_tombstones(map(self._exchange.get, tokens))
        made = [batch for batch in batches if FEATURES in batch.schema.names]
        kept = [batch for batch in batches if FEATURES not in batch.schema.names]
        schema = verdict_schema(self._spec) if group == VERDICTS else scored_schema(self._spec)
        events, codes = _in_order(kept, dropped, schema)
        if group == VERDICTS:
            yield TaggedOutput(VERDICTS, tag_batch(events, start=start))
            return
        features = join_features(self._spec, events, codes, made)
        for entity in self._entities:
            width = len(make_plan(self._spec, entity).features)
            missing = np.full((events.num_rows, width), np.nan, np.float32)
            features.setdefault(entity, missing)
        if self._known is not None:
            features |= self._known(events, start)
        if self._snapshots is not None:
            features |= self._snapshots.look(events).features
        numeric = numeric_columns(self._spec, events, features)
        yield tag_batch(dataset_columns(self._spec, events, numeric), start=start)


def _in_order(
    kept: Sequence[pa.RecordBatch], dropped: Int64s, schema: pa.Schema
) -> tuple[pa.RecordBatch, Int64s]:
    """Kept rows in total order without duplicates, and their codes."""
    if not kept:
        return one_batch([], schema), np.empty(0, np.int64)
    batch = one_batch([one.replace_schema_metadata(None) for one in by_time(kept, EVENT_TIME)])
    keep = rows_to_keep(batch.column(CODE).to_numpy(), dropped)
    if keep is not None:
        batch = batch.take(pa.array(keep))
    order = total_order(batch.column(EVENT_TIME).to_numpy(), batch.column(PLACE))
    if not is_in_order(order):
        batch = batch.take(pa.array(order))
    return batch.select(schema.names), batch.column(CODE).to_numpy()


def _no_minutes() -> pa.RecordBatch:
    return one_batch([], pa.schema({"minute": pa.int64(), "events": pa.int64()}))
