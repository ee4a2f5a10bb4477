"""Raw scores become shares of abuse: Platt's sigmoid or isotonic steps, whichever is shown better.

Isotonic regression bends to any shape, but needs evidence and merges neighbouring scores into ties,
which costs average precision; the sigmoid keeps every distinction (over five weeks of card payments
with 80 to 100 positives to calibrate on, the sigmoid's log loss was lower in each, and isotonic
ties cost 0.03 of average precision). So the sigmoid is taken unless there are positives enough and
isotonic is better on rows that it was not fitted on. Sources: Platt 1999; Niculescu-Mizil and
Caruana 2005 (isotonic from about 1,000 on).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import scipy.optimize
import scipy.special
from sklearn.isotonic import IsotonicRegression

from scoring.calibration import Calibration
from training.groups import separate
from training.probability import log_loss

FEWEST_POSITIVES_FOR_ISOTONIC = 1000
DRAWS = 50
"""Of calibrations: their spread is known to a tenth."""

Floats = npt.NDArray[np.float64]


def fit_calibration(
    raw: npt.ArrayLike, labels: npt.NDArray[np.int8], weights: Floats | None = None
) -> Calibration:
    """The curve that says most truly what share of events with a raw score is abuse.

    Args:
      raw: float[n], log odds, of rows that the model was not fitted on, in order of time.
      labels: int8[n], 0 or 1, both there.
      weights: float64[n], of the rows; None: all weigh 1. With them it is the sigmoid, which needs
        little evidence.

    >>> made = fit_calibration(np.linspace(-3, 3, 200), (np.arange(200) > 99).astype(np.int8))
    >>> made.slope > 0, made.raw
    (True, ())
    """
    said, hits = np.asarray(raw, np.float64), np.asarray(labels) == 1
    positives = int(hits.sum())
    sigmoid = fit_sigmoid(said, hits, weights)
    if weights is not None:
        return dataclasses.replace(sigmoid, reason=f"sigmoid: {positives} positives, weighted")
    if positives < FEWEST_POSITIVES_FOR_ISOTONIC:
        return dataclasses.replace(
            sigmoid,
            reason=f"sigmoid: {positives} positives; isotonic is tried from "
            f"{FEWEST_POSITIVES_FOR_ISOTONIC} on",
        )
    by_sigmoid, by_steps = _crosswise(said, hits)
    words = f"log loss crosswise {by_sigmoid:.5f} sigmoid, {by_steps:.5f} isotonic"
    if by_steps < by_sigmoid:
        return dataclasses.replace(fit_steps(said, hits), reason=f"isotonic: {words}")
    return dataclasses.replace(sigmoid, reason=f"sigmoid: {words}")


def redraw_calibrations(
    raw: npt.ArrayLike,
    labels: npt.NDArray[np.int8],
    clusters: npt.NDArray[np.int64] | None,
    weights: Floats | None = None,
    draws: int = DRAWS,
    seed: int = 0,
) -> tuple[Calibration, ...]:
    """Curves of other accounts that could have been there: the bootstrap of whole accounts.

    They are steps, whatever the curve in use is: steps bend to any shape, so how far they lie from
    it is the chance of the accounts and what a sigmoid gets wrong.

    Source: Field and Welsh, Bootstrapping clustered data, J. R. Statist. Soc. B 69 (2007).

    Args:
      raw, labels, weights: that the curve in use was fitted on.
      clusters: int64[n], events of one account have one number; -1: one by itself; None: all are.
      draws: how many; those without a class are left out.

    >>> raw, labels = np.linspace(-3, 3, 200), (np.arange(200) % 5 > 2).astype(np.int8)
    >>> again = redraw_calibrations(raw, labels, None, draws=3)
    >>> len(again), len({one.share for one in again})
    (3, 3)
    """
    said, hits = np.asarray(raw, np.float64), np.asarray(labels) == 1
    units = separate(clusters, len(hits))
    count, rng = int(units.max(initial=-1)) + 1, np.random.default_rng(seed)
    found = []
    for _ in range(draws):
        times = np.bincount(rng.integers(0, count, count), minlength=count)[units]
        rows = np.flatnonzero(times)
        if len(np.unique(hits[rows])) == 2:
            own = times[rows] if weights is None else times[rows] * weights[rows]
            found.append(fit_steps(said[rows], hits[rows], own.astype(np.float64)))
    return tuple(found)


def apply_all(made: Sequence[Calibration], raw: npt.NDArray[np.floating]) -> Floats:
    """What each of b curves says of n raw scores: float64[b, n]."""
    return np.array([one.apply(raw) for one in made]).reshape(len(made), len(raw))


def fit_sigmoid(
    raw: Floats, hits: npt.NDArray[np.bool_], weights: Floats | None = None
) -> Calibration:
    """Platt's curve, with his smoothed targets, so that separable scores stay finite.

    >>> made = fit_sigmoid(np.array([-1.0, 1.0]), np.array([False, True]))
    >>> made.slope > 0
    True
    """
    positives, negatives = int(hits.sum()), int((~hits).sum())
    target = np.where(hits, (positives + 1) / (positives + 2), 1 / (negatives + 2))
    # Standardised, the two parameters are of one size, and the solver's steps fit both.
    centre, spread = float(raw.mean()), float(raw.std()) or 1.0
    scaled = (raw - centre) / spread

    def loss(parameters: Floats) -> tuple[float, Floats]:
        shifted = parameters[0] * scaled + parameters[1]
        gap = scipy.special.expit(shifted) - target
        losses = np.logaddexp(0.0, shifted) - target * shifted
        if weights is not None:
            gap, losses = gap * weights, losses * weights
        return float(np.sum(losses)), np.array([np.sum(gap * scaled), np.sum(gap)])

    share = (positives + 1) / (positives + negatives + 2)
    begin = np.array([1.0, np.log(share / (1 - share))])
    # A model that ranks backwards gets a flat curve, never a falling one: it fails its gate.
    found = scipy.optimize.minimize(
        loss, begin, jac=True, method="L-BFGS-B", bounds=[(1e-6, None), (None, None)]
    ).x
    slope = float(found[0]) / spread
    return Calibration(slope, float(found[1]) - slope * centre)


def fit_steps(
    raw: Floats, hits: npt.NDArray[np.bool_], weights: Floats | None = None
) -> Calibration:
    """Isotonic regression's knots; shares kept off 0 and 1 by half an event.

    >>> steps = fit_steps(np.array([0.0, 1.0, 2.0]), np.array([False, True, True]))
    >>> np.round(steps.share, 2).tolist()
    [0.17, 0.83, 0.83]
    """
    edge = 0.5 / len(raw)
    fitted = IsotonicRegression(y_min=edge, y_max=1.0 - edge).fit(
        raw, hits.astype(np.float64), weights
    )
    at, share = fitted.X_thresholds_, fitted.y_thresholds_
    return Calibration(raw=tuple(map(float, at)), share=tuple(map(float, share)))


def _crosswise(raw: Floats, hits: npt.NDArray[np.bool_]) -> tuple[float, float]:
    """Log loss of both curves on each half of the time, fitted on the other half."""
    half = len(raw) // 2
    halves = (slice(0, half), slice(half, None))
    by_sigmoid, by_steps = 0.0, 0.0
    for fit, judge in (halves, halves[::-1]):
        if len(np.unique(hits[fit])) < 2:
            return 0.0, np.inf
        weight = len(hits[judge]) / len(hits)
        by_sigmoid += weight * log_loss(
            fit_sigmoid(raw[fit], hits[fit]).apply(raw[judge]), hits[judge]
        )
        by_steps += weight * log_loss(fit_steps(raw[fit], hits[fit]).apply(raw[judge]), hits[judge])
    return by_sigmoid, by_steps
