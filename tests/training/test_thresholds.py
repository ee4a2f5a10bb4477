"""Thresholds keep their contract, at distinct scores only, and refuse on thin evidence."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from configs.schema import Action
from training.thresholds import (
    choose_thresholds,
    fewest_flagged,
    interval,
    lower_bound,
)

SCORED = st.lists(
    st.tuples(st.sampled_from([0.0, 0.1, 0.25, 0.5, 0.7, 0.9, 1.0]), st.sampled_from([-1, 0, 1])),
    max_size=60,
)


@given(SCORED, st.sampled_from([0.1, 0.3, 0.5, 0.8]), st.sampled_from([0.6, 0.8, 0.95]))
def test_the_threshold_is_the_best_of_all_distinct_scores(rows, precision, confidence):
    scores = np.array([score for score, _ in rows], np.float64)
    labels = np.array([label for _, label in rows], np.int8)
    (found,) = choose_thresholds(scores, labels, [Action("block", precision, confidence)])
    best: tuple[int, float] | None = None
    for value in sorted(set(scores[labels != -1])):
        flagged = int(np.sum((scores >= value) & (labels != -1)))
        hits = int(np.sum((scores >= value) & (labels == 1)))
        low = stats.beta.ppf(1 - confidence, hits, flagged - hits + 1) if hits else 0.0
        if low >= precision and (best is None or (hits, value) > best):
            best = (hits, value)
    if best is None:
        assert found.value is None
        assert found.reason
        assert found.recall == 0.0
        return
    assert (found.positives, found.value) == best
    assert found.reason == ""
    assert found.precision_low is not None
    assert found.precision_low >= precision
    assert found.flagged == int(np.sum((scores >= found.value) & (labels != -1)))
    assert found.recall == found.positives / int(np.sum(labels == 1))


def test_events_with_one_score_are_never_split():
    scores = np.array([0.9] * 100 + [0.5] * 100)
    labels = np.array([1] * 100 + [1] * 50 + [0] * 50, np.int8)
    (found,) = choose_thresholds(scores, labels, [Action("block", 0.9)])
    assert (found.value, found.flagged) == (0.9, 100)


def test_thin_evidence_makes_no_number():
    scores = np.linspace(0, 1, 40)
    labels = (scores > 0.5).astype(np.int8)
    block, review = choose_thresholds(scores, labels, [Action("block", 0.95), Action("r", 0.5)])
    assert block.value is None
    assert block.reason == (
        "precision 0.95 at 0.95 confidence needs at least 59 positives in the gate slice, which "
        "has 20; use a longer training.gate"
    )
    assert review.value is not None


def test_a_model_that_cannot_is_told_apart_from_thin_evidence():
    scores = np.repeat(0.5, 400)
    labels = np.tile(np.array([0, 1], np.int8), 200)
    (found,) = choose_thresholds(scores, labels, [Action("block", 0.9)])
    assert found.reason.startswith("no threshold reaches precision 0.9")
    assert "200 of 400 flagged events positive" in found.reason
    (never,) = choose_thresholds(scores, labels, [Action("block", 1.0)])
    assert "cannot be shown by any number of events" in never.reason


def test_no_events_make_no_number():
    (found,) = choose_thresholds(np.zeros(0), np.zeros(0, np.int8), [Action("block", 0.9)])
    assert found.value is None
    assert "which has 0" in found.reason


def test_unlabelled_events_take_no_part():
    scores = np.concatenate([np.linspace(0.8, 1, 100), np.linspace(0.9, 1, 500)])
    labels = np.array([1] * 100 + [-1] * 500, np.int8)
    (found,) = choose_thresholds(scores, labels, [Action("block", 0.9)])
    assert (found.flagged, found.value) == (100, 0.8)


def test_broken_scores_are_refused():
    with pytest.raises(ValueError, match="1 of 2 scores are NaN"):
        choose_thresholds(np.array([0.1, np.nan]), np.array([0, 1], np.int8), [])
    with pytest.raises(ValueError, match="1 scores and 2 labels"):
        choose_thresholds(np.array([0.1]), np.array([0, 1], np.int8), [])


@given(st.integers(0, 80), st.integers(0, 80), st.sampled_from([0.8, 0.95]))
def test_bounds_are_clopper_and_pearsons(hits, misses, confidence):
    trials = hits + misses
    low = float(lower_bound(hits, trials, confidence))
    assert 0.0 <= low <= 1.0
    if hits:
        # The bound is the share at which so many hits or more have the chance 1 - confidence.
        assert stats.binom.sf(hits - 1, trials, low) == pytest.approx(1 - confidence, abs=1e-9)
    two_sided = interval(hits, trials, confidence)
    if trials:
        exact = stats.binomtest(hits, trials).proportion_ci(confidence, method="exact")
        assert two_sided == pytest.approx((exact.low, exact.high), abs=1e-9)
    else:
        assert two_sided == (0.0, 1.0)


@given(st.floats(0.05, 0.99), st.sampled_from([0.5, 0.8, 0.95, 0.99]))
def test_fewest_flagged_is_just_enough(precision, confidence):
    need = fewest_flagged(precision, confidence)
    assert float(lower_bound(need, need, confidence)) >= precision - 1e-9
    if need > 1:
        assert float(lower_bound(need - 1, need - 1, confidence)) < precision + 1e-9
