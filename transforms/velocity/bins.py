"""Medians: how many values fell into each of some bins, which grow with the value.

Bins are those of DDSketch (C. Masson, J. E. Rim and H. K. Lee, "DDSketch: a fast and
fully-mergeable quantile sketch with relative-error guarantees", PVLDB 12(12), 2019,
arXiv:1908.10693), placed by whole-number arithmetic (an octave is cut into 16 equal bins), so that
no logarithm's last bit decides. Values are whole multiples of 10^-decimals; up to 31 of them a bin
holds one value. A tile keeps at most 64 bins; where its values need more, it merges neighbours two
by two, as UDDSketch does (I. Epicoco et al., arXiv:2004.08604), at most five times. How often
depends on which bins were needed, not on the order of events or on how they were cut into calls.

The error of a median is at most 3.1 % of it while no tile has merged: up to 64 events a tile, or
values within a factor of 15. After one merge (a factor of 250) it is 8.3 %, after two (60,000)
12.5 %, then 22 %, 47 % and 97 %.
"""

# numba compiles these; annotations would be lost on it.
# mypy: disable-error-code="no-untyped-def,no-untyped-call"

from __future__ import annotations

import numba
import numpy as np
import numpy.typing as npt

MOST_BINS = 64
"""Bins that a tile keeps."""

MOST_MERGES = 5
"""Merges after which the bins of all values are at most `MOST_BINS`."""

PLACES = 2048
"""Places of unmerged bins: those of values from 0 on begin in the middle, negative ones below."""

ERRORS = (1 / 32, 1.5 / 18, 2.5 / 20, 3.5 / 16, 7.5 / 16, 15.5 / 16)
"""Largest relative error by the number of merges."""

_ZERO = PLACES // 2
_BLOCK = 5  # log2 of the places that are counted together, so that a search skips them
BLOCKS = PLACES >> _BLOCK

_jit = numba.njit(cache=True, nogil=True)


@_jit
def place_of(value):
    """The place of a value's bin."""
    magnitude = abs(value)
    shift = 0
    while magnitude >= 32:
        magnitude >>= 1
        shift += 1
    place = (shift << 4) + magnitude
    return _ZERO + place if value >= 0 else _ZERO - 1 - place


@_jit
def centre_place(place, merges):
    """The unmerged bin that stands for a merged one: in its middle, nearer to 0."""
    if merges == 0:
        return place
    half = (1 << merges) >> 1
    first = place << merges
    return first + half - 1 if first >= _ZERO else first + half


@_jit
def count_place(whole, blocks, cell, place, merges, count):
    """Adds a bin of a tile to what its window holds; a negative count takes it away."""
    centre = centre_place(place, merges)
    whole[cell, centre] += count
    blocks[cell, centre >> _BLOCK] += count


@_jit
def count_tile(places, counts, shapes, whole, blocks, cell, tile, sign):
    """Adds all bins of a tile (+1), or takes them away (-1); returns how many events they hold."""
    events = np.int64(0)
    merges = shapes[cell, tile, 1]
    for i in range(shapes[cell, tile, 0]):
        count = counts[cell, tile, i]
        count_place(whole, blocks, cell, places[cell, tile, i], merges, sign * count)
        events += count
    return events


@_jit
def add_value(places, counts, shapes, whole, blocks, cell, tile, value, limit):
    """Counts a value in a tile and in its window (`layout.Unpacked`); returns 1, or 0 if full."""
    own = place_of(value)
    while True:
        merges = shapes[cell, tile, 1]
        place = own >> merges
        filled = shapes[cell, tile, 0]
        at = 0
        end = filled
        while at < end:
            middle = (at + end) >> 1
            if places[cell, tile, middle] < place:
                at = middle + 1
            else:
                end = middle
        if at < filled and places[cell, tile, at] == place:
            if counts[cell, tile, at] >= limit:
                return 0
            counts[cell, tile, at] += 1
            count_place(whole, blocks, cell, place, merges, 1)
            return 1
        if filled < MOST_BINS:
            break
        count_tile(places, counts, shapes, whole, blocks, cell, tile, -1)
        _merge(places, counts, shapes, cell, tile, limit)
        count_tile(places, counts, shapes, whole, blocks, cell, tile, 1)
    for i in range(filled, at, -1):
        places[cell, tile, i] = places[cell, tile, i - 1]
        counts[cell, tile, i] = counts[cell, tile, i - 1]
    places[cell, tile, at] = place
    counts[cell, tile, at] = 1
    shapes[cell, tile, 0] = filled + 1
    count_place(whole, blocks, cell, place, merges, 1)
    return 1


@_jit
def _merge(places, counts, shapes, cell, tile, limit):
    """Merges the bins of a tile with their neighbours."""
    made = 0
    for i in range(shapes[cell, tile, 0]):
        place = places[cell, tile, i] >> 1
        if made > 0 and places[cell, tile, made - 1] == place:
            both = counts[cell, tile, made - 1] + counts[cell, tile, i]
            counts[cell, tile, made - 1] = min(both, limit)
        else:
            places[cell, tile, made] = place
            counts[cell, tile, made] = counts[cell, tile, i]
            made += 1
    shapes[cell, tile, 0] = made
    shapes[cell, tile, 1] += 1


@_jit
def middle_place(whole, blocks, cell, events):
    """The place of the median of a window: of an even number of events, the lower of the two."""
    rank = (events + 1) // 2
    below = np.int64(0)
    block = 0
    while block < BLOCKS - 1 and below + blocks[cell, block] < rank:
        below += blocks[cell, block]
        block += 1
    place = block << _BLOCK
    last = place + (1 << _BLOCK) - 1
    while place < last and below + whole[cell, place] < rank:
        below += whole[cell, place]
        place += 1
    return place


def _centres() -> npt.NDArray[np.float64]:
    """The value in the middle of each unmerged bin: float64 `[PLACES]`."""
    place = np.arange(_ZERO)
    shift = np.maximum((place >> 4) - 1, 0)
    low = np.where(place < 32, place, (16 + (place & 15)).astype(np.float64) * 2.0**shift)
    upper = low + (2.0**shift - 1) / 2
    return np.concatenate([-upper[::-1], upper])


CENTRES = _centres()
