"""Training while verdicts are still to come: what to make of young events that nobody has judged.

With `training.delayed_feedback` the models that serve learn also from the events of the last
`training.delay`, whose labels are what is known so far. Of these only abuse that was judged quickly
is known, so each event is weighted by its age: F(age) is the share of verdicts that has come by
then (`training.delays`). None of the ways is best everywhere; `benchmarks.delayed` measures the
share of the gap that each closes between training on what is known and on what will be:

- `known`: an event without a verdict is harmless.
- `drop`: only events that are old enough, F(age) >= 95 %, are learnt from, judged or not.
- `weight`: abuse that is known stands for that of its age which is not: weight 1 / F(age).
- `corrected`: importance weights that undo the delay: known abuse weighs 1 / F(age), and any other
  event the chance that it is truly harmless, (1 - p) / (1 - p F(age)), where p is what a first
  model expects. These are the weights of FSIW (Yasui and others, WWW 2020), by one measured curve
  of delays: not by their two models, nor by the exponential one of the delayed feedback model
  (Chapelle, KDD 2014). Of ES-DFM (Yang and others, AAAI 2021) the weight of what has no verdict
  is its p_rn; its sampling by elapsed time and its copies of late positives are not here.

No figure, calibration or threshold is of young events; the gate compares what serves with what was
judged (`compare_refit`).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import scipy.sparse

from configs.training import DELAYED_FEEDBACK
from scoring.decision import Threshold
from training.curve import average_precision, make_curve
from training.delays import DelayCurve
from training.labels import NEGATIVE, POSITIVE, UNLABELLED
from training.models import Rows, Span
from transforms.constants import Transformed

Floats = npt.NDArray[np.float64]
Scores = tuple[npt.NDArray[np.float32], Floats, Floats]
STRATEGIES = DELAYED_FEEDBACK[1:]
MATURE = 0.95
"""The share of verdicts that has come by an age at which `drop` takes silence for an answer."""
HEAVIEST = 10.0
YOUNG = "delayed_feedback"
"""In a bundle's provenance: what was learnt from young events."""


@dataclasses.dataclass(frozen=True)
class YoungSpan:
    """Scored events after a training span, in total order.

    Attributes:
      span: `[n]`, with labels as known so far (no verdict: 0; -1: they teach nothing).
      come: float64 `[n]`, the share of verdicts that comes by their ages.
      curve: of the delays, by which it is so.
      until_us: where they end, microseconds UTC.
    """

    span: Span
    come: Floats
    curve: DelayCurve
    until_us: int


@dataclasses.dataclass(frozen=True)
class FlaggedByBoth:
    """Events at or above an action's threshold, by the judged model and by the one that serves.

    Attributes:
      judged, served: events of the gate slice that are labelled harmless.
      young_judged, young_served: of the young events, whatever they are.
    """

    action: str
    judged: int
    served: int
    young_judged: int
    young_served: int


@dataclasses.dataclass(frozen=True)
class RefitComparison:
    """A model that has learnt from young events against the one that was judged in its place.

    Attributes:
      events: young events, which no figure is of.
      judged, served: average precision on the gate slice, which the one that serves has seen.
      actions: of each action that may fire.
    """

    events: int
    judged: float
    served: float
    actions: tuple[FlaggedByBoth, ...]


def compare_refit(
    thresholds: Sequence[Threshold],
    labels: npt.NDArray[np.int8],
    judged: Scores,
    served: Scores,
) -> RefitComparison:
    """Compares them on the same events.

    Args:
      thresholds: of calibrated scores.
      labels: int8 `[n]` of the gate slice.
      judged, served: of each model the raw scores of the gate slice `[n]`, its calibrated scores
        `[n]`, and those of the young events.

    >>> said = np.array([0.9, 0.1]), np.array([0.9, 0.1]), np.array([0.7])
    >>> flood = np.array([0.8, 0.9]), np.array([0.8, 0.9]), np.array([0.9])
    >>> block = Threshold("block", 0.8, min_precision=0.9)
    >>> compare_refit([block], np.array([1, 0], np.int8), said, flood).actions
    (FlaggedByBoth(action='block', judged=0, served=1, young_judged=0, young_served=1),)
    """
    harmless = labels == NEGATIVE
    ranked = [average_precision(make_curve(raw, labels)) or 0.0 for raw, _, _ in (judged, served)]
    actions = []
    for one in thresholds:
        if one.value is None:
            continue
        counts = [
            int(np.count_nonzero(part >= one.value))
            for _, scores, young in (judged, served)
            for part in (scores[harmless], young)
        ]
        actions.append(FlaggedByBoth(one.action, counts[0], counts[2], counts[1], counts[3]))
    return RefitComparison(len(judged[2]), ranked[0], ranked[1], tuple(actions))


def join_young(
    strategy: str, span: Span, rows: Rows, young: YoungSpan, expected: Floats
) -> tuple[Span, Rows, dict[str, Any]]:
    """What is learnt from with young events: a span, its rows, and what to write down of it.

    Args:
      strategy: `training.delayed_feedback`.
      span: the training span; rows: those that are learnt from.
      young: what comes after it.
      expected: float64 `[n]`, the chance of abuse that the judged model gives young events.
    """
    labels = young.span.labels
    by_age = delay_weights(strategy, labels == POSITIVE, young.come, expected)
    own = young.span.weights
    weights = by_age if own is None else by_age * own
    taught = np.flatnonzero((labels != UNLABELLED) & (weights > 0))
    before = np.ones(len(span.labels)) if span.weights is None else span.weights
    joined = Span(
        _stack(span.transformed, young.span.transformed),
        np.concatenate([span.event_times, young.span.event_times]),
        np.concatenate([span.labels, labels]),
        campaigns=(
            None
            if span.campaigns is None or young.span.campaigns is None
            else np.concatenate([span.campaigns, young.span.campaigns])
        ),
        weights=np.concatenate([before, weights]),
    )
    known = taught[labels[taught] == POSITIVE]
    about = {
        "strategy": strategy,
        "events": len(taught),
        "positives": len(known),
        "positives_weight": round(float(weights[known].sum()), 1),
        "verdicts": young.curve.events,
        "half_come_after_us": young.curve.quantile(0.5),
    }
    notes = {YOUNG: about, "trained_until_us": young.until_us}
    return joined, np.concatenate([rows, len(span.labels) + taught]), notes


def describe_young(about: dict[str, Any]) -> str:
    """A sentence for the page and the log, of what `join_young` wrote down.

    >>> print(describe_young({"strategy": "weight", "events": 1200, "positives": 20,
    ...     "positives_weight": 31.5, "verdicts": 80, "half_come_after_us": 43_200_000_000}))
    The model that serves learnt also from 1,200 events younger than training.delay \
(delayed_feedback: weight), 20 of them known as abuse, which weigh as 31.5; by 80 verdicts, half \
of them come within 12h. No figure is of these events
    """
    half = about["half_come_after_us"]
    return (
        f"The model that serves learnt also from {about['events']:,} events younger than "
        f"training.delay (delayed_feedback: {about['strategy']}), {about['positives']:,} of them "
        f"known as abuse, which weigh as {about['positives_weight']:,}; by {about['verdicts']:,} "
        f"verdicts, half of them come within {half / 3_600_000_000:.3g}h. No figure is of these "
        "events"
    )


def _stack(one: Transformed, other: Transformed) -> Transformed:
    text = None
    if one.text is not None and other.text is not None:
        text = scipy.sparse.vstack([one.text, other.text], "csr")
    return Transformed(
        np.concatenate([one.numeric, other.numeric]),
        np.concatenate([one.categories, other.categories]),
        text,
    )


def delay_weights(
    strategy: str,
    positive: npt.NDArray[np.bool_],
    come: Floats,
    expected: Floats | None = None,
    heaviest: float = HEAVIEST,
) -> Floats:
    """The weight of each event in a fit whose labels are what is known: float64 `[n]`.

    Args:
      strategy: see the module; one of `STRATEGIES`.
      positive: bool `[n]`, a verdict says that it is abuse.
      come: float64 `[n]`, the share of verdicts that comes by its age (`DelayCurve.at`), 0 to 1.
      expected: float64 `[n]`, the share of abuse that a first model expects of such events; only
        for `corrected`.
      heaviest: the largest weight; of the youngest events few verdicts stand for many.

    Raises:
      ValueError: `corrected` without `expected`.

    >>> known, half = np.array([True, False]), np.array([0.5, 0.5])
    >>> [delay_weights(one, known, half).tolist() for one in ("known", "drop", "weight")]
    [[1.0, 1.0], [0.0, 0.0], [2.0, 1.0]]
    >>> delay_weights("corrected", known, half, np.array([0.9, 0.5])).round(3).tolist()
    [2.0, 0.667]
    """
    ones = np.ones(len(positive))
    if strategy == "known":
        return ones
    if strategy == "drop":
        return np.where(come >= MATURE, 1.0, 0.0)
    stands_for = 1.0 / np.maximum(come, 1.0 / heaviest)
    if strategy == "weight":
        return np.where(positive, stands_for, ones)
    if expected is None:
        raise ValueError("corrected needs what a first model expects of each event: `expected`")
    harmless = (1.0 - expected) / np.maximum(1.0 - expected * come, 1e-12)
    # All verdicts have come: harmless for sure, also where expected is 1 and this is 0 / 0.
    return np.where(positive, stands_for, np.where(come >= 1.0, 1.0, harmless))
