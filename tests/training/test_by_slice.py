"""Metrics by slice: every labelled event in one row, rare values together, nulls named."""

from __future__ import annotations

import itertools

import numpy as np
import pyarrow as pa
import pytest
from scipy import stats
from sklearn import metrics as oracle

from training.by_slice import NONE, OTHER, bin_numbers, evaluate_by_slice
from training.clusters import auc_interval, share_interval


def test_every_labelled_event_is_in_one_row():
    generator = np.random.default_rng(0)
    scores = generator.random(2000)
    labels = generator.integers(-1, 2, 2000).astype(np.int8)
    clients = [None if one == 9 else f"c{one}" for one in generator.zipf(1.5, 2000).clip(0, 30)]
    rows = evaluate_by_slice(scores, labels, pa.array(clients), most=3)
    assert [row.value for row in rows][-1] == OTHER
    assert sum(row.events for row in rows) == int((labels != -1).sum())
    assert sum(row.positives for row in rows) == int((labels == 1).sum())
    events = [row.events for row in rows[:-1]]
    assert events == sorted(events, reverse=True)
    first = np.array([one == rows[0].value for one in clients]) & (labels != -1)
    assert rows[0].auc == pytest.approx(oracle.roc_auc_score(labels[first], scores[first]))
    assert rows[0].mean_score == pytest.approx(scores[first].mean())
    assert rows[0].brier == pytest.approx(oracle.brier_score_loss(labels[first], scores[first]))
    assert rows[0].share_low < rows[0].positives / rows[0].events < rows[0].share_high
    # Labels that scores know nothing of: far from calibrated, each score at its own distance.
    gap = abs(np.sort(scores[first]) - labels[first].mean()).mean()
    assert rows[0].calibration_error == pytest.approx(gap, abs=0.05)


def test_nulls_and_chunks():
    values = pa.chunked_array([["a"], [None, "a"]])
    rows = evaluate_by_slice(np.array([0.1, 0.2, 0.3]), np.array([0, 1, 1], np.int8), values)
    assert [(row.value, row.events) for row in rows] == [("a", 2), (NONE, 1)]


def test_nothing_has_no_rows():
    none = pa.array([], pa.string())
    assert evaluate_by_slice(np.zeros(0), np.zeros(0, np.int8), none) == ()


def accounts_alike(generator, accounts, events=8):
    """Scores and labels in which all events of an account move together."""
    own = np.repeat(np.arange(accounts), events)
    bad = generator.random(accounts) < 0.4
    scores = np.repeat(generator.normal(bad * 1.2, 1.0), events)
    scores = scores + generator.normal(0.0, 0.2, len(own))
    return scores, bad[own], own


def test_intervals_hold_what_they_say_where_accounts_move_together():
    generator = np.random.default_rng(3)
    scores, hits, _ = accounts_alike(generator, 40_000)
    area, share = oracle.roc_auc_score(hits, scores), hits.mean()
    held = np.zeros(4)
    for _ in range(200):
        scores, hits, own = accounts_alike(generator, 60)
        intervals = [
            (auc_interval(scores, hits, own), area),
            (share_interval(hits, own), share),
            (auc_interval(scores, hits, None), area),
            (share_interval(hits, None), share),
        ]
        held += [low <= truth <= high for (low, high), truth in intervals]
    assert (held[:2] >= 180).all(), held
    assert (held[2:] < 150).all(), "without accounts they promise too much"


def test_the_auc_interval_is_delongs_where_events_are_independent():
    generator = np.random.default_rng(4)
    hits = generator.random(300) < 0.3
    scores = np.round(generator.normal(hits, 1.0), 1)
    good, bad = scores[hits], scores[~hits]
    wins = (good[:, None] > bad) + 0.5 * (good[:, None] == bad)
    variance = wins.mean(1).var(ddof=1) / len(good) + wins.mean(0).var(ddof=1) / len(bad)
    low, high = auc_interval(scores, hits, None)
    area = wins.mean()
    quantile = stats.t.ppf(0.975, min(len(good), len(bad)) - 1)
    width = (np.log(high / (1 - high)) - np.log(low / (1 - low))) / (2 * quantile)
    # One more account of each class makes it no narrower, and here hardly wider.
    assert 1 <= width / (np.sqrt(variance) / (area * (1 - area))) < 1.005


def test_the_auc_interval_covers_where_nearly_all_pairs_are_in_order():
    # Few positives show too few errors: DeLong's interval alone holds the truth in 80 % at ten.
    generator = np.random.default_rng(8)
    for positives, shift in itertools.product((5, 10, 30), (2.5, 3.5)):
        truth, hits = stats.norm.cdf(shift / np.sqrt(2)), np.arange(positives + 500) < positives
        held = 0
        for _ in range(300):
            scores = generator.normal(hits * shift, 1.0)
            low, high = auc_interval(scores, hits, None)
            held += low <= truth <= high
        assert held >= 279, (positives, shift, held)


def test_perfect_order_and_one_class():
    hits = np.array([True, True, False, False])
    low, high = auc_interval(np.array([4.0, 3, 2, 1]), hits, np.array([0, 0, 1, -1]))
    assert low < 0.6 and high == 1.0
    assert auc_interval(np.array([1.0]), np.array([True]), None) == (None, None)


def test_few_accounts_promise_little():
    generator = np.random.default_rng(6)
    hits = np.arange(530) < 30
    scores, own = generator.normal(hits * 1.0, 1.0), np.maximum(np.arange(530) - 29, 0)
    assert auc_interval(scores, hits, own) == (0.0, 1.0), "all abuse is of one account"
    own[:15] = 600
    low, high = auc_interval(scores, hits, own)
    alone = auc_interval(scores, hits, None)
    assert low < alone[0] and high > alone[1], "of two"
    low, high = auc_interval(np.arange(1001.0), np.arange(1001) > 0, None)
    assert (round(low, 3), high) == (0.025, 1.0), "one event that is none"


def test_rows_count_accounts_and_thin_ones_are_marked():
    generator = np.random.default_rng(5)
    labels = generator.integers(0, 2, 400).astype(np.int8)
    values = pa.array(["much"] * 360 + ["little"] * 40)
    accounts = np.concatenate([np.arange(360) // 6, np.full(40, -1)])
    rows = evaluate_by_slice(generator.random(400), labels, values, clusters=accounts)
    assert [(row.accounts, row.thin) for row in rows] == [(60, False), (40, True)]
    few = np.arange(400) // 40  # many events of each class, of ten accounts
    assert evaluate_by_slice(generator.random(400), labels, values, clusters=few)[0].thin
    alone = evaluate_by_slice(generator.random(400), labels, values)[0]
    assert not alone.thin
    assert alone.accounts is None and alone.auc_low < 0.6 < alone.auc_high + 0.2


def test_numbers_are_shown_by_range_and_nothing_else_is():
    values = pa.array([0.0] * 90 + [float(one) for one in range(1, 8)] + [None, float("nan")])
    made = bin_numbers(values)
    assert set(made.to_pylist()) == {"0", "1 to 7", None}
    assert made.null_count == 2
    assert bin_numbers(pa.array([None, None], pa.float64())).null_count == 2
    assert bin_numbers(pa.array([True, False])).to_pylist() == ["1", "0"]


def test_ranges_of_numbers_come_by_number_whatever_their_counts():
    hours = [9] * 7 + [10] * 3 + [11] * 9 + [23] * 5 + [None] * 6
    labels = np.zeros(len(hours), np.int8)
    rows = evaluate_by_slice(np.zeros(len(hours)), labels, bin_numbers(pa.array(hours), 4))
    assert [row.value for row in rows] == ["9", "10 to 11", "23", NONE]
    few = evaluate_by_slice(np.zeros(len(hours)), labels, bin_numbers(pa.array(hours), 4), most=2)
    assert [row.value for row in few] == ["9", "10 to 11", OTHER]
