"""Weights that undo a delay: what is fitted with them is what would be fitted on the truth."""

import numpy as np
import pytest

from training.delayed import STRATEGIES, delay_weights


def late(generator, share, events=200_000):
    """Truth, what is known of it, and the share of verdicts that has come; ages are uniform."""
    age = generator.random(events) * 10
    come = 1 - np.exp(-age / 3)
    truth = generator.random(events) < share
    return truth, truth & (generator.random(events) < come), come


def fitted(weights, labels):
    """What the simplest model, one number, learns."""
    return np.average(labels, weights=weights)


def test_the_share_of_abuse_is_found_by_the_correction_alone():
    truth, known, come = late(np.random.default_rng(1), 0.2)
    found = {one: fitted(delay_weights(one, known, come), known) for one in STRATEGIES[:3]}
    assert found["known"] < 0.9 * truth.mean()
    assert found["weight"] > found["known"]
    # A first model is what `known` has found; twice is enough to be near, and more gets nearer.
    expected, heaviest = found["known"], 1e6
    gaps = []
    for _ in range(6):
        weights = delay_weights("corrected", known, come, np.full(len(known), expected), heaviest)
        expected = fitted(weights, known)
        gaps.append(abs(expected - truth.mean()))
    assert gaps[-1] < 0.005 < abs(found["known"] - truth.mean())
    assert gaps[1] < 0.3 * abs(found["known"] - truth.mean())


def test_a_right_expectation_is_kept():
    truth, known, come = late(np.random.default_rng(2), 0.3)
    assert fitted(delay_weights("drop", known, come), known) == pytest.approx(0.3 * 0.97, abs=0.02)
    weights = delay_weights("corrected", known, come, np.full(len(known), 0.3), 1e6)
    assert fitted(weights, known) == pytest.approx(truth.mean(), abs=0.01)
    # All weight is there: what is taken from the unjudged is given to those who are known.
    assert weights.sum() == pytest.approx(len(known), rel=0.01)


def test_old_events_weigh_as_ever():
    known, come = np.array([True, False]), np.ones(2)
    for strategy in STRATEGIES:
        assert delay_weights(strategy, known, come, np.array([0.5, 0.5])).tolist() == [1.0, 1.0]


def test_silence_when_all_verdicts_have_come_is_harmless_however_sure_the_first_model_was():
    """A calibration by steps may say 1; what it is sure of counts in full all the same."""
    come, sure = np.array([1.0, 1.0, 0.5, 0.0]), np.array([1.0, 0.999, 1.0, 1.0])
    made = delay_weights("corrected", np.zeros(4, np.bool_), come, sure)
    assert made.tolist() == [1.0, 1.0, 0.0, 0.0]


def test_the_youngest_do_not_stand_for_everybody():
    made = delay_weights("weight", np.array([True]), np.array([0.0]))
    assert made.tolist() == [10.0]


def test_drop_leaves_out_who_may_still_be_judged():
    known, come = np.array([True, False, False]), np.array([0.1, 0.94, 0.96])
    assert delay_weights("drop", known, come).tolist() == [0.0, 0.0, 1.0]


def test_the_correction_needs_a_first_model():
    with pytest.raises(ValueError, match="needs what a first model expects"):
        delay_weights("corrected", np.array([True]), np.array([0.5]))
