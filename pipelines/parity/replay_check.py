"""As served: the scorer's log, replayed in the order in which it was folded, in large batches.

The replay starts from a state that the scorer kept, and runs derive, fold, graph and model of this
installation over other cuts of the same events.
"""

from __future__ import annotations

import functools
import itertools
import json
from collections import Counter
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from configs.schema import EVENT_ID, EVENT_TIME
from pipelines.campaign_snapshots import CampaignsBeside
from pipelines.parity.first_check import check_firsts
from pipelines.parity.log import (
    TimeSpan,
    find_base,
    logged_batches,
    lost_before,
    nothing_in_range,
)
from pipelines.parity.replay import Replayed, logged_side, other_campaigns, replay
from pipelines.snapshots import beside, read_snapshots
from scoring.action_delay import NOW, act_after
from scoring.bundle import load_bundle
from scoring.columns import matrix
from scoring.controls import read_version, split_name
from scoring.engine import ACTION, DECISION, INPUTS, SCORE, WITHHELD, withheld_column
from scoring.files import Place
from scoring.models import input_names
from scoring.parity.compare import (
    CAMPAIGN,
    UNEXPLAINED,
    VERSION,
    Difference,
    ParityReport,
    differing_columns,
    gather,
)
from scoring.parity.diagnose import Suspects, diagnose, unlike_after_the_fold
from scoring.scorer import Scorer
from scoring.store import Store
from transforms.catalog import CATALOG
from transforms.decode import event_schema
from transforms.inputs import numeric_names


def check_served(state: Path, bundles: Place, span: TimeSpan | None = None) -> ParityReport:
    """Replays a scorer's log and compares numeric block, inputs, score, action and sequences.

    Args:
      state: the scorer's folder; the scorer may be running.
      bundles: the store that holds every bundle that the log names.
      span: which decisions are compared; None: all that the log can be replayed for.

    Raises:
      InputError: there is no log, or nothing was decided in the span.
      BundleError: a bundle is gone or damaged.
      StateError: the log lacks a step, or names a snapshot (graph, campaigns) that is gone.
    """
    store, snapshots = Store(bundles), read_snapshots(beside(bundles))
    campaigns = CampaignsBeside(bundles)
    base = find_base(state, span)
    batches = logged_batches(state, base, span)
    first = next(batches, None)
    if first is None:
        raise nothing_in_range(state, base, span)
    scorers: dict[str, Scorer] = {}
    switched = functools.cache(functools.partial(read_version, bundles))

    def scorer_of(decided_by: str) -> Scorer:
        name, controls = split_name(decided_by)
        if name not in scorers:
            if (
                len(scorers) > 1
            ):  # two in memory: around a swap, workers decide by the old and the new
                scorers.pop(next(iter(scorers)))
            scorers[name] = Scorer(load_bundle(store.path(name), CATALOG))
        return scorers[name].under(switched(controls))

    spec = scorer_of(first.bundle).bundle.spec
    differences: list[Difference] = []
    versions: Counter[str] = Counter()
    times: list[npt.NDArray[np.int64]] = []
    unlike: Counter[str] = Counter()
    suspects = Suspects()
    whole = itertools.chain([first], batches)
    for one in replay(spec, base, whole, scorer_of, snapshots, campaigns):
        times.append(one.scored.column(EVENT_TIME).to_numpy()[one.inside])
        versions[one.log.bundle] += int(one.inside.sum())
        differences += _differences(one, unlike, suspects)
    if not sum(versions.values()):
        raise nothing_in_range(state, base, span)
    firsts = check_firsts(state, spec, base, scorer_of, span, snapshots, campaigns)
    times, versions = times + firsts.times, versions + firsts.versions
    differences += firsts.differences
    faults = []
    if firsts.wrong_revisions:
        faults.append(
            f"{firsts.wrong_revisions:,} events were decided otherwise in order than at their "
            "arrival and have no revision, or have one without need"
        )
    sides = map(logged_side, logged_batches(state, base, span))
    hints = (
        diagnose(spec, base.state(spec), sides, suspects, "The served values") if suspects else []
    )
    categories = [one.column for one in spec.inputs.categorical]
    hints += unlike_after_the_fold(unlike, categories, spec.inputs.text is not None)
    hints += filter(None, [lost_before(state, base, span)])
    return gather("as served", np.concatenate(times), differences, versions, hints, faults)


def _delayed_otherwise(one: Replayed) -> npt.NDArray[np.bool_]:
    """Where the moment before which an action waits is not the one that was logged: bool `[s]`."""
    scored, actions = one.outcome.scored, one.spec.policy.actions
    differ = np.zeros(one.scored.num_rows, np.bool_)
    if scored is None or all(action.delay is None for action in actions):
        return differ
    ids, times = one.scored.column(EVENT_ID), one.scored.column(EVENT_TIME).to_numpy()
    moments = act_after(actions, scored.action, ids, times).tolist()
    for row, message in enumerate(one.scored.column(DECISION).to_pylist()):
        if message is not None:  # else it was decided at its arrival
            differ[row] = json.loads(message).get("act_after", NOW) != moments[row]
    return differ


def _differences(one: Replayed, unlike: Counter[str], suspects: Suspects) -> list[Difference]:
    """The span's differences; what they point to is noted in `unlike` and `suspects`."""
    scored = one.outcome.scored
    if scored is None:
        return []
    logged = np.asarray(matrix(one.scored.column(INPUTS), np.float32), np.float32)
    if logged.shape == scored.inputs.shape:
        other = differing_columns(scored.inputs, logged)
    else:
        other = np.ones(scored.inputs.shape, np.bool_)
    scores = one.scored.column(SCORE).to_numpy()
    differ = other.any(1) | (scores != scored.score)
    differ |= np.array(one.scored.column(ACTION).to_pylist()) != np.array(
        scored.actions().to_pylist()
    )
    differ |= np.array([cause is not None for cause in one.causes], np.bool_)
    if WITHHELD in one.scored.schema.names:
        by = one.scored.column(WITHHELD).to_pylist()
        differ |= np.array(by, object) != np.array(withheld_column(scored).to_pylist(), object)
    differ |= _delayed_otherwise(one)
    otherwise = other_campaigns(one.scored, one.outcome)
    own = otherwise & ~differ  # of events that differ in nothing else
    differ |= otherwise
    names, inputs = numeric_names(one.spec), input_names(one.spec)
    rows = np.flatnonzero(differ & one.inside)
    events = one.scored.take(pa.array(rows))
    features = [tuple(names[i] for i in np.flatnonzero(one.columns[row])) for row in rows]
    causes = [one.causes[row] or (CAMPAIGN if own[row] else VERSION) for row in rows]
    for row in rows:
        if one.causes[row] is None and not own[row]:
            unlike.update([inputs[i] for i in np.flatnonzero(other[row])] or [""])
    strayed = [i for i, cause in enumerate(causes) if cause == UNEXPLAINED]
    if strayed:
        chosen = events.select(event_schema(one.spec).names).take(pa.array(strayed))
        suspects.add(one.spec, chosen, [features[i] for i in strayed])
    ids, times = events.column(EVENT_ID).to_pylist(), events.column(EVENT_TIME).to_pylist()
    return [
        Difference(ids[i], times[i], causes[i], features[i], scores[row], scored.score[row])
        for i, row in enumerate(rows.tolist())
    ]
