"""The same metrics for slices of the traffic: a client, a language, a new account.

A model that is good on the whole can be useless for a part; the rows say where, and how thin the
evidence is.
"""

from __future__ import annotations

import dataclasses

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from training.curve import area_under_roc, average_precision, make_curve
from training.intervals import interval
from training.labels import POSITIVE, UNLABELLED
from training.probability import brier, expected_calibration_error

OTHER = "(other)"
NONE = "(none)"


@dataclasses.dataclass(frozen=True)
class SliceMetrics:
    """Labelled events with one value; None where a metric means nothing (one class).

    Attributes:
      value: of the column; `OTHER` holds the rarer values, `NONE` the nulls.
      events, positives: labelled ones.
      mean_score: of the calibrated scores; to compare with positives / events, whose 95 % interval
        is share_low to share_high (Clopper and Pearson).
      brier, calibration_error: as of the whole (`training.probability`).
      auc, average_precision: ranking within the slice.
    """

    value: str
    events: int
    positives: int
    mean_score: float
    auc: float | None
    average_precision: float | None
    share_low: float = 0.0
    share_high: float = 1.0
    brier: float | None = None
    calibration_error: float | None = None


def evaluate_by_slice(
    scores: npt.NDArray[np.float64],
    labels: npt.NDArray[np.int8],
    values: pa.Array | pa.ChunkedArray,
    most: int = 10,
) -> tuple[SliceMetrics, ...]:
    """Metrics of the `most` frequent values, most frequent first, then of the rest.

    Args:
      scores: float64[n], calibrated.
      labels: int8[n]: 1, 0, -1; only labelled events count.
      values: string[n]; not a private column, since values are shown.
      most: how many values have a row of their own.

    >>> rows = evaluate_by_slice(np.array([0.9, 0.1, 0.5]), np.array([1, 0, 0], np.int8),
    ...                          pa.array(["web", "web", None]))
    >>> [(row.value, row.events, row.auc) for row in rows]
    [('web', 2, 1.0), ('(none)', 1, None)]
    """
    known = np.asarray(labels) != UNLABELLED
    scores, labels = np.asarray(scores, np.float64)[known], np.asarray(labels)[known]
    named = pc.fill_null(values.cast(pa.large_string()).filter(pa.array(known)), NONE)
    encoded = named.combine_chunks() if isinstance(named, pa.ChunkedArray) else named
    encoded = encoded.dictionary_encode()
    codes, names = encoded.indices.to_numpy(), encoded.dictionary.to_pylist()
    counts = np.bincount(codes, minlength=len(names))
    ranked = sorted(range(len(names)), key=lambda code: (-counts[code], names[code]))
    rows = [_row(names[code], scores, labels, codes == code) for code in ranked[:most]]
    if len(ranked) > most:
        rows.append(_row(OTHER, scores, labels, ~np.isin(codes, ranked[:most])))
    return tuple(rows)


def _row(
    value: str,
    scores: npt.NDArray[np.float64],
    labels: npt.NDArray[np.int8],
    within: npt.NDArray[np.bool_],
) -> SliceMetrics:
    said, hits = scores[within], labels[within] == POSITIVE
    curve = make_curve(said, labels[within])
    low, high = interval(curve.total, len(said))
    return SliceMetrics(
        value=value,
        events=len(said),
        positives=curve.total,
        mean_score=float(said.mean()),
        share_low=low,
        share_high=high,
        brier=brier(said, hits),
        calibration_error=expected_calibration_error(said, hits),
        auc=area_under_roc(curve),
        average_precision=average_precision(curve),
    )
