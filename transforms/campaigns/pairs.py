"""Pairs of accounts, and how much what they share weighs."""

# numba's results have no types that mypy knows.
# mypy: disable-error-code="no-any-return"

from __future__ import annotations

import dataclasses

import numba
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from configs.campaigns import CampaignRules
from configs.schema import EVENT_TIME
from transforms.campaigns.uses import COLUMN, starts_of

Int64s = npt.NDArray[np.int64]

_NO_LIMIT = np.iinfo(np.int64).max


@dataclasses.dataclass(frozen=True, eq=False)
class AccountPairs:
    """Linked accounts, each pair once.

    Attributes:
      one, other: int64 `[n]`, numbers of accounts, `one` the smaller; ascending.
      weight: int64 `[n]`, of what they share.
    """

    one: Int64s
    other: Int64s
    weight: Int64s

    def __len__(self) -> int:
        return len(self.one)


def account_pairs(
    campaigns: CampaignRules, uses: pa.Table, account: Int64s, accounts: int
) -> AccountPairs:
    """Pairs whose shared values weigh at least `campaigns.evidence`.

    Two accounts share a value if both used it, and, where the link says `within`, two of their uses
    were so near in time. That is how CooRTweet tells coordinated accounts (Righetti and Balluff,
    "CooRTweet: A Generalized R Software for Coordinated Network Detection", Computational
    Communication Research 7, 2025) and, with other evidence, SynchroTrap (Cao, Yang, Yu, Palow,
    CCS 2014).

    Args:
      uses: of `USES`, sorted by column, value and time.
      account: int64 `[n]`, number of each use's account.
      accounts: how many there are.
    """
    value = starts_of(uses) if len(uses) else np.zeros(0, np.int64)
    column, time = uses[COLUMN].to_numpy(), uses[EVENT_TIME].to_numpy()
    most = np.zeros((2, 0), np.int64)
    total = [most]
    for link in campaigns.links.values():
        best = [most]
        for number, (_, of) in enumerate(campaigns.columns):
            if of.name != link.name:
                continue
            rows = np.flatnonzero(column == number)
            if not len(rows):
                continue
            begins = np.flatnonzero(np.diff(value[rows], prepend=-1))
            within = _NO_LIMIT if link.within_us is None else link.within_us
            starts = np.append(begins, len(rows)).astype(np.int64)
            found = _shared(starts, account[rows], time[rows], within, accounts)
            keys, counts = np.unique(found, return_counts=True)
            best.append(np.stack([keys, counts.astype(np.int64)]))
        keys, counts = _reduced(np.concatenate(best, axis=1), np.maximum)
        total.append(np.stack([keys, counts * link.weight]))
    keys, weight = _reduced(np.concatenate(total, axis=1), np.add)
    enough = weight >= campaigns.evidence
    keys, weight = keys[enough], weight[enough]
    return AccountPairs(keys // max(accounts, 1), keys % max(accounts, 1), weight)


def _reduced(rows: Int64s, how: np.ufunc) -> tuple[Int64s, Int64s]:
    """Distinct keys, ascending, and the largest or the sum of the numbers of each."""
    keys, place = np.unique(rows[0], return_inverse=True)
    made = np.zeros(len(keys), np.int64)
    how.at(made, place, rows[1])
    return keys, made


@numba.njit(cache=True, nogil=True)
def _shared(starts: Int64s, account: Int64s, time: Int64s, within: int, accounts: int) -> Int64s:
    """Pairs of accounts of each value, as smaller * accounts + larger; each once a value.

    In the order of time, an account's last use is the nearest one to those that come, so a value
    takes uses times accounts.
    """
    made = np.empty(1024, np.int64)
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
                    grown = np.empty(2 * size, np.int64)
                    grown[:size] = made
                    made = grown
                low, high = min(mine, other), max(mine, other)
                made[size] = own[low] * accounts + own[high]
                size += 1
            last[mine] = at
    return made[:size].copy()
