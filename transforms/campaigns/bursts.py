"""Values that suddenly many accounts use: a raid's phrase, however short.

The null: a value's n uses fall anywhere in the time that is looked at, independently of each other.
The chance that one of them begins a window in which k accounts use the value is then at most
n P(Binomial(n - 1, p) >= k - 1), where p is the window's share of the time (the scan statistic:
Naus, "The Distribution of the Size of the Maximum Cluster of Points on a Line", Journal of the
American Statistical Association 60, 1965; this is its Bonferroni bound). So a greeting that is
always in use needs a larger crowd than a phrase that nobody used before. p is at least the share of
the uses of all other values that fall into the window, as there are hours in which all write.
Benjamini and Hochberg's procedure corrects for the number of values.

Chance is not honesty: a goal makes many write one word at once. `rarity.similarity` asks whether
they write anything else.
"""

# numba's results have no types that mypy knows.
# mypy: disable-error-code="no-any-return"

from __future__ import annotations

import numba
import numpy as np
import numpy.typing as npt
from scipy import special

Int64s = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]


def in_bursts(value: Int64s, account: Int64s, time: Int64s, within: int, chance: float) -> Mask:
    """Which uses are of a burst: bool `[n]`.

    Args:
      value, account, time: int64 `[n]`, sorted by value and time (microseconds).
      within: how long a burst's window is.
      chance: share of the bursts that are expected by chance, at most.
    """
    made = np.zeros(len(value), np.bool_)
    if not len(value):
        return made
    begins = np.flatnonzero(np.diff(value, prepend=value[0] - 1))
    ends = np.append(begins[1:], len(value))
    last, crowd = _windows(begins, ends, account, time, within)
    uses = np.repeat(ends - begins, ends - begins)
    share = _share(time, last - np.arange(len(time)), uses, within)
    tail = special.betainc(np.maximum(crowd - 1, 1), uses - np.maximum(crowd - 1, 1), share)
    bound = np.where(crowd > 1, np.minimum(uses * tail, 1.0), 1.0)
    least = np.sort(np.minimum.reduceat(bound, begins))
    enough = np.flatnonzero(least <= chance * np.arange(1, len(least) + 1) / len(least))
    if not len(enough):
        return made
    first = np.flatnonzero(bound <= least[enough[-1]])
    edges = np.bincount(first, minlength=len(value) + 1)
    edges -= np.bincount(last[first], minlength=len(value) + 1)
    return np.cumsum(edges)[:-1] > 0


def _share(time: Int64s, inside: Int64s, uses: Int64s, within: int) -> Floats:
    """The chance that a use falls into the window that begins at another one: float64 `[n]`."""
    ordered = np.sort(time)
    there = np.searchsorted(ordered, time + within, "right") - np.searchsorted(ordered, time)
    others = (there - inside) / np.maximum(len(time) - uses, 1)
    of_time = (within + 1) / (ordered[-1] - ordered[0] + within + 1)
    return np.clip(others, of_time, 1.0)


@numba.njit(cache=True, nogil=True)
def _windows(
    begins: Int64s, ends: Int64s, account: Int64s, time: Int64s, within: int
) -> tuple[Int64s, Int64s]:
    """Of the window that begins at each use: where it ends, and how many accounts are in it."""
    last, crowd = np.empty(len(time), np.int64), np.empty(len(time), np.int64)
    for number in range(len(begins)):
        begin, end = begins[number], ends[number]
        own = np.unique(account[begin:end])
        place = np.searchsorted(own, account[begin:end])
        times, inside, right = np.zeros(len(own), np.int64), 0, begin
        for at in range(begin, end):
            while right < end and time[right] - time[at] <= within:
                inside += times[place[right - begin]] == 0
                times[place[right - begin]] += 1
                right += 1
            last[at], crowd[at] = right, inside
            times[place[at - begin]] -= 1
            inside -= times[place[at - begin]] == 0
    return last, crowd
