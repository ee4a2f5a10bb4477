"""Precision and recall of a running scorer, from its log and from who judged what by chance.

What enters: decisions as they were logged, each with its propensity, and the verdicts of one source
that looked at all that the hold-out let through and at a random share of the rest. What leaves:
estimates with intervals (`training.selective`), or why there are none.
"""

from __future__ import annotations

import dataclasses
import itertools
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from configs.errors import ConfigError, InputError
from configs.schema import EVENT_TIME, Spec
from pipelines.backfill import read_verdicts
from pipelines.layout import Days, Layout, require_folder
from pipelines.streaming.at_arrival import read_looks
from pipelines.streaming.journal import read_steps, require_segments
from scoring.engine import DECISION
from scoring.hold_out import HELD_OUT
from scoring.limits import LIMITED
from training.intervals import interval
from training.labels import UNLABELLED
from training.selective import FIGURES, Estimate, Method, Observed, estimate

METHODS: tuple[Method, ...] = ("self_normalised", "doubly_robust")


@dataclasses.dataclass(frozen=True)
class SelectiveReport:
    """What the log and the verdicts give.

    Attributes:
      decisions: in the days; due: for which an action was due; through: of these, let through.
      unjudged: let through, and without a verdict of the source: each weighs on the figures.
      not_due: events that no action was due for; audited: of these, judged by the source.
      audits: the share of these that was said to be judged at random.
      fits: whether chance explains how many were judged, if that is the share.
      estimates: figure -> method -> estimate.
    """

    decisions: int
    due: int
    through: int
    unjudged: int
    not_due: int
    audited: int
    audits: float
    fits: bool
    estimates: dict[str, dict[str, Estimate]]

    def to_builtins(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return dataclasses.asdict(self)


@dataclasses.dataclass(frozen=True)
class Decisions:
    """Decisions of a log; arrays `[n]`.

    Attributes:
      ids: string; scores: float64, calibrated.
      flagged: bool, an action is due by the last decision, which is measured.
      due: bool, an action was due by some decision; through: bool, and the hold-out let it through
        each time.
      propensity: float64, the chance that it was never acted on.
    """

    ids: pa.Array
    scores: npt.NDArray[np.float64]
    flagged: npt.NDArray[np.bool_]
    due: npt.NDArray[np.bool_]
    through: npt.NDArray[np.bool_]
    propensity: npt.NDArray[np.float64]


def report_selective(
    spec: Spec, out: str, state: Path, days: Days, source: str, audits: float
) -> SelectiveReport:
    """Estimates of the decisions on events of some days.

    Args:
      spec: the use, with `labels.source`.
      out: the folder of backfill and nightly, whose verdicts count.
      state: of `lockstep stream`.
      days: of events; their verdicts should have come.
      source: whose verdicts count.
      audits: the share of events without an action that it judged, drawn at random.

    Raises:
      ConfigError: the spec has no `labels.source`.
      InputError: nothing is published, the log has no decisions of these days, or some were made
        without a hold-out.
    """
    if spec.labels is None or spec.labels.source is None:
        raise ConfigError(
            f"the config {spec.name!r} has no labels.source; it says whose verdict it is"
        )
    if not 0.0 < audits <= 1.0:
        raise InputError(f"--audits {audits:g}: expected a share above 0 and at most 1")
    require_folder(out)
    published = Layout(out).published()
    if not published:
        raise InputError(f"{out} holds no published day; run `lockstep backfill` first")
    require_segments(state)
    made = parse_decisions(logged_decisions(state, days), spec.policy.default)
    if not len(made.ids):
        raise InputError(f"the log in {state} has no decision on an event of {days}")
    verdicts = read_verdicts(Layout(out), published[-1])
    observed = observe(made, verdicts, source, audits)
    not_due = int((~made.due).sum())
    audited = int((~made.due & (observed.labels != UNLABELLED)).sum())
    return SelectiveReport(
        decisions=len(made.ids),
        due=int(made.due.sum()),
        through=int(made.through.sum()),
        unjudged=int((made.through & (observed.labels == UNLABELLED)).sum()),
        not_due=not_due,
        audited=audited,
        audits=audits,
        fits=fits_share(audited, not_due, audits),
        estimates={
            figure: {method: estimate(observed, figure, method) for method in METHODS}
            for figure in FIGURES
        },
    )


def logged_decisions(state: Path, days: Days) -> Iterator[bytes]:
    """The decisions on events of some days as they were logged, at arrival and then in order."""
    for step in itertools.chain(read_looks(state), read_steps(state)):
        times = step.batch.column(EVENT_TIME)
        inside = pc.and_(pc.greater_equal(times, days.start_us), pc.less(times, days.end_us))
        yield from step.batch.column(DECISION).filter(inside).drop_null().to_pylist()


def parse_decisions(messages: Iterator[bytes] | Sequence[bytes], default: str) -> Decisions:
    """Decisions as `pipelines.streaming.decisions` encodes them.

    Of an event that was decided at its arrival and again in order, the last decision is measured;
    what became of it hangs on all of them: whoever was blocked first has been blocked.

    Args:
      messages: JSON, in the order of the log.
      default: the action that is none.

    Raises:
      InputError: some have no propensity.

    >>> made = parse_decisions([b'{"event_id": "a", "score": 0.9, "action": "allow",'
    ...     b' "propensity": 0.1, "withheld": {"action": "block", "by": "hold-out"}}'], "allow")
    >>> made.due.tolist(), made.through.tolist(), made.propensity.tolist()
    ([True], [True], [0.1])
    """
    found: dict[str, list[dict[str, Any]]] = {}
    for one in map(json.loads, messages):
        found.setdefault(one["event_id"], []).append(one)
    without = sum(any("propensity" not in one for one in made) for made in found.values())
    if without:
        raise InputError(
            f"{without:,} of {len(found):,} decisions have no propensity: they were made without "
            "policy.hold_out; choose --days since it began"
        )
    acted = np.array([any(o["action"] != default for o in made) for made in found.values()], bool)
    let = np.array([any(map(_is_let_through, made)) for made in found.values()], bool)
    last = [made[-1] for made in found.values()]
    return Decisions(
        ids=pa.array(list(found), pa.string()),
        scores=np.array([one["score"] for one in last], np.float64),
        flagged=np.array([_is_due(one, default) for one in last], np.bool_),
        due=np.array([any(_is_due(o, default) for o in made) for made in found.values()], bool),
        through=let & ~acted,
        propensity=np.array([min(o["propensity"] for o in made) for made in found.values()], float),
    )


def _is_due(decision: dict[str, Any], default: str) -> bool:
    """Whether an action was due, which chance could let through; a limit came after that."""
    held = decision.get("withheld", {}).get("by")
    return decision["action"] != default or held in (HELD_OUT, LIMITED)


def _is_let_through(decision: dict[str, Any]) -> bool:
    return bool(decision.get("withheld", {}).get("by") == HELD_OUT)


def fits_share(judged: int, count: int, share: float) -> bool:
    """Whether a binomial draw of a share explains how many of some events were judged.

    Clopper and Pearson's interval of what was judged holds the share, at 99.9 %.

    >>> fits_share(210, 10_000, 0.02), fits_share(210, 10_000, 0.05)
    (True, False)
    """
    low, high = interval(judged, count, 0.999)
    return low <= share <= high


def observe(made: Decisions, verdicts: pa.Table, source: str, audits: float) -> Observed:
    """What was looked at by chance, and with which chance.

    Args:
      made: decisions.
      verdicts: `training.labels.VERDICT_COLUMNS` and source, in total order.
      source: whose verdicts count; of several the last one.
      audits: the chance with which it judges an event that no action was due for.
    """
    theirs = verdicts.filter(pc.equal(verdicts["source"], source))
    theirs = theirs.take(pa.array(np.argsort(theirs[EVENT_TIME].to_numpy(), kind="stable")))
    theirs = theirs.filter(pc.and_(theirs["subject"].is_valid(), theirs["positive"].is_valid()))
    place = pc.index_in(theirs["subject"].cast(pa.string()), value_set=made.ids)
    known = place.is_valid().to_numpy()
    labels = np.full(len(made.ids), UNLABELLED, np.int8)
    said = theirs["positive"].to_numpy().astype(np.int8)
    labels[place.drop_null().to_numpy()] = said[known]
    labels[made.due & ~made.through] = UNLABELLED  # who looked at what was acted on had no chance
    chance = np.where(made.due, made.propensity, audits)
    return Observed(made.flagged, labels, chance, made.scores)
