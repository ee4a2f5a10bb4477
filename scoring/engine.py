"""The embedded scorer's logic: ordered micro-batches in, decisions and log rows out.

The steps are those of a backfill, called with other batch sizes: drop duplicates, derive, fold per
entity, assemble the numeric block, score. No Beam, no clock, no I/O here.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from configs.errors import StateError
from configs.schema import EVENT_ID, EVENT_TIME, KIND, Spec
from scoring.columns import NEVER_US, campaign_columns, clock_of, spread, spread_values
from scoring.fits import check_fits
from scoring.limits import LIMITS, Given, follow, limit_actions, rules_of, rules_text
from scoring.scorer import Scored, Scorer
from transforms.campaigns.lookup import EventCampaigns, NamesCampaigns, fitting_campaigns
from transforms.decode import event_schema
from transforms.derive import derive
from transforms.duplicates import RecentIds, hash_ids, kind_numbers
from transforms.inputs import numeric_block
from transforms.order import Position, position_of
from transforms.selection import scored_mask
from transforms.social.as_of import (
    NO_SNAPSHOTS,
    Seen,
    Sees,
    Snapshots,
    reads_snapshots,
    see_nothing,
)
from transforms.ticks import LATE, SNAPSHOT
from transforms.velocity import Plan, Rows, ShardState, finish, fold, make_plan, rows_by_entity

SCORED = "lockstep_scored"
NUMERIC, INPUTS, SCORE, ACTION = "numeric", "inputs", "score", "action"
BUNDLE, SEQUENCE, STEP, DECISION = "bundle", "sequence", "step", "decision"
EXPIRED, ARRIVALS, WITHHELD = "expired", "arrivals", "withheld"


@dataclasses.dataclass(frozen=True)
class Resident:
    """What a scorer remembers: velocity state per entity, the ids seen lately, and how far it is.

    A key's state is immutable bytes, so a shallow copy of a `ShardState` is a snapshot.

    Attributes:
      states: by entity.
      recent: ids of accepted events.
      position: the last event that was folded in order; what comes before it now is late.
      given: limited actions that were given lately.
    """

    states: Mapping[str, ShardState]
    recent: RecentIds
    position: Position | None = None
    given: Given = dataclasses.field(default_factory=Given)

    @property
    def clock_us(self) -> int:
        """The time of `position`; `NEVER_US`: there is none."""
        return NEVER_US if self.position is None else self.position.time_us

    @classmethod
    def empty(cls, spec: Spec) -> Resident:
        """A cold start."""
        states = {entity: ShardState.empty(make_plan(spec, entity)) for entity in spec.entities}
        return cls(states, RecentIds(spec.events.dedup_us))

    def copy(self) -> Resident:
        """A snapshot, which a scorer that goes on does not change."""
        states = {entity: state.copy() for entity, state in self.states.items()}
        return Resident(states, self.recent.copy(), self.position, self.given.copy())


@dataclasses.dataclass(frozen=True)
class Looked:
    """Features and scores of scored events; as in `Outcome`.

    Attributes:
      asked: the scored events `[s]`, derived; features: of each entity, float32 `[s, F]`, and of
        accounts in the social graph: what a challenger's inputs are made of (`scoring.shadow`).
      campaigns: of the scored events; None: they are not looked up.
    """

    numeric: npt.NDArray[np.float32]
    sequences: npt.NDArray[np.int64]
    scored: Scored | None
    saturated: Mapping[str, int] = dataclasses.field(default_factory=dict)
    snapshots: pa.StringArray | None = None
    asked: pa.RecordBatch | None = None
    features: Mapping[str, npt.NDArray[np.float32]] = dataclasses.field(default_factory=dict)
    campaigns: EventCampaigns | None = None


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What became of a micro-batch.

    Attributes:
      events: accepted events in fold order, decoded columns, plus `lockstep_late` bool and
        `lockstep_scored` bool.
      numeric: float32 `[s, K]` of the scored ones, the numeric block before the TFT graph.
      sequences: int64 `[s, entities]`: how many events of the key came before; -1: no key.
      scored: model inputs, score and action of the scored ones; None when nothing is scored.
      bundle: what made the decisions: the bundle's fingerprint, and the controls if any were in
        force (`scoring.controls.decided_by`).
      duplicates: how many events were dropped as seen before.
      saturated: aggregate -> values that did not fit (`velocity.Folded`).
      other_kind: how many of the duplicates are of another kind than what was seen.
      snapshots: string `[s]`, which snapshot of the social graph each scored event saw, null where
        there was none; None: the spec reads none.
      looked: what the scored ones were scored from.
      limits: in force, as the log names them; None: there are none.
    """

    events: pa.RecordBatch
    numeric: npt.NDArray[np.float32]
    sequences: npt.NDArray[np.int64]
    scored: Scored | None
    bundle: str
    duplicates: int
    saturated: Mapping[str, int] = dataclasses.field(default_factory=dict)
    other_kind: int = 0
    snapshots: pa.StringArray | None = None
    looked: Looked | None = None
    limits: str | None = None


Score = Callable[[npt.NDArray[np.float32], pa.RecordBatch], Scored]
"""Numeric block and derived events to scores, as `Scorer.score`."""


class Engine:
    """Folds and scores micro-batches, one after the other.

    Args:
      spec: the use.
      resident: what is remembered from before.
      scorer: the loaded bundle's; None folds without scoring (replay of a log).
      snapshots: of the social graph, those that are published.

    Attributes:
      campaigns: names them from the next micro-batch on; None: nothing does.

    Raises:
      StateError: the scorer's bundle needs other state than there is, or a snapshot.
    """

    def __init__(
        self,
        spec: Spec,
        resident: Resident,
        scorer: Scorer | None,
        snapshots: Snapshots = NO_SNAPSHOTS,
    ) -> None:
        self.spec, self.snapshots = spec, snapshots
        # Who only folds has no use for what events see.
        self.sees: Sees | None = snapshots.of(spec) if snapshots.published else None
        self.campaigns: NamesCampaigns | None = None
        self.plans: dict[str, Plan] = {entity: make_plan(spec, entity) for entity in spec.entities}
        self.resident = resident
        self._scorer = scorer
        if scorer is not None:
            self.swap(scorer)

    @property
    def scorer(self) -> Scorer | None:
        """The scorer that decides now."""
        return self._scorer

    def swap(self, scorer: Scorer) -> None:
        """Decides with another bundle from the next micro-batch on.

        The state of entities that its spec lacks is dropped.

        Raises:
          StateError: the bundle's spec needs other state than there is, or a snapshot.
        """
        check_fits(self.spec, scorer.bundle.spec)
        self.sees = self.snapshots.of(scorer.bundle.spec)
        self.spec = scorer.bundle.spec
        self.campaigns = fitting_campaigns(self.campaigns, self.spec)
        self.plans = {entity: make_plan(self.spec, entity) for entity in self.spec.entities}
        # What is folded no longer would go stale, and be taken for good after a swap back.
        states = {entity: self.resident.states[entity] for entity in self.spec.entities}
        self.resident = dataclasses.replace(self.resident, states=states)
        self._scorer = scorer

    def publish(self, snapshots: Snapshots) -> None:
        """Events see these from the next micro-batch on.

        Raises:
          StateError: they lack what the bundle that decides needs.
        """
        self.sees, self.snapshots = snapshots.of(self.spec), snapshots

    def expire(self, now_us: int) -> None:
        """Frees the state of keys that were silent for longer than their retention at `now_us`.

        The fold takes such a state for empty anyway, but for events that are later than that; so
        the moment is logged (`EXPIRED`), and a replay frees the same.
        """
        for state in self.resident.states.values():
            state.expire(now_us)

    def step(
        self,
        batch: pa.RecordBatch,
        late: npt.NDArray[np.bool_],
        accepted: bool = False,
        score: Score | None = None,
    ) -> Outcome:
        """Folds and scores one micro-batch.

        Args:
          batch: decoded events `[n]` in fold order (total order, but for late ones).
          late: bool `[n]`.
          accepted: the events are of a log, so they were found to be no duplicates; when an id is
            forgotten depends on the watermark at that time, which a replay does not have.
          score: in place of the scorer's own (`arrival.Decided.score`).
        """
        times, recent = batch.column(EVENT_TIME).to_numpy(), self.resident.recent
        if self.resident.position is not None:
            recent.reach(self.resident.position.time_us)
        known, kinds = recent.other_kind, kind_numbers(self.spec, batch.column(KIND))
        keep = recent.take(*hash_ids(batch.column(EVENT_ID)), times, kinds)
        if accepted:
            keep = np.ones(batch.num_rows, np.bool_)
        duplicates = int(len(keep) - keep.sum())
        if duplicates:
            batch, late = batch.filter(pa.array(keep)), late[keep]
        derived = derive(self.spec, batch)
        mask = scored_mask(self.spec, batch)
        made, deltas = self.look(derived, mask, rows_by_entity(self.plans, derived), score)
        for entity, delta in deltas.items():
            self.resident.states[entity].update(delta)
        outcome = self.outcome(batch, late, mask, made, duplicates, folded=True)
        ordered = np.flatnonzero(~late)
        if len(ordered):
            position = position_of(self.spec, batch, int(ordered[-1]))
            self.resident = dataclasses.replace(self.resident, position=position)
        return dataclasses.replace(outcome, other_kind=recent.other_kind - known)

    def fold_logged(self, batch: pa.RecordBatch) -> None:
        """Folds a logged step, or some without an expiry between, and takes its actions as given.

        Raises:
          StateError: a column had another type.
        """
        expired = expired_before(batch)
        if expired is not None:
            self.expire(expired)
        clocks = clock_of(batch, self.resident.clock_us)
        late = batch.column(LATE).to_numpy(zero_copy_only=False)
        self.step(logged_events(self.spec, batch), late, accepted=True)
        follow(self.resident.given, batch, batch.column(ACTION), clocks)

    def look(
        self,
        derived: pa.RecordBatch,
        mask: npt.NDArray[np.bool_],
        rows: Mapping[str, Rows],
        score: Score | None = None,
    ) -> tuple[Looked, dict[str, dict[int, bytes]]]:
        """Features and scores of events on the state as it is, which stays so.

        Args:
          derived: events `[n]`.
          mask: bool `[n]`, the scored ones.
          rows: of each entity, in the order in which they are folded; those that query are of
            events of `derived`.
          score: as `step`.

        Returns:
          What came out, and each entity's keys as they would be after it.
        """
        queried = np.flatnonzero(mask)
        place = np.full(derived.num_rows, -1, np.int64)
        place[queried] = np.arange(len(queried))
        features, deltas = {}, {}
        saturated: dict[str, int] = {}
        sequences = np.full((len(queried), len(self.plans)), -1, np.int64)
        for index, (entity, plan) in enumerate(self.plans.items()):
            folded = fold(plan, self.resident.states[entity], rows[entity])
            matrix = np.full((len(queried), len(plan.features)), np.nan, np.float32)
            at = place[rows[entity].row[rows[entity].query]]
            matrix[at] = finish(plan, folded.outputs)
            sequences[at, index] = folded.sequence
            features[entity], deltas[entity] = matrix, folded.delta
            saturated |= folded.saturated
        asked = derived if len(queried) == len(mask) else derived.take(pa.array(queried))
        seen = self._seen(asked)
        features |= seen.features
        numeric = numeric_block(self.spec, asked, features)
        scored = None
        if self._scorer is not None and len(queried):
            scored = (score or self._scorer.score)(numeric, asked)
        named = self.campaigns.look(asked) if self.campaigns is not None else None
        names = seen.names
        looked = Looked(numeric, sequences, scored, saturated, names, asked, features, named)
        return looked, deltas

    def outcome(
        self,
        batch: pa.RecordBatch,
        late: npt.NDArray[np.bool_],
        mask: npt.NDArray[np.bool_],
        made: Looked,
        duplicates: int = 0,
        folded: bool = False,
    ) -> Outcome:
        """What became of events, under the bundle that decides now.

        Where they are `folded`, their actions count against limits; else they only read them.
        """
        rules, scored, before = rules_of(self._scorer), made.scored, self.resident.clock_us
        times = batch.column(EVENT_TIME).to_numpy()
        if folded and self._scorer is not None:
            self.resident.given.align(rules.values())
        if rules and self._scorer is not None and scored is not None and made.asked is not None:
            stepped = batch.append_column(LATE, pa.array(late))
            clocks = clock_of(stepped, before) if folded else np.maximum(times, before)
            given = self.resident.given
            scored = limit_actions(self._scorer, given, scored, made.asked, clocks[mask], folded)
            if folded:
                given.forget(int(clocks[-1]))
        return Outcome(
            events=batch.append_column(LATE, pa.array(late)).append_column(SCORED, pa.array(mask)),
            numeric=made.numeric,
            sequences=made.sequences,
            scored=scored,
            bundle=self._scorer.name if self._scorer else "",
            duplicates=duplicates,
            saturated=made.saturated,
            snapshots=made.snapshots if reads_snapshots(self.spec) else None,
            looked=made,
            limits=rules_text(rules.values()),
        )

    def _seen(self, asked: pa.RecordBatch) -> Seen:
        if self.sees is not None:
            return self.sees.look(asked)
        return see_nothing(self.spec, asked.num_rows)


def log_batch(
    outcome: Outcome,
    step: int,
    decisions: Sequence[bytes | None],
    expired: int | None = None,
    arrivals: Sequence[int] = (),
) -> pa.RecordBatch:
    """An outcome as one Arrow batch for the journal: all that replay and parity need.

    One row per accepted event, in fold order. Columns of what was scored are null where the event
    was not: numeric block, model inputs, score, action, sequence numbers, the decision as it is
    published, and what held its action back.

    Args:
      outcome: of the step.
      step: the number of the micro-batch; the same in every row.
      decisions: one message per scored event (`decisions.encode_decisions`); None: it was decided
        at its arrival, and stays so.
      expired: `Engine.expire` was called with this since the step before; None: it was not.
      arrivals: numbers of messages that need nothing more once this step is logged; in the first
        row.
    """
    events = outcome.events
    mask = events.column(SCORED).to_numpy(zero_copy_only=False)
    count, scored = len(mask), outcome.scored
    columns: dict[str, Any] = {name: events.column(i) for i, name in enumerate(events.schema.names)}
    columns[STEP] = pa.array(np.full(count, step, np.int64))
    columns[EXPIRED] = pa.array([expired] * count, pa.int64())
    columns[ARRIVALS] = pa.array([list(arrivals)] + [None] * (count - 1), pa.list_(pa.int64()))
    columns[BUNDLE] = pa.array([outcome.bundle] * count, pa.string())
    columns[NUMERIC] = spread(outcome.numeric, mask)
    columns[SEQUENCE] = spread(outcome.sequences, mask)
    names = outcome.snapshots if outcome.snapshots is not None else pa.array([], pa.string())
    columns[SNAPSHOT] = spread_values(names, mask)
    empty = np.empty((0, 0), np.float32)
    columns[INPUTS] = spread(scored.inputs if scored else empty, mask & (scored is not None))
    values = {
        SCORE: pa.array(scored.score if scored else [], pa.float64()),
        ACTION: scored.actions() if scored else pa.array([], pa.string()),
        DECISION: pa.array(decisions, pa.binary()),
        WITHHELD: withheld_column(scored) if scored else pa.array([], pa.string()),
    }
    for name, array in values.items():
        columns[name] = spread_values(array, mask & (scored is not None))
    if outcome.limits is not None:
        columns[LIMITS] = pa.array([outcome.limits] * count, pa.string())
    columns |= campaign_columns(outcome.looked.campaigns if outcome.looked else None, mask)
    return pa.RecordBatch.from_pydict(columns)


def withheld_column(scored: Scored) -> pa.StringArray:
    """By what the action of each event was held back, null where none was: string `[n]`."""
    rows = range(len(scored.score))
    held = scored.withheld
    return pa.array([held[row].by if row in held else None for row in rows], pa.string())


def logged_events(spec: Spec, batch: pa.RecordBatch) -> pa.RecordBatch:
    """The events of a logged step, as the spec decodes them now.

    A column that the log does not have yet is null: no state read it, or the state would not fit.

    Raises:
      StateError: a column had another type.
    """
    columns = []
    for field in event_schema(spec):
        at = batch.schema.get_field_index(field.name)
        if at < 0:
            columns.append(pa.nulls(batch.num_rows, field.type))
        elif batch.schema.field(at).type != field.type:
            raise StateError(
                f"column {field.name!r} is {batch.schema.field(at).type} in the log, and "
                f"{field.type} in the spec; start a fresh --state with --from-night, from a "
                "backfill under this spec"
            )
        else:
            columns.append(batch.column(at))
    return pa.RecordBatch.from_arrays(columns, schema=event_schema(spec))


def expired_before(batch: pa.RecordBatch) -> int | None:
    """What `Engine.expire` was called with before a logged step; None: it was not."""
    if EXPIRED not in batch.schema.names:
        return None  # of a log from before there was expiry
    expired: int | None = batch.column(EXPIRED)[0].as_py()
    return expired


def arrivals_done(batch: pa.RecordBatch) -> list[int]:
    """Numbers of the messages that a logged step completed."""
    if ARRIVALS not in batch.schema.names:
        return []  # of a log from before there was one of arrivals, or of another runner
    done: list[int] | None = batch.column(ARRIVALS)[0].as_py()
    return done or []
