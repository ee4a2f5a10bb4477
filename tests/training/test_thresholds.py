"""Thresholds keep their contract, at distinct scores only, and refuse on thin evidence."""

from __future__ import annotations

import functools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from benchmarks.contracts import WORLDS, Truth, count_kept, draw, population
from configs.schema import Action, Costs
from training.clusters import cluster_sums
from training.intervals import interval, lower_bound, upper_count
from training.thresholds import choose_thresholds, fewest_flagged

SCORED = st.lists(
    st.tuples(
        st.sampled_from([0.0, 0.1, 0.25, 0.5, 0.7, 0.9, 1.0]),
        st.sampled_from([-1, 0, 1, 1]),
        st.integers(-1, 5),
    ),
    max_size=120,
)


def arrays(rows):
    return (
        np.array([score for score, *_ in rows], np.float64),
        np.array([label for _, label, _ in rows], np.int8),
        np.array([account for *_, account in rows], np.int64),
    )


def prepared(rows):
    """Plain counts at or above a value: labelled, abuse, and events of each account."""

    def at(value):
        there = [(label, account) for score, label, account in rows if score >= value]
        known = [(label, account) for label, account in there if label != -1]
        return len(known), sum(label for label, _ in known), known

    return at


@given(SCORED, st.sampled_from([0.1, 0.3, 0.5, 0.8]), st.sampled_from([0.6, 0.8, 0.95]))
def test_a_threshold_is_one_of_the_scores_and_says_what_is_there(rows, precision, confidence):
    scores, labels, accounts = arrays(rows)
    (found,) = choose_thresholds(scores, labels, [Action("x", precision, confidence)], accounts)
    known = labels != -1
    assert found.labelled == known.sum()
    if found.value is None:
        assert found.reason and found.recall == 0.0 and found.precision is None
        return
    assert found.value in set(scores[known])
    flagged, positives, events = prepared(rows)(found.value)
    assert (found.flagged, found.positives) == (flagged, positives)
    assert found.recall == positives / (labels == 1).sum()
    alone = sum(account == -1 for _, account in events)
    assert found.accounts == alone + len({account for _, account in events} - {-1})
    assert found.effective <= flagged + 1e-9
    assert precision <= found.precision_low <= found.precision
    # No more than the exact bound of independent events that were chosen beforehand.
    plain = float(lower_bound(positives, flagged, confidence))
    assert found.precision_low <= plain + 1e-9
    assert found.evidence.startswith(f"{positives:,} of {flagged:,} flagged events")


@given(SCORED, st.randoms(use_true_random=False))
def test_the_order_of_events_and_the_names_of_accounts_do_not_matter(rows, random):
    shuffled = list(rows)
    random.shuffle(shuffled)
    renamed = [(score, label, account if account < 0 else 17 * account + 3)
               for score, label, account in shuffled]  # fmt: skip
    actions = [Action("block", 0.5, 0.6, per_day=40), Action("review", per_day=90)]
    ours = choose_thresholds(*arrays(rows)[:2], actions, arrays(rows)[2])
    theirs = choose_thresholds(*arrays(renamed)[:2], actions, arrays(renamed)[2])
    for one, other in zip(ours, theirs, strict=True):
        assert (one.value, one.reason, one.flagged) == (other.value, other.reason, other.flagged)
        assert one.precision_low == pytest.approx(other.precision_low, abs=1e-12)


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 4)), min_size=1, max_size=40))
def test_sums_over_accounts_are_those_of_each_prefix_counted_anew(rows):
    hits = np.array([hit for hit, _ in rows], np.bool_)
    accounts = np.array([account for _, account in rows], np.int64)
    made = cluster_sums(hits, accounts)
    for end in range(1, len(rows) + 1):
        events = np.bincount(accounts[:end])
        found = np.bincount(accounts[:end], hits[:end], minlength=len(events)).astype(np.int64)
        one = made.at(np.array([end - 1]))
        assert (one.events[0], one.hits[0]) == (end, hits[:end].sum())
        assert one.clusters[0] == np.count_nonzero(events)
        assert one.in_error[0] == np.count_nonzero(found < events)
        assert one.squares[0] == np.sum(events**2)
        assert one.hit_squares[0] == np.sum(found**2)
        assert one.products[0] == np.sum(events * found)
        assert one.worst_case()[0] <= end + 1e-9
        assert 0 < one.effective()[0] <= end + 1e-9


def test_copies_of_an_account_are_no_evidence():
    scores, labels = np.linspace(0.5, 1.0, 200), np.ones(200, np.int8)
    strangers, own = np.arange(200), np.repeat(np.arange(4), 50)
    action = [Action("block", 0.95)]
    (of_strangers,) = choose_thresholds(scores, labels, action, strangers)
    (of_four,) = choose_thresholds(scores, labels, action, own)
    assert of_strangers.value is not None
    assert of_four.value is None
    assert "of 4 accounts (as much evidence as 4 independent events)" in of_four.reason


def test_promises_are_broken_in_at_most_one_of_twenty_draws():
    world = WORLDS["accounts of false alarms"]
    truth = Truth.of(population(world, accounts=60_000))
    sample = functools.partial(draw, world, 800)
    found = count_kept(sample, truth, draws=300, promises=(0.6,))
    for kept, plain in found.values():
        assert kept.broken <= 15
        # The same draws without the corrections: the test can fail, and the world is hard.
        assert plain.broken > 30
    assert found[0.6][0].fires > 60


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
        "precision 0.95 at 0.95 confidence needs at least 72 positives in the gate slice, which "
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
    assert found.labelled == 100
    assert found.flagged == int(np.sum(scores[:100] >= found.value)) > 95


def test_broken_scores_are_refused():
    with pytest.raises(ValueError, match="1 of 2 scores are NaN"):
        choose_thresholds(np.array([0.1, np.nan]), np.array([0, 1], np.int8), [])
    with pytest.raises(ValueError, match="1 scores and 2 labels"):
        choose_thresholds(np.array([0.1]), np.array([0, 1], np.int8), [])


def test_costs_mean_the_break_even_score_where_acting_there_is_shown_to_pay():
    generator = np.random.default_rng(5)
    scores = generator.random(4000)
    labels = (generator.random(4000) < scores).astype(np.int8)
    costs = Costs(false_alarm=3.0, missed=1.0)
    (found,) = choose_thresholds(scores, labels, [Action("hide", costs=costs)])
    assert found.value == scores[scores >= 0.75].min()
    assert found.min_precision == 0.75
    assert found.contract == "cheaper than doing nothing (precision 0.75), at 0.95 confidence"
    # Scores that say too much: at what they call break-even, acting costs more than it saves.
    (wrong,) = choose_thresholds(np.sqrt(scores), labels, [Action("hide", costs=costs)])
    assert wrong.value is None or wrong.precision_low >= 0.75
    (worse,) = choose_thresholds(scores**0.1, labels, [Action("hide", costs=costs)])
    assert worse.value is None and "0.75" in worse.reason


def test_costs_within_a_number_a_day_are_looked_at_where_the_number_leads():
    generator = np.random.default_rng(5)
    scores = generator.random(4000)
    labels = (generator.random(4000) < scores).astype(np.int8)
    costs = Costs(false_alarm=3.0, missed=1.0)
    (free,) = choose_thresholds(scores, labels, [Action("hide", costs=costs)])
    (few,) = choose_thresholds(scores, labels, [Action("hide", costs=costs, per_day=400)])
    assert few.value > free.value and few.per_day_high <= 400 < free.per_day_high
    assert few.precision_low >= 0.75
    (bad,) = choose_thresholds(scores**0.1, labels, [Action("hide", costs=costs, per_day=2000)])
    assert bad.value is None and "where it would act is 0.724" in bad.reason


def test_a_bound_that_was_picked_afterwards_is_no_promise_and_the_reason_says_so():
    scores = np.linspace(1, 0, 4080)
    labels = (scores < scores[79]).astype(np.int8)
    (found,) = choose_thresholds(scores, labels, [Action("block", 0.9)])
    assert found.value is None and "picked afterwards (0.97" in found.reason


def test_numbers_a_day_count_what_no_stronger_action_takes_labelled_or_not():
    scores = np.linspace(0, 1, 10_000)
    labels = np.full(10_000, -1, np.int8)
    labels[::3] = scores[::3] > 0.9
    block, review = choose_thresholds(
        scores, labels, [Action("block", 0.9), Action("review", per_day=500)], days=0.5
    )
    taken = int(np.sum((scores >= review.value) & (scores < block.value)))
    assert review.per_day == taken / 0.5
    bound = float(upper_count(taken, 0.95)) / 0.5
    assert review.per_day_high == pytest.approx(bound)
    assert bound <= 500 < float(upper_count(taken + 1, 0.95)) / 0.5
    assert review.min_precision is None
    (none,) = choose_thresholds(scores, labels, [Action("review", per_day=1)], days=0.5)
    assert none.value is None and "cannot be shown with 0.5 days" in none.reason


def test_a_number_a_day_is_kept_in_nineteen_of_twenty_draws():
    # One account brings many events or none: the count of a day varies by more than its root.
    generator, over = np.random.default_rng(2), 0
    scores_of = np.random.default_rng(3).random(4000)
    rate = np.full(4000, 0.02)
    size = 8
    for _ in range(300):
        there = generator.random(4000) < rate
        account = np.repeat(np.flatnonzero(there), size)
        scores = scores_of[account]
        labels = np.full(len(scores), -1, np.int8)
        (made,) = choose_thresholds(scores, labels, [Action("review", per_day=300)], account)
        if made.value is not None:
            over += size * rate[scores_of >= made.value].sum() > 300
    assert 0 < over <= 15


def test_an_action_with_a_precision_and_a_number_keeps_both():
    scores = np.linspace(0, 1, 20_000)
    labels = (scores > 0.5).astype(np.int8)
    (wide,) = choose_thresholds(scores, labels, [Action("hide", 0.9)])
    (both,) = choose_thresholds(scores, labels, [Action("hide", 0.9, per_day=400)])
    assert both.value > wide.value
    assert both.per_day_high <= 400 < wide.per_day_high
    assert both.precision_low >= 0.9
    (none,) = choose_thresholds(scores, labels, [Action("hide", 0.9, per_day=20)])
    assert none.value is None and "at lower scores only" in none.reason


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
