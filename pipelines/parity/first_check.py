"""First decisions, replayed: each look on the state that it saw, with what waited before it.

The looks of STATE/at_arrival and the steps of STATE/log are gone through together: a look tells how
many steps had been folded when it was made, and what waited is what the looks before it brought and
those steps have not folded.
"""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from configs.schema import EVENT_ID, EVENT_TIME, Spec
from pipelines.campaign_snapshots import CampaignsBeside
from pipelines.parity.log import Base, TimeSpan
from pipelines.parity.replay import other_campaigns, see_as_logged
from pipelines.streaming.at_arrival import FOLDED, logged_outcome, read_looks
from pipelines.streaming.journal import LoggedStep, read_steps
from scoring.arrival import Arrived, Waiting, look
from scoring.columns import clock_of
from scoring.engine import (
    ACTION,
    BUNDLE,
    DECISION,
    SCORE,
    SCORED,
    WITHHELD,
    Engine,
    Outcome,
    logged_events,
)
from scoring.hold_out import HELD_OUT
from scoring.parity.compare import (
    CAMPAIGN,
    UNEXPLAINED,
    VERSION,
    Difference,
    differing_columns,
)
from scoring.scorer import Scorer
from transforms.inputs import numeric_names
from transforms.order import places
from transforms.social.as_of import NO_SNAPSHOTS, Snapshots


@dataclasses.dataclass
class Firsts:
    """What was compared.

    Attributes:
      differences: of first decisions.
      times: event times of all that were compared, microseconds UTC, by look.
      versions: bundle -> first decisions.
      wrong_revisions: events that were decided otherwise in order (another action, or the hold-out
        let them through or no longer) and have no revision, or that have one without need.
    """

    differences: list[Difference] = dataclasses.field(default_factory=list)
    times: list[npt.NDArray[np.int64]] = dataclasses.field(default_factory=list)
    versions: Counter[str] = dataclasses.field(default_factory=Counter)
    wrong_revisions: int = 0


def check_firsts(
    state: Path,
    spec: Spec,
    base: Base,
    scorer_of: Callable[[str], Scorer],
    span: TimeSpan | None = None,
    snapshots: Snapshots = NO_SNAPSHOTS,
    campaigns: CampaignsBeside | None = None,
) -> Firsts:
    """Replays first decisions from a base on; none where nothing was decided at arrival.

    Args:
      state: the scorer's folder.
      spec: of the first step's bundle.
      base: where the log is taken up.
      scorer_of: the scorer of a bundle.
      span: which looks are compared, by the scorer's clock when they were made.
      snapshots: of the social graph; events see those again that the log names.
      campaigns: likewise; None: events name none.
    """
    found, span = Firsts(), span or TimeSpan()
    replay = _Replay(spec, base, state, found, snapshots, campaigns)
    for step in read_looks(state):
        folded = int(step.batch.column(FOLDED)[0].as_py())
        replay.fold_before(folded)
        clock = replay.clock
        if span.end_us is not None and clock is not None and clock >= span.end_us:
            break
        inside = span.start_us is None or (clock is not None and clock >= span.start_us)
        replay.look(step, scorer_of, folded > base.step and inside)
    return found


class _Replay:
    def __init__(
        self,
        spec: Spec,
        base: Base,
        state: Path,
        found: Firsts,
        snapshots: Snapshots,
        campaigns: CampaignsBeside | None,
    ) -> None:
        self._found, self._snapshots, self._campaigns = found, snapshots, campaigns
        self._folds = Engine(spec, base.state(spec), None)
        self._position = self._folds.resident.position
        self._steps = read_steps(state, base.step)
        self._next: LoggedStep | None = next(self._steps, None)
        self._looks: Engine | None = None
        self._waiting: Waiting | None = None
        # Of first decisions that wait: the action, and whether it was let through.
        self._actions: dict[str, tuple[str, bool]] = {}
        self.clock: int | None = None

    def fold_before(self, step: int) -> None:
        """Folds the steps with a lower number."""
        while self._next is not None and self._next.number < step:
            batch, engine = self._next.batch, self._folds
            engine.fold_logged(batch)
            self._check_revisions(batch)
            if self._waiting is not None:
                self._waiting.forget(batch.column(EVENT_ID).to_pylist())
            clocks = clock_of(batch)
            self.clock = int(max(clocks[-1], self.clock or clocks[-1]))
            self._next = next(self._steps, None)

    def look(self, step: LoggedStep, scorer_of: Callable[[str], Scorer], compared: bool) -> None:
        """Looks again; the events of a look wait from then on."""
        bundle = step.batch.column(BUNDLE)[0].as_py()
        engine = self._engine(scorer_of(bundle))
        fresh = logged_events(engine.spec, step.batch)
        if not compared:
            self._wait(engine, fresh)
            return
        was = logged_outcome(engine.spec, step.batch)
        waiting = self._now(engine)
        see_as_logged(engine, step.batch, self._campaigns)
        now, arrived = look(engine, waiting, fresh)
        waiting.add(arrived)
        chosen = step.batch.filter(step.batch.column(SCORED))
        ids = chosen.column(EVENT_ID).to_pylist()
        self._actions |= dict(zip(ids, _decided(chosen), strict=True))
        self._found.times.append(chosen.column(EVENT_TIME).to_numpy())
        self._found.versions[bundle] += chosen.num_rows
        self._found.differences += _differences(engine.spec, chosen, was, now)

    def _engine(self, scorer: Scorer) -> Engine:
        resident = self._folds.resident
        spec = scorer.bundle.spec
        if self._looks is None or self._looks.scorer is not scorer:
            self._looks = Engine(spec, resident, scorer, self._snapshots)
        self._looks.resident = resident
        return self._looks

    def _now(self, engine: Engine) -> Waiting:
        if self._waiting is None:
            self._waiting = Waiting(engine.spec, engine.plans)
        self._waiting = self._waiting.under(engine.spec, engine.plans)
        return self._waiting

    def _wait(self, engine: Engine, fresh: pa.RecordBatch) -> None:
        """Of looks before the base: what its state has not folded."""
        if self._position is not None:
            times = fresh.column(EVENT_TIME).to_numpy()
            after = times > self._position.time_us
            for row in np.flatnonzero(times == self._position.time_us).tolist():
                place = places(engine.spec, fresh.slice(row, 1))[0].as_py()
                after[row] = place > self._position.place
            fresh = fresh.filter(pa.array(after))
        self._now(engine).add(Arrived.of(engine.spec, engine.plans, fresh))

    def _check_revisions(self, batch: pa.RecordBatch) -> None:
        mask = batch.column(SCORE).is_valid()
        rows = batch.filter(mask)
        sent = rows.column(DECISION).is_valid().to_pylist()
        ids = rows.column(EVENT_ID).to_pylist()
        for event, decided, has in zip(ids, _decided(rows), sent, strict=True):
            first = self._actions.pop(event, None)
            if first is not None:
                self._found.wrong_revisions += has != (decided != first)


def _decided(rows: pa.RecordBatch) -> list[tuple[str, bool]]:
    """The action of each row, and whether the hold-out let it through."""
    actions = rows.column(ACTION).to_pylist()
    if WITHHELD not in rows.schema.names:
        return [(action, False) for action in actions]
    held = rows.column(WITHHELD).to_pylist()
    return [(action, by == HELD_OUT) for action, by in zip(actions, held, strict=True)]


def _differences(
    spec: Spec, chosen: pa.RecordBatch, was: Outcome, now: Outcome
) -> list[Difference]:
    if was.scored is None or now.scored is None:
        return []
    columns = differing_columns(now.numeric, was.numeric)
    differ = columns.any(1) | (now.sequences != was.sequences).any(1)
    differ |= differing_columns(now.scored.inputs, was.scored.inputs).any(1)
    differ |= now.scored.score != was.scored.score
    differ |= np.array(now.scored.actions().to_pylist()) != np.array(
        was.scored.actions().to_pylist()
    )
    if WITHHELD in chosen.schema.names:
        held, again = was.scored.withheld, now.scored.withheld
        differ |= np.array([held.get(row) != again.get(row) for row in range(len(differ))])
    otherwise = other_campaigns(chosen, now)
    own = otherwise & ~differ  # of events that differ in nothing else
    differ |= otherwise
    names = numeric_names(spec)
    ids, times = chosen.column(EVENT_ID).to_pylist(), chosen.column(EVENT_TIME).to_pylist()
    return [
        Difference(
            ids[row],
            times[row],
            UNEXPLAINED if columns[row].any() else CAMPAIGN if own[row] else VERSION,
            tuple(names[i] for i in np.flatnonzero(columns[row])),
            float(was.scored.score[row]),
            float(now.scored.score[row]),
        )
        for row in np.flatnonzero(differ).tolist()
    ]
