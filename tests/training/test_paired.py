"""The paired bootstrap: it sees what is there, covers what is not, and draws accounts whole."""

import numpy as np
import pytest

from configs.metrics import Metric
from training.paired import FEWEST, Redrawn, compare_paired, paired_events

AUC = [Metric("auc")]


def world(seed, accounts=60, each=8):
    """Accounts whose events are alike, and two equally good models that err by account."""
    rng = np.random.default_rng(seed)
    of = np.repeat(np.arange(accounts), each)
    labels = (of % 3 == 0).astype(np.int8)

    def ranks():
        return labels + rng.normal(0, 0.8, accounts)[of] + rng.normal(0, 0.2, len(of))

    return labels, of, ranks(), ranks()


def difference(labels, clusters, one, other, metrics=AUC, draws=100, challengers=1):
    events = paired_events(labels, np.zeros(len(labels), np.int64), clusters)
    made = [Redrawn(events, ranks, metrics, draws) for ranks in (one, other)]
    return compare_paired(metrics, *made, challengers)


def test_of_equal_models_none_is_called_better_more_often_than_promised():
    """Both err by account alone: taking events for independent calls one better far too often."""
    found = {"accounts": 0, "events": 0}
    for seed in range(60):
        labels, of, one, other = world(seed)
        for name, clusters in (("accounts", of), ("events", None)):
            (made,) = difference(labels, clusters, one, other)
            found[name] += made.conclusion in ("better", "worse")
    assert found["accounts"] <= 8  # 3 expected; 9 or more: once in 200 by chance
    assert found["events"] > 15


def test_a_model_that_is_better_is_found_though_both_depend_on_the_same_hard_accounts():
    """What makes accounts hard for both cancels out in pairs, and would hide it otherwise."""
    rng = np.random.default_rng(5)
    of = np.repeat(np.arange(90), 6)
    labels = (of % 3 == 0).astype(np.int8)
    hard = rng.normal(0, 1.0, 90)[of]
    champion = labels * 1.0 + hard
    challenger = labels * 1.3 + hard
    (made,) = difference(labels, of, champion, challenger, draws=400)
    assert made.conclusion == "better"
    assert made.low > 0
    events = paired_events(labels, np.zeros(len(of), np.int64), of)
    low, high = np.quantile(Redrawn(events, champion, AUC, 400).drawn, [0.025, 0.975])
    assert low < made.challenger < high, "unpaired intervals overlap"


def test_more_challengers_make_wider_intervals():
    labels, of, one, other = world(3)
    (alone,) = difference(labels, of, one, other, draws=1000)
    (among,) = difference(labels, of, one, other, draws=1000, challengers=5)
    assert among.low < alone.low and among.high > alone.high


def test_a_model_compared_with_itself_differs_by_nothing():
    labels, of, one, _ = world(1)
    metrics = [Metric("average_precision"), Metric("tpr_at_fpr", 0.1), Metric("mcc")]
    for made in difference(labels, of, one, one, metrics):
        assert (made.difference, made.low, made.high) == (0.0, 0.0, 0.0)
        assert made.conclusion == "no difference shown"


def test_nights_are_ranked_apart_and_accounts_drawn_over_all_of_them():
    """Scores of the second night are on another scale: pooled, they would look worse."""
    labels, of, one, _ = world(2)
    nights = np.arange(len(labels)) % 2
    events = paired_events(labels, nights, of)
    moved = one + 100.0 * nights
    plain, shifted = (Redrawn(events, ranks, AUC, 50) for ranks in (one, moved))
    assert plain.by_night.shape == (2, 1)
    assert np.array_equal(plain.by_night, shifted.by_night)
    assert np.array_equal(plain.drawn, shifted.drawn)
    assert plain.figures[0] == pytest.approx(plain.by_night.mean())


def test_draws_in_which_a_night_has_one_class_are_left_out():
    labels = np.array([1, 0, 0, 0, 0, 0], np.int8)
    events = paired_events(labels, np.zeros(6, np.int64), None)
    made = Redrawn(events, np.arange(6.0), AUC, 300)
    assert 0.2 < np.isnan(made.drawn).mean() < 0.5  # (5/6)^6 = .33
    (one,) = compare_paired(AUC, made, made)
    assert (one.low, one.high) == (0.0, 0.0)


def test_one_account_alone_gives_no_interval():
    labels = np.array([1, 0, 1], np.int8)
    (made,) = difference(labels, np.zeros(3, np.int64), np.arange(3.0), np.arange(3.0))
    assert (made.low, made.high, made.conclusion) == (None, None, "not known")


def test_few_accounts_are_too_little_evidence():
    labels, of, _, _ = world(0)
    nights = np.zeros(len(labels), np.int64)
    assert paired_events(labels, nights, of).thin == ""
    fewer = of < 3 * (FEWEST - 1)
    thin = paired_events(labels[fewer], nights[fewer], of[fewer]).thin
    assert thin.startswith(f"{FEWEST - 1} with abuse")
