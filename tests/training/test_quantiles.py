"""Sketches of numbers: as far apart as the numbers are, also where most of them are equal."""

import numpy as np
import pytest
from scipy.stats import ks_2samp

from training.quantiles import SIZE, critical_distance, distance, sketch_numbers

ERROR = 0.0133  # of a sketch, with 99 % confidence (DataSketches' table of KLL)


def sketched(one, other):
    return distance(sketch_numbers(one), sketch_numbers(other))


@pytest.mark.parametrize("shift", [0.0, 0.1, 1.0])
def test_it_is_the_distance_of_the_numbers(shift):
    rng = np.random.default_rng(1)
    one, other = rng.normal(size=30_000), rng.normal(shift, size=20_000)
    exact = ks_2samp(one, other).statistic
    assert sketched(one, other) == pytest.approx(exact, abs=2 * ERROR)


def test_few_numbers_are_compared_exactly():
    rng = np.random.default_rng(2)
    one, other = rng.normal(size=(2, SIZE)).astype(np.float32)
    assert sketched(one, other) == pytest.approx(ks_2samp(one, other).statistic)


@pytest.mark.parametrize("counts", [(150, 5_000), (5_000, 200_000), (40, 40)])
def test_equal_values_are_one_step(counts):
    """A walk through equal values one by one would take the walk for a distance."""
    rng = np.random.default_rng(3)
    far = 0
    for _ in range(100):
        one, other = ((rng.random(count) < 0.3).astype(np.float32) for count in counts)
        far += sketched(one, other) > critical_distance(*counts, 0.01)
    assert far <= 4, "about one of a hundred, at most"


def test_the_bound_is_smirnovs_and_the_error_of_what_is_sketched():
    bound = np.sqrt(-np.log(0.005) / 2 * 2 / 100)
    assert critical_distance(100, 100, 0.01) == pytest.approx(bound)
    more = critical_distance(100, 10**9, 0.01) - np.sqrt(-np.log(0.005) / 2 / 100)
    assert more == pytest.approx(ERROR, abs=1e-4)
