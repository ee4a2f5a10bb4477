"""Numbers a day that actions promise, and what became of them."""

import numpy as np
import pytest

from configs.schema import Action
from scoring.decision import Threshold
from training.daily import DailyNumber, daily_numbers
from training.evaluate import evaluate

BLOCK, REVIEW = Threshold("block", 0.9, 0.5), Threshold("review", 0.5, None)
ACTIONS = [Action("block", 0.5), Action("review", per_day=100)]
SCORES = np.repeat([0.95, 0.7, 0.1], [500, 300, 1000])


def test_what_a_stronger_action_takes_and_unlabelled_events_are_counted_as_when_it_was_chosen():
    (name,) = found = daily_numbers(SCORES, [BLOCK, REVIEW], ACTIONS, 2.0)
    assert name == "review" and found[name].found == 150.0
    assert found[name].broken and not found[name].kept
    off = Threshold("block", None, 0.5)
    assert daily_numbers(SCORES, [off, REVIEW], ACTIONS, 2.0)["review"].found == 400.0
    assert daily_numbers(SCORES, [BLOCK], ACTIONS, 2.0) == {}


@pytest.mark.parametrize(
    ("days", "broken", "kept"), [(2.5, True, False), (3, False, False), (4, False, True)]
)
def test_the_interval_says_it(days, broken, kept):
    made = daily_numbers(SCORES, [BLOCK, REVIEW], ACTIONS, days)["review"]
    assert (made.broken, made.kept) == (broken, kept)


def test_events_of_one_account_prove_less():
    alike = np.zeros(len(SCORES), np.int64)
    made = daily_numbers(SCORES, [BLOCK, REVIEW], ACTIONS, 2.0, alike)["review"]
    assert not made.broken and made.low < 50 and made.high > 500


def test_intervals_cover_what_is_expected():
    draws = np.random.default_rng(5)
    held = 0
    for count in draws.poisson(40, 400):
        made = daily_numbers(np.full(count, 0.7), [REVIEW], ACTIONS, 1.0)["review"]
        held += made.low <= 40 <= made.high
    assert held >= 370


def test_an_action_that_takes_nothing_keeps_its_number():
    made = daily_numbers(np.zeros(10), [REVIEW], ACTIONS, 1.0)["review"]
    assert (made.found, made.low) == (0.0, 0.0) and made.kept


def test_a_promise_of_both_is_broken_by_either():
    labels = np.ones(len(SCORES), np.int8)
    for number, broken in (
        (DailyNumber(100, 150.0, 130.0, 170.0), True),
        (DailyNumber(200, 150.0, 130.0, 170.0), False),
    ):
        (block,) = evaluate(
            SCORES,
            labels,
            np.arange(len(SCORES)),
            thresholds=[BLOCK],
            daily={"block": number},
            replicates=0,
        ).at
        assert block.broken == broken and not block.imprecise
        assert block.promise.startswith("asked 0.5, kept 1.000")
        assert block.promise.endswith(
            f"asked at most {number.most} a day, took 150 (130\N{EN DASH}170)"
        )
