"""Accounts join by what links them; weak links join no two large groups."""

import itertools
import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from transforms.campaigns import AccountPairs, join_accounts


def pairs_of(edges):
    """Of (one, other, weight)."""
    rows = sorted((min(a, b), max(a, b), weight) for a, b, weight in edges)
    return AccountPairs(*np.array(rows, np.int64).reshape(-1, 3).T)


def clique(first, size, weight=2):
    return [(a, b, weight) for a, b in itertools.combinations(range(first, first + size), 2)]


def sets(groups):
    return {frozenset(np.flatnonzero(groups == one).tolist()) for one in np.unique(groups)}


EDGES = st.lists(
    st.tuples(st.integers(0, 19), st.integers(0, 19), st.integers(1, 5)).filter(
        lambda edge: edge[0] != edge[1]
    ),
    max_size=40,
    unique_by=lambda edge: (min(edge[:2]), max(edge[:2])),
)


@given(EDGES)
def test_below_the_limit_groups_are_connected_components(edges):
    found = sets(join_accounts(pairs_of(edges), 20, large=21, joined_share=1.0))
    one, other, _ = np.array(edges, int).reshape(-1, 3).T
    _, part = connected_components(coo_matrix((np.ones(len(one)), (one, other)), (20, 20)))
    assert found == sets(part)


@given(EDGES, st.integers(2, 8), st.sampled_from([0.0, 0.2, 1.0]))
def test_groups_are_parts_of_components_and_what_is_left_small_is_a_whole_one(edges, large, share):
    pairs = pairs_of(edges)
    groups = join_accounts(pairs, 20, large, share)
    plain = join_accounts(pairs, 20, 21, share)
    for group in np.unique(groups):
        own = np.flatnonzero(groups == group)
        assert own[0] == group
        assert len(set(plain[own])) == 1
        assert len(own) >= large or np.array_equal(own, np.flatnonzero(plain == plain[group]))


@pytest.mark.parametrize("between", [[], [20], [20, 21]])
def test_a_link_or_a_few_accounts_between_two_large_groups_do_not_join_them(between):
    """`between` are accounts, one after the other, that hang on both sides."""
    path = [0, *between, 10]
    chain = [(a, b, 2) for a, b in itertools.pairwise(path)]
    groups = join_accounts(pairs_of(clique(0, 10) + clique(10, 10) + chain), 22, 10, 0.2)
    assert groups[0] != groups[10]
    assert len(set(groups[:10])) == len(set(groups[10:20])) == 1
    for account in between:
        assert groups[account] in (groups[0], groups[10])


@pytest.mark.parametrize("first", [0, 1], ids=["it is the last", "it is the first"])
def test_one_account_that_is_linked_to_all_of_both_joins_one_of_them(first):
    one, other = clique(first, 10), clique(first + 10, 10)
    hub = 0 if first else 20
    everybody = [(hub, a, 2) for a in range(first, first + 20)]
    found = sets(join_accounts(pairs_of(one + other + everybody), 21, 10, 0.2))
    assert sorted(map(len, found)) == [10, 11]
    assert {*range(first, first + 10)} - max(found, key=len) in (set(), {*range(first, first + 10)})


@pytest.mark.parametrize(("links", "joined"), [(1, False), (2, True), (3, True)])
def test_groups_that_are_one_are_joined_by_their_many_links(links, joined):
    many = [(a, a + 10, 2) for a in range(links)]
    groups = join_accounts(pairs_of(clique(0, 10) + clique(10, 10) + many), 20, 10, 0.2)
    assert (groups[0] == groups[10]) == joined


def test_a_giant_component_of_chained_campaigns_falls_apart_into_them():
    edges = [edge for number in range(40) for edge in clique(15 * number, 15)]
    rng = random.Random(1)
    for _ in range(40):
        one, other = rng.sample(range(40), 2)
        edges.append((15 * one + rng.randrange(15), 15 * other + rng.randrange(15), 2))
    edges = list({(min(a, b), max(a, b)): (a, b, w) for a, b, w in edges}.values())
    assert len(sets(join_accounts(pairs_of(edges), 600, 601, 0.2))) < 15
    found = sets(join_accounts(pairs_of(edges), 600, 10, 0.2))
    assert found == {frozenset(range(15 * n, 15 * n + 15)) for n in range(40)}


def test_accounts_without_links_are_alone():
    assert join_accounts(pairs_of([]), 3, 10, 0.2).tolist() == [0, 1, 2]
    assert join_accounts(pairs_of([]), 0, 10, 0.2).tolist() == []
