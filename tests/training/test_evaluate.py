"""Evaluation: probability metrics against scikit-learn, intervals that cover, JSON and back."""

from __future__ import annotations

import json

import msgspec
import numpy as np
import pyarrow as pa
import pytest
from sklearn import metrics as oracle

from configs.metrics import Metric
from configs.schema import Action
from scoring.decision import Threshold
from training.clusters import auc_interval, share_interval
from training.curve import average_precision, make_curve
from training.evaluate import Metrics, at_threshold, evaluate, precision_interval
from training.probability import calibration_bins, expected_calibration_error, histogram
from training.protocol import measure
from training.thresholds import choose_thresholds

DAY = 86_400_000_000


def sample(n: int, seed: int = 0, skill: float = 2.0, base: float = 0.1):
    """Scores that are calibrated by construction, and their labels."""
    generator = np.random.default_rng(seed)
    margin = generator.normal(np.log(base / (1 - base)), skill, n)
    scores = 1 / (1 + np.exp(-margin))
    return scores, (generator.random(n) < scores).astype(np.int8)


def test_probability_metrics_equal_scikit_learns():
    scores, labels = sample(5000)
    made = evaluate(scores, labels, np.arange(5000), replicates=0)
    assert made.log_loss == pytest.approx(oracle.log_loss(labels, scores))
    assert made.brier == pytest.approx(oracle.brier_score_loss(labels, scores))
    assert made.auc == pytest.approx(oracle.roc_auc_score(labels, scores))
    assert made.prevalence == labels.mean()


def test_calibration_error_is_small_for_calibrated_scores_and_large_for_others():
    scores, labels = sample(50_000)
    hits = labels == 1
    assert expected_calibration_error(scores, hits) < 0.01
    assert expected_calibration_error(np.minimum(1, scores * 2), hits) > 0.1
    assert expected_calibration_error(np.full(50_000, hits.mean()), hits) < 1e-12


def test_bins_hold_every_event_once():
    scores = np.array([0.0, 0.02, 0.5, 0.999, 1.0])
    hits = np.array([False, False, True, True, True])
    bins = calibration_bins(scores, hits)
    assert sum(one.events for one in bins) == 5
    assert [(one.low, one.events) for one in bins] == [(0.0, 1), (0.02, 1), (0.5, 1), (0.99, 2)]
    assert all(one.share_low <= one.share <= one.share_high for one in bins)
    counted = histogram(scores, hits)
    assert sum(one.positives for one in counted) == 3
    assert sum(one.negatives for one in counted) == 2


def test_unlabelled_events_are_counted_and_change_nothing_else():
    scores, labels = sample(500)
    alone = evaluate(scores, labels, np.arange(500), replicates=20)
    more = evaluate(
        np.append(scores, [1.0, 0.0]),
        np.append(labels, [-1, -1]).astype(np.int8),
        np.arange(502),
        replicates=20,
    )
    assert (alone.events, more.events) == (500, 502)
    assert {**more.to_builtins(), "events": 500} == alone.to_builtins()


def test_ranks_order_events_and_scores_say_probabilities():
    scores, labels = sample(2000)
    coarse = np.round(scores, 1)
    made = evaluate(coarse, labels, np.arange(2000), ranks=np.log(scores), replicates=0)
    assert made.auc == pytest.approx(oracle.roc_auc_score(labels, scores))
    assert made.brier == pytest.approx(oracle.brier_score_loss(labels, coarse))


def test_thresholds_are_measured_with_intervals():
    scores, labels = sample(20_000)
    chosen = choose_thresholds(scores, labels, [Action("block", 0.8), Action("never", 1.0)])
    made = evaluate(scores, labels, np.arange(20_000), thresholds=chosen, replicates=0)
    (block,) = made.at
    assert (block.action, block.flagged, block.recall) == (
        "block",
        chosen[0].flagged,
        chosen[0].recall,
    )
    assert block.precision is not None
    assert 0.7 < block.precision_low < block.precision < block.precision_high < 1


def test_the_interval_repeats_and_covers():
    covered = area_covered = 0
    whole = evaluate(*sample(400_000, 99), np.arange(400_000), replicates=0)
    truth, area = whole.average_precision, whole.auc
    assert truth is not None and area is not None
    for seed in range(30):
        made = evaluate(*sample(2000, seed), np.arange(2000), replicates=100)
        assert made.average_precision_low is not None
        assert made.average_precision_high is not None
        covered += made.average_precision_low <= truth <= made.average_precision_high
        area_covered += made.auc_low <= area <= made.auc_high
    assert covered >= 25
    assert area_covered >= 25
    once, again = (
        evaluate(*sample(2000), np.arange(2000), replicates=50, seed=3) for _ in range(2)
    )
    assert once == again


def test_near_one_the_interval_of_average_precision_holds_the_truth():
    """Redrawn slices alone hold it in 90 of 100 draws, and in 85 where accounts move together."""
    generator = np.random.default_rng(0)
    for count, size, away in ((30, 1, 3.5), (12, 8, 3.5)):
        hits, owner = np.arange(10 * count) < count, np.repeat(np.arange(10 * count), size)
        hits = hits[owner]

        def draw(times=1, hits=hits, owner=owner, away=away):
            shared = generator.normal(size=(times, owner[-1] + 1))[:, owner]
            own = generator.normal(size=(times, len(owner)))
            return np.sqrt(0.5) * (shared + own) + away * hits

        labels = np.tile(hits, 400).astype(np.int8)
        truth = average_precision(make_curve(draw(400).ravel(), labels))
        found = [precision_interval(draw()[0], hits, owner, 100, seed) for seed in range(100)]
        assert sum(low <= truth <= high for low, high in found) >= 95


def test_events_of_one_account_widen_the_interval():
    scores, labels = sample(300)
    ranks, hits = np.tile(scores, 20), np.tile(labels == 1, 20)
    as_events = precision_interval(ranks, hits, None, 100, 0)
    as_accounts = precision_interval(ranks, hits, np.tile(np.arange(300), 20), 100, 0)
    assert np.diff(as_accounts) > 3 * np.diff(as_events)


@pytest.mark.parametrize("right", [True, False])
def test_perfect_separation_is_no_certainty(right):
    # Three accounts with abuse: the chance that none of three shows an error is large.
    labels = np.repeat([1, 0], [30, 270]).astype(np.int8)
    accounts = np.repeat(np.arange(30), 10)
    scores = np.where((labels == 1) == right, 0.9, 0.1)
    made = evaluate(scores, labels, np.arange(300), clusters=accounts)
    low, high = share_interval(np.full(30, right), accounts[:30])
    assert made.auc == float(right) and (made.auc_low, made.auc_high) == (low, high)
    assert high - low > 0.5
    if right:
        assert (made.average_precision_low, made.average_precision_high) == (low, high)
        metrics = [Metric("accuracy"), Metric("mcc"), Metric("auc")]
        figures = measure(metrics, np.log(scores / (1 - scores)), labels, accounts)
        assert (figures["accuracy"].low, figures["auc"].low) == (low, low)
        assert figures["mcc"].low == pytest.approx(2 * low - 1) and figures["mcc"].high == 1.0


def test_the_confusion_at_a_threshold_is_that_of_an_oracle():
    scores, labels = sample(4000)
    for value in (0.0, 0.2, 0.7, 1.1):
        made, said = at_threshold("block", value, scores, labels == 1), scores >= value
        passed, wrong, missed, found = oracle.confusion_matrix(labels, said).ravel().tolist()
        assert (made.passed, made.missed, made.positives) == (passed, missed, found)
        assert made.flagged - made.positives == wrong
        assert made.accuracy == pytest.approx(oracle.accuracy_score(labels, said))
        assert made.mcc == pytest.approx(oracle.matthews_corrcoef(labels, said))
        if made.flagged:
            assert made.mean_score == pytest.approx(scores[said].mean())


def test_a_broken_promise_is_one_that_the_whole_interval_misses():
    scores, hits = np.full(1000, 0.9), np.arange(1000) < 722
    made = at_threshold("block", 0.5, scores, hits, 0.8)
    assert made.broken
    assert made.promise == "asked 0.8, kept 0.722 (0.693\N{EN DASH}0.750)"
    assert not at_threshold("block", 0.5, scores, hits, 0.73).broken, "chance explains that"
    assert not at_threshold("block", 0.95, scores, hits, 0.8).broken, "it never fired"
    assert at_threshold("block", 0.95, scores, hits, 0.8).promise == ""


def test_one_class_gives_no_ranking_and_no_crash():
    for label in (0, 1, -1):
        labels = np.full(10, label, np.int8)
        made = evaluate(np.full(10, 0.5), labels, np.arange(10), groups=pa.array(["a"] * 10))
        assert made.auc is None
        assert made.average_precision is None
        assert made.average_precision_low is None
    nothing = evaluate(np.zeros(0), np.zeros(0, np.int8), np.zeros(0, np.int64))
    assert (nothing.events, nothing.prevalence, nothing.log_loss) == (0, None, None)
    assert nothing.calibration == ()


def test_metrics_survive_json():
    scores, labels = sample(3000)
    groups = pa.array([f"g{i % 50}" for i in range(3000)])
    chosen = choose_thresholds(scores, labels, [Action("review", 0.3)])
    made = evaluate(
        scores, labels, np.arange(3000) * DAY // 1000, thresholds=chosen, groups=groups, top=5
    )
    assert made.group_precision is not None
    assert msgspec.convert(json.loads(json.dumps(made.to_builtins())), Metrics) == made


def test_scores_that_are_no_probabilities_are_refused():
    labels, times = np.array([0, 1], np.int8), np.arange(2)
    with pytest.raises(ValueError, match="1 of 2 scores are NaN or outside"):
        evaluate(np.array([0.5, 1.5]), labels, times)
    with pytest.raises(ValueError, match="1 of 2 scores are NaN or outside"):
        evaluate(np.array([0.5, np.nan]), labels, times)
    with pytest.raises(ValueError, match="must be equally many"):
        evaluate(np.array([0.5]), labels, times)


def test_events_of_one_account_count_as_often_as_they_prove_something():
    generator = np.random.default_rng(0)
    own = np.repeat(np.arange(40), 25)
    hits = np.repeat(generator.random(40) < 0.8, 25)
    scores = np.repeat(np.where(np.arange(40) < 35, 0.9, 0.1), 25)
    alone = at_threshold("block", 0.5, scores, hits)
    whole = at_threshold("block", 0.5, scores, hits, clusters=own)
    assert (whole.precision, whole.recall) == (alone.precision, alone.recall)
    for part in ("precision", "recall"):
        wide, narrow = (
            getattr(one, f"{part}_high") - getattr(one, f"{part}_low") for one in (whole, alone)
        )
        assert wide > 3 * narrow
    groups = pa.array([f"a{one}" for one in own])
    blocking = Threshold("block", 0.5, 0.8)
    found = evaluate(
        scores, hits.astype(np.int8), np.arange(1000), thresholds=[blocking], groups=groups,
        replicates=0,
    )  # fmt: skip
    assert (found.at[0].precision_low, found.at[0].recall_high) == (
        whole.precision_low,
        whole.recall_high,
    )


def test_one_account_alone_knows_nothing():
    ranks, hits = np.arange(40.0), np.arange(40) % 3 > 1
    assert precision_interval(ranks, hits, np.zeros(40, np.int64), 20, seed=0) == (0.0, 1.0)
    assert auc_interval(ranks, hits, np.zeros(40, np.int64)) == (0.0, 1.0)
