"""Thresholds as contracts: the most recall whose precision is at least p, with stated confidence.

What enters: calibrated scores and labels of the gate slice (at the population's prevalence: all of
it, or beyond `train_rows` a sample by the hash of the id, never by label), and the policy's
actions. What leaves: one :class:`ChosenThreshold` per action. Where the evidence is too thin, the
threshold is None, with the reason, and the action never fires; a number that someone would trust is
not made up.

The precision at a threshold is a share of events, so its lower bound is Clopper and Pearson's
(Biometrika 26, 1934): exact, never below the stated confidence at that threshold. Picking the
lowest of many passing thresholds spends some of that confidence; docs/training.md has the
measured cost. Ties cannot be cut: a threshold is always one of the scores, and all events with
that score fall on one side.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from scipy import stats

from configs.schema import Action
from scoring.decision import Threshold
from training.curve import Curve, best_of_each_recall, make_curve


@dataclasses.dataclass(frozen=True, kw_only=True)
class ChosenThreshold(Threshold):
    """A policy's threshold with the evidence for it, or for none.

    Attributes:
      confidence: what was asked, with `min_precision`.
      flagged, positives: events at or above it on the slice, and how many of them are abuse.
      precision, precision_low: the share, and its lower bound at `confidence`; None if none fires.
      recall: share of the slice's positives at or above it; 0 when it never fires.
    """

    confidence: float
    flagged: int = 0
    positives: int = 0
    precision: float | None = None
    precision_low: float | None = None
    recall: float = 0.0


def choose_thresholds(
    scores: npt.NDArray[np.float64],
    labels: npt.NDArray[np.int8],
    actions: Sequence[Action],
) -> tuple[ChosenThreshold, ...]:
    """One threshold per action, in the order of the policy.

    Args:
      scores: float64[n], calibrated.
      labels: int8[n]; unlabelled events take no part.
      actions: what is asked.

    Raises:
      ValueError: a score is NaN, or lengths differ.

    >>> scores = np.linspace(0, 1, 1000)
    >>> labels = (scores > 0.9).astype(np.int8)
    >>> block, = choose_thresholds(scores, labels, [Action("block", 0.9)])
    >>> bool(0.88 < block.value < 0.91), block.recall, block.reason
    (True, 1.0, '')
    """
    curve = make_curve(scores, labels)
    return tuple(_choose(curve, action) for action in actions)


def lower_bound(
    positives: npt.ArrayLike, flagged: npt.ArrayLike, confidence: float
) -> npt.NDArray[np.float64]:
    """Clopper and Pearson's one-sided lower bound of a share, elementwise.

    Args:
      positives: integers, hits.
      flagged: integers, trials; 0 trials give 0.
      confidence: such as 0.95.

    >>> lower_bound([59, 58], [59, 58], 0.95).round(4).tolist()
    [0.9505, 0.9497]
    """
    hits = np.asarray(positives, np.float64)
    trials = np.asarray(flagged, np.float64)
    bound = stats.beta.ppf(1.0 - confidence, hits, trials - hits + 1.0)
    return np.where(hits > 0, bound, 0.0)


def interval(positives: int, flagged: int, confidence: float = 0.95) -> tuple[float, float]:
    """Clopper and Pearson's two-sided interval of a share; 0 trials give (0, 1).

    >>> low, high = interval(5, 10)
    >>> round(low, 3), round(high, 3)
    (0.187, 0.813)
    """
    tail = (1.0 + confidence) / 2.0
    low = float(lower_bound(positives, flagged, tail))
    high = 1.0 - float(lower_bound(flagged - positives, flagged, tail))
    return low, high


def fewest_flagged(min_precision: float, confidence: float) -> int:
    """The fewest flagged events, all abuse, that can show a precision.

    >>> fewest_flagged(0.95, 0.95), fewest_flagged(0.6, 0.95)
    (59, 6)
    """
    if min_precision >= 1.0:
        return int(np.iinfo(np.int64).max)
    if min_precision <= 0.0:
        return 1
    # All of n are abuse: the bound is (1 - confidence) ** (1 / n).
    return max(1, int(np.ceil(np.log(1.0 - confidence) / np.log(min_precision))))


def _choose(curve: Curve, action: Action) -> ChosenThreshold:
    # Of equal recalls the fewest flagged have the best bound, so the others need no look.
    best = best_of_each_recall(curve)
    bounds = lower_bound(curve.positives[best], curve.flagged[best], action.confidence)
    passing = np.flatnonzero(bounds >= action.min_precision)
    chosen = functools.partial(
        ChosenThreshold,
        action=action.name,
        min_precision=action.min_precision,
        confidence=action.confidence,
    )
    if len(passing) == 0:
        return chosen(value=None, reason=_reason(curve, action, best, bounds))
    at = best[passing[-1]]
    flagged, positives = int(curve.flagged[at]), int(curve.positives[at])
    return chosen(
        value=float(curve.values[at]),
        flagged=flagged,
        positives=positives,
        precision=positives / flagged,
        precision_low=float(bounds[passing[-1]]),
        recall=positives / curve.total,
    )


def _reason(
    curve: Curve,
    action: Action,
    best: npt.NDArray[np.int64],
    bounds: npt.NDArray[np.float64],
) -> str:
    need = fewest_flagged(action.min_precision, action.confidence)
    asked = f"precision {action.min_precision:g} at {action.confidence:g} confidence"
    if action.min_precision >= 1.0:
        return f"{asked} cannot be shown by any number of events; ask for less than 1"
    if curve.total < need:
        return (
            f"{asked} needs at least {need} positives in the gate slice, which has "
            f"{curve.total}; use a longer training.gate"
        )
    top = int(np.argmax(bounds))
    return (
        f"no threshold reaches {asked}; the best lower bound is {bounds[top]:.3f}, with "
        f"{int(curve.positives[best[top]])} of {int(curve.flagged[best[top]])} flagged events "
        "positive"
    )
