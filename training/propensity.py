"""Training and figures where enforcement hides labels: by the chance with which each was seen.

What is acted on has no label that tells anything: it was hidden, so nobody reported it. What the
hold-out lets through (`scoring.hold_out`) stands for the rest of its kind. So labels of what was
acted on are left out, and what was let through weighs one over the chance that it was (Horvitz and
Thompson 1952), at most `MOST_WEIGHT`: a few events are not to rule a model (clipping: Ionides,
2008).

Figures and thresholds need events that were seen with one chance, not weights, since their
intervals are exact ones of counts. So of the gate slice each labelled event stays with a chance in
proportion to its weight (rejection sampling: von Neumann 1951), by a hash of its id: what is left
is like all traffic. It costs labels, which the intervals then show.
"""

from __future__ import annotations

import dataclasses

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from training.labels import UNLABELLED
from transforms.hashing import hash_column, hash_text

MOST_WEIGHT = 50.0
LEAST = 20.0
"""Effective events let through, in a slice, below which nothing is concluded of it."""

Floats = npt.NDArray[np.float64]
Labels = npt.NDArray[np.int8]


@dataclasses.dataclass(frozen=True)
class Seen:
    """What a log says of events: arrays `[n]`.

    Attributes:
      acted: bool, an action was carried out.
      through: bool, one was due, and the hold-out let it through.
      propensity: float64, of what was let through; 1 of the rest.
    """

    acted: npt.NDArray[np.bool_]
    through: npt.NDArray[np.bool_]
    propensity: Floats


@dataclasses.dataclass(frozen=True)
class SliceWeights:
    """What weighting has made of a slice of a training run.

    Attributes:
      labelled: events that count; acted: that had a label, and were acted on.
      through: labelled events that were let through; effective: how many events of equal weight all
        that count stand for (Kish 1965).
      clipped: the share of all weight that clipping took away.
    """

    labelled: int
    acted: int
    through: int
    effective: float
    clipped: float


def inverse_propensities(
    labels: Labels, seen: Seen, most_weight: float = MOST_WEIGHT
) -> tuple[Labels, Floats]:
    """Labels without those of what was acted on, and what each event weighs.

    Args:
      labels: int8 `[n]`: 1, 0, -1.
      seen: of the events.
      most_weight: the largest weight.

    >>> seen = Seen(np.array([True, False, False]), np.array([False, True, False]),
    ...             np.array([0.1, 0.1, 1.0]))
    >>> labels, weights = inverse_propensities(np.array([0, 1, 0], np.int8), seen)
    >>> labels.tolist(), weights.tolist()
    ([-1, 1, 0], [1.0, 10.0, 1.0])
    """
    made = np.where(seen.acted, UNLABELLED, labels).astype(np.int8)
    weights = np.where(seen.through, 1.0 / seen.propensity, 1.0)
    return made, np.minimum(weights, most_weight)


def even_chances(labels: Labels, weights: Floats, event_ids: pa.Array | pa.ChunkedArray) -> Labels:
    """Labels of a part in which all were seen with one chance: int8 `[n]`, -1 of the others.

    Args:
      labels: int8 `[n]`.
      weights: float64 `[n]`, above 0.
      event_ids: string `[n]`.

    >>> ids = pa.array([f"m-{at}" for at in range(1000)])
    >>> weights = np.repeat([10.0, 1.0], 500)
    >>> made = even_chances(np.zeros(1000, np.int8), weights, ids)
    >>> int((made[:500] == 0).sum()), bool(20 < (made[500:] == 0).sum() < 90)
    (500, True)
    """
    known = labels != UNLABELLED
    if not known.any():
        return labels
    drawn = (hash_column(event_ids, hash_text("even chances")) >> np.uint64(11)).astype(np.float64)
    keep = drawn * 2.0**-53 < weights / weights[known].max()
    return np.where(keep, labels, UNLABELLED).astype(np.int8)


def summarise_weights(before: Labels, labels: Labels, weights: Floats, seen: Seen) -> SliceWeights:
    """Counts of a slice; `before` are its labels before weighting, the rest as after it."""
    known = labels != UNLABELLED
    used, full = weights[known], np.where(seen.through, 1.0 / seen.propensity, 1.0)[known]
    return SliceWeights(
        labelled=int(known.sum()),
        acted=int((seen.acted & (before != UNLABELLED)).sum()),
        through=int((known & seen.through).sum()),
        effective=float(used.sum() ** 2 / (used**2).sum()) if known.any() else 0.0,
        clipped=float(1.0 - used.sum() / full.sum()) if known.any() else 0.0,
    )
