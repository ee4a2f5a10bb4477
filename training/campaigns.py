"""Campaigns as units: no split parts one, and a model is asked how many it caught, and how early.

Messages of a campaign are nearly one message. A model that has learnt from some of them knows the
others, so a campaign on both sides of a split is an exam with known questions; and a hundred
flagged messages of one campaign are one success, not a hundred.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from scoring.decision import Threshold
from training.clusters import share_interval
from training.labels import POSITIVE

Integers = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]


@dataclasses.dataclass(frozen=True)
class CampaignsCaught:
    """What a threshold does to campaigns.

    Attributes:
      flagged: campaigns with an event at or above it; `caught` of these are abusive.
      recall: share of the abusive campaigns that are caught, with its 95 % interval; None without
        any.
      median_us, median_events, median_recipients: of caught campaigns that began in these events,
        what passed before the first flagged event: time since the first one (microseconds), events,
        and people who could read them; None if there are none, or nobody knows the people.
    """

    action: str
    flagged: int
    caught: int
    recall: float | None
    recall_low: float
    recall_high: float
    median_us: float | None
    median_events: float | None
    median_recipients: float | None


@dataclasses.dataclass(frozen=True)
class CampaignMetrics:
    """Campaigns that have events here, and how they are found.

    Attributes:
      campaigns: with at least one event; `abusive`: with one that is labelled abuse; `new`: abusive
        ones that began in these events.
    """

    campaigns: int
    abusive: int
    new: int
    caught: tuple[CampaignsCaught, ...]


def begun_earlier(campaigns: Integers, parts: Sequence[Mask]) -> Mask:
    """Rows of each part whose campaign has rows in a part before: bool `[n]`.

    Without them no campaign is in two parts.

    Args:
      campaigns: int64 `[n]`; -1: of none.
      parts: masks bool `[n]` that do not overlap, in the order of time.

    >>> fit, check = np.array([True, True, False, False]), np.array([False, False, True, True])
    >>> begun_earlier(np.array([4, -1, 4, -1]), [fit, check]).tolist()
    [False, False, True, False]
    """
    found = np.zeros(len(campaigns), np.bool_)
    before = np.zeros(0, np.int64)
    for part in parts:
        found |= part & (campaigns >= 0) & np.isin(campaigns, before)
        before = np.union1d(before, campaigns[part])
    return found


def evaluate_campaigns(
    scores: npt.NDArray[np.float64],
    labels: npt.NDArray[np.int8],
    event_times: Integers,
    campaigns: Integers,
    began_us: Integers,
    thresholds: Sequence[Threshold] = (),
    recipients: Integers | None = None,
    named: bool = False,
) -> CampaignMetrics | None:
    """Counts campaigns; None where no event is of one.

    Args:
      scores: float64 `[n]`, calibrated.
      labels: int8 `[n]`: 1, 0, -1.
      event_times: int64 `[n]`, microseconds UTC; events of one time are in the order given.
      campaigns: int64 `[n]`, places in `began_us`; -1: of none.
      began_us: int64 `[c]`, when each campaign was first seen, microseconds UTC.
      thresholds: of actions; one that never fires is left out.
      recipients: int64 `[n]`, how many people an event reached (below 0: not known), or, if
        `named`, a number for whom (likewise): then distinct ones are counted.
      named: see there.

    >>> found = evaluate_campaigns(
    ...     np.array([0.1, 0.9, 0.9, 0.2]), np.array([1, 1, 1, 0], np.int8),
    ...     np.array([0, 60_000_000, 90_000_000, 5]), np.array([0, 0, 0, 1]), np.array([0, 5]),
    ...     [Threshold("block", 0.8, None)], np.array([7, 5, 5, 1]))
    >>> one, = found.caught
    >>> found.abusive, one.caught, one.median_us, one.median_events, one.median_recipients
    (1, 1, 60000000.0, 1.0, 7.0)
    """
    order = np.lexsort((event_times, campaigns))
    order = order[campaigns[order] >= 0]
    if not len(order):
        return None
    own, times = campaigns[order], event_times[order]
    said = np.asarray(scores, np.float64)[order]
    begins = np.flatnonzero(np.diff(own, prepend=-1))
    bad = np.logical_or.reduceat(labels[order] == POSITIVE, begins)
    new = bad & (began_us[own[begins]] >= times[begins])
    before = None if recipients is None else _reached(recipients[order], begins, named)
    caught = [
        _caught(one.action, one.value, said, times, begins, bad, new, before)
        for one in thresholds
        if one.value is not None
    ]
    return CampaignMetrics(len(begins), int(bad.sum()), int(new.sum()), tuple(caught))


def _caught(
    action: str,
    value: float,
    said: npt.NDArray[np.float64],
    times: Integers,
    begins: Integers,
    bad: Mask,
    new: Mask,
    reached: Integers | None,
) -> CampaignsCaught:
    never = len(said)
    first = np.minimum.reduceat(np.where(said >= value, np.arange(never), never), begins)
    flagged = first < never
    seen = flagged & new
    at, start = first[seen], begins[seen]
    known = None if reached is None else reached[at] - reached[start]
    return CampaignsCaught(
        action,
        int(flagged.sum()),
        int((flagged & bad).sum()),
        float(flagged[bad].mean()) if bad.any() else None,
        *share_interval(flagged[bad], None),
        _median(times[at] - times[start]),
        _median(at - start),
        None if known is None else _median(known),
    )


def _reached(recipients: Integers, begins: Integers, named: bool) -> Integers:
    """People reached by a campaign's events before each of its events: int64 `[n]`."""
    count = np.maximum(recipients, 0)
    if named:
        campaign = np.repeat(np.arange(len(begins)), np.diff(begins, append=len(recipients)))
        pairs = np.stack([campaign, recipients], axis=1)
        count = np.zeros(len(recipients), np.int64)
        count[np.unique(pairs, axis=0, return_index=True)[1]] = 1
        count[recipients < 0] = 0
    return np.cumsum(count) - count


def _median(values: Integers) -> float | None:
    return float(np.median(values)) if len(values) else None
