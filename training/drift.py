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

Events of one account are alike, so n events stand for fewer: n over the mean design effect of the
bins' shares, which is how much more these shares vary from account to account than of independent
events (Rao and Scott, Annals of Statistics 12, 1984). And of a hundred inputs one moves by a chance
of 1 %, so the chances of all comparisons of a slice are corrected for their number (Holm,
Scandinavian Journal of Statistics 6, 1979, which holds however inputs depend on each other): one of
a hundred slices without any drift has an alarm, whatever the number of inputs.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from scipy import stats

from training.groups import separate
from training.quantiles import chance_of_distance, critical_distance, distance, sketch_numbers

Floats = npt.NDArray[np.float64]

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
_MOST_UNITS = 20_000  # whose events a design effect is measured on
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
      effective: independent events that `events` stand for; slice_effective: that those with and
        without a value do. None in reports that had none.
    """

    name: str
    nulls: float
    events: int
    edges: tuple[float, ...] = ()
    values: tuple[str, ...] = ()
    counts: tuple[int, ...] = ()
    sketch: bytes = b""
    effective: float | None = None
    slice_effective: float | None = None


@dataclasses.dataclass(frozen=True)
class InputDrift:
    """One input now and before: null shares, and the stability index (None: not comparable).

    `distance`: of Kolmogorov and Smirnov (None: no number, or not known). `chance`,
    `distance_chance` (the error of the sketches included) and `gap_chance`: what the index, the
    distance and the change of the null share have to exceed, so that one of a hundred slices
    without any drift has some input that does.
    """

    name: str
    nulls: float
    nulls_before: float
    index: float | None
    chance: float = 0.0
    distance: float | None = None
    distance_chance: float = 0.0
    gap_chance: float = 0.0

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
        """Whether the share of nulls changed by more than 5 points, and more than by chance."""
        return abs(self.nulls - self.nulls_before) > max(GAP, self.gap_chance)

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
    clusters: npt.NDArray[np.int64] | None = None,
) -> tuple[tuple[InputSummary, ...], tuple[InputDrift, ...]]:
    """What to keep of a slice's inputs, and how they moved since an earlier slice.

    Args:
      names: of the numeric block's K columns.
      numeric: float32 `[n, K]`, NaN for null.
      columns: the other inputs `[n]`, by name.
      shown: those among them whose values may be kept; of the others only nulls are counted.
      before: the summaries of the earlier slice.
      clusters: int64 `[n]`, events of one account have one number; -1: one by itself; None:
        all are.

    Returns:
      Summaries in the order given, and drifts, the largest first; an input that is new has none.

    >>> one = np.arange(100, dtype=np.float32)[:, None]
    >>> kept, _ = summarise_inputs(["x"], one, {}, [])
    >>> _, (drift,) = summarise_inputs(["x"], one + 50, {}, [], kept)
    >>> drift.moved, round(drift.index, 1)
    (True, 2.3)
    """
    earlier = {one.name: one for one in before}
    units = separate(clusters, len(numeric))
    kept, found = [], []
    for index, name in enumerate(names):
        there = ~np.isnan(numeric[:, index])
        values = numeric[there, index]
        summary = _number(name, values)
        kept.append(_weighed(summary, _bin(values, summary.edges), there, units))
        if name in earlier:
            old = earlier[name]
            counts = _counts(_bin(values, old.edges), len(old.edges) + 1) if old.edges else ()
            found.append(_compare(kept[-1], old, counts))
    for name, column in columns.items():
        summary = _category(name, column, name in shown)
        there = column.is_valid().to_numpy()
        kept.append(_weighed(summary, _place(column, summary.values), there, units))
        if name in earlier:
            old = earlier[name]
            known = old.values and summary.values
            counts = _counts(_place(column, old.values), len(old.values) + 1) if known else ()
            found.append(_compare(kept[-1], old, counts))
    drifts = _correct(found)
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


def effective_events(
    which: npt.NDArray[np.int64], bins: int, units: npt.NDArray[np.int64]
) -> float:
    """How many independent events some clustered ones stand for, as to their shares of bins.

    Args:
      which: int64 `[n]`, bins of events, 0 to `bins` - 1.
      units: int64 `[n]`, from 0 on; events of one account have one number.

    Returns:
      n over the mean design effect of the shares of bins, and of those at or below each bin, if
      that is more; n if neither is above 1.

    >>> alike, own = np.repeat([0, 1], 50), np.arange(100)
    >>> effective_events(alike, 2, own), round(effective_events(alike, 2, np.arange(100) // 10), 1)
    (100.0, 9.1)
    """
    n = len(which)
    _, units = np.unique(units, return_inverse=True)
    groups = int(units.max(initial=-1)) + 1
    if groups > _MOST_UNITS:
        some = units % -(-groups // _MOST_UNITS) == 0
        return n / int(some.sum()) * effective_events(which[some], bins, units[some])
    if bins < 2 or groups < 2:
        return float(min(n, groups))
    shares = np.bincount(which, minlength=bins) / n
    pairs, counts = np.unique(units * bins + which, return_counts=True)
    sizes = np.bincount(units).astype(np.float64)
    table = np.zeros((groups, bins))
    table[pairs // bins, pairs % bins] = counts
    more = groups / (groups - 1) * (n - 1) / n**2

    def effect(hits: Floats, share: Floats, spread: Floats) -> Floats:
        """Of each share: its variance from unit to unit over n, times n, by `spread`."""
        varies = more * np.sum((hits - sizes[:, None] * share) ** 2, axis=0)
        return np.asarray(varies / np.where(spread > 0.0, spread, np.inf))

    of_bins = float(effect(table, shares, shares).sum()) / (np.count_nonzero(shares) - 1 or 1)
    below = np.cumsum(shares)[:-1]
    of_steps = effect(np.cumsum(table, axis=1)[:, :-1], below, below * (1.0 - below))
    steps = float(of_steps.sum()) / (np.count_nonzero(of_steps) or 1)
    return float(n / max(1.0, of_bins, steps))


def _number(name: str, values: npt.NDArray[np.float32]) -> InputSummary:
    edges: tuple[float, ...] = ()
    if len(values):
        deciles = np.unique(np.quantile(values, _DECILES, method="lower")).astype(np.float32)
        # A value that many have is a bin of its own: else a flag that was mostly 1 could become 0.
        often = [one for one in deciles if np.count_nonzero(values == one) >= _OFTEN * len(values)]
        below = np.nextafter(np.array(often, np.float32), np.float32(-np.inf))
        below = np.where(np.abs(below) < _TINY, -_TINY, below)  # nothing that is flushed to 0
        edges = tuple(np.unique(np.concatenate([deciles, below])).tolist())
    counts = _counts(_bin(values, edges), len(edges) + 1)
    sketch = sketch_numbers(values) if len(values) else b""
    return InputSummary(name, 0.0, len(values), edges, (), counts, sketch)


def _category(name: str, column: pa.ChunkedArray, shown: bool) -> InputSummary:
    values: tuple[str, ...] = ()
    if shown:
        found = pc.value_counts(column.drop_null().cast(pa.string())).to_pylist()
        found.sort(key=lambda one: (-one["counts"], one["values"]))
        values = tuple(one["values"] for one in found[:_MOST_VALUES])
    counts = _counts(_place(column, values), len(values) + 1) if values else ()
    return InputSummary(name, 0.0, len(column) - column.null_count, (), values, counts)


def _weighed(
    made: InputSummary,
    which: npt.NDArray[np.int64],
    there: npt.NDArray[np.bool_],
    units: npt.NDArray[np.int64],
) -> InputSummary:
    """A summary with its share of nulls, and how many events it stands for."""
    total, gone = len(there), ~there
    known = effective_events(which, len(made.counts), units[there]) if made.counts else None
    whole = effective_events(gone.astype(np.int64), 2, units) if total else 0.0
    nulls = np.count_nonzero(gone) / total if total else 0.0
    return dataclasses.replace(made, nulls=float(nulls), effective=known, slice_effective=whole)


def _bin(values: npt.NDArray[np.float32], edges: Sequence[float]) -> npt.NDArray[np.int64]:
    return np.searchsorted(np.array(edges, np.float32), values, side="left").astype(np.int64)


def _place(column: pa.ChunkedArray, values: Sequence[str]) -> npt.NDArray[np.int64]:
    """The places of a category's values among those that are named; of others the next number."""
    which = pc.index_in(
        column.drop_null().cast(pa.string()), value_set=pa.array(values, pa.string())
    )
    return np.asarray(pc.fill_null(which, len(values)).to_numpy(), np.int64)


def _counts(which: npt.NDArray[np.int64], bins: int) -> tuple[int, ...]:
    return tuple(np.bincount(which, minlength=bins).tolist())


_INDEX, _DISTANCE, _NULLS = "index", "distance", "nulls"


@dataclasses.dataclass(frozen=True)
class _Comparison:
    """Something measured now and before.

    Attributes:
      chance: that it is so large without drift; critical: what it exceeds with a given chance.
    """

    chance: float
    critical: Callable[[float], float]


@dataclasses.dataclass(frozen=True)
class _Compared:
    """An input's drift without the limits of chance, and by measure what these come from."""

    drift: InputDrift
    tests: Mapping[str, _Comparison]


def _compare(now: InputSummary, before: InputSummary, counts: tuple[int, ...]) -> _Compared:
    index = apart = None
    tests: dict[str, _Comparison] = {}
    comparable = bool(counts) and len(counts) == len(before.counts)
    # An earlier report may not say how many events it stands for: a share like that of now.
    share = (now.effective or 0.0) / now.events if now.events else 1.0
    stand_for = now.effective or 0.0, before.effective or before.events * share
    if comparable and now.events > 0 and before.events > 0:
        index, bins = stability_index(counts, before.counts), len(counts)
        scale = float(1 / stand_for[0] + 1 / stand_for[1])
        if bins > 1:
            tests[_INDEX] = _Comparison(
                float(stats.chi2.sf(index / scale, bins - 1)),
                lambda level: float(stats.chi2.isf(level, bins - 1)) * scale,
            )
    if now.sketch and before.sketch:
        events = now.events, before.events
        apart = distance(now.sketch, before.sketch)
        tests[_DISTANCE] = _Comparison(
            chance_of_distance(apart, *events, stand_for),
            lambda level: critical_distance(*events, level, stand_for),
        )
    whole = now.slice_effective or 0.0, before.slice_effective or now.slice_effective or 0.0
    if min(whole) > 0.0:
        both = (now.nulls * whole[0] + before.nulls * whole[1]) / sum(whole)
        error = float(np.sqrt(both * (1.0 - both) * (1 / whole[0] + 1 / whole[1])))
        if error > 0.0:
            gap = abs(now.nulls - before.nulls)
            tests[_NULLS] = _Comparison(
                2.0 * float(stats.norm.sf(gap / error)),
                lambda level: float(stats.norm.isf(level / 2.0)) * error,
            )
    drift = InputDrift(now.name, now.nulls, before.nulls, index, distance=apart)
    return _Compared(drift, tests)


def _correct(found: Sequence[_Compared]) -> list[InputDrift]:
    """Drifts with what chance makes in one of a hundred slices, by Holm's steps.

    The smallest of m chances is compared with 1 % / m, the next with 1 % / (m - 1), and so on, up
    to the first that is larger: it and all after it are explained by chance.
    """
    chances = sorted(test.chance for one in found for test in one.tests.values())
    levels, level = {}, 1.0 - _SURE
    for place, chance in enumerate(chances):
        level = (1.0 - _SURE) / (len(chances) - place)
        if chance > level:
            break
        levels[chance] = level
    made = []
    for one in found:
        limits = {n: test.critical(levels.get(test.chance, level)) for n, test in one.tests.items()}
        made.append(
            dataclasses.replace(
                one.drift,
                chance=limits.get(_INDEX, 0.0),
                distance_chance=limits.get(_DISTANCE, 0.0),
                gap_chance=limits.get(_NULLS, 0.0),
            )
        )
    return made
