"""Medians: bins, their merges and their error, against an oracle that merges at the end."""

import random

import numpy as np
import pytest
from fold_world import HEAD, batch
from hypothesis import given, settings
from hypothesis import strategies as st
from velocity_oracle import in_bins

from configs.loader import loads
from transforms.catalog import CATALOG
from transforms.velocity import ShardState, entity_rows, finish, fold, make_plan
from transforms.velocity.bins import (
    CENTRES,
    ERRORS,
    MOST_BINS,
    MOST_MERGES,
    PLACES,
    centre_place,
    place_of,
)
from transforms.velocity.cells import LIMIT

TEXT = HEAD.replace("[10s, {length: 1h, tiles: 6}, all]", "[all]")
MEDIAN = "      median: {op: median, column: amount, decimals: 2}\n"
PLAN = make_plan(loads(TEXT + MEDIAN, "median.yaml", CATALOG), "k")
NAME = PLAN.features.index("k_median_all")


def medians(values, cuts=()):
    """The lifetime median after all values, and the state; `values` in hundredths."""
    rows = [("x", 1 + i / 1000, "a", value / 100, None) for i, value in enumerate(values)]
    rows.append(("x", 1 + len(values) / 1000, "a", None, None))
    state, every = ShardState.empty(PLAN), entity_rows(PLAN, batch(rows))
    for part in np.split(np.arange(len(every)), sorted(cuts)):
        made = fold(PLAN, state, every.take(part))
        state.update(made.delta)
    return finish(PLAN, made.outputs)[-1, NAME], state.to_table()


def expected(values):
    middles = sorted(in_bins(values))
    return np.float32(middles[(len(middles) - 1) // 2] / 100)


SPANS = [4, 16, 200, 60_000, 2**31, 2**44]


@pytest.mark.parametrize("span", SPANS)
@pytest.mark.parametrize("signs", [(1,), (-1,), (1, -1)], ids=["above", "below", "both"])
def test_a_median_is_the_oracles_however_bins_had_to_merge(span, signs):
    rng = random.Random(span)
    values = [rng.choice(signs) * round(100 * span ** rng.random()) for _ in range(700)]
    whole, state = medians(values)
    assert whole == expected(values)
    shuffled = values.copy()
    rng.shuffle(shuffled)
    for cuts in ((1, 64, 65, 300), (650,)):
        again, same = medians(shuffled, cuts)
        assert again == whole and same.equals(state)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(-(2**46), 2**46) | st.integers(-40, 40), min_size=1, max_size=150))
def test_any_values_give_the_oracles_median(values):
    assert medians(values)[0] == expected(values)


@pytest.mark.parametrize("merges", range(MOST_MERGES + 1))
def test_the_middle_of_a_bin_is_within_its_stated_error(merges):
    rng = np.random.default_rng(merges)
    edges = [n + d for n in 2 ** np.arange(52) for d in (-1, 0, 1)]
    drawn = np.round(2.0 ** rng.uniform(0, 52, 20_000)).astype(np.int64).tolist()
    for value in [*range(40), LIMIT, *edges, *drawn]:
        for signed in (value, -value):
            error = abs(CENTRES[centre_place(place_of(signed) >> merges, merges)] - signed)
            # An octave has 16 bins from 16 on; below it, each is one value wide.
            assert error <= (ERRORS[merges] * value if value >= 16 else 2**merges // 2)
    large = [n for n in drawn if n >= 2**20]
    errors = [abs(CENTRES[centre_place(place_of(n) >> merges, merges)] - n) / n for n in large]
    assert 0.8 * ERRORS[merges] < max(errors) <= ERRORS[merges]


def test_all_places_fit_after_the_most_merges():
    assert 0 <= place_of(-LIMIT) < place_of(LIMIT) < PLACES
    assert PLACES >> MOST_MERGES <= MOST_BINS


def test_small_whole_values_are_exact():
    for value in range(-31, 32):
        assert CENTRES[place_of(value)] == value
    assert [place_of(v) for v in range(-40, 40)] == sorted(place_of(v) for v in range(-40, 40))


def test_of_an_even_number_of_values_the_lower_middle_one_counts():
    assert medians([300, 100, 2000, 200])[0] == expected([200])
    assert medians([1])[0] == np.float32(0.01)
