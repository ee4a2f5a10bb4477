"""Training while verdicts are still to come: what to make of young events that nobody has judged.

What enters: whether each event is known to be abuse, and the share of verdicts that has come by its
age (`training.delays`). What leaves: weights, under which a model is fitted with what is known as
its labels. Four ways, of which none is best everywhere (`benchmarks.delayed` measures the share of
the gap that each closes between training on what is known and on what will be):

- `known`: an event without a verdict is harmless.
- `drop`: events whose verdict may well be on its way are left out, also those that have one.
- `weight`: abuse that is known stands for that of its age which is not: weight 1 / F(age).
- `corrected`: importance weights that undo the delay, as ES-DFM's (Yang and others, AAAI 2021) do:
  known abuse weighs 1 / F(age), and an event without a verdict the chance that it is truly
  harmless, (1 - p) / (1 - p F(age)), where p is what a first model expects. It is the delayed
  feedback model of Chapelle (KDD 2014) with a measured curve in place of an exponential one.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Strategy = Literal["known", "drop", "weight", "corrected"]
STRATEGIES: tuple[Strategy, ...] = ("known", "drop", "weight", "corrected")
MATURE = 0.95
"""The share of verdicts that has come by an age at which `drop` takes silence for an answer."""
HEAVIEST = 10.0


def delay_weights(
    strategy: Strategy,
    positive: npt.NDArray[np.bool_],
    come: Floats,
    expected: Floats | None = None,
    heaviest: float = HEAVIEST,
) -> Floats:
    """The weight of each event in a fit whose labels are what is known: float64 `[n]`.

    Args:
      strategy: see the module.
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
    return np.where(positive, stands_for, harmless)
