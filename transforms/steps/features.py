"""`Features`: decoded events to scored events with all their features. The one text.

    events ─ Derive ─ SplitByShard ─┬─ ids ── GroupByKey ─ Deduplicate ─┐ tombstones
                                    ├─ rows ─ GroupByKey ─ FoldShards ──┤ features
                                    └─ kept: scored events, verdicts ───┴─ GroupByKey ─ JoinFeatures

Unbounded input is folded tick by tick, by the same functions (`transforms.steps.live`).

The pure functions behind it know nothing of Beam; the runner decides where they run. What a run
gives depends on its events and its initial state, not on runner, workers, or how events were cut
into batches.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any, NamedTuple

import apache_beam as beam
import numpy as np
import pyarrow as pa

from configs.schema import Spec
from transforms.batches import ShardKey
from transforms.exchange import THROUGH_ENGINE, Exchange
from transforms.social.as_of import Sees, reads_snapshots
from transforms.steps.decode import Derive
from transforms.steps.deduplicate import DEAD_LETTERS, Deduplicate, tombstones
from transforms.steps.join import VERDICTS, CutParts, JoinFeatures, Known, PlanParts
from transforms.steps.shards import (
    IDS,
    KEPT,
    MINUTES,
    RECENT_IDS,
    STATES,
    FoldShards,
    Keyed,
    SplitByShard,
)
from transforms.ticks import TickSettings

__all__ = ["FeatureOutputs", "Features"]


class FeatureOutputs(NamedTuple):
    """What `Features` gives: collections of one pipeline.

    Attributes:
      rows: scored events with their features, a batch per part of a day (on unbounded input per
        tick and shard of ids), in total order.
      verdicts: a batch per day (or tick and shard).
      dead_letters: of dropped duplicates.
      entity_states, id_states: state of each shard at each of the moments; None on unbounded input,
        where it stays with the runner.
      others: accepted events that are not scored; on unbounded input only.
    """

    rows: Any
    verdicts: Any
    dead_letters: Any
    entity_states: Any = None
    id_states: Any = None
    others: Any = None


@beam.typehints.with_input_types(pa.RecordBatch)
@dataclasses.dataclass(eq=False)
class Features(beam.PTransform):
    """Decoded events to scored events with all their features.

    Args:
      spec: the use.
      initial_state: by shard (`ShardKey(entity, n)`, `ShardKey(RECENT_IDS, n)`): the
        `entity_states` and `id_states` of an earlier run in one collection; None: a cold start.
      moments: when state is given out, ascending, microseconds UTC: of all events before it.
      days: days that have rows and verdicts, be they empty, by their first microsecond.
      entities: those whose features are computed; all if None.
      known: gives the features of the others.
      exchange: how batches travel between the steps.
      ticks: how unbounded input is folded (`transforms.ticks`); bounded input is too where this is
        given. Then moments, days, entities, known and exchange have no use.
      snapshots: of the social graph, that events see; None where the spec reads none.

    >>> # made = events | Features(spec); made.rows | ...
    """

    spec: Spec
    initial_state: Any = None
    moments: Sequence[int] = ()
    days: Sequence[int] = ()
    entities: Sequence[str] | None = None
    known: Known | None = None
    exchange: Exchange = THROUGH_ENGINE
    ticks: TickSettings | None = None
    snapshots: Sees | None = None

    def expand(self, events: beam.PCollection[pa.RecordBatch]) -> FeatureOutputs:
        """Applies it."""
        spec, exchange = self.spec, self.exchange
        if reads_snapshots(spec) and self.snapshots is None:
            raise ValueError(
                f"{spec.name} has features of accounts from the social graph (graph.accounts); "
                "give snapshots=pipelines.snapshots.read_snapshots(folder).of(spec)"
            )
        if self.ticks is not None or not events.is_bounded:
            from transforms.steps.live import FoldLive  # it stands on this package

            live = FoldLive(spec, self.ticks or TickSettings(), self.initial_state, self.snapshots)
            return FeatureOutputs(**(events | "Live" >> live))
        entities = tuple(spec.entities if self.entities is None else self.entities)
        seeds = self._seeds(events.pipeline, entities)
        split = events | Derive(spec) | SplitByShard(spec, entities, exchange)
        unique = (
            (split[IDS], seeds[RECENT_IDS])
            | "IdsAndState" >> beam.Flatten()
            | "ByIdShard" >> beam.GroupByKey()
            | Deduplicate(spec, self.moments, exchange)
        )
        folded = (
            (split["rows"], unique["dropped"], seeds["entities"])
            | "RowsAndState" >> beam.Flatten()
            | "ByShard" >> beam.GroupByKey()
            | FoldShards(spec, self.moments, exchange)
        )
        starts = beam.pvalue.AsSingleton(split[MINUTES] | PlanParts(self.days))
        joined = (
            (
                split[KEPT] | "CutKept" >> CutParts(starts, exchange),
                folded["features"] | "CutFeatures" >> CutParts(starts, exchange),
                unique[KEPT] | "CutDropped" >> CutParts(starts, exchange),
                seeds["days"],
            )
            | "PartsAndDays" >> beam.Flatten()
            | "ByPart" >> beam.GroupByKey()
            | JoinFeatures(spec, entities, self.known, exchange, self.snapshots)
        )
        return FeatureOutputs(
            joined["rows"],
            joined[VERDICTS],
            unique[DEAD_LETTERS],
            folded[STATES],
            unique[STATES],
        )

    def _seeds(self, pipeline: beam.Pipeline, entities: tuple[str, ...]) -> dict[str, Any]:
        """What every shard and every day holds even if it has no event."""
        shards = self.spec.shards if self.moments else 0
        made = {
            RECENT_IDS: _keys(pipeline, "IdShards", [(RECENT_IDS, n) for n in range(shards)]),
            "entities": _keys(
                pipeline, "Shards", [(entity, n) for entity in entities for n in range(shards)]
            ),
        }
        made = {name: keys | f"Seed{name.title()}" >> _Seed() for name, keys in made.items()}
        if self.initial_state is not None:
            # Beam takes an undeclared filter's elements for `Any`, and pickles what is grouped.
            ids, others = (
                self.initial_state
                | label >> beam.Filter(_is_of_ids, wanted).with_output_types(Keyed)
                for label, wanted in (("IdState", True), ("EntityState", False))
            )
            made[RECENT_IDS] = (made[RECENT_IDS], ids) | "WithIdState" >> beam.Flatten()
            made["entities"] = (made["entities"], others) | "WithState" >> beam.Flatten()
        groups = [(group, day) for day in self.days for group in ("rows", VERDICTS)]
        made["days"] = _keys(pipeline, "Days", groups) | "SeedDays" >> _Seed()
        return made


@dataclasses.dataclass(eq=False)
class _Seed(beam.PTransform):
    """Keys to groups that hold nothing yet."""

    def expand(self, keys: beam.PCollection[ShardKey]) -> beam.PCollection[Keyed]:
        return keys | "Seed" >> beam.Map(
            lambda key: (key, tombstones(np.empty(0, np.int64)))
        ).with_output_types(Keyed)


def _keys(
    pipeline: beam.Pipeline, label: str, keys: list[tuple[str, int]]
) -> beam.PCollection[ShardKey]:
    return pipeline | label >> beam.Create(
        [ShardKey(*key) for key in keys], reshuffle=False
    ).with_output_types(ShardKey)


def _is_of_ids(element: Keyed, wanted: bool) -> bool:
    return (element[0].group == RECENT_IDS) is wanted
