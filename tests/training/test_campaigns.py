"""Campaigns are never parted, and are counted: how many were caught, and how early."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scoring.decision import Threshold
from training.campaigns import begun_earlier, evaluate_campaigns

MINUTE = 60_000_000
BLOCK = [Threshold("block", 0.8, None)]


@given(st.lists(st.integers(-1, 5), max_size=40), st.integers(0, 40), st.integers(0, 40))
def test_no_campaign_is_in_two_parts(campaigns, one, other):
    campaigns, place = np.array(campaigns, np.int64), np.arange(len(campaigns))
    first, last = sorted((one, other))
    parts = [place < first, (place >= first) & (place < last), place >= last]
    left = begun_earlier(campaigns, parts)
    kept = [set(campaigns[part & ~left]) - {-1} for part in parts]
    assert sum(map(len, kept)) == len(set.union(*kept))
    assert set.union(*kept) == set(campaigns.tolist()) - {-1}, "each is in one"
    assert not left[parts[0]].any()
    assert not left[campaigns < 0].any()


def measured(**more):
    """Campaign 0: three events, the third flagged; 1: the first is; 2: none; 3: not abusive."""
    rows = [
        (0, 0, 0.1, 1, 10), (0, 5, 0.2, -1, 20), (0, 8, 0.9, 1, 40), (0, 9, 0.9, 1, 80),
        (1, 3, 0.8, 1, 1), (1, 4, 0.1, 1, 2),
        (2, 2, 0.7, 1, 5),
        (3, 1, 0.9, 0, 7),
        (-1, 6, 1.0, 1, 9),
    ]  # fmt: skip
    order = np.random.default_rng(1).permutation(len(rows))
    campaign, minute, score, label, reach = (
        np.array(one)[order] for one in zip(*rows, strict=True)
    )
    began = more.pop("began", np.array([0, 3, 2, 1])) * MINUTE
    reach = reach if more.pop("known", True) else None
    return evaluate_campaigns(
        score, label.astype(np.int8), minute * MINUTE, campaign, began, BLOCK, reach, **more
    )


def test_campaigns_are_counted_and_what_passed_before_the_first_flag():
    found = measured()
    assert (found.campaigns, found.abusive, found.new) == (4, 3, 3)
    [one] = found.caught
    assert (one.flagged, one.caught) == (3, 2)
    assert one.recall == pytest.approx(2 / 3)
    assert one.recall_low < one.recall < one.recall_high
    # Campaign 0: 8 minutes, 2 events, 30 people; campaign 1: nothing.
    assert (one.median_us, one.median_events, one.median_recipients) == (4 * MINUTE, 1, 15)


def test_one_that_began_before_these_events_says_nothing_of_how_early():
    found = measured(began=np.array([-1, 3, 2, 1]))
    assert (found.abusive, found.new) == (3, 2)
    [one] = found.caught
    assert (one.caught, one.median_us, one.median_events) == (2, 0, 0)


def test_people_are_counted_once_where_events_name_them():
    times, ones = np.arange(4) * MINUTE, np.ones(4, np.int8)
    scores, zeros = np.array([0.1, 0.1, 0.1, 0.9]), np.zeros(4, np.int64)
    for whom, people in (([7, 7, 8, 9], 2), ([7, 7, 7, 7], 1), ([-1, -1, 8, 9], 1)):
        found = evaluate_campaigns(
            scores, ones, times, zeros, np.zeros(1, np.int64), BLOCK, np.array(whom), named=True
        )
        assert found.caught[0].median_recipients == people


def test_what_is_not_known_is_none():
    assert measured(known=False).caught[0].median_recipients is None
    none = np.full(2, -1)
    assert evaluate_campaigns(np.ones(2), np.ones(2, np.int8), none, none, none, BLOCK) is None
    zero = np.zeros(1, np.int64)
    found = evaluate_campaigns(np.zeros(1), np.ones(1, np.int8), zero, zero, zero, BLOCK)
    [one] = found.caught
    assert (one.caught, one.recall, one.median_us) == (0, 0.0, None)
