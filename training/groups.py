"""Precision of a day's worklist: the accounts, cards or channels that a person would look at.

What enters: scores, labels and times of events, and the group (an account, a card) of each.
What leaves: the share of the `top` groups of a day that had a positive, and its mean over days.
The definition is Card Precision@k of the Fraud Detection Handbook (Le Borgne, Siblini, Lebichot,
Bontempi, 2022, chapter 4): a group's score on a day is the highest of its events'; a group that
was found on one day is not looked at again. Other than there, a day with fewer groups than `top`
is measured by those that it has, and one without any is left out: a share of places that nobody
could fill says nothing about the model. On days with at least `top` groups both are the same.
"""

from __future__ import annotations

import dataclasses

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from training.labels import POSITIVE, UNLABELLED, first_positive_known
from transforms.hashing import hash_column
from transforms.ticks import DAY_US

_NEVER = np.iinfo(np.int64).max
_SEED = 0x67726F7570  # of the order of groups whose scores are equal


@dataclasses.dataclass(frozen=True)
class DayPrecision:
    """One UTC day: its groups, those with a positive, those found in the top, and the share.

    The share is of the groups that were looked at: `top`, or all where the day has fewer.
    """

    day_us: int
    groups: int
    positive_groups: int
    found: int
    precision: float


@dataclasses.dataclass(frozen=True)
class GroupPrecision:
    """Mean over days of the share of the `top` groups that had a positive that day."""

    top: int
    mean: float
    days: tuple[DayPrecision, ...]


def group_precision(
    scores: npt.ArrayLike,
    labels: npt.NDArray[np.int8],
    event_times: npt.NDArray[np.int64],
    groups: pa.Array | pa.ChunkedArray,
    top: int,
) -> GroupPrecision | None:
    """The worklist's precision; None where no event has a label and a group.

    Args:
      scores: float[n], any monotone score; groups with equal scores rank by a hash of their name.
      labels: int8[n]; unlabelled events take no part.
      event_times: int64[n], microseconds UTC; days are UTC.
      groups: string[n]; an event without a group takes no part.
      top: groups looked at per day, at least 1.

    Raises:
      ValueError: `top` is below 1.

    >>> found = group_precision([0.9, 0.8, 0.1], np.array([1, 0, 1], np.int8),
    ...                         np.array([0, 1, 2]), pa.array(["a", "b", "c"]), top=2)
    >>> found.mean, found.days[0].positive_groups
    (0.5, 2)
    """
    if top < 1:
        raise ValueError(f"top is {top}; expected at least 1 group a day")
    codes, names = _encode(groups)
    used = np.flatnonzero((codes >= 0) & (np.asarray(labels) != UNLABELLED))
    if len(used) == 0:
        return None
    # Codes in the order of hashes: equal scores rank the same way in every run, and by nothing that
    # whoever chose a name could want.
    by_hash = np.empty(len(names), np.int64)
    by_hash[np.argsort(hash_column(names, _SEED), kind="stable")] = np.arange(len(names))
    code = by_hash[codes[used]]
    score = np.asarray(scores, np.float64)[used]
    positive = np.asarray(labels)[used] == POSITIVE
    day = np.asarray(event_times)[used] // DAY_US
    found_before = np.zeros(len(names), np.bool_)
    days = []
    for one in np.unique(day):
        today = np.flatnonzero((day == one) & ~found_before[code])
        if len(today):
            days.append(
                _one_day(int(one), code[today], score[today], positive[today], top, found_before)
            )
    return GroupPrecision(top, float(np.mean([one.precision for one in days])), tuple(days))


def _one_day(
    day: int,
    code: npt.NDArray[np.int64],
    score: npt.NDArray[np.float64],
    positive: npt.NDArray[np.bool_],
    top: int,
    found_before: npt.NDArray[np.bool_],
) -> DayPrecision:
    """One day's worklist; marks what it finds in `found_before`."""
    present, which = np.unique(code, return_inverse=True)
    best = np.full(len(present), -np.inf)
    np.maximum.at(best, which, score)
    bad = np.zeros(len(present), np.bool_)
    bad[which[positive]] = True
    looked_at = np.argsort(-best, kind="stable")[:top]
    found = looked_at[bad[looked_at]]
    found_before[present[found]] = True
    return DayPrecision(
        day_us=day * DAY_US,
        groups=len(present),
        positive_groups=int(bad.sum()),
        found=len(found),
        precision=len(found) / min(top, len(present)),
    )


def not_yet_known(
    groups: pa.Array | pa.ChunkedArray,
    event_times: npt.NDArray[np.int64],
    history: pa.Table,
    verdicts: pa.Table,
    about: pa.Table | None = None,
) -> npt.NDArray[np.bool_]:
    """Which events' groups had no positive verdict known before the event's UTC day began.

    The rest are cases that are already in someone's hands; finding them again proves nothing.

    Args:
      groups: string[n], of the events that are judged.
      event_times: int64[n], microseconds UTC.
      history: columns `event_id` string and `group` string: every event whose verdicts make its
        group known, those that are judged included.
      verdicts: as in :func:`training.labels.resolve`.
      about: verdicts about groups themselves, of which the positive ones make theirs known: columns
        `subject_value` string, `event_time` int64 and `positive` bool; None: there are none.

    Returns:
      bool[n]; true for an event without a group.

    >>> history = pa.table({"event_id": ["p"], "group": ["a"]})
    >>> verdicts = pa.table({"event_id": ["v"], "event_time": [5], "subject": ["p"],
    ...                      "positive": [True]})
    >>> times = np.array([6, 86_400_000_000])
    >>> not_yet_known(pa.array(["a", "a"]), times, history, verdicts).tolist()
    [True, False]
    """
    known = first_positive_known(history["event_id"], verdicts)
    codes, names = _encode(history["group"])
    known_rows = np.flatnonzero((known < _NEVER) & (codes >= 0))
    earliest = np.full(len(names), _NEVER, np.int64)
    np.minimum.at(earliest, codes[known_rows], known[known_rows])
    if about is not None and about.num_rows:
        bad = about.filter(about["positive"])
        at = pc.index_in(_plain(bad["subject_value"]), value_set=names)
        there = at.is_valid().to_numpy(zero_copy_only=False)
        np.minimum.at(earliest, at.drop_null().to_numpy(), bad["event_time"].to_numpy()[there])
    if not len(groups) or not (earliest < _NEVER).any():
        return np.ones(len(groups), np.bool_)
    at = pc.index_in(_plain(groups), value_set=names)
    has = at.is_valid().to_numpy(zero_copy_only=False)
    since = np.full(len(groups), _NEVER, np.int64)
    since[has] = earliest[at.drop_null().to_numpy()]
    day_start = np.asarray(event_times) // DAY_US * DAY_US
    return since >= day_start


def separate(clusters: npt.NDArray[np.int64] | None, count: int) -> npt.NDArray[np.int64]:
    """Numbers from 0 on, int64[n]; an event of no account (-1) is one by itself, or all are (None).

    >>> separate(np.array([7, -1, 7, -1]), 4).tolist()
    [0, 1, 0, 2]
    """
    if clusters is None:
        return np.arange(count)
    alone = clusters < 0
    own = np.where(alone, clusters.max(initial=-1) + np.cumsum(alone), clusters)
    return np.asarray(np.unique(own, return_inverse=True)[1], np.int64)


def encode_groups(groups: pa.Array | pa.ChunkedArray) -> npt.NDArray[np.int64]:
    """A number per distinct group, int64[n]; -1 for an event without one.

    >>> encode_groups(pa.array(["b", None, "a", "b"])).tolist()
    [0, -1, 1, 0]
    """
    return _encode(groups)[0]


def _encode(groups: pa.Array | pa.ChunkedArray) -> tuple[npt.NDArray[np.int64], pa.Array]:
    encoded = _plain(groups).dictionary_encode()
    return encoded.indices.fill_null(-1).to_numpy().astype(np.int64), encoded.dictionary


def _plain(groups: pa.Array | pa.ChunkedArray) -> pa.Array:
    wide = groups.cast(pa.large_string())
    return wide.combine_chunks() if isinstance(wide, pa.ChunkedArray) else wide
