"""How a model does on accounts (cards, channels) rather than on their events.

What enters: scores, labels, times and accounts of events. What leaves: how well accounts are told
apart after their first 1, 3, 5 and 10 events, as published protocols of account detection measure
it (a score is the highest that the account had until then); and for each threshold what share of
accounts it flags, and how many events and how much time pass until it does: what an account could
do before.

An account with a labelled event of abuse is abusive; one that has labelled events, and none of
abuse, is not; others take no part. First events are the first of the days that are measured.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from scoring.decision import Threshold
from training.clusters import auc_interval, share_interval
from training.curve import area_under_roc, average_precision, make_curve
from training.labels import POSITIVE, UNLABELLED

FIRSTS = (1, 3, 5, 10)
"""Events after which accounts are told apart."""


@dataclasses.dataclass(frozen=True)
class AfterEvents:
    """How accounts rank by their highest score among their first events.

    Attributes:
      events: how many events at most.
      accounts: those that have so many; the others are measured by those that they have.
      auc, average_precision: None with one class; the interval is 95 %.
    """

    events: int
    accounts: int
    auc: float | None
    auc_low: float | None
    auc_high: float | None
    average_precision: float | None


@dataclasses.dataclass(frozen=True)
class UntilFlagged:
    """What a threshold does to accounts.

    Attributes:
      flagged: accounts with an event at or above it; `abusive` of these are abusive.
      recall, precision: shares of accounts, with their 95 % intervals; None without any.
      median_events: of abusive accounts that are flagged, events up to the one that flags,
        included; None if there are none.
      median_us: of the same, from the first event to that one, microseconds.
    """

    action: str
    flagged: int
    abusive: int
    recall: float | None
    recall_low: float
    recall_high: float
    precision: float | None
    precision_low: float
    precision_high: float
    median_events: float | None
    median_us: float | None


@dataclasses.dataclass(frozen=True)
class SubjectMetrics:
    """Accounts with a label, those of them that are abusive, and how they are found."""

    accounts: int
    abusive: int
    after: tuple[AfterEvents, ...]
    until: tuple[UntilFlagged, ...]


def evaluate_subjects(
    scores: npt.NDArray[np.float64],
    labels: npt.NDArray[np.int8],
    event_times: npt.NDArray[np.int64],
    accounts: npt.NDArray[np.int64],
    thresholds: Sequence[Threshold] = (),
    firsts: Sequence[int] = FIRSTS,
) -> SubjectMetrics | None:
    """Measures accounts; None where no account has a label.

    Args:
      scores: float64[n], calibrated.
      labels: int8[n]: 1, 0, -1; events without a label count as events of their account.
      event_times: int64[n], microseconds UTC; events of one time are in the order given.
      accounts: int64[n]; -1: an event without one takes no part.
      thresholds: of actions; one that never fires is left out.
      firsts: numbers of events.

    >>> found = evaluate_subjects(
    ...     np.array([0.1, 0.9, 0.5]), np.array([0, 1, 0], np.int8), np.array([0, 5, 3]),
    ...     np.array([7, 7, 8]), [Threshold("block", 0.8, None)], firsts=(1, 3))
    >>> [one.auc for one in found.after], found.until[0].median_events
    ([0.0, 1.0], 2.0)
    """
    order = np.lexsort((event_times, accounts))
    order = order[accounts[order] >= 0]
    own, said, times = accounts[order], np.asarray(scores, np.float64)[order], event_times[order]
    if not len(own):
        return None
    begins = np.flatnonzero(np.diff(own, prepend=-1))
    sizes = np.diff(begins, append=len(own))
    place = np.arange(len(own)) - np.repeat(begins, sizes)
    # The largest of -1, 0 and 1 is the account's label: one event of abuse makes it abusive.
    label = np.maximum.reduceat(labels[order], begins)
    known = label != UNLABELLED
    bad = label[known] == POSITIVE
    if not known.any():
        return None
    after = []
    for most in firsts:
        best = np.maximum.reduceat(np.where(place < most, said, -np.inf), begins)[known]
        curve = make_curve(best, label[known])
        low, high = auc_interval(best, bad, None)
        after.append(
            AfterEvents(
                most,
                int((sizes[known] >= most).sum()),
                area_under_roc(curve),
                low,
                high,
                average_precision(curve),
            )
        )
    until = [
        _until(one.action, one.value, said, times, begins, place, known, bad)
        for one in thresholds
        if one.value is not None
    ]
    return SubjectMetrics(int(known.sum()), int(bad.sum()), tuple(after), tuple(until))


def _until(
    action: str,
    value: float,
    said: npt.NDArray[np.float64],
    times: npt.NDArray[np.int64],
    begins: npt.NDArray[np.int64],
    place: npt.NDArray[np.int64],
    known: npt.NDArray[np.bool_],
    bad: npt.NDArray[np.bool_],
) -> UntilFlagged:
    never = len(said)
    first = np.minimum.reduceat(np.where(said >= value, place, never), begins)[known]
    flagged = first < never
    both = flagged & bad
    waited = times[begins[known][both] + first[both]] - times[begins[known][both]]
    recall = share_interval(flagged[bad], None)
    precision = share_interval(bad[flagged], None)
    return UntilFlagged(
        action,
        int(flagged.sum()),
        int(both.sum()),
        float(flagged[bad].mean()) if bad.any() else None,
        *recall,
        float(bad[flagged].mean()) if flagged.any() else None,
        *precision,
        float(np.median(first[both] + 1)) if both.any() else None,
        float(np.median(waited)) if both.any() else None,
    )
