"""The fold's inner loop: a key's bytes in, its rows folded, its bytes out.

What enters: rows of many keys, grouped by key, each key's rows in total order; the keys' packed
state. What leaves: int64 outputs of every queried row as of before the row, and new packed state.
One loop serves a whole day of a shard and a micro-batch of one row; it is the only place that
knows what an event does to a key. `packing` knows its bytes.

A tile is live while `tile_number(t) - tiles < number`; others are dropped when the key is next
touched. Nothing here depends on how rows are cut into calls.
"""

# numba compiles these; annotations would be lost on it.
# mypy: disable-error-code="no-untyped-def,no-untyped-call,assignment"

from __future__ import annotations

import numba
import numpy as np

from transforms.velocity.bins import BLOCKS, MOST_BINS, PLACES, add_value, count_tile, middle_place
from transforms.velocity.cells import LIMIT, NONE, ScalarKind
from transforms.velocity.layout import Unpacked
from transforms.velocity.packing import (
    FORMAT,
    forget,
    pack,
    ring_place,
    tile_number,
    tile_times,
    unpack,
)
from transforms.velocity.sketch import REGISTERS, WEIGHTS, Q, forget_union, raise_register, rank_of
from transforms.velocity.wide import HIGHEST, add, add_square, subtract

_LAST_VALUE = int(ScalarKind.LAST_VALUE)
_SINCE_LAST = int(ScalarKind.SINCE_LAST)
_SAME_AS_LAST = int(ScalarKind.SAME_AS_LAST)

_jit = numba.njit(cache=True, nogil=True)


@_jit
def fold_keys(arrays, retention, room, rows, old, new, made, first_key):
    """Folds keys from `first_key` on, until all are done or `new` has less than `room` left.

    Tuples are taken apart before the loop over rows: compiled code counts a reference whenever it
    takes an array out of one, which made the loop 2.7 times slower.

    Args:
      arrays: `layout.Arrays` of the plan.
      retention: microseconds.
      room: the most bytes that a key's state can take.
      rows: `layout.Grouped`.
      old: `layout.Packed`, the keys' states before.
      new: `layout.Packed`, written here.
      made: `layout.Made`, written here.
      first_key: index of the key to begin with.

    Returns:
      The first key that was not folded; or -1 - key, if that key's state has another format.
    """
    tile_us, tiles, touches = arrays.tile_us, arrays.tiles, arrays.touches
    sums, sum_at = arrays.sums, arrays.sum_at
    extremes, extreme_at = arrays.extremes, arrays.extreme_at
    sketches, sketch_at = arrays.sketches, arrays.sketch_at
    squares, square_at = arrays.squares, arrays.square_at
    bins, bins_at = arrays.bins, arrays.bins_at
    scalars = arrays.scalars
    starts, order, time, mask, values, hashes, place = rows
    old_data, old_at = old
    new_data, new_at = new
    outputs, sequences, saturated = made
    windows, most = len(tiles), 1
    for w in range(windows):
        most = max(most, tiles[w])
    n_sums, n_extremes, n_sketches = len(sums), len(extremes), len(sketches)
    n_squares, n_bins, n_scalars = len(squares), len(bins), len(scalars)
    # --- one key's state, as `layout.Unpacked` describes it
    number = np.empty((windows, most), np.int64)
    head, live = np.zeros(windows, np.int64), np.zeros(windows, np.int64)
    current = np.zeros(windows, np.int64)  # the tile of the row, and the times that it is of
    begins, ends = np.zeros(windows, np.int64), np.zeros(windows, np.int64)
    tile_sums, totals = np.empty((n_sums, most), np.int64), np.empty(n_sums, np.int64)
    tile_extremes, bests = np.empty((n_extremes, most), np.int64), np.empty(n_extremes, np.int64)
    stale_extreme = np.zeros(n_extremes, np.bool_)
    tile_sketches = np.empty((n_sketches, most, REGISTERS), np.uint8)
    union = np.empty((n_sketches, REGISTERS), np.uint8)
    facts = np.empty((n_sketches, 3), np.uint64)
    stale_sketch = np.zeros(n_sketches, np.bool_)
    tile_squares = np.empty((n_squares, most, 2), np.uint64)
    square_totals = np.empty((n_squares, 2), np.uint64)
    places = np.empty((n_bins, most, MOST_BINS), np.int64)
    counts = np.empty((n_bins, most, MOST_BINS), np.int64)
    shapes = np.empty((n_bins, most, 2), np.int64)
    whole, blocks = np.zeros((n_bins, PLACES), np.int64), np.zeros((n_bins, BLOCKS), np.int64)
    events = np.zeros(n_bins, np.int64)
    scalar = np.empty(n_scalars, np.int64)
    square_column = n_sums + n_extremes + 3 * n_sketches
    bins_column = square_column + 2 * n_squares
    key = Unpacked(
        number, head, live, tile_sums, totals, tile_extremes, bests, stale_extreme, tile_sketches,
        union, facts, stale_sketch, tile_squares, square_totals, places, counts, shapes, whole,
        blocks, events, scalar,
    )  # fmt: skip

    keys = len(starts) - 1
    at = new_at[first_key]
    for k in range(first_key, keys):
        if len(new_data) - at < room:
            return k
        forget(key)
        clock, sequence = np.int64(NONE), np.int64(0)
        if old_at[k + 1] > old_at[k]:
            if old_data[old_at[k]] != FORMAT:
                return -1 - k
            clock, sequence = unpack(arrays, key, old_data, old_at[k])
        for j in range(starts[k], starts[k + 1]):
            row = order[j]
            now = time[row]
            if clock != NONE:
                if now - clock > retention:
                    sequence = np.int64(0)
                    forget(key)
                elif now < clock:
                    now = clock  # a late event counts when it came, at the key's clock
            clock = now
            # --- tiles that have left their windows
            for w in range(windows):
                if now < begins[w] or now >= ends[w]:  # a division for each row takes long
                    current[w] = tile_number(now, tile_us[w])
                    begins[w], ends[w] = tile_times(current[w], tile_us[w])
                oldest = current[w] - tiles[w] + 1
                while live[w] > 0 and number[w, head[w]] < oldest:
                    gone = head[w]
                    for c in range(sum_at[w], sum_at[w + 1]):
                        totals[c] -= tile_sums[c, gone]
                    for c in range(extreme_at[w], extreme_at[w + 1]):
                        if tile_extremes[c, gone] == bests[c]:
                            stale_extreme[c] = True
                    for c in range(sketch_at[w], sketch_at[w + 1]):
                        stale_sketch[c] = True
                    for c in range(square_at[w], square_at[w + 1]):
                        square_totals[c, 0], square_totals[c, 1] = subtract(
                            square_totals[c, 0], square_totals[c, 1],
                            tile_squares[c, gone, 0], tile_squares[c, gone, 1],
                        )  # fmt: skip
                    for c in range(bins_at[w], bins_at[w + 1]):
                        events[c] -= count_tile(places, counts, shapes, whole, blocks, c, gone, -1)
                    head[w] = ring_place(gone + 1, tiles[w])
                    live[w] -= 1
            for c in range(n_extremes):
                if stale_extreme[c]:
                    stale_extreme[c] = False
                    w = extremes[c, 0]
                    best = np.int64(NONE)
                    for i in range(live[w]):
                        best = max(best, tile_extremes[c, ring_place(head[w] + i, tiles[w])])
                    bests[c] = best
            for c in range(n_sketches):
                if stale_sketch[c]:
                    stale_sketch[c] = False
                    forget_union(union, facts, c)
                    w = sketches[c, 0]
                    if live[w] == 0:
                        continue
                    for i in range(live[w]):
                        tile = ring_place(head[w] + i, tiles[w])
                        for r in range(REGISTERS):
                            union[c, r] = max(union[c, r], tile_sketches[c, tile, r])
                    zeros = np.uint64(0)
                    scaled = np.uint64(0)
                    full = np.uint64(0)
                    for r in range(REGISTERS):
                        rank = union[c, r]
                        zeros += np.uint64(rank == 0)
                        full += np.uint64(rank == Q + 1)
                        scaled += WEIGHTS[rank]
                    facts[c, 0] = zeros
                    facts[c, 1] = scaled
                    facts[c, 2] = full
            # --- what the key had before the row
            q = place[row]
            if q >= 0:
                sequences[q] = sequence
                column = 0
                for c in range(n_sums):
                    outputs[q, column] = totals[c]
                    column += 1
                for c in range(n_extremes):
                    outputs[q, column] = bests[c] if bests[c] == NONE else extremes[c, 3] * bests[c]
                    column += 1
                for c in range(n_sketches):
                    for fact in range(3):
                        outputs[q, column] = np.int64(facts[c, fact])
                        column += 1
                for c in range(n_squares):
                    for word in range(2):
                        outputs[q, column] = np.int64(square_totals[c, word])
                        column += 1
                for c in range(n_bins):
                    middle = np.int64(NONE)
                    if events[c] > 0:
                        middle = middle_place(whole, blocks, c, events[c])
                    outputs[q, column] = middle
                    column += 1
                for c in range(n_scalars):
                    known = scalar[c]
                    if known != NONE and scalars[c, 0] == _SAME_AS_LAST:
                        own = hashes[scalars[c, 2], row]
                        known = np.int64(_as_scalar(own) == known) if own else np.int64(NONE)
                    elif known != NONE and scalars[c, 0] != _LAST_VALUE:
                        known = now - known
                    outputs[q, column] = known
                    column += 1
            # --- the row itself, for those after it
            bits = mask[row]
            sequence += 1
            for w in range(windows):
                if bits & touches[w] == np.uint64(0):
                    continue
                last = ring_place(head[w] + max(live[w] - 1, 0), tiles[w])
                if live[w] == 0 or number[w, last] != current[w]:
                    last = ring_place(head[w] + live[w], tiles[w])
                    live[w] += 1
                    number[w, last] = current[w]
                    for c in range(sum_at[w], sum_at[w + 1]):
                        tile_sums[c, last] = 0
                    for c in range(extreme_at[w], extreme_at[w + 1]):
                        tile_extremes[c, last] = NONE
                    for c in range(sketch_at[w], sketch_at[w + 1]):
                        tile_sketches[c, last, :] = 0
                    for c in range(square_at[w], square_at[w + 1]):
                        tile_squares[c, last, :] = 0
                    for c in range(bins_at[w], bins_at[w + 1]):
                        shapes[c, last, :] = 0
                for c in range(sum_at[w], sum_at[w + 1]):
                    if (bits >> np.uint64(sums[c, 1])) & np.uint64(1):
                        value = np.int64(1)
                        full = False
                        if sums[c, 2] >= 0:
                            full = _does_not_fit(values[sums[c, 2], row])
                            value = _clipped(values[sums[c, 2], row])
                        before = tile_sums[c, last]
                        after = min(max(before + value, -LIMIT), LIMIT)
                        saturated[c] += full or after != before + value
                        tile_sums[c, last] = after
                        totals[c] += after - before
                for c in range(extreme_at[w], extreme_at[w + 1]):
                    if (bits >> np.uint64(extremes[c, 1])) & np.uint64(1):
                        value = extremes[c, 3] * values[extremes[c, 2], row]
                        saturated[n_sums + c] += value == LIMIT or value == -LIMIT
                        tile_extremes[c, last] = max(tile_extremes[c, last], value)
                        bests[c] = max(bests[c], value)
                for c in range(sketch_at[w], sketch_at[w + 1]):
                    if (bits >> np.uint64(sketches[c, 1])) & np.uint64(1):
                        hashed = hashes[sketches[c, 2], row]
                        register = np.int64(hashed >> np.uint64(57))
                        rank = rank_of(hashed)
                        if rank > tile_sketches[c, last, register]:
                            tile_sketches[c, last, register] = rank
                            raise_register(union, facts, c, register, rank)
                for c in range(square_at[w], square_at[w + 1]):
                    if (bits >> np.uint64(squares[c, 1])) & np.uint64(1):
                        value = values[squares[c, 2], row]
                        high, low = tile_squares[c, last, 0], tile_squares[c, last, 1]
                        new_high, new_low = add_square(high, low, _clipped(value))
                        full = new_high >= np.uint64(HIGHEST) or _does_not_fit(value)
                        saturated[square_column + 2 * c] += full
                        tile_squares[c, last, 0], tile_squares[c, last, 1] = new_high, new_low
                        high, low = subtract(new_high, new_low, high, low)
                        square_totals[c, 0], square_totals[c, 1] = add(
                            square_totals[c, 0], square_totals[c, 1], high, low
                        )
                for c in range(bins_at[w], bins_at[w + 1]):
                    if (bits >> np.uint64(bins[c, 1])) & np.uint64(1):
                        value = values[bins[c, 2], row]
                        saturated[bins_column + c] += _does_not_fit(value)
                        events[c] += add_value(
                            places, counts, shapes, whole, blocks, c, last, _clipped(value), LIMIT
                        )
            for c in range(n_scalars):
                if (bits >> np.uint64(scalars[c, 1])) & np.uint64(1):
                    kind = scalars[c, 0]
                    if kind == _LAST_VALUE:
                        scalar[c] = values[scalars[c, 2], row]
                        full = scalar[c] == LIMIT or scalar[c] == -LIMIT
                        saturated[bins_column + n_bins + c] += full
                    elif kind == _SAME_AS_LAST:
                        scalar[c] = _as_scalar(hashes[scalars[c, 2], row])
                    elif kind == _SINCE_LAST or scalar[c] == NONE:
                        scalar[c] = now
        at = pack(arrays, key, clock, sequence, new_data, at)
        new_at[k + 1] = at
    return keys


@_jit
def _clipped(value):
    """What sums, squares and histograms take of a value; extremes and last values take it whole."""
    return min(max(value, -LIMIT), LIMIT)


@_jit
def _does_not_fit(value):
    """Whether it was clipped: by `_clipped`, or before, when its multiple was made."""
    return value >= LIMIT or value <= -LIMIT


@_jit
def _as_scalar(hashed):
    """63 bits of a hash, so that it is never `NONE`."""
    return np.int64(hashed >> np.uint64(1))
