"""Weighted estimates: exact on small cases, unbiased, covering, refusing, and robust twice."""

import dataclasses

import numpy as np
import pytest

from training.intervals import interval
from training.labels import UNLABELLED
from training.selective import FIGURES, METHODS, Observed, estimate

SHARE, AUDITS = 0.2, 0.1


def population(generator, events=20_000, skill=2.0):
    """Events with scores that are what they say, of which the surest are flagged."""
    odds = generator.normal(-3.5, skill, events)
    expected = 1 / (1 + np.exp(-odds))
    truth = generator.random(events) < expected
    return expected, truth, expected > 0.3


def look(generator, expected, truth, flagged, groups=None):
    propensity = np.where(flagged, SHARE, AUDITS)
    seen = generator.random(len(truth)) < propensity
    labels = np.where(seen, truth, UNLABELLED).astype(np.int8)
    return Observed(flagged, labels, propensity, expected, groups)


def true_share(figure, truth, flagged):
    hits = (truth & flagged).sum()
    return {
        "precision": hits / flagged.sum(),
        "recall": hits / truth.sum(),
        "prevalence": truth.mean(),
    }[figure]


def test_by_hand():
    # Two of four flagged were seen with a chance of 1/2, one of them abuse; of four others one,
    # seen with a chance of 1/4, is abuse.
    made = Observed(
        flagged=np.array([True] * 4 + [False] * 4),
        labels=np.array([1, 0, -1, -1, 1, -1, -1, -1], np.int8),
        propensity=np.array([0.5] * 4 + [0.25] * 4),
        expected=np.array([1.0, 0.0, 0.5, 0.5, 1.0, 0.0, 0.0, 0.0]),
    )

    def value(figure, method, **more):
        return estimate(made, figure, method, least=0, **more).value

    assert value("precision", "ipw") == value("precision", "self_normalised") == 0.5
    assert value("recall", "ipw") == pytest.approx(2 / 6)
    assert value("recall", "naive") == 0.5
    assert value("prevalence", "ipw") == 6 / 8
    assert value("prevalence", "self_normalised") == 6 / 8
    # All seen labels are as expected, so nothing is corrected: 2 of 3 expected ones are flagged.
    assert value("recall", "doubly_robust") == pytest.approx(2 / 3)
    assert value("recall", "ipw", clip=2.0) == 0.5
    assert estimate(made, "recall", "ipw", least=0, clip=2.0).clipped == pytest.approx(2 / 8)
    assert estimate(made, "recall", "ipw", least=0).effective == pytest.approx(36 / 20)


@pytest.mark.parametrize("figure", FIGURES)
def test_with_everything_seen_all_methods_say_what_is(figure):
    generator = np.random.default_rng(1)
    expected, truth, flagged = population(generator)
    made = Observed(flagged, truth.astype(np.int8), np.ones(len(truth)), expected)
    for method in METHODS:
        assert estimate(made, figure, method).value == pytest.approx(
            true_share(figure, truth, flagged)
        )


@pytest.mark.parametrize("figure", FIGURES)
@pytest.mark.parametrize("method", METHODS[1:])
def test_intervals_cover_the_truth_of_these_events(figure, method):
    generator = np.random.default_rng(2)
    expected, truth, flagged = population(generator)
    true = true_share(figure, truth, flagged)
    made = [estimate(look(generator, expected, truth, flagged), figure, method) for _ in range(400)]
    assert np.mean([one.low <= true <= one.high for one in made]) >= 0.93
    errors = np.array([one.value for one in made]) - true
    assert abs(errors.mean()) < 4 * errors.std() / np.sqrt(len(errors)) + 0.002
    # And they are no wider than they have to be.
    assert np.mean([one.high - one.low for one in made]) < 1.4 * 2 * 1.96 * errors.std()


def test_the_naive_estimate_is_wrong_where_the_chance_differs():
    generator = np.random.default_rng(3)
    expected, truth, flagged = population(generator)
    made = look(generator, expected, truth, flagged)
    naive = estimate(made, "recall", "naive")
    assert naive.low > true_share("recall", truth, flagged)


def test_a_good_model_makes_it_narrower_and_a_bad_one_does_no_harm():
    generator = np.random.default_rng(4)
    expected, truth, flagged = population(generator)
    true = true_share("recall", truth, flagged)
    found = {"good": [], "bad": [], "none": []}
    for _ in range(200):
        made = look(generator, expected, truth, flagged)
        bad = dataclasses.replace(made, expected=1 - made.expected)
        found["good"].append(estimate(made, "recall", "doubly_robust"))
        found["bad"].append(estimate(bad, "recall", "doubly_robust"))
        found["none"].append(estimate(made, "recall"))
    width = {name: np.mean([one.high - one.low for one in some]) for name, some in found.items()}
    assert width["good"] < 0.95 * width["none"] < width["bad"]
    for some in found.values():
        assert np.mean([one.low <= true <= one.high for one in some]) >= 0.93


def test_a_right_model_saves_wrong_chances():
    generator = np.random.default_rng(5)
    expected, truth, flagged = population(generator, 200_000)
    made = look(generator, expected, truth, flagged)
    wrong = dataclasses.replace(made, propensity=np.where(flagged, 0.9, 0.05))
    true = true_share("recall", truth, flagged)
    assert abs(estimate(wrong, "recall", "doubly_robust").value - true) < 0.03
    assert abs(estimate(wrong, "recall", "self_normalised").value - true) > 0.2


def test_with_groups_the_interval_holds_for_others_of_their_kind():
    # The events of an account are all alike, so another population has another precision.
    generator = np.random.default_rng(6)
    covers, alone = [], []
    for _ in range(200):
        accounts = np.repeat(np.arange(150), 20)
        bad = (generator.random(150) < 0.6)[accounts]
        flagged = np.ones(len(bad), np.bool_)
        made = look(generator, np.full(len(bad), 0.6), bad, flagged, accounts)
        grouped = estimate(made, "precision")
        covers.append(grouped.low <= 0.6 <= grouped.high)
        single = estimate(dataclasses.replace(made, groups=None), "precision")
        alone.append(single.low <= 0.6 <= single.high)
    assert np.mean(covers) >= 0.92
    assert np.mean(alone) < 0.75


def test_too_little_is_refused_with_what_to_do():
    flagged = np.ones(1000, np.bool_)
    labels = np.full(1000, UNLABELLED, np.int8)
    labels[:19] = 1
    made = estimate(Observed(flagged, labels, np.full(1000, 0.02)), "precision")
    assert made.value is made.low is made.high is None
    assert "rests on 19 effective labels, and 20 are needed" in made.reason
    labels[19] = 1
    assert estimate(Observed(flagged, labels, np.full(1000, 0.02)), "precision").value == 1.0
    nothing = Observed(flagged[:0], labels[:0], np.zeros(0))
    assert "0 effective" in estimate(nothing, "recall").reason


def test_all_seen_alike_is_no_certainty():
    flagged = np.ones(60, np.bool_)
    made = estimate(Observed(flagged, np.ones(60, np.int8), np.full(60, 0.5)), "precision")
    assert made.value == 1.0
    assert made.low == pytest.approx(interval(60, 60)[0])


def test_few_heavy_weights_count_for_little():
    flagged = np.ones(120, np.bool_)
    propensity = np.r_[np.full(100, 1.0), np.full(20, 0.01)]
    labels = np.ones(120, np.int8)
    made = estimate(Observed(flagged, labels, propensity), "precision")
    assert made.labels == 120
    assert 20 < made.effective < 25


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"propensity": np.array([0.0, 1.0])}, "not above 0"),
        ({"propensity": np.array([0.5, 1.5])}, "at most 1"),
        ({"propensity": np.ones(3)}, r"lengths \[2, 3\]"),
    ],
)
def test_what_is_no_chance_is_refused(more, said):
    made = Observed(np.ones(2, bool), np.ones(2, np.int8), np.ones(2))
    with pytest.raises(ValueError, match=said):
        estimate(dataclasses.replace(made, **more), "precision")
    with pytest.raises(ValueError, match="needs what a model expects"):
        estimate(made, "precision", "doubly_robust")


@pytest.mark.parametrize("method", METHODS[1:])
@pytest.mark.parametrize("figure", ["recall", "prevalence"])
def test_missed_abuse_that_was_not_drawn_may_still_be_there(figure, method):
    # Of 100 missed ones audits draw one on average; with none drawn the plain variance is that of
    # the flagged ones alone.
    generator = np.random.default_rng(7)
    flagged = np.arange(100_000) < 500
    truth = np.arange(100_000) < 400
    truth[500:600] = True
    chance = np.where(flagged, 0.5, 0.01)
    expected = np.where(flagged, 0.8, 100 / 99_500)
    covers = []
    for _ in range(200):
        seen = generator.random(len(truth)) < chance
        labels = np.where(seen, truth, UNLABELLED).astype(np.int8)
        made = estimate(Observed(flagged, labels, chance, expected), figure, method)
        assert made.value is not None  # whether it concludes is not up to what was drawn
        covers.append(made.low <= true_share(figure, truth, flagged) <= made.high)
        if figure == "recall" and not (seen & truth & ~flagged).any():
            assert made.low < 0.6
    assert np.mean(covers) >= 0.93


def test_recall_without_a_look_at_what_is_not_flagged_is_refused():
    flagged = np.arange(1000) < 100
    labels = np.where(flagged, 1, UNLABELLED).astype(np.int8)
    labels[100:110] = 0
    made = estimate(Observed(flagged, labels, np.where(flagged, 1.0, 0.01)), "recall")
    assert made.value is None
    assert "rests on 10 effective labels of what is not flagged" in made.reason
    assert "raise the share of audits" in made.reason
