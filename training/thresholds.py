"""Thresholds as contracts: an action fires only where it is shown that its promise holds.

What enters: calibrated scores, labels and accounts of the gate slice (at the population's
prevalence: all of it, or beyond `train_rows` a sample by the hash of the id, never by label), and
the policy's actions, strongest first. What leaves: a `Threshold` per action, with its evidence.
Where the evidence is too thin, the threshold is None, with the reason, and the action never fires;
a number that someone would trust is not made up.

An action promises a precision, that it costs less than doing nothing, a number of events a day, or
a precision and a number a day. Of the scores at which that is shown, the lowest is taken: the most
recall. Three things would make a promise weaker than it reads, and are paid for:

- *Choosing.* To look for the lowest score that passes gives chance many tries. Here the candidates
  and their order are fixed before any label is looked at (by effective events, `RATIO` apart), and
  are tested from few flagged events to many until the first that fails: fixed-sequence testing,
  which holds its error over all of them (Bauer, Statistics in Medicine 10, 1991; as Learn then
  Test: Angelopoulos, Bates, Candès, Jordan and Lei 2021, arXiv 2110.01052, section 4). Each of
  `STARTS` begins a sequence of its own with its part of the error (Bonferroni), so that a single
  false alarm near the top does not end all.
- *Clusters.* Bounds are Clopper and Pearson's of effective events (`training.clusters`).
- *Costs.* The cheapest threshold is known without labels: at false / (false + missed) of a
  calibrated score (Elkan, IJCAI 2001). So there is one test: that acting there saves anything.

Ties cannot be cut: a threshold is always one of the scores, and all events with that score fall on
one side. docs/contracts.md has what is not promised.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from configs.schema import Action
from configs.units import format_duration
from scoring.decision import Threshold
from training.clusters import Clustered, cluster_sums, own_clusters
from training.curve import last_of_ties
from training.intervals import lower_bound, shows_share, upper_count
from training.labels import POSITIVE, UNLABELLED

STARTS = (1.0, 5.0)
"""Where sequences begin, in multiples of the fewest effective events that can show the promise."""
RATIO = 1.05

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]


@dataclasses.dataclass(frozen=True)
class _Ranked:
    """Events at or above each distinct score, which fall: all arrays `[d]`."""

    values: Floats
    sums: Clustered

    @property
    def positives(self) -> int:
        return int(self.sums.hits[-1]) if len(self.values) else 0

    def place_of(self, value: float) -> int:
        """The last place whose score is at least a value; -1: there is none."""
        return int(np.searchsorted(-self.values, -value, side="right")) - 1


def choose_thresholds(
    scores: Floats,
    labels: npt.NDArray[np.int8],
    actions: Sequence[Action],
    clusters: Integers | None = None,
    days: float = 1.0,
) -> tuple[Threshold, ...]:
    """One threshold per action, in the order of the policy.

    Args:
      scores: float64[n], calibrated.
      labels: int8[n]; unlabelled events count only for numbers a day.
      actions: what is asked, strongest first.
      clusters: int64[n], the account of each event (-1: none); None: all are independent.
      days: how many days of events these are; a sample of half of a day is 0.5.

    Raises:
      ValueError: a score is NaN, or lengths differ.

    >>> scores = np.linspace(0, 1, 1000)
    >>> labels = (scores > 0.9).astype(np.int8)
    >>> block, = choose_thresholds(scores, labels, [Action("block", 0.9)])
    >>> bool(0.88 < block.value < 0.91), block.recall > 0.95, block.reason
    (True, True, '')
    """
    own = np.arange(len(scores)) if clusters is None else own_clusters(clusters)
    _check(scores, labels, own)
    known = labels != UNLABELLED
    ranked = _rank(scores[known], labels[known] == POSITIVE, own[known])
    nothing, left = np.zeros(len(scores), np.bool_), np.ones(len(scores), np.bool_)
    everything, chosen = _rank(scores, nothing, own), []
    for action in actions:
        made = _choose(action, ranked, everything, days)
        chosen.append(made)
        if made.value is not None:  # what it takes is no event of a weaker action
            left &= scores < made.value
            everything = _rank(scores[left], nothing[left], own[left])
    return tuple(chosen)


def fewest_flagged(min_precision: float, confidence: float) -> int:
    """The fewest flagged events, all abuse and independent, that can show a precision.

    >>> fewest_flagged(0.95, 0.95), fewest_flagged(0.6, 0.95)
    (59, 6)
    """
    if min_precision >= 1.0:
        return int(np.iinfo(np.int64).max)
    if min_precision <= 0.0:
        return 1
    # All of n are abuse: the bound is (1 - confidence) ** (1 / n).
    return max(1, int(np.ceil(np.log(1.0 - confidence) / np.log(min_precision))))


def contract_words(action: Action) -> str:
    """What an action promises.

    >>> contract_words(Action("hide", 0.9, per_day=50))
    'precision 0.9, at most 50 a day, at 0.95 confidence'
    >>> from configs.schema import ActionLimit
    >>> contract_words(Action("hide", 0.9, limit=ActionLimit("author_id", 3, 3_600_000_000)))
    'precision 0.9, at 0.95 confidence (as due: given at most 3 times per author_id in 1h)'
    """
    parts = [] if action.asked is None else [f"precision {action.asked:.4g}"]
    if action.costs is not None:
        parts = [f"cheaper than doing nothing (precision {action.costs.break_even:.4g})"]
    if action.per_day is not None:
        parts.append(f"at most {action.per_day:,} a day")
    return ", ".join([*parts, f"at {action.confidence:g} confidence"]) + _limit_words(action)


def _limit_words(action: Action) -> str:
    """A limit weakens what a scorer does; what is measured here is what is due without it."""
    if action.limit is None:
        return ""
    per, length = action.limit.per, format_duration(action.limit.in_us)
    return f" (as due: given at most {action.limit.count} times per {per} in {length})"


def _rank(scores: Floats, hits: npt.NDArray[np.bool_], clusters: Integers) -> _Ranked:
    order = np.argsort(-scores, kind="stable")
    last = last_of_ties(scores[order])
    return _Ranked(scores[order][last], cluster_sums(hits[order], clusters[order]).at(last))


def _choose(action: Action, ranked: _Ranked, everything: _Ranked, days: float) -> Threshold:
    parts = 1 if action.costs is not None else len(STARTS)
    level = 1.0 - (1.0 - action.confidence) / parts
    lowest = -np.inf
    if action.per_day is not None:
        over = np.flatnonzero(_rates(everything, action.confidence, days) > action.per_day)
        room = int(over[0]) if len(over) else len(everything.values)
        if not room:
            return _refused(action, ranked, _why_no_rate(action, everything, days))
        lowest = float(everything.values[room - 1])
    if action.asked is None:
        values = np.array([lowest])
    else:
        places = (
            _at_score(ranked, max(action.asked, lowest), action.asked, level)
            if action.costs is not None
            else _shown_precisions(ranked, action.asked, level)
        )
        values = ranked.values[places]
        if not len(values):
            return _refused(action, ranked, _why_no_precision(ranked, action, lowest, level))
        values = values[values >= lowest]
        if not len(values):
            return _refused(
                action,
                ranked,
                f"the precision is shown at lower scores only, where more than {action.per_day:,} "
                "a day are flagged",
            )
    if not len(values):
        return _refused(action, ranked, "the gate slice has no events; use a longer training.gate")
    return _with_evidence(action, float(values[-1]), ranked, everything, level, days)


def _shown_precisions(ranked: _Ranked, asked: float, level: float) -> Integers:
    """Places at which a precision is shown, by fixed sequences of tests."""
    need = fewest_flagged(asked, level)
    worst = np.maximum.accumulate(ranked.sums.worst_case())
    if not len(worst) or worst[-1] < need:
        return np.empty(0, np.int64)
    steps = int(np.log(worst[-1] / need) / np.log(RATIO)) + 1
    grid = np.unique(np.searchsorted(worst, need * RATIO ** np.arange(steps)))
    grid = grid[grid < len(worst)]
    sums = ranked.sums.at(grid)
    effective = sums.effective()
    passed = shows_share(sums.hits / sums.events * effective, effective, level, asked)
    shown = np.zeros(len(grid), np.bool_)
    for start in STARTS:
        begin = int(np.searchsorted(worst[grid], start * need))
        failed = np.flatnonzero(~passed[begin:])
        shown[begin : begin + int(failed[0]) if len(failed) else len(grid)] = True
    return grid[shown]


def _at_score(ranked: _Ranked, score: float, asked: float, level: float) -> Integers:
    """The last place at or above a score, if a precision is shown there: one test."""
    place = ranked.place_of(score)
    if place < 0 or _precision_bounds(ranked.sums.at(np.array([place])), level)[0] < asked:
        return np.empty(0, np.int64)
    return np.array([place])


def _precision_bounds(sums: Clustered, level: float) -> Floats:
    effective = sums.effective()
    return lower_bound(sums.hits / sums.events * effective, effective, level)


def _rates(everything: _Ranked, confidence: float, days: float) -> Floats:
    """Upper bounds of how many events a day are at or above each score."""
    sums = everything.sums
    effect = sums.squares / sums.events  # as if all events of a cluster came or stayed away
    return effect * upper_count(sums.events / effect, confidence) / days


def _with_evidence(
    action: Action, value: float, ranked: _Ranked, everything: _Ranked, level: float, days: float
) -> Threshold:
    made = _promise(action, ranked)
    place, of_all = ranked.place_of(value), everything.place_of(value)
    rate = (0, 0.0)
    if of_all >= 0:
        high = float(_rates(everything, action.confidence, days)[of_all])
        rate = (int(everything.sums.events[of_all]), high)
    made = dataclasses.replace(
        made, value=value, per_day=round(rate[0] / days, 3), per_day_high=rate[1]
    )
    if place < 0:
        return made
    here = ranked.sums.at(np.array([place]))
    flagged, positives = int(here.events[0]), int(here.hits[0])
    return dataclasses.replace(
        made,
        flagged=flagged,
        positives=positives,
        accounts=int(here.clusters[0]),
        effective=float(here.effective()[0]),
        precision=positives / flagged,
        precision_low=float(_precision_bounds(here, level)[0]),
        recall=positives / ranked.positives if ranked.positives else 0.0,
    )


def _promise(action: Action, ranked: _Ranked) -> Threshold:
    labelled = int(ranked.sums.events[-1]) if len(ranked.values) else 0
    return Threshold(
        action.name,
        None,
        action.asked,
        contract=contract_words(action),
        confidence=action.confidence,
        labelled=labelled,
        prevalence=ranked.positives / labelled if labelled else None,
    )


def _refused(action: Action, ranked: _Ranked, reason: str) -> Threshold:
    return dataclasses.replace(_promise(action, ranked), reason=reason)


def _why_no_precision(ranked: _Ranked, action: Action, lowest: float, level: float) -> str:
    asked = action.asked or 0.0
    words = f"precision {asked:.4g} at {action.confidence:g} confidence"
    if asked >= 1.0:
        return f"{words} cannot be shown by any number of events; ask for less than 1"
    need = fewest_flagged(asked, level)
    if ranked.positives < need:
        return (
            f"{words} needs at least {need} positives in the gate slice, which has "
            f"{ranked.positives}; use a longer training.gate"
        )
    bounds = _precision_bounds(ranked.sums, level)
    top = int(np.argmax(bounds))
    if action.costs is not None:  # one score is looked at, where it is cheaper to act
        top = ranked.place_of(max(asked, lowest))
        if top < 0:
            return f"no labelled event has a score of {max(asked, lowest):.4g} or more"
    sums = ranked.sums.at(np.array([top]))
    of_accounts = (
        f", of {int(sums.clusters[0]):,} accounts" if sums.clusters[0] < sums.events[0] else ""
    )
    effective = f" (as much evidence as {sums.effective()[0]:.0f} independent events)"
    there = (
        f"{bounds[top]:.3f}, with {int(sums.hits[0])} of {int(sums.events[0])} flagged events "
        f"positive{of_accounts}" + (effective if of_accounts else "")
    )
    if action.costs is not None:
        return f"no threshold reaches {words}; the lower bound where it would act is {there}"
    if bounds[top] >= asked:
        return (
            f"no threshold reaches {words} in the order of its tests, which false alarms among the "
            f"highest scores end; a bound of one score that is picked afterwards ({there}) is no "
            "promise"
        )
    return f"no threshold reaches {words}; the best lower bound is {there}"


def _why_no_rate(action: Action, everything: _Ranked, days: float) -> str:
    if not len(everything.values):
        return "the gate slice has no events left for it; use a longer training.gate"
    return (
        f"at most {action.per_day:,} a day at {action.confidence:g} confidence cannot be shown "
        f"with {days:.2g} days of events, of which the highest score alone has "
        f"{int(everything.sums.events[0]):,}; use a longer training.gate, or allow more"
    )


def _check(scores: Floats, labels: npt.NDArray[np.int8], clusters: Integers) -> None:
    if not len(scores) == len(labels) == len(clusters):
        raise ValueError(
            f"{len(scores)} scores and {len(labels)} labels, of {len(clusters)} accounts: must be "
            "equally many"
        )
    nans = int(np.isnan(scores).sum())
    if nans:
        raise ValueError(f"{nans} of {len(scores)} scores are NaN; expected none")
