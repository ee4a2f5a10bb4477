"""Standard deviations: sums of squares in 128 bits, exact where float64 would cancel."""

import math
import random
import statistics
from fractions import Fraction

import numpy as np
import pytest
from fold_world import PLAN, batch
from hypothesis import given
from hypothesis import strategies as st

from transforms.velocity import ShardState, entity_rows, finish, fold
from transforms.velocity.cells import LIMIT
from transforms.velocity.wide import (
    HIGHEST,
    add,
    add_square,
    multiply,
    squared_deviations,
    subtract,
)

WORD = 1 << 64
words = st.integers(0, WORD - 1)


def joined(pair):
    return (int(pair[0]) << 64) + int(pair[1])


def split(number):
    return np.uint64(number >> 64 & (WORD - 1)), np.uint64(number & (WORD - 1))


@given(words, words)
def test_products_are_exact(one, other):
    assert joined(multiply(np.uint64(one), np.uint64(other))) == one * other


@given(st.integers(0, WORD**2 - 1), st.integers(0, WORD**2 - 1))
def test_sums_and_differences_are_exact_modulo_two_words(one, other):
    assert joined(add(*split(one), *split(other))) == (one + other) % WORD**2
    assert joined(subtract(*split(one), *split(other))) == (one - other) % WORD**2


@given(st.lists(st.integers(-LIMIT, LIMIT), max_size=300))
def test_squares_saturate_whatever_their_order(values):
    pair = split(0)
    for value in values:
        pair = map(np.uint64, add_square(*pair, np.int64(value)))
    pair = tuple(pair)
    assert joined(pair) == min(sum(value * value for value in values), HIGHEST << 64)


@given(
    st.lists(st.integers(-LIMIT, LIMIT), min_size=1, max_size=20)
    | st.lists(st.integers(LIMIT - 3, LIMIT), min_size=1, max_size=20)
    | st.lists(st.integers(-3, 3), min_size=1, max_size=20)
)
def test_squared_deviations_lose_nothing_to_cancellation(values):
    high, low = split(sum(value * value for value in values))
    [made] = squared_deviations(
        np.array([len(values)]),
        np.array([sum(values)]),
        np.array([high]).view(np.int64),
        np.array([low]).view(np.int64),
    )
    mean = Fraction(sum(values), len(values))
    exact = sum((value - mean) ** 2 for value in values)
    assert made == 0 if exact == 0 else abs(Fraction(made) / exact - 1) < Fraction(1, 2**50)


def deviation(amounts, name="k_std_1h"):
    """The feature of a row after these."""
    rows = [("x", 1 + i / 1000, "a", amount, None) for i, amount in enumerate([*amounts, 0.0])]
    made = fold(PLAN, ShardState.empty(PLAN), entity_rows(PLAN, batch(rows)))
    return finish(PLAN, made.outputs)[-1, PLAN.features.index(name)]


def test_it_is_the_sample_deviation():
    rng = random.Random(4)
    amounts = [round(rng.lognormvariate(3, 1), 2) for _ in range(500)]
    assert deviation(amounts) == pytest.approx(statistics.stdev(amounts), rel=1e-7)
    assert math.isnan(deviation([])) and math.isnan(deviation([5.0]))
    assert deviation([5.0, 5.0]) == 0
    assert deviation([1.0, 3.0]) == np.float32(math.sqrt(2))


def test_a_little_spread_around_a_large_mean_is_kept():
    """In float64 the sum of squares has 2^-52 of 10^27: nothing of a spread of 0.01 is left."""
    amounts = [3e10 + 0.01 * (i % 3) for i in range(300)]
    assert deviation(amounts) == pytest.approx(statistics.stdev([0, 0.01, 0.02] * 100), rel=1e-6)


def test_saturated_tiles_give_a_finite_deviation():
    for amounts in ([1e300] * 5, [1e300, -1e300] * 200, [-1e300] * 400):
        assert 0 <= deviation(amounts) < math.inf
