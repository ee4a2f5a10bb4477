"""Pairs of accounts, and how much what they share weighs."""

# numba's results have no types that mypy knows.
# mypy: disable-error-code="no-any-return"

from __future__ import annotations

import dataclasses

import numba
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from configs.campaigns import CampaignLink, CampaignRules
from configs.schema import EVENT_TIME
from transforms.campaigns.bursts import in_bursts
from transforms.campaigns.rarity import SharedColumn, unlikely_pairs
from transforms.campaigns.uses import COLUMN, starts_of

Int64s = npt.NDArray[np.int64]

_NO_LIMIT = np.iinfo(np.int64).max


@dataclasses.dataclass(frozen=True, eq=False)
class AccountPairs:
    """Linked accounts, each pair once.

    Attributes:
      one, other: int64 `[n]`, numbers of accounts, `one` the smaller; ascending.
      weight: int64 `[n]`, of what they share; with `rarity`, in `1 / BIT` of a bit.
    """

    one: Int64s
    other: Int64s
    weight: Int64s

    def __len__(self) -> int:
        return len(self.one)


def account_pairs(
    campaigns: CampaignRules,
    uses: pa.Table,
    account: Int64s,
    accounts: int,
    alone: Int64s | None = None,
) -> AccountPairs:
    """Pairs whose shared values weigh at least `campaigns.evidence`.

    Two accounts share a value if both used it, and, where the link says `within`, two of their uses
    were so near in time. That is how CooRTweet tells coordinated accounts (Righetti and Balluff,
    "CooRTweet: A Generalized R Software for Coordinated Network Detection", Computational
    Communication Research 7, 2025) and, with other evidence, SynchroTrap (Cao, Yang, Yu, Palow,
    CCS 2014). With `campaigns.rarity` chance must not explain it, and weights are bits
    (`transforms.campaigns.rarity`). Accounts that used a value of a link with `bursts` in one burst
    have evidence enough, and chance does not explain it (`transforms.campaigns.bursts`).

    Args:
      uses: of `USES`, sorted by column, value and time.
      account: int64 `[n]`, number of each use's account.
      accounts: how many there are.
      alone: int64 `[accounts, columns]`, how many values of each column an account alone used;
        None: none.
    """
    value = starts_of(uses) if len(uses) else np.zeros(0, np.int64)
    column, time = uses[COLUMN].to_numpy(), uses[EVENT_TIME].to_numpy()
    chance = campaigns.rarity.chance if campaigns.rarity is not None else 0.0
    found = []
    for number, (_, link) in enumerate(campaigns.columns):
        rows = np.flatnonzero(column == number)
        own = np.zeros(accounts, np.int64) if alone is None else alone[:, number]
        found.append(_shared_column(link, value[rows], account[rows], time[rows], own, chance))
    none = np.zeros((2, 0), np.int64)
    total = [none]
    for link in campaigns.links.values():
        best = [none]
        for one in found:
            if one.link.name == link.name:
                best.append(np.stack(np.unique(one.keys, return_counts=True)))
        keys, counts = _reduced(np.concatenate(best, axis=1), np.maximum)
        total.append(np.stack([keys, counts * link.weight]))
    keys, weight = _reduced(np.concatenate(total, axis=1), np.add)
    burst = np.zeros(len(keys), np.bool_)
    for one in found:
        burst |= np.isin(keys, one.burst)
    enough = (weight >= campaigns.evidence) | burst
    keys, weight, burst = keys[enough], weight[enough], burst[enough]
    if campaigns.rarity is not None:
        bits = unlikely_pairs(campaigns.rarity, found, keys, accounts, burst)
        keys, weight = keys[bits > 0], bits[bits > 0]
    return AccountPairs(keys // max(accounts, 1), keys % max(accounts, 1), weight)


def _shared_column(
    link: CampaignLink, value: Int64s, account: Int64s, time: Int64s, alone: Int64s, chance: float
) -> SharedColumn:
    """What accounts share in a column, of its uses sorted by value and time.

    Args:
      chance: of bursts, as of `in_bursts`.
    """
    accounts = len(alone)
    begins = np.flatnonzero(np.diff(value, prepend=-1))
    number = np.cumsum(np.diff(value, prepend=-1) > 0) - 1
    within = _NO_LIMIT if link.within_us is None else link.within_us
    starts = np.append(begins, len(value)).astype(np.int64)
    keys, of = _shared(starts, account, time, within, accounts)
    burst = np.zeros(0, np.int64)
    if link.bursts:
        inside = in_bursts(number, account, time, within, chance)
        starts = np.append(0, np.cumsum(np.bincount(number[inside], minlength=len(begins))))
        burst = _shared(starts, account[inside], time[inside], within, accounts)[0]
    once = np.unique(number * max(accounts, 1) + account)
    return SharedColumn(
        link, len(begins), keys, of, burst, once % max(accounts, 1), once // max(accounts, 1), alone
    )


def _reduced(rows: Int64s, how: np.ufunc) -> tuple[Int64s, Int64s]:
    """Distinct keys, ascending, and the largest or the sum of the numbers of each."""
    keys, place = np.unique(rows[0], return_inverse=True)
    made = np.zeros(len(keys), np.int64)
    how.at(made, place, rows[1])
    return keys, made


@numba.njit(cache=True, nogil=True)
def _shared(
    starts: Int64s, account: Int64s, time: Int64s, within: int, accounts: int
) -> tuple[Int64s, Int64s]:
    """Pairs of accounts of each value, as smaller * accounts + larger, and the value; each once.

    In the order of time, an account's last use is the nearest one to those that come, so a value
    takes uses times accounts.
    """
    made, of = np.empty(1024, np.int64), np.empty(1024, np.int64)
    size = 0
    for number in range(len(starts) - 1):
        begin, end = starts[number], starts[number + 1]
        own = np.unique(account[begin:end])
        last = np.full(len(own), -1, np.int64)
        met = np.zeros((len(own), len(own)), np.bool_)
        for at in range(begin, end):
            mine = np.searchsorted(own, account[at])
            for other in range(len(own)):
                if other == mine or last[other] < 0 or met[mine, other]:
                    continue
                if time[at] - time[last[other]] > within:
                    continue
                met[mine, other] = met[other, mine] = True
                if size == len(made):
                    made, of = _doubled(made), _doubled(of)
                low, high = min(mine, other), max(mine, other)
                made[size], of[size] = own[low] * accounts + own[high], number
                size += 1
            last[mine] = at
    return made[:size].copy(), of[:size].copy()


@numba.njit(cache=True, nogil=True)
def _doubled(array: Int64s) -> Int64s:
    grown = np.empty(2 * len(array), np.int64)
    grown[: len(array)] = array
    return grown
