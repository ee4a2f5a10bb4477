"""The gate: each rule alone refuses, in words; what serves is compared on the same events."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from configs.errors import GateError
from configs.schema import Gate
from training.dataset import TimeRange
from training.delayed import FlaggedByBoth, RefitComparison
from training.evaluate import Metrics, evaluate
from training.gate import ServingComparison, check_gate

BASE = evaluate(np.linspace(0, 1, 100), (np.arange(100) > 69).astype(np.int8), np.arange(100))
GATE = Gate(min_average_precision=0.4, min_auc=0.7, max_drop=0.02, min_positives=20)


def metrics(**changes: object) -> Metrics:
    return dataclasses.replace(BASE, **changes)


def test_a_first_good_model_passes():
    result = check_gate(GATE, BASE)
    assert result.passed
    assert result.reasons == ()
    assert [rule.name for rule in result.rules] == [
        "evidence",
        "average precision",
        "AUC",
        "compared with the serving model",
    ]
    result.require("5f0c")


@pytest.mark.parametrize(
    ("candidate", "words"),
    [
        (metrics(positives=19), "19 positives in the gate slice; at least 20 are needed"),
        (metrics(average_precision=0.39), "average precision 0.3900 < 0.4000, the least allowed"),
        (metrics(auc=0.6), "AUC 0.6000 < 0.7000, the least allowed"),
        (metrics(auc=None), "AUC has no value: the gate slice has one class only"),
    ],
)
def test_each_rule_alone_refuses(candidate, words):
    result = check_gate(GATE, candidate)
    assert not result.passed
    (reason,) = result.reasons
    assert words in reason
    with pytest.raises(GateError, match="What serves now stays") as refusal:
        result.require("5f0c")
    assert words in str(refusal.value)


FRESH = TimeRange(100, 200)


NOTHING_LATER = "nothing later than what the serving bundle was trained on"


def beside(average: float, serving: float, **changes: object) -> ServingComparison:
    return ServingComparison(
        FRESH,
        metrics(average_precision=average, **changes),
        metrics(average_precision=serving, **changes),
    )


@pytest.mark.parametrize(
    ("average", "passed"), [(0.80, True), (0.79, True), (0.7799, False), (0.5, False)]
)
def test_a_drop_beside_the_serving_model_refuses(average, passed):
    result = check_gate(GATE, BASE, beside(average, 0.8))
    assert result.passed is passed
    assert f"{average:.4f} against the serving bundle's 0.8000" in result.rules[-1].words


@pytest.mark.parametrize(
    ("other", "words"),
    [
        (
            ServingComparison(TimeRange(200, 200)),
            "nothing later than what the serving bundle was trained on",
        ),
        (
            ServingComparison(TimeRange(300, 200)),
            "nothing later than what the serving bundle was trained on",
        ),
        (ServingComparison(FRESH), "0 positives among the events later than what"),
        (beside(0.9, 0.8, positives=19), "19 positives among the events"),
        (
            ServingComparison(FRESH, fault="that one reads 'x'"),
            "cannot be compared with the serving bundle",
        ),
    ],
)
def test_what_cannot_be_compared_does_not_serve(other, words):
    result = check_gate(GATE, BASE, other)
    (reason,) = result.reasons
    assert words in reason
    assert "lockstep evaluate" in reason and "bundle promote" in reason
    kept = check_gate(GATE, BASE, other, to_serve=False)
    assert kept.passed
    assert words in kept.rules[-1].words


def test_a_worse_model_is_not_even_kept():
    assert not check_gate(GATE, BASE, beside(0.5, 0.8), to_serve=False).passed


def test_the_bundle_that_serves_may_go_on():
    result = check_gate(GATE, BASE, ServingComparison(TimeRange(200, 200), same=True))
    assert result.passed
    assert result.rules[-1].words == "it is the bundle that serves"


DAY = 86_400_000_000


@pytest.mark.parametrize(
    ("other", "words"),
    [
        (ServingComparison(TimeRange(DAY, DAY)), "wait a day"),
        (ServingComparison(TimeRange(3 * DAY, DAY)), "wait 3 days"),
        (ServingComparison(TimeRange(3 * DAY, DAY), lost="5f is gone"), "mend this: 5f is gone"),
    ],
)
def test_it_says_how_long_to_wait_until_there_is_something_to_compare(other, words):
    assert words in check_gate(GATE, BASE, other).rules[-1].words


def test_it_says_that_the_judged_model_is_lost_also_where_it_compares():
    result = check_gate(GATE, BASE, dataclasses.replace(beside(0.8, 0.8), lost="5f is gone"))
    assert result.passed and "5f is gone" in result.rules[-1].words


YOUNG = RefitComparison(1200, 0.8, 0.81, (FlaggedByBoth("block", 12, 20, 30, 90),))


def test_what_has_learnt_from_young_events_and_keeps_what_was_judged_passes():
    rule = check_gate(GATE, BASE, refit=YOUNG).rules[-1]
    assert rule.passed
    assert "1,200 young events, which no figure is of" in rule.words
    assert "0.8100 (the judged model: 0.8000)" in rule.words
    assert "block flags 20 harmless events there (12) and 90 young ones (30)" in rule.words


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"served": 0.7799}, "a drop of more than the 0.0200 allowed"),
        (
            {"actions": (FlaggedByBoth("block", 12, 25, 0, 0),)},
            "block flags more than 2 times as many harmless events",
        ),
        (
            {"actions": (FlaggedByBoth("block", 0, 21, 0, 0),)},
            "block flags more than 2 times as many harmless events",
        ),
    ],
)
def test_what_has_learnt_from_young_events_and_differs_from_what_was_judged_is_refused(
    changes, words
):
    (reason,) = check_gate(GATE, BASE, refit=dataclasses.replace(YOUNG, **changes)).reasons
    assert words in reason and "Look for wrong verdicts on young events" in reason


def test_other_events_are_no_comparison():
    with pytest.raises(ValueError, match="expected the same events"):
        ServingComparison(FRESH, BASE, metrics(labelled=99))
