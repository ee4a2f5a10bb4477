"""Folds a scorer's log again, in the order in which it was folded, and sets both sides together.

Where the fold itself differs, the per-key sequence numbers say how: they count the events that a
key had before, so a doubled or a lost event shows in them.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Iterator

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from configs.schema import Spec
from pipelines.campaign_snapshots import CampaignsBeside
from pipelines.parity.log import Base, LogBatch
from scoring.columns import CAMPAIGN, CAMPAIGN_SNAPSHOT, campaign_columns, matrix
from scoring.engine import (
    DECISION,
    NUMERIC,
    SCORE,
    SCORED,
    SEQUENCE,
    Engine,
    Outcome,
    Resident,
    expired_before,
    logged_events,
)
from scoring.parity.compare import (
    DUPLICATE,
    HAND_OFF,
    MISSING,
    UNEXPLAINED,
    differing_columns,
)
from scoring.parity.diagnose import Sided
from scoring.scorer import Scorer
from transforms.decode import event_schema
from transforms.derive import derive
from transforms.inputs import numeric_names
from transforms.keys import entities_of, entity_keys, sequence_of
from transforms.social.as_of import NO_SNAPSHOTS, AsLogged, Snapshots
from transforms.ticks import LATE, SNAPSHOT

Floats = npt.NDArray[np.float32]


@dataclasses.dataclass(frozen=True)
class Replayed:
    """A batch of the log, and what comes out now.

    Attributes:
      log: the batch; `scored` its scored rows.
      inside: bool `[s]`, which scored rows lie in the span.
      spec: that was folded by.
      numeric: float32 `[s, K]`, as logged.
      outcome: of this installation.
      columns: bool `[s, K]`, where the numeric block differs.
      causes: of the scored rows whose fold differs; None: it does not.
    """

    log: LogBatch
    scored: pa.RecordBatch
    inside: npt.NDArray[np.bool_]
    spec: Spec
    numeric: Floats
    outcome: Outcome
    columns: npt.NDArray[np.bool_]
    causes: list[str | None]


def replay(
    spec: Spec,
    base: Base,
    batches: Iterator[LogBatch],
    scorer_of: Callable[[str], Scorer] | None = None,
    snapshots: Snapshots = NO_SNAPSHOTS,
    campaigns: CampaignsBeside | None = None,
) -> Iterator[Replayed]:
    """Folds logged batches from a base on, in order.

    Args:
      spec: of the first batch's bundle.
      base: where the log is taken up.
      batches: from there on.
      scorer_of: the scorer of a bundle; None: nothing is scored.
      snapshots: of the social graph; events see those again that the log names.
      campaigns: likewise; None: events name none.

    Raises:
      StateError: the base is of another spec, or a snapshot is gone.
    """
    resident = base.state(spec)
    histories = _Histories(
        Resident({name: one.copy() for name, one in resident.states.items()}, resident.recent)
    )
    engine = Engine(spec, resident, None, snapshots)
    bundle = ""
    for log in batches:
        if scorer_of is not None and log.bundle != bundle:
            engine.swap(scorer_of(log.bundle))
            bundle = log.bundle
        expired = expired_before(log.batch)
        if expired is not None:
            engine.expire(expired)
        late = log.batch.column(LATE).to_numpy(zero_copy_only=False)
        see_as_logged(engine, log.batch, campaigns)
        outcome = engine.step(logged_events(engine.spec, log.batch), late, accepted=True)
        mask = log.batch.column(SCORE).is_valid().to_numpy(zero_copy_only=False)
        scored = log.batch.filter(pa.array(mask))
        numeric = np.asarray(matrix(scored.column(NUMERIC), np.float32), np.float32)
        if numeric.shape == outcome.numeric.shape:
            columns = differing_columns(outcome.numeric, numeric)
        else:
            columns = np.ones((len(numeric), outcome.numeric.shape[1]), np.bool_)
        yield Replayed(
            log=log,
            scored=scored,
            inside=log.inside[mask],
            spec=engine.spec,
            numeric=numeric,
            outcome=outcome,
            columns=columns,
            causes=histories.causes(engine.spec, scored, outcome, columns),
        )


def see_as_logged(
    engine: Engine, batch: pa.RecordBatch, campaigns: CampaignsBeside | None = None
) -> None:
    """Has the events of a logged batch see the snapshots that it names, whatever there is now.

    Raises:
      StateError: one of them is not there any more.
    """
    if campaigns is not None:
        engine.campaigns = campaigns.of_log(engine.spec, batch.filter(batch.column(SCORED)))
    as_of = engine.snapshots.of(engine.spec)
    if as_of is None:
        return
    names = pa.nulls(batch.num_rows, pa.string())
    if SNAPSHOT in batch.schema.names:
        names = batch.column(SNAPSHOT)
    here = {one.name for one in as_of.published}
    others = [one.name for one in engine.snapshots.published if one.name not in here]
    # Of another config's graph, which this spec cannot see: its bundle is another, too.
    other = pc.is_in(names, value_set=pa.array(others, pa.string()))
    names = pc.if_else(other, pa.scalar(None, pa.string()), names)
    engine.sees = AsLogged(as_of, names.filter(batch.column(SCORED)))


def other_campaigns(scored: pa.RecordBatch, outcome: Outcome) -> npt.NDArray[np.bool_]:
    """Where another campaign was named, or by another snapshot, than comes out now: bool `[s]`.

    Args:
      scored: rows of the log; their decisions must name what the row does.
    """
    count, named = scored.num_rows, outcome.looked.campaigns if outcome.looked else None
    differ = np.zeros(count, np.bool_)
    if named is None and CAMPAIGN not in scored.schema.names:
        return differ
    now = campaign_columns(named, np.ones(count, np.bool_))
    for name in (CAMPAIGN, CAMPAIGN_SNAPSHOT):
        sides = [
            one[name].to_pylist() if name in names else [None] * count
            for one, names in ((scored, scored.schema.names), (now, now))
        ]
        differ |= np.array(sides[0], object) != np.array(sides[1], object)
    for row, message in enumerate(scored.column(DECISION).to_pylist()):
        if message is not None:  # else it was decided at its arrival
            said = json.loads(message).get("campaign") or {}
            known = scored[CAMPAIGN][row].as_py() if CAMPAIGN in scored.schema.names else None
            differ[row] |= said.get("name") != known
    return differ


def logged_side(log: LogBatch) -> Sided:
    """A batch of the log with the numeric block that was served."""
    batch = log.batch
    mask = batch.column(SCORE).is_valid().to_numpy(zero_copy_only=False)
    numeric = np.asarray(matrix(batch.column(NUMERIC), np.float32), np.float32)
    return Sided(batch, mask, numeric)


class _Histories:
    """Why the fold of an event differs, told from the sequence numbers of its keys.

    A key whose first event of the log has another number than the state that the log begins with
    was handed over wrongly. A number that goes off later was counted up by an event that was
    folded twice, or not by one that was dropped. Where all numbers agree, the values differ for
    another reason.
    """

    def __init__(self, start: Resident) -> None:
        self._start = start
        self._known: dict[tuple[str, int], tuple[str, int]] = {}

    def causes(
        self,
        spec: Spec,
        scored: pa.RecordBatch,
        outcome: Outcome,
        columns: npt.NDArray[np.bool_],
    ) -> list[str | None]:
        """A cause per scored row; None where the fold agrees."""
        causes: list[str | None] = [None] * scored.num_rows
        logged = np.asarray(matrix(scored.column(SEQUENCE), np.int64), np.int64)
        if logged.shape != outcome.sequences.shape:
            return [UNEXPLAINED] * scored.num_rows
        for row in np.flatnonzero(columns.any(1)).tolist():
            causes[row] = UNEXPLAINED
        off = logged != outcome.sequences
        rows = np.flatnonzero(off.any(1))
        if not len(rows):
            return causes
        events = scored.select(event_schema(spec).names).take(pa.array(rows))
        derived = derive(spec, events)
        keys = {name: entity_keys(spec, name, derived) for name in spec.entities}
        of = entities_of(spec)
        names = numeric_names(spec)
        for place, row in enumerate(rows.tolist()):
            found = {
                name: self._cause(
                    name,
                    int(keys[name][place]),
                    int(logged[row, index]),
                    int(outcome.sequences[row, index]),
                )
                for index, name in enumerate(spec.entities)
                if off[row, index]
            }
            concerned = [of[names[i]] for i in np.flatnonzero(columns[row])]
            explained = all(one & found.keys() for one in concerned)
            causes[row] = next(iter(found.values())) if explained else UNEXPLAINED
        return causes

    def _cause(self, entity: str, key: int, logged: int, replayed: int) -> str:
        known = self._known.get((entity, key))
        delta = logged - replayed
        if known is not None and known[1] == delta:
            return known[0]
        if known is None and replayed in (0, sequence_of(self._start.states[entity].get(key))):
            cause = HAND_OFF
        else:
            cause = DUPLICATE if delta > (known[1] if known else 0) else MISSING
        self._known[(entity, key)] = (cause, delta)
        return cause
