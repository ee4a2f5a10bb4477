"""Precision and recall where labels are selective: each event seen with a chance that is known.

What is blocked yields no label, and of the rest only what was reported or audited has one. Where
the label of an event was looked at by chance (the hold-out lets a share of what is to be blocked
through; audits pick a share of the rest), its weight is one over that chance:

- `ipw`: Horvitz and Thompson (JASA 47, 1952): totals of weighted labels, over what is known.
- `self_normalised`: Hájek (1971), as in Swaminathan and Joachims (NIPS 2015): over the weights'
  own sum, which varies less and stays between 0 and 1.
- `doubly_robust`: Robins, Rotnitzky and Zhao (JASA 89, 1994), as in Dudík, Langford and Li (ICML
  2011): expected labels of all events by a model, corrected by what was seen: right if either the
  chances or the model are. Given chances that are known, the model only makes it narrower.
- `naive`: of the labels that are there, as if they were all; for comparison.

Weights may be clipped (Ionides, JCGS 17, 2008; Bottou and others, JMLR 14, 2013), which trades
variance for a bias that is not in the interval; how much was clipped is told.

The interval of precision is Clopper and Pearson's of the effective number of labels (Korn and
Graubard, Survey Methodology 24, 1998), from the linearised variance of the ratio: over the draw
alone, of the very events at hand, or, with groups (accounts, campaigns), over other groups of their
kind. Recall and prevalence rest on two strata, what is flagged and what is not, and abuse that was
not flagged is rarely drawn: each stratum has bounds of its own (`training.strata`), which are wide
where none of it was drawn; with groups the wider bound of both kinds counts. Below `least`
effective labels (Kish 1965: the squared sum of weights over the sum of their squares) nothing is
concluded; of recall and prevalence those of what is not flagged count, and a quarter as many are
asked of what is. Whether it is depends on how much was looked at, not on what was
found there: an interval that is only given when enough missed abuse was drawn would be wrong
whenever it is given.
"""

from __future__ import annotations

import dataclasses
from typing import Literal

import numpy as np
import numpy.typing as npt

from training.intervals import interval
from training.labels import POSITIVE, UNLABELLED
from training.strata import Total, bound_share, bound_sum, bound_total

Floats = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]
Figure = Literal["precision", "recall", "prevalence"]
Method = Literal["naive", "ipw", "self_normalised", "doubly_robust"]
FIGURES: tuple[Figure, ...] = ("precision", "recall", "prevalence")
METHODS: tuple[Method, ...] = ("naive", "ipw", "self_normalised", "doubly_robust")
LEAST = 20.0
_OF_FLAGGED = 0.25  # of `least`: bounds of a stratum hold for few, and few are flagged


@dataclasses.dataclass(frozen=True)
class Observed:
    """Events of some days, seen or not; arrays `[n]`.

    Attributes:
      flagged: bool, an action was due, whether it was taken or not.
      labels: int8, of what was looked at by chance; -1 of everything else, also of what was judged
        for another reason, such as a report: with what chance that happens nobody knows.
      propensity: float64, the chance that it was looked at, above 0 and at most 1.
      expected: float64, the share of abuse that a model expects of such events (calibrated scores);
        only for `doubly_robust`.
      groups: int64, of an account or campaign each; None: the interval is of these very events.
    """

    flagged: Mask
    labels: npt.NDArray[np.int8]
    propensity: Floats
    expected: Floats | None = None
    groups: npt.NDArray[np.int64] | None = None


@dataclasses.dataclass(frozen=True)
class Estimate:
    """A share, with what it rests on.

    Attributes:
      value, low, high: None where too little was seen to conclude.
      labels: that were seen and count; effective: how many of equal weight they stand for.
      clipped: the share of the weight that clipping took away.
      reason: why nothing is concluded, in words.
    """

    value: float | None
    low: float | None
    high: float | None
    labels: int
    effective: float
    clipped: float = 0.0
    reason: str = ""


def estimate(
    observed: Observed,
    figure: Figure,
    method: Method = "self_normalised",
    confidence: float = 0.95,
    clip: float | None = None,
    least: float = LEAST,
) -> Estimate:
    """Precision, recall or prevalence of all the events, from those that were seen.

    Args:
      observed: the events.
      figure: what is wanted. Precision: of what is flagged; recall: of abuse; prevalence: of all.
      method: how (see the module).
      confidence: of the interval.
      clip: the largest weight; None: as large as it is.
      least: effective labels below which nothing is concluded.

    Raises:
      ValueError: arrays of other lengths, a propensity that is no chance, or no expected labels
        where a model is asked for.

    >>> flagged = np.repeat([True, False], [100, 900])
    >>> seen = np.arange(1000) % 4 == 0
    >>> labels = np.where(seen, flagged, -1).astype(np.int8)
    >>> made = estimate(Observed(flagged, labels, np.full(1000, 0.25)), "precision")
    >>> made.value, made.labels, made.effective
    (1.0, 25, 25.0)
    """
    _check(observed, method)
    seen = observed.labels != UNLABELLED
    inverse = np.where(seen, 1.0 / observed.propensity, 0.0)
    weight = inverse if clip is None else np.minimum(inverse, clip)
    if method == "naive":
        weight = seen.astype(np.float64)
    clipped = 1.0 - weight.sum() / inverse.sum() if clip is not None and seen.any() else 0.0
    truth = (observed.labels == POSITIVE).astype(np.float64)
    counts = (
        seen
        & {
            "precision": observed.flagged,
            "recall": observed.labels == POSITIVE,
            "prevalence": np.ones(len(seen), np.bool_),
        }[figure]
    )
    labels, effective = int(counts.sum()), _kish(weight[counts])
    by_strata = method != "naive" and figure != "precision"
    reason = (
        _thin_stratum(observed, figure, weight, labels, least)
        if by_strata
        else _thin(figure, effective, least)
    )
    if reason:
        return Estimate(None, None, None, labels, effective, clipped, reason)
    value, influence = _ratio(observed, figure, method, weight, truth)
    variance = (
        _grouped(influence.whole, observed.groups)
        if observed.groups is not None
        else float(np.sum(((1.0 - observed.propensity) * influence.drawn**2)[seen]))
    )
    if method == "naive":
        variance = 0.0  # as if it were a plain share
    value = min(max(value, 0.0), 1.0)
    spread = value * (1.0 - value)
    stands_for = spread / variance if variance > 0.0 and spread > 0.0 else effective
    low, high = interval(value * stands_for, stands_for, confidence)
    if by_strata:
        bounds = _by_strata(observed, figure, method, weight, truth, value, confidence)
        wider = (min(low, bounds[0]), max(high, bounds[1]))
        low, high = bounds if observed.groups is None else wider
        low, high = min(low, value), max(high, value)
    return Estimate(value, low, high, labels, effective, clipped)


def _thin(figure: str, effective: float, least: float) -> str:
    if effective >= least:
        return ""
    what = "positive labels" if figure == "recall" else "labels"
    return (
        f"{figure} rests on {effective:.0f} effective {what}, and {least:g} are needed; raise "
        "the shares of the hold-out and of audits, or take more days"
    )


def _thin_stratum(
    observed: Observed, figure: str, weight: Floats, labels: int, least: float
) -> str:
    seen = observed.labels != UNLABELLED
    if not labels:
        return _thin(figure, 0.0, max(least, 1.0))
    for flagged, name, share, needed in (
        (True, "flagged", "the hold-out", least * _OF_FLAGGED),
        (False, "not flagged", "audits", least),
    ):
        inside = observed.flagged == flagged
        effective = _kish(weight[inside & seen])
        if effective < needed and not seen[inside].all():
            return (
                f"{figure} rests on {effective:.0f} effective labels of what is {name}, and "
                f"{needed:g} are needed; raise the share of {share}, or take more days"
            )
    return ""


def _by_strata(
    observed: Observed,
    figure: Figure,
    method: Method,
    weight: Floats,
    truth: Floats,
    value: float,
    confidence: float,
) -> tuple[float, float]:
    """Bounds from those of abuse that is flagged and of abuse that is not."""
    count = len(weight)
    expected = np.zeros(count)
    if method == "doubly_robust" and observed.expected is not None:
        expected = observed.expected
    elif method == "self_normalised" and figure == "prevalence":
        expected = np.full(count, value)  # Hájek's estimate is what differs from its own mean
    seen = observed.labels != UNLABELLED

    def total(inside: Mask) -> Total:
        chosen = inside & seen
        return bound_total(
            truth[chosen],
            expected[chosen],
            weight[chosen],
            observed.propensity[chosen],
            float(expected[inside].sum()),
            int(inside.sum()),
            confidence,
        )

    caught, missed = total(observed.flagged), total(~observed.flagged)
    if figure == "recall":
        return bound_share(caught, missed)
    low, high = bound_sum(caught, missed)
    return max(low / count, 0.0), min(high / count, 1.0)


@dataclasses.dataclass(frozen=True)
class _Influence:
    """What each event adds to the estimate's error: over the draw alone, and over all."""

    drawn: Floats
    whole: Floats


def _ratio(
    observed: Observed, figure: Figure, method: Method, weight: Floats, truth: Floats
) -> tuple[float, _Influence]:
    """The ratio of two totals, linearised (Woodruff, JASA 66, 1971)."""
    above, below = _summands(observed.flagged, figure, truth)
    known_above, known_below = np.zeros(len(weight)), np.zeros(len(weight))
    if method == "doubly_robust" and observed.expected is not None:
        known_above, known_below = _summands(observed.flagged, figure, observed.expected)
    elif method == "ipw" and figure != "recall":
        known_below = below  # flagged or not is known of every event
    corrects_above, corrects_below = above - known_above, below - known_below
    total = float(np.sum(known_below + weight * corrects_below))
    if not total > 0.0:
        return 0.0, _Influence(np.zeros(len(weight)), np.zeros(len(weight)))
    value = float(np.sum(known_above + weight * corrects_above)) / total
    drawn = weight * (corrects_above - value * corrects_below) / total
    return value, _Influence(drawn, drawn + (known_above - value * known_below) / total)


def _summands(flagged: Mask, figure: Figure, truth: Floats) -> tuple[Floats, Floats]:
    """Of the total above and of that below the line, by labels or by what is expected of them."""
    if figure == "prevalence":
        return truth, np.ones(len(truth))
    return flagged * truth, flagged.astype(np.float64) if figure == "precision" else truth


def _grouped(influence: Floats, groups: npt.NDArray[np.int64]) -> float:
    _, code = np.unique(groups, return_inverse=True)
    sums = np.bincount(code, weights=influence)
    return float(np.sum(sums**2)) * len(sums) / max(len(sums) - 1, 1)


def _kish(weight: Floats) -> float:
    return float(weight.sum() ** 2 / np.sum(weight**2)) if len(weight) else 0.0


def _check(observed: Observed, method: Method) -> None:
    lengths = {
        len(array)
        for array in (
            observed.flagged, observed.labels, observed.propensity, observed.expected,
            observed.groups,
        )
        if array is not None
    }  # fmt: skip
    if len(lengths) > 1:
        raise ValueError(
            f"arrays of lengths {sorted(lengths)}; expected one of each for each event"
        )
    seen = observed.labels != UNLABELLED
    chance = observed.propensity[seen]
    if not np.all((chance > 0.0) & (chance <= 1.0)):
        raise ValueError(
            "the propensity of an event that was seen is not above 0 and at most 1; what had no "
            "chance to be seen has no label that counts"
        )
    if method == "doubly_robust" and observed.expected is None:
        raise ValueError("doubly_robust needs what a model expects of each event: `expected`")
