"""The ladder: a rise that can be read, and inputs that tell too much are named."""

from __future__ import annotations

import numpy as np

from training.evaluate import Metrics, evaluate
from training.leakcheck import InputLeak, name_leaks, rises

DAY = 86_400_000_000


def measure(delay_us: int) -> Metrics:
    """A model whose skill shrinks with the delay."""
    generator = np.random.default_rng(0)
    labels = (generator.random(4000) < 0.1).astype(np.int8)
    margin = generator.normal(size=4000) + labels * (4.0 - delay_us / DAY / 3)
    return evaluate(1 / (1 + np.exp(-margin)), labels, np.arange(4000), replicates=0)


def test_the_ladder_rises_as_labels_arrive_earlier():
    rungs = [measure(delay_us) for delay_us in (7 * DAY, DAY, 0)]
    assert rises(rungs)
    assert not rises(rungs[::-1])


def test_a_path_that_does_not_heed_the_delay_does_not_rise():
    assert not rises([measure(0), measure(0)])


def test_an_input_that_tells_all_is_named_and_one_that_only_helps_is_not():
    helps = InputLeak("author_risk_7d", 0.4, (0.7, 0.97), True)
    tells = InputLeak("is_blocked", 0.0, (0.995, 0.995), False)
    (said,) = name_leaks([helps, tells])
    assert said.startswith("is_blocked alone ranks abuse with an AUC of 0.995")


def test_inputs_of_verdicts_that_no_delay_moves_are_named_unless_another_moves():
    still = InputLeak("author_risk_7d", 0.0, (0.9, 0.9), True)
    assert "author_risk_7d" in name_leaks([still])[0]
    seldom = InputLeak("author_risk_30d", 0.01, (0.9, 0.9), True)
    assert name_leaks([still, seldom]) == ()
    assert name_leaks([InputLeak("messages", 0.0, (0.9, 0.9), False)]) == ()
