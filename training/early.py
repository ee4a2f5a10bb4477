"""Figures of days whose labels have not matured, from calibrated scores alone.

A calibrated score is the share of abuse among events with such a score, so it says how many hits a
threshold has before anyone has judged them: confidence-based performance estimation, CBPE
(Kivimäki, Białek, Kuberski and Nurminen 2025, arXiv:2505.05295; NannyML). It holds where the mix of
events moves and scores go on meaning what they meant. Where abuse itself changes (other words, so
that its scores are too low) it cannot know, and promises what no longer holds: so what later turned
out is to be shown beside it.

Intervals hold two kinds of chance: labels are drawn from scores (Poisson binomial), and the
calibration is not known exactly: another curve would have come of other accounts, and of a curve
that bends where a sigmoid does not (`training.calibrate.redraw_calibrations`). Their variances add
up (law of total variance) and give the effective events of Clopper and Pearson's bounds. What
neither holds is a change of meaning.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from sklearn.metrics import roc_auc_score

from training.intervals import interval
from training.labels import POSITIVE, UNLABELLED
from transforms.ticks import DAY_US

Floats = npt.NDArray[np.float64]
_EXACT = 1e-9  # hits that are whole but for a float's last bits


@dataclasses.dataclass(frozen=True)
class Expected:
    """A share that is expected, and where chance leaves it with a confidence."""

    value: float
    low: float
    high: float


@dataclasses.dataclass(frozen=True)
class ExpectedAction:
    """What a threshold does; None where nothing is flagged, or no abuse is expected.

    Attributes:
      flagged: events at or above it, as they are counted.
    """

    action: str
    flagged: int
    precision: Expected | None
    recall: Expected | None


@dataclasses.dataclass(frozen=True)
class ExpectedFigures:
    """What is expected of some events.

    Attributes:
      events: how many; abuse: how many of them are expected to be.
      auc: the chance that abuse is ranked above something else; None where all are one class.
      at: of each action that may fire.
    """

    events: int
    abuse: float
    auc: float | None
    at: tuple[ExpectedAction, ...]


def expect(
    scores: Floats,
    thresholds: Sequence[tuple[str, float]],
    confidence: float = 0.95,
    redrawn: Floats | None = None,
) -> ExpectedFigures:
    """Precision, recall and AUC that calibrated scores promise.

    Args:
      scores: float64 `[n]`, shares of abuse, 0 to 1.
      thresholds: actions and their values, of those that may fire.
      confidence: of the intervals.
      redrawn: float64 `[b, n]`, what calibrations that were redrawn say of the same events; None:
        intervals take the calibration for known.

    Raises:
      ValueError: a score is no share.

    >>> made = expect(np.array([0.9, 0.7, 0.1, 0.1]), [("block", 0.5)])
    >>> made.at[0].flagged, round(made.at[0].precision.value, 2), round(made.abuse, 2)
    (2, 0.8, 1.8)
    >>> round(made.at[0].recall.value, 3), round(made.auc, 3)
    (0.889, 0.931)
    """
    if not np.all((scores >= 0.0) & (scores <= 1.0)):
        raise ValueError("scores are expected to be shares of abuse, 0 to 1: calibrate them first")
    abuse = float(scores.sum())
    spread = scores * (1.0 - scores)
    others = np.empty((0, len(scores))) if redrawn is None else redrawn
    made = []
    for action, value in thresholds:
        flagged = scores >= value
        count, hits = int(flagged.sum()), float(scores[flagged].sum())
        precision = recall = None
        if count:
            variance = float(spread[flagged].sum()) / count**2
            variance += _variance(others[:, flagged].sum(axis=1) / count, hits / count)
            precision = _outwards(_around(hits / count, variance, float(count), confidence), count)
        if abuse > 0.0:
            share = hits / abuse
            variance = float(np.sum(spread * (flagged - share) ** 2)) / abuse**2
            variance += _variance(others[:, flagged].sum(axis=1) / others.sum(axis=1), share)
            recall = _around(share, variance, abuse, confidence)
        made.append(ExpectedAction(action, count, precision, recall))
    return ExpectedFigures(len(scores), abuse, expected_auc(scores), tuple(made))


def expected_auc(scores: Floats) -> float | None:
    """The AUC of scores that mean what they say: expected ordered pairs over expected pairs.

    Of two events with scores a and b, a ≥ b, they are abuse and not in this order with a chance of
    a (1 - b); equal scores count half.

    >>> expected_auc(np.array([1.0, 0.0])), expected_auc(np.array([0.5, 0.5]))
    (1.0, 0.5)
    >>> expected_auc(np.array([0.0, 0.0]))
    """
    values, counts = np.unique(scores, return_counts=True)
    abuse, other = values * counts, (1.0 - values) * counts
    below = np.cumsum(other) - other
    own = abuse * other - values * (1.0 - values) * counts  # nobody is compared with himself
    pairs = float(abuse.sum() * other.sum() - np.sum(values * (1.0 - values) * counts))
    if pairs <= 0.0:
        return None
    return float((np.sum(abuse * below) + 0.5 * np.sum(own)) / pairs)


def _variance(draws: Floats, value: float) -> float:
    """Of what was redrawn, about what was made; 0 without any."""
    return float(np.mean((draws - value) ** 2)) if len(draws) else 0.0


def _outwards(made: Expected, count: int) -> Expected:
    """Bounds that `count` events can have: what turns out is a whole number of hits, maybe all.

    >>> _outwards(Expected(0.96, 0.83, 0.998), 100)
    Expected(value=0.96, low=0.83, high=1.0)
    """
    low = np.floor(made.low * count + _EXACT) / count
    return Expected(made.value, float(low), float(np.ceil(made.high * count - _EXACT) / count))


def _around(value: float, variance: float, trials: float, confidence: float) -> Expected:
    spread = value * (1.0 - value)
    stands_for = spread / variance if variance > 0.0 and spread > 0.0 else trials
    low, high = interval(value * stands_for, stands_for, confidence)
    return Expected(value, low, high)


@dataclasses.dataclass(frozen=True)
class TurnedOut:
    """What labels said later of an action: share of abuse among what it flagged, and of abuse."""

    action: str
    flagged: int
    precision: float | None
    recall: float | None


@dataclasses.dataclass(frozen=True)
class DayFigures:
    """A UTC day, as scores alone foretell it and as it turned out.

    Attributes:
      day_us: its midnight, microseconds.
      expected: of its events; of those that have a label, once labels have matured.
      turned_out: per action that may fire; empty while labels are young.
      auc: as it turned out; None while labels are young, or all are of one class.
      then: what was expected when its labels were young, by the model of that time; None: nobody
        asked.
      young: whether labels are still to come.
    """

    day_us: int
    expected: ExpectedFigures
    turned_out: tuple[TurnedOut, ...] = ()
    auc: float | None = None
    then: ExpectedFigures | None = None
    young: bool = False


def figures_by_day(
    times: npt.NDArray[np.int64],
    scores: Floats,
    labels: npt.NDArray[np.int8] | None,
    thresholds: Sequence[tuple[str, float]],
    redrawn: Floats | None = None,
) -> tuple[DayFigures, ...]:
    """Each day's figures, by date.

    Args:
      times: int64 `[n]`, microseconds UTC.
      scores: float64 `[n]`, calibrated.
      labels: int8 `[n]`, where they have matured; -1 of events that have none; None: all are young.
      thresholds: actions and their values, of those that may fire.
      redrawn: float64 `[b, n]`, of calibrations that were redrawn (`expect`).

    >>> made = figures_by_day(np.array([5, 9]), np.array([0.9, 0.2]), np.array([1, 0], np.int8),
    ...                       [("block", 0.5)])
    >>> made[0].turned_out[0].precision, made[0].expected.at[0].precision.value, made[0].auc
    (1.0, 0.9, 1.0)
    """
    day = times // DAY_US * DAY_US
    found = []

    def foretell(rows: npt.NDArray[np.intp]) -> ExpectedFigures:
        others = None if redrawn is None else redrawn[:, rows]
        return expect(scores[rows], thresholds, redrawn=others)

    for one in np.unique(day):
        rows = np.flatnonzero(day == one)
        if labels is None:
            found.append(DayFigures(int(one), foretell(rows), young=True))
            continue
        rows = rows[labels[rows] != UNLABELLED]
        if not len(rows):
            continue
        said, truth = scores[rows], labels[rows] == POSITIVE
        mixed = 0 < truth.sum() < len(truth)
        found.append(
            DayFigures(
                int(one),
                foretell(rows),
                tuple(_turned_out(name, said >= value, truth) for name, value in thresholds),
                float(roc_auc_score(truth, said)) if mixed else None,
            )
        )
    return tuple(found)


def _turned_out(
    action: str, flagged: npt.NDArray[np.bool_], truth: npt.NDArray[np.bool_]
) -> TurnedOut:
    count, abuse, hits = int(flagged.sum()), int(truth.sum()), int((flagged & truth).sum())
    return TurnedOut(
        action, count, hits / count if count else None, hits / abuse if abuse else None
    )
