"""The benchmark of early figures: foretold well while campaigns stay, and not once they change."""

import numpy as np

from benchmarks.early import FORETOLD, live, worlds


def error(name, figure):
    world, blocks = worlds()[name]
    days = live(world, blocks, seed=1)
    assert [day.since for day in days] == list(range(1, FORETOLD + 1))
    return np.mean([abs(day.expected[figure].value - day.truth[figure]) for day in days])


def test_scores_that_mean_what_they_say_foretell_and_changed_abuse_is_not_seen():
    still = error("campaigns that stay", "precision")
    assert still < 0.06
    assert error("campaigns that change", "precision") > 1.5 * still
