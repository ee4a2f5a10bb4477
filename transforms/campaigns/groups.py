"""Linked accounts to groups: connected components, but weak links do not make a giant of them."""

# numba's results have no types that mypy knows.
# mypy: disable-error-code="no-any-return"

from __future__ import annotations

import math

import numba
import numpy as np
import numpy.typing as npt
import scipy.sparse
from scipy.sparse.csgraph import connected_components

from transforms.campaigns.pairs import AccountPairs

Int64s = npt.NDArray[np.int64]

_ONE = 1 << 20
"""Likeness in whole numbers, whose sums do not depend on an order."""


def join_accounts(pairs: AccountPairs, accounts: int, large: int, joined_share: float) -> Int64s:
    """The group of each account: int64 `[accounts]`, the smallest number of its accounts.

    Connected components, joined step by step (as in Boruvka's algorithm, 1926), so that groups of
    `large` accounts have a say:

    1. Each group of fewer accounts joins the one that it is linked to most (of equal ones, that of
       the smallest account), until none has a neighbour left. So a small group between two large
       ones goes to one of them, and joins none. A link counts by its weight, and by how many
       neighbours its ends have in common, as in SCAN (Xu, Yuruk, Feng, Schweiger, "SCAN: A
       Structural Clustering Algorithm for Networks", KDD 2007): links within a campaign have
       many, a link between two, or one of an account that is linked to everybody, has few.
    2. Two large groups join where at least `joined_share` of the accounts of the smaller one, and
       at least two accounts of each, are linked to the other; until none do.

    A component of fewer than `large` accounts is a group, whatever its links.

    Args:
      pairs: of accounts, with weights.
      accounts: how many there are.
      large: from how many accounts on a group is large.
      joined_share: 0 to 1.

    >>> pairs = AccountPairs(np.array([0, 1, 3]), np.array([1, 2, 4]), np.array([2, 2, 2]))
    >>> join_accounts(pairs, 6, 10, 0.2).tolist()
    [0, 0, 0, 3, 3, 5]
    """
    group = np.arange(accounts)
    strength = _strength(pairs, accounts)
    while True:
        size = np.bincount(group, minlength=accounts)
        one, other, weight = _between(group, pairs, strength)
        # Both ways round: what each small group is linked to, and how much.
        source, target = np.concatenate([one, other]), np.concatenate([other, one])
        small = size[source] < large
        source, target = source[small], target[small]
        if not len(source):
            break
        order = np.lexsort((target, -np.concatenate([weight, weight])[small], source))
        source, target = source[order], target[order]
        first = np.flatnonzero(np.diff(source, prepend=-1))
        group = _joined(group, source[first], target[first], accounts)
    while True:
        size = np.bincount(group, minlength=accounts)
        one, other, linked = _linked_accounts(group, pairs, accounts)
        least = np.minimum(size[one], size[other])
        need = np.array([max(2, math.ceil(joined_share * int(n))) for n in least], np.int64)
        smaller = np.where(size[one] <= size[other], linked[0], linked[1])
        smaller = np.where(size[one] == size[other], np.maximum(linked[0], linked[1]), smaller)
        joins = (smaller >= need) & (np.minimum(linked[0], linked[1]) >= 2)
        if not joins.any():
            return group
        group = _joined(group, one[joins], other[joins], accounts)


def _strength(pairs: AccountPairs, accounts: int) -> Int64s:
    """Weight times the structural similarity of the two accounts, in fixed point: int64 `[n]`.

    That is the number of neighbours in common over the geometric mean of the numbers of neighbours,
    an account being a neighbour of itself.
    """
    source = np.concatenate([pairs.one, pairs.other])
    target = np.concatenate([pairs.other, pairs.one])
    order = np.lexsort((target, source))
    degree = np.bincount(source, minlength=accounts).astype(np.int64)
    starts = np.concatenate([[0], np.cumsum(degree)]).astype(np.int64)
    common = _common(starts, target[order], pairs.one, pairs.other) + 2
    mean = np.sqrt(((degree[pairs.one] + 1) * (degree[pairs.other] + 1)).astype(np.float64))
    return pairs.weight * np.maximum(np.floor(common / mean * _ONE), 1.0).astype(np.int64)


@numba.njit(cache=True, nogil=True)
def _common(starts: Int64s, neighbours: Int64s, one: Int64s, other: Int64s) -> Int64s:
    """How many neighbours the accounts of each pair have in common."""
    counts = np.zeros(len(one), np.int64)
    for pair in range(len(one)):
        left, left_end = starts[one[pair]], starts[one[pair] + 1]
        right, right_end = starts[other[pair]], starts[other[pair] + 1]
        while left < left_end and right < right_end:
            if neighbours[left] < neighbours[right]:
                left += 1
            elif neighbours[left] > neighbours[right]:
                right += 1
            else:
                counts[pair] += 1
                left += 1
                right += 1
    return counts


def _between(group: Int64s, pairs: AccountPairs, strength: Int64s) -> tuple[Int64s, Int64s, Int64s]:
    """Pairs of groups that are linked, the smaller number first, and the sum of their links."""
    one, other = group[pairs.one], group[pairs.other]
    low, high = np.minimum(one, other), np.maximum(one, other)
    apart = low != high
    keys, place = np.unique(low[apart] * len(group) + high[apart], return_inverse=True)
    weight = np.zeros(len(keys), np.int64)
    np.add.at(weight, place, strength[apart])
    return keys // len(group), keys % len(group), weight


def _linked_accounts(
    group: Int64s, pairs: AccountPairs, accounts: int
) -> tuple[Int64s, Int64s, tuple[Int64s, Int64s]]:
    """Pairs of groups that are linked, and how many accounts of either have a link to the other."""
    one, other = group[pairs.one], group[pairs.other]
    swapped = one > other
    low, high = np.where(swapped, other, one), np.where(swapped, one, other)
    of_low = np.where(swapped, pairs.other, pairs.one)
    of_high = np.where(swapped, pairs.one, pairs.other)
    apart = low != high
    keys, place = np.unique(low[apart] * accounts + high[apart], return_inverse=True)
    counts = []
    for account in (of_low[apart], of_high[apart]):
        distinct = np.unique(place * accounts + account) // max(accounts, 1)
        counts.append(np.bincount(distinct, minlength=len(keys)).astype(np.int64))
    return keys // max(accounts, 1), keys % max(accounts, 1), (counts[0], counts[1])


def _joined(group: Int64s, one: Int64s, other: Int64s, accounts: int) -> Int64s:
    """Groups after some pairs of them have become one, numbered by their smallest account."""
    ones = np.ones(len(one), np.int8)
    rows = scipy.sparse.coo_matrix((ones, (one, other)), shape=(accounts, accounts))
    _, part = connected_components(rows, directed=False)
    smallest = np.full(accounts, accounts)
    np.minimum.at(smallest, part, np.arange(accounts))
    made: Int64s = smallest[part[group]]
    return made
