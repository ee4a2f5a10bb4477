"""Splits and figures of published benchmarks' protocols, on arrays.

What enters: what a protocol says (`configs.protocol`), and of each row its file, label, id, account
and raw score. What leaves: which rows train and which test, and figures with intervals.

A split by rows lets a model learn from rows that are later than those that it is tested on. That is
how such benchmarks were published, and why they say nothing of tomorrow: a nightly run splits by
time.
"""

from __future__ import annotations

import dataclasses
import fnmatch
from collections.abc import Callable, Collection, Iterator, Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from configs.errors import ConfigError, EvidenceError, InputError
from configs.metrics import Metric
from configs.protocol import Protocol, ProtocolSplit
from training.curve import (
    Curve,
    area_under_roc,
    average_precision,
    confusion,
    make_curve,
    redraw_curves,
    true_positive_rate,
)
from training.evaluate import interval_of_draws
from training.labels import NEGATIVE, POSITIVE, UNLABELLED
from transforms.hashing import hash_column

Mask = npt.NDArray[np.bool_]
Labels = npt.NDArray[np.int8]

DECIDED_AT = 0.0
"""Log odds at and above which an event is called abuse, for accuracy and Matthews' correlation."""
REPLICATES = 200


@dataclasses.dataclass(frozen=True)
class ProtocolRows:
    """What splits rows, all of `[n]`.

    Attributes:
      files: int64, place of each row's file in `names`.
      names: names of files; with folders where two files have one name.
      order: int64, rising along each file.
      ids: string.
      labels: int8: 1, 0, -1; unlabelled rows neither train nor test.
      accounts: string, or None where no split asks for one.
    """

    files: npt.NDArray[np.int64]
    names: Sequence[str]
    order: npt.NDArray[np.int64]
    ids: pa.Array
    labels: Labels
    accounts: pa.Array | None = None


@dataclasses.dataclass(frozen=True)
class Fold:
    """Rows that train and rows that test, bool `[n]`; most protocols have one fold."""

    train: Mask
    test: Mask


def split_rows(
    split: ProtocolSplit,
    rows: ProtocolRows,
    ids: tuple[Collection[str], Collection[str]] = ((), ()),
    labelled: bool = True,
) -> tuple[Fold, ...]:
    """The folds of a split that is not by time.

    Args:
      split: by "file", "id", "order" or "account".
      rows: that are split.
      ids: those that train, and those that test, of a split by id.
      labelled: whether rows need a label to train.

    Raises:
      InputError: a pattern matches no file.
      EvidenceError: a row would both train and test, or a side has not both classes.

    >>> rows = ProtocolRows(np.zeros(4, np.int64), ["a.csv"], np.arange(4), pa.array(list("wxyz")),
    ...             np.array([1, 0, 1, 0], np.int8))
    >>> fold, = split_rows(ProtocolSplit("order", first=0.5, of_each=("label",)), rows)
    >>> fold.train.tolist()
    [True, True, False, False]
    """
    known = rows.labels != UNLABELLED
    if split.by == "file":
        folds = [(_in_files(rows, split.train), _in_files(rows, split.test))]
    elif split.by == "id":
        named = [np.isin(rows.ids.to_numpy(zero_copy_only=False), list(one)) for one in ids]
        folds = [(named[0], named[1])]
    elif split.by == "order":
        first = first_of_each(split.first, rows, split.of_each)
        folds = [(first, ~first)]
    else:
        fold = _fold_of(rows, split)
        folds = [(fold != one, fold == one) for one in range(split.folds)]
    made = tuple(Fold(train & (known | (not labelled)), test & known) for train, test in folds)
    for number, one in enumerate(made):
        which = f"fold {number + 1} of {len(made)}" if len(made) > 1 else ""
        _require(one, rows.labels, which, labelled)
    return made


def first_of_each(share: float, rows: ProtocolRows, of_each: Sequence[str]) -> Mask:
    """The first share of the labelled rows of each file, label, or both, in file order.

    A group's number of rows times the share is rounded to the nearest whole.
    """
    groups = np.zeros(len(rows.labels), np.int64)
    if "file" in of_each:
        groups = rows.files * 2
    if "label" in of_each:
        groups = groups + (rows.labels == POSITIVE)
    chosen = np.zeros(len(groups), np.bool_)
    known = rows.labels != UNLABELLED
    for group in np.unique(groups):
        members = np.flatnonzero((groups == group) & known)
        members = members[np.lexsort((rows.order[members], rows.files[members]))]
        chosen[members[: round(len(members) * share)]] = True
    return chosen


def _in_files(rows: ProtocolRows, patterns: Sequence[str]) -> Mask:
    both = [(one, one.rpartition("/")[2]) for one in rows.names]
    wanted = np.zeros(len(both), np.bool_)
    for pattern in patterns:
        found = [any(fnmatch.fnmatchcase(one, pattern) for one in pair) for pair in both]
        if not any(found):  # mistyped, it would leave out what was to train or to test
            named = ", ".join(rows.names[:10]) + (", …" if len(rows.names) > 10 else "")
            raise InputError(f"split: no file of the input matches {pattern!r}; it has {named}")
        wanted |= found
    return wanted[rows.files]


def _fold_of(rows: ProtocolRows, split: ProtocolSplit) -> npt.NDArray[np.int64]:
    """A fold per row: of its account's hash; a row without an account goes by its own id."""
    if rows.accounts is None:
        raise ValueError("a split by account needs accounts")
    names = pa.compute.coalesce(rows.accounts.cast(pa.string()), rows.ids)
    return np.asarray(hash_column(names, split.seed) % np.uint64(split.folds), np.int64)


def _require(fold: Fold, labels: Labels, which: str, labelled: bool) -> None:
    where = f" ({which})" if which else ""
    both = int(np.count_nonzero(fold.train & fold.test))
    if both:
        raise EvidenceError(
            f"split{where}: {both:,} rows train and test; let no pattern or list of the one side "
            "match what the other has"
        )
    sides = {"train": fold.train, "test": fold.test} if labelled else {"test": fold.test}
    for name, mask in sides.items():
        positives = int(np.count_nonzero(labels[mask] == POSITIVE))
        negatives = int(np.count_nonzero(labels[mask] == NEGATIVE))
        if not positives or not negatives:
            raise EvidenceError(
                f"split{where}: {name} has {positives:,} positives and {negatives:,} negatives; "
                "expected some of each: look at the patterns, ids or shares, and at the labels"
            )


@dataclasses.dataclass(frozen=True)
class Figure:
    """A metric's value and its 95 % interval; None where it means nothing."""

    value: float | None
    low: float | None = None
    high: float | None = None


def measure(
    metrics: Sequence[Metric],
    raw: npt.NDArray[np.float64],
    labels: Labels,
    clusters: npt.NDArray[np.int64] | None,
    replicates: int = REPLICATES,
    seed: int = 0,
) -> dict[str, Figure]:
    """Figures of test rows, each with percentiles of a bootstrap of whole accounts.

    Args:
      metrics: which.
      raw: float64[n], log odds.
      labels: int8[n]: 1, 0, -1.
      clusters: int64[n], the account of each row (-1: none); None: rows are drawn.
      replicates: of the bootstrap; 0: no intervals.
      seed: of the bootstrap.

    >>> raw, labels = np.array([2.0, 1.0, -1.0]), np.array([1, 0, 0], np.int8)
    >>> measure([Metric("accuracy")], raw, labels, None, 0)["accuracy"].value.__round__(3)
    0.667
    """
    known = labels != UNLABELLED
    ranks, hits = np.asarray(raw, np.float64)[known], labels[known] == POSITIVE
    curve = make_curve(ranks, labels[known])
    own = None if clusters is None else clusters[known]
    functions = {str(metric): metric_function(metric) for metric in metrics}
    drawn: dict[str, list[float]] = {name: [] for name in functions}
    if curve.both_classes:
        for one in redraw_curves(ranks, hits, own, replicates, seed):
            for name, of in functions.items():
                drawn[name].append(of(one) or 0.0)
    found = {}
    for name, of in functions.items():
        low, high = (
            interval_of_draws(drawn[name], hits, own, lowest=-1.0 if name == "mcc" else 0.0)
            if drawn[name]
            else (None, None)
        )
        found[name] = Figure(of(curve), low, high)
    return found


def mean_figures(rows: Sequence[dict[str, Figure]]) -> dict[str, Figure]:
    """The mean of each metric over rows, without an interval.

    >>> mean_figures([{"auc": Figure(0.5)}, {"auc": Figure(1.0)}])["auc"].value
    0.75
    """
    made = {}
    for name in rows[0] if rows else ():
        values = [one[name].value for one in rows]
        known = [one for one in values if one is not None]
        made[name] = Figure(float(np.mean(known)) if len(known) == len(rows) else None)
    return made


def by_part(fold_of: npt.NDArray[np.int64], names: Sequence[str]) -> Iterator[tuple[str, Mask]]:
    """A mask for each part that has rows; -1: in none.

    >>> [(name, mask.tolist()) for name, mask in by_part(np.array([1, -1]), ["a", "b"])]
    [('b', [True, False])]
    """
    for place, name in enumerate(names):
        mask = fold_of == place
        if mask.any():
            yield name, mask


def metric_function(metric: Metric) -> Callable[[Curve], float | None]:
    """What reads a metric off a curve.

    >>> metric_function(Metric("auc"))(make_curve([2.0, 1.0], np.array([1, 0], np.int8)))
    1.0
    """
    if metric.at is not None:
        rate = metric.at
        return lambda curve: true_positive_rate(curve, rate)
    named: dict[str, Callable[[Curve], float | None]] = {
        "auc": area_under_roc,
        "average_precision": average_precision,
        "accuracy": lambda curve: confusion(curve, DECIDED_AT).accuracy,
        "mcc": lambda curve: confusion(curve, DECIDED_AT).mcc,
    }
    return named[metric.name]


def rule_votes(protocol: Protocol, column: pa.ChunkedArray) -> npt.NDArray[np.int8]:
    """What the rules say of rows: int8 `[n, rules]`: 1, 0, -1 (nothing).

    Raises:
      ConfigError: a pattern is no regular expression.
    """
    votes = np.full((len(column), len(protocol.rules)), UNLABELLED, np.int8)
    texts = pc.fill_null(column.combine_chunks(), "")
    for at, rule in enumerate(protocol.rules):
        try:
            found = pc.match_substring_regex(texts, rule.pattern, ignore_case=True)
        except pa.ArrowInvalid as error:
            raise ConfigError(
                f"{protocol.name}: the rule {rule.name!r} is no regular expression of RE2 "
                f"({error}); it has no look-around"
            ) from error
        votes[found.to_numpy(zero_copy_only=False), at] = rule.abuse
    return votes
