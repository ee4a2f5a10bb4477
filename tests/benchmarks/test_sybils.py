"""The table of docs/results.md: published figures are met at most and at fewest attack edges."""

import pytest

from benchmarks.sybils import PUBLISHED, combination, read_world
from transforms.social import sybil_rank, sybil_scar


@pytest.mark.parametrize("edges", [1_000, 20_000])
def test_trust_is_as_good_as_published(shared_data, edges):
    world = read_world(shared_data / "sybil-facebook")
    both = world.attacked(edges)
    rank, scar = PUBLISHED[edges]
    assert abs(world.auc(sybil_rank(both, world.train[0])) - rank) <= 0.01
    assert abs(world.auc(sybil_scar(both, *world.train)) - scar) <= 0.01


def test_the_combination_is_better_than_either(shared_data):
    world = read_world(shared_data / "sybil-facebook")
    for edges in (10_000, 20_000):
        found = world.auc(combination(world.attacked(edges), *world.train))
        assert found > max(PUBLISHED[edges]) + 0.02
