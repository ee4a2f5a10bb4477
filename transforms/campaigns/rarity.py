"""Which pairs of accounts share more, and more of what they do, than chance explains.

What many share says little, what two alone share much. So each shared value counts by its surprise,
in bits, and a pair is linked if two things hold:

*Chance does not explain it.* The null: accounts choose what they use independently of each other,
each value as often as it is popular, each account as many as it used. Of N pairs of accounts,
`met[v]` share the value v, so any two do with probability q[v] = met[v] / N, which is worth
w[v] = -log2 q[v] bits; two that used more, or fewer, than others share it more, or less, often, in
proportion to how many each used (as in the bipartite configuration model: Saracco, Straka, Di
Clemente, Gabrielli, Caldarelli, Squartini, "Inferring monopartite projections of bipartite
networks", New Journal of Physics 19, 2017). The bits that a pair shares by chance are then a sum of
w[v] over independent rare events, a compound Poisson, whose tail Panjer's recursion gives (ASTIN
Bulletin 12, 1981). Benjamini and Hochberg's procedure (Journal of the Royal Statistical Society
B 57, 1995) says which pairs are too unlikely, so that of those a share of at most `chance` is
expected to share by chance (links of a projection are validated so by Tumminello, Miccichè, Lillo,
Piilo, Mantegna, "Statistically validated networks in bipartite complex systems", PLoS ONE 6, 2011).

*They are alike.* Who shares a set phrase with many, among a hundred texts of their own, is no
member of a campaign, however rare the phrase: the cosine of two accounts' values, weighted by w,
must be at least `similarity`, where what an account alone used counts too (TF-IDF and cosine:
Pacheco, Hui, Torres-Lugo, Truong, Flammini, Menczer, "Uncovering Coordinated Networks on Social
Media", ICWSM 2021).
"""

# numba's results have no types that mypy knows.
# mypy: disable-error-code="no-any-return"

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numba
import numpy as np
import numpy.typing as npt

from configs.campaigns import CampaignLink, Rarity

Int64s = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]

BIT = 8
"""One bit of surprise: weights are whole numbers, whose sums do not depend on an order."""
_MOST = 128 * BIT
"""Two accounts that share more are as unlikely as those that share so much."""
_LEAST_LIKELY = 50.0
"""Bits: the last digits of a sum of probabilities are no evidence."""
_STEPS = 4
"""Of how often, in a doubling: it is rounded up to one."""
_MOST_TABLES = 4096


@dataclasses.dataclass(frozen=True, eq=False)
class SharedColumn:
    """What accounts share in one column that links.

    Attributes:
      link: of the column.
      values: how many values there are.
      keys, of: int64 `[n]`, a pair of accounts (`one * accounts + other`) and the value that it
        shares; each once.
      burst: int64 `[k]`, pairs that share one of its bursts; none where the link has no `bursts`.
      account, used: int64 `[m]`, an account and a value that it used; each once.
      alone: int64 `[accounts]`, how many values it alone used.
    """

    link: CampaignLink
    values: int
    keys: Int64s
    of: Int64s
    burst: Int64s
    account: Int64s
    used: Int64s
    alone: Int64s


@dataclasses.dataclass(frozen=True, eq=False)
class _Link:
    """Of a link and the pairs in question.

    Attributes:
      bits, squares: int64 `[pairs]`, of the values that they share, and of the squares of these.
      norms: int64 `[accounts]`, sum of the squares of all that an account used.
      often: float64 `[pairs]`, how many times as often as any two they would share by chance, in
        the column where that is the most.
      rates: float64 `[_MOST + 1]`, values that any two share by chance, by their bits: of each
        number of bits those of the column with the most.
      columns: how many chances there were.
    """

    bits: Int64s
    squares: Int64s
    norms: Int64s
    often: Floats
    rates: Floats
    columns: int


def unlikely_pairs(
    rarity: Rarity, columns: Sequence[SharedColumn], keys: Int64s, accounts: int, sure: Mask
) -> Int64s:
    """The bits that each pair shares, and 0 where chance explains them or the two are not alike.

    Args:
      columns: in the order of the config, those of a link together.
      keys: int64 `[n]`, the pairs in question, ascending.
      accounts: how many there are.
      sure: bool `[n]`, pairs that chance is known not to explain: of a burst.

    Returns:
      int64 `[n]`, in `1 / BIT` of a bit.
    """
    if not len(keys):
        return np.zeros(0, np.int64)
    total = accounts * (accounts - 1) // 2
    names = list(dict.fromkeys(one.link.name for one in columns))
    links = [
        _link([one for one in columns if one.link.name == name], keys, accounts, total)
        for name in names
    ]
    bits = np.sum([one.bits for one in links], axis=0)
    bound = _unlikely(bits, links) - sum(np.log2(one.columns) for one in links)
    likeness = _likeness(links, keys, accounts)
    unlikely = sure | (bound >= _needed(bound, total, rarity.chance))
    kept = unlikely & (likeness >= rarity.similarity)
    return np.where(kept, bits, 0).astype(np.int64)


def _link(columns: Sequence[SharedColumn], keys: Int64s, accounts: int, total: int) -> _Link:
    """Of a link whose columns are several chances for one thing: the one with the most bits."""
    bits, squares = np.zeros((2, len(keys)), np.int64)
    norms = np.zeros(accounts, np.int64)
    one, other = keys // accounts, keys % accounts
    often, rates = np.zeros(len(keys)), np.zeros(_MOST + 1)
    most = int(_bits(np.zeros(1, np.int64), total)[0])
    for column in columns:
        met = np.bincount(column.of, minlength=column.values)
        weight = _bits(met, total)
        place = np.searchsorted(keys, column.keys)
        place = np.where(place < len(keys), place, 0)
        asked = keys[place] == column.keys
        shared = weight[column.of[asked]]
        found, square = np.zeros((2, len(keys)), np.int64)
        np.add.at(found, place[asked], shared)
        np.add.at(square, place[asked], shared**2)
        better = found > bits
        bits, squares = np.where(better, found, bits), np.where(better, square, squares)
        norm = column.alone * most**2
        np.add.at(norm, column.account, weight[column.used] ** 2)
        norms = np.maximum(norms, norm)
        active = column.alone + np.bincount(column.account, minlength=accounts).astype(np.float64)
        mean = max(float(active.mean()), 1e-9)
        often = np.maximum(often, active[one] * active[other] / mean**2)
        rate = np.bincount(np.minimum(weight, _MOST), met / total, minlength=_MOST + 1)
        rates = np.maximum(rates, rate)
    return _Link(bits, squares, norms, often, rates, len(columns))


def _bits(met: Int64s, total: int) -> Int64s:
    """Surprise at a value that so many pairs of all share: int64, in `1 / BIT` of a bit."""
    share = np.maximum(met, 1) / max(total, 1)
    return np.round(-np.log2(np.minimum(share, 1.0)) * BIT).astype(np.int64)


def _unlikely(bits: Int64s, links: Sequence[_Link]) -> Floats:
    """-log2 of the chance that two accounts share so many bits, or more: float64 `[pairs]`."""
    often = np.stack([one.often for one in links], axis=1)
    exact = np.ceil(np.log2(np.maximum(often, 2.0**-40)) * _STEPS).astype(np.int64)
    rounded = 1
    while True:  # upwards, so that chance is never taken for less than it is
        step = -(-exact // rounded) * rounded
        steps, place = np.unique(step, axis=0, return_inverse=True)
        if len(steps) <= _MOST_TABLES:
            break
        rounded *= 2
    rates = np.stack([one.rates for one in links])
    tails = np.stack([_tail(one @ rates) for one in 2.0 ** (steps / _STEPS)])
    likely = tails[place.reshape(-1), np.minimum(bits, _MOST)]
    return np.minimum(-np.log2(np.maximum(likely, 2.0**-_LEAST_LIKELY)), _LEAST_LIKELY)


@numba.njit(cache=True, nogil=True)
def _tail(rates: Floats) -> Floats:
    """P(sum >= s) of a compound Poisson, for s from 0 on, by Panjer's recursion: `[_MOST + 1]`.

    Args:
      rates: float64 `[n]`, of summands 0, 1, 2, …; those of 0 add nothing.
    """
    count = 2 * len(rates)
    whole = rates[1:].sum()
    tail = np.ones(len(rates))
    if whole > 600.0:  # more than a double holds, and certain to be shared
        return tail
    mass = np.zeros(count)
    mass[0] = np.exp(-whole)
    for at in range(1, count):
        total = 0.0
        for size in range(1, min(at, len(rates) - 1) + 1):
            if rates[size] > 0.0:
                total += size * rates[size] * mass[at - size]
        mass[at] = total / at
    rest = max(0.0, 1.0 - mass.sum())
    for at in range(count - 1, 0, -1):
        rest += mass[at]
        if at < len(rates):
            tail[at] = min(rest, 1.0)
    return tail


def _needed(bound: Floats, total: int, chance: float) -> float:
    """Bits that link, by Benjamini and Hochberg: the fewest of so many pairs that are enough."""
    ordered = -np.sort(-bound)
    needed = np.log2(total / (chance * np.arange(1, len(ordered) + 1)))
    enough = np.flatnonzero(ordered >= needed)
    return float(ordered[enough[-1]]) if len(enough) else float("inf")


def _likeness(links: Sequence[_Link], keys: Int64s, accounts: int) -> Floats:
    norms = np.sum([one.norms for one in links], axis=0)
    both = np.sqrt(norms[keys // accounts]) * np.sqrt(norms[keys % accounts])
    squares = np.sum([one.squares for one in links], axis=0)
    return np.asarray(squares / np.maximum(both, 1.0))
