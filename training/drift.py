"""How the model's inputs have moved since the run before: null shares and distributions.

Two measures. The population stability index (Siddiqi, Credit Risk Scorecards, 2006, chapter 8) is,
over the bins of the earlier slice, the sum of (now - before) * ln(now / before). By its rule of
thumb below 0.1 nothing has happened, and above 0.25 much has. Of few events chance alone makes as
much: without drift, the index of n and m events over B bins is about (1/n + 1/m) times a
chi-squared of B - 1 degrees (Yurdakul, Statistical Properties of Population Stability Index, 2018);
what that explains is none.

Of numbers also the distance of Kolmogorov and Smirnov: the largest difference of the two shares of
events at or below a value (`training.quantiles`), which sees a shift within a bin. Ten thousand
events make a distance of .03 significant that nobody cares about, so it must also be large
(`FAR`).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from scipy import stats

from training.quantiles import critical_distance, distance, sketch_numbers

MUCH = 0.25
"""Stability index from which an input has moved much."""
FAR = 0.1
"""Distance of Kolmogorov and Smirnov from which it has."""
GAP = 0.05
"""Change of the share of nulls, too."""
SCORE = "(score)"
"""The model's score among the inputs whose drift is measured; no column has brackets."""
_DECILES = np.arange(0.1, 1.0, 0.1)
_OFTEN = 0.1
_TINY = np.finfo(np.float32).tiny
_MOST_VALUES = 20
_SURE = 0.99
_SMOOTH = 0.5  # of an event is added to each bin, so that an empty one has a logarithm


@dataclasses.dataclass(frozen=True)
class InputSummary:
    """One input on one slice.

    Attributes:
      nulls: share of events without a value.
      events: with a value.
      edges: of a number, its distinct deciles, and before one that a tenth of the values equal, the
        largest number below it; bins are (-inf, edge 0], ..., (last edge, inf).
      values: of a category that may be shown, its most frequent values; the last bin has the rest.
      counts: events by bin; empty where only nulls are counted.
      sketch: of a number's values (`training.quantiles`); empty in reports that had none.
    """

    name: str
    nulls: float
    events: int
    edges: tuple[float, ...] = ()
    values: tuple[str, ...] = ()
    counts: tuple[int, ...] = ()
    sketch: bytes = b""


@dataclasses.dataclass(frozen=True)
class InputDrift:
    """One input now and before: null shares, and the stability index (None: not comparable).

    `chance`: what the index reaches in one of a hundred slices without any drift. `distance`: of
    Kolmogorov and Smirnov (None: no number, or not known), and what it reaches in one of a hundred
    slices without any drift, the error of the sketches included.
    """

    name: str
    nulls: float
    nulls_before: float
    index: float | None
    chance: float = 0.0
    distance: float | None = None
    distance_chance: float = 0.0

    @property
    def shifted(self) -> bool:
        """Whether the stability index says much, and more than chance does."""
        return (self.index or 0.0) > max(MUCH, self.chance)

    @property
    def apart(self) -> bool:
        """Whether the distance of Kolmogorov and Smirnov is large, and more than by chance."""
        return (self.distance or 0.0) > max(FAR, self.distance_chance)

    @property
    def gaps(self) -> bool:
        """Whether the share of nulls changed by more than 5 points."""
        return abs(self.nulls - self.nulls_before) > GAP

    @property
    def moved(self) -> bool:
        """Whether someone should look at it."""
        return self.shifted or self.apart or self.gaps


def summarise_inputs(
    names: Sequence[str],
    numeric: npt.NDArray[np.float32],
    columns: Mapping[str, pa.ChunkedArray],
    shown: Sequence[str],
    before: Sequence[InputSummary] = (),
) -> tuple[tuple[InputSummary, ...], tuple[InputDrift, ...]]:
    """What to keep of a slice's inputs, and how they moved since an earlier slice.

    Args:
      names: of the numeric block's K columns.
      numeric: float32 `[n, K]`, NaN for null.
      columns: the other inputs `[n]`, by name.
      shown: those among them whose values may be kept; of the others only nulls are counted.
      before: the summaries of the earlier slice.

    Returns:
      Summaries in the order given, and drifts, the largest first; an input that is new has none.

    >>> one = np.arange(100, dtype=np.float32)[:, None]
    >>> kept, _ = summarise_inputs(["x"], one, {}, [])
    >>> _, (drift,) = summarise_inputs(["x"], one + 50, {}, [], kept)
    >>> drift.moved, round(drift.index, 1)
    (True, 2.3)
    """
    earlier = {one.name: one for one in before}
    kept, drifts = [], []
    for index, name in enumerate(names):
        values = numeric[:, index][~np.isnan(numeric[:, index])]
        summary = _number(name, values, len(numeric))
        kept.append(summary)
        if name in earlier:
            old = earlier[name]
            counts = _bin(values, old.edges) if old.edges else ()
            drifts.append(_drift(summary, old, counts))
    for name, column in columns.items():
        summary = _category(name, column, name in shown)
        kept.append(summary)
        if name in earlier:
            old = earlier[name]
            counts = _count(column, old.values) if old.values and summary.values else ()
            drifts.append(_drift(summary, old, counts))
    gap = {one.name: -abs(one.nulls - one.nulls_before) for one in drifts}
    drifts.sort(key=lambda one: (not one.moved, -(one.index or 0.0), gap[one.name], one.name))
    return tuple(kept), tuple(drifts)


def stability_index(now: Sequence[int], before: Sequence[int]) -> float:
    """The population stability index of two counts over the same bins.

    >>> stability_index([5, 5], [50, 50])
    0.0
    """
    bins = len(before)
    one = (np.array(now) + _SMOOTH) / (sum(now) + _SMOOTH * bins)
    other = (np.array(before) + _SMOOTH) / (sum(before) + _SMOOTH * bins)
    return float(np.sum((one - other) * np.log(one / other)))


def _number(name: str, values: npt.NDArray[np.float32], total: int) -> InputSummary:
    edges: tuple[float, ...] = ()
    if len(values):
        deciles = np.unique(np.quantile(values, _DECILES, method="lower")).astype(np.float32)
        # A value that many have is a bin of its own: else a flag that was mostly 1 could become 0.
        often = [one for one in deciles if np.count_nonzero(values == one) >= _OFTEN * len(values)]
        below = np.nextafter(np.array(often, np.float32), np.float32(-np.inf))
        below = np.where(np.abs(below) < _TINY, -_TINY, below)  # nothing that is flushed to 0
        edges = tuple(np.unique(np.concatenate([deciles, below])).tolist())
    return InputSummary(
        name,
        _share(total - len(values), total),
        len(values),
        edges,
        (),
        _bin(values, edges),
        sketch_numbers(values) if len(values) else b"",
    )


def _category(name: str, column: pa.ChunkedArray, shown: bool) -> InputSummary:
    values: tuple[str, ...] = ()
    if shown:
        found = pc.value_counts(column.drop_null().cast(pa.string())).to_pylist()
        found.sort(key=lambda one: (-one["counts"], one["values"]))
        values = tuple(one["values"] for one in found[:_MOST_VALUES])
    counts = _count(column, values) if values else ()
    nulls = _share(column.null_count, len(column))
    return InputSummary(name, nulls, len(column) - column.null_count, (), values, counts)


def _bin(values: npt.NDArray[np.float32], edges: Sequence[float]) -> tuple[int, ...]:
    which = np.searchsorted(np.array(edges, np.float32), values, side="left")
    return tuple(np.bincount(which, minlength=len(edges) + 1).tolist())


def _count(column: pa.ChunkedArray, values: Sequence[str]) -> tuple[int, ...]:
    text = column.drop_null().cast(pa.string())
    which = pc.index_in(text, value_set=pa.array(values, pa.string()))
    found = np.bincount(which.drop_null().to_numpy().astype(np.int64), minlength=len(values))
    return (*found.tolist(), which.null_count)


def _drift(now: InputSummary, before: InputSummary, counts: tuple[int, ...]) -> InputDrift:
    comparable = bool(counts) and len(counts) == len(before.counts)
    comparable = comparable and now.events > 0 and before.events > 0
    apart: tuple[float | None, float] = None, 0.0
    if now.sketch and before.sketch:
        apart = (
            distance(now.sketch, before.sketch),
            critical_distance(now.events, before.events, 1.0 - _SURE),
        )
    if not comparable:
        return InputDrift(now.name, now.nulls, before.nulls, None, 0.0, *apart)
    index = stability_index(counts, before.counts)
    scale = 1 / now.events + 1 / before.events
    chance = float(stats.chi2.ppf(_SURE, len(counts) - 1)) * scale if len(counts) > 1 else 0.0
    return InputDrift(now.name, now.nulls, before.nulls, index, chance, *apart)


def _share(part: int, whole: int) -> float:
    return part / whole if whole else 0.0
