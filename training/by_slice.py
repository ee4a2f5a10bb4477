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

from training.clusters import auc_interval, own_clusters, share_interval
from training.curve import area_under_roc, average_precision, make_curve
from training.labels import POSITIVE, UNLABELLED
from training.probability import brier, expected_calibration_error

OTHER = "(other)"
NONE = "(none)"
FEWEST = 20
"""Accounts (or events) of each class from which figures are worth a look; fewer are greyed."""


@dataclasses.dataclass(frozen=True)
class SliceMetrics:
    """Labelled events with one value; None where a metric means nothing (one class).

    Attributes:
      value: of the column; `OTHER` holds the rarer values, `NONE` the nulls.
      events, positives: labelled ones.
      mean_score: of the calibrated scores; to compare with positives / events, whose 95 % interval
        is share_low to share_high (of effective events, `training.clusters`).
      accounts: with a labelled event here; None: not known.
      auc_low, auc_high: 95 %, by Obuchowski's variance of clustered data.
      thin: whether fewer than `FEWEST` positives or negatives make it, or accounts that have them
        where accounts are known: a row to pass over.
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
    accounts: int | None = None
    auc_low: float | None = None
    auc_high: float | None = None
    thin: bool = False


def evaluate_by_slice(
    scores: npt.NDArray[np.float64],
    labels: npt.NDArray[np.int8],
    values: pa.Array | pa.ChunkedArray | pa.DictionaryArray,
    most: int = 10,
    clusters: npt.NDArray[np.int64] | None = None,
) -> tuple[SliceMetrics, ...]:
    """Metrics of the `most` frequent values, then of the rest together.

    Most frequent first, ranges of numbers (`bin_numbers`) by number.

    Args:
      scores: float64[n], calibrated.
      labels: int8[n]: 1, 0, -1; only labelled events count.
      values: string[n], or a dictionary of these, whose order is that of the rows; not a private
        column, since values are shown.
      most: how many values have a row of their own.
      clusters: int64[n], the account of each event (-1: none); None: all are independent.

    >>> rows = evaluate_by_slice(np.array([0.9, 0.1, 0.5]), np.array([1, 0, 0], np.int8),
    ...                          pa.array(["web", "web", None]))
    >>> [(row.value, row.events, row.auc) for row in rows]
    [('web', 2, 1.0), ('(none)', 1, None)]
    """
    known = np.asarray(labels) != UNLABELLED
    scores, labels = np.asarray(scores, np.float64)[known], np.asarray(labels)[known]
    own = None if clusters is None else own_clusters(clusters[known])
    ordered = isinstance(values, pa.DictionaryArray)
    places = {name: at for at, name in enumerate(values.dictionary.to_pylist())} if ordered else {}
    named = pc.fill_null(values.cast(pa.large_string()).filter(pa.array(known)), NONE)
    encoded = named.combine_chunks() if isinstance(named, pa.ChunkedArray) else named
    encoded = encoded.dictionary_encode()
    codes, names = encoded.indices.to_numpy(), encoded.dictionary.to_pylist()
    counts = np.bincount(codes, minlength=len(names))
    ranked = sorted(range(len(names)), key=lambda code: (-counts[code], names[code]))
    shown = sorted(ranked[:most], key=lambda code: places.get(names[code], len(places)))
    rows = [_row(names[code], scores, labels, codes == code, own) for code in shown]
    if len(ranked) > most:
        rows.append(_row(OTHER, scores, labels, ~np.isin(codes, ranked[:most]), own))
    return tuple(rows)


def _row(
    value: str,
    scores: npt.NDArray[np.float64],
    labels: npt.NDArray[np.int8],
    within: npt.NDArray[np.bool_],
    clusters: npt.NDArray[np.int64] | None,
) -> SliceMetrics:
    said, hits = scores[within], labels[within] == POSITIVE
    own = None if clusters is None else clusters[within]
    curve = make_curve(said, labels[within])
    low, high = share_interval(hits, own)
    auc_low, auc_high = auc_interval(said, hits, own)
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
        accounts=None if own is None else len(np.unique(own)),
        auc_low=auc_low,
        auc_high=auc_high,
        thin=min(_units(hits, own), _units(~hits, own)) < FEWEST,
    )


def _units(which: npt.NDArray[np.bool_], clusters: npt.NDArray[np.int64] | None) -> int:
    """How many accounts, or else events, there are."""
    return int(which.sum()) if clusters is None else len(np.unique(clusters[which]))


def bin_numbers(values: pa.Array | pa.ChunkedArray, bins: int = 4) -> pa.DictionaryArray:
    """Numbers as the range that they lie in, ranges of about as many values each.

    Args:
      values: numbers or booleans; null and NaN stay null.
      bins: how many ranges; fewer where values are equal.

    Returns:
      dictionary of string `[n]`; the dictionary holds the ranges from low to high.

    >>> bin_numbers(pa.array([1, 2, 3, None, 4]), 2).to_pylist()
    ['1 to 2', '1 to 2', '3 to 4', None, '3 to 4']
    """
    numbers = values.cast(pa.float64()).to_numpy(zero_copy_only=False)
    known = ~np.isnan(numbers)
    codes = np.zeros(len(numbers), np.int32)
    names: list[str] = []
    if known.any():
        edges = np.quantile(numbers[known], np.arange(1, bins) / bins, method="lower")
        place = np.searchsorted(np.unique(edges), numbers)
        for one in np.unique(place[known]):
            inside = known & (place == one)
            low, high = numbers[inside].min(), numbers[inside].max()
            codes[inside] = len(names)
            names.append(f"{low:.6g}" if low == high else f"{low:.6g} to {high:.6g}")
    return pa.DictionaryArray.from_arrays(
        pa.array(codes, mask=~known), pa.array(names, pa.string())
    )
