"""The fold's inner loop: a key's bytes in, its rows folded, its bytes out.

What enters: rows of many keys, grouped by key, each key's rows in total order; the keys' packed
state. What leaves: int64 outputs of every queried row as of before the row, and new packed state.
One loop serves a whole day of a shard and a micro-batch of one row; it is the only place that
knows what an event does to a key.

A key's state (format 1), all integers LEB128 varints but for the two first:

    u8   format version
    i64  clock: the largest event time seen, microseconds
    u    sequence: how many events the key has had since it was last empty (new, or expired)
    per scalar:  u8 present, then zigzag value
    per window:  u16 live tiles, then per tile, oldest first:
        u    tile number less that of the tile before (zigzag for the first)
        per sum:     zigzag
        per extreme: u8 present, then zigzag
        per sketch:  u8 count of non-zero registers n <= 63, then n pairs (index, rank);
                     or 255, then all 128 registers

A tile is live while `t // tile_us - tiles < number`; others are dropped when the key is next
touched. Nothing here depends on how rows are cut into calls.
"""

# numba compiles these; annotations would be lost on it.
# mypy: disable-error-code="no-untyped-def,no-untyped-call,assignment"

from __future__ import annotations

import numba
import numpy as np

from transforms.velocity.cells import LIMIT, NONE
from transforms.velocity.codec import (
    get_clock,
    get_signed,
    get_unsigned,
    put_clock,
    put_signed,
    put_unsigned,
)
from transforms.velocity.sketch import REGISTERS, Q

FORMAT = 1
HEADER = 9  # version and clock: fixed, so that expiry can read them
SPARSE = 63  # a sketch with more registers than this is written whole

_WEIGHTS = np.array(
    [0, *(1 << (Q - rank) for rank in range(1, Q + 1)), 0], np.uint64
)  # 2^(57 - rank) for ranks 1 to 57; 0 and 58 are counted apart

_jit = numba.njit(cache=True, nogil=True)


@_jit
def _rank_of(hashed):
    """Leading zeros of the hash below its first 7 bits, plus 1; at most 58."""
    rest = hashed << np.uint64(7)
    if rest == np.uint64(0):
        return np.uint8(Q + 1)
    rank = 1
    while rest & np.uint64(0x8000000000000000) == np.uint64(0):
        rest <<= np.uint64(1)
        rank += 1
    return np.uint8(rank)


@_jit
def _raise_register(union, facts, cell, register, rank):
    """Sets a register of a window's union, and keeps its three facts (zeros, S, full) right."""
    before = union[cell, register]
    if rank <= before:
        return
    union[cell, register] = rank
    facts[cell, 1] = facts[cell, 1] - _WEIGHTS[before] + _WEIGHTS[rank]
    if before == 0:
        facts[cell, 0] -= np.uint64(1)
    if rank == Q + 1:
        facts[cell, 2] += np.uint64(1)


@_jit
def _forget_union(union, facts, cell):
    union[cell, :] = 0
    facts[cell, 0] = REGISTERS
    facts[cell, 1] = 0
    facts[cell, 2] = 0


@_jit
def fold_keys(
    tile_us, tiles, retention, sums, extremes, sketches, scalars, sum_at, extreme_at, sketch_at,
    touches,
    first_key, starts, order, time, mask, values, hashes, place,
    old, old_at, new, new_at, room, outputs, sequences,
):  # fmt: skip
    """Folds keys from `first_key` on, until all are done or `new` has less than `room` left.

    Args:
      tile_us, tiles, sums, extremes, sketches, scalars, ..._at, touches: `plan.Arrays`.
      retention: microseconds.
      starts: int64 `[keys + 1]`, where each key's rows begin in `order`.
      order: int64 `[m]`, rows grouped by key.
      time, mask, values, hashes: `rows.Rows`.
      place: int64 `[m]`, the row's place in `outputs`; -1: not queried.
      old, old_at: packed states and int64 `[keys + 1]` where each begins.
      new, new_at: the same, written here.
      outputs: int64 `[q, width]`; sequences: int64 `[q]`; both written here.

    Returns:
      The first key that was not folded; or -1 - key, if that key's state has another format.
    """
    windows = len(tiles)
    most = 1
    for w in range(windows):
        most = max(most, tiles[w])
    number = np.empty((windows, most), np.int64)  # tile numbers, a ring per window
    head = np.zeros(windows, np.int64)
    live = np.zeros(windows, np.int64)
    n_sums, n_extremes, n_sketches = len(sums), len(extremes), len(sketches)
    n_scalars = len(scalars)
    tile_sums = np.empty((n_sums, most), np.int64)
    tile_extremes = np.empty((n_extremes, most), np.int64)
    tile_sketches = np.empty((n_sketches, most, REGISTERS), np.uint8)
    tile_words = tile_sketches.view(np.uint64)
    totals = np.empty(n_sums, np.int64)
    bests = np.empty(n_extremes, np.int64)  # of sign * value, so always the largest
    union = np.empty((n_sketches, REGISTERS), np.uint8)
    facts = np.empty((n_sketches, 3), np.uint64)
    scalar = np.empty(n_scalars, np.int64)
    stale_sketch = np.zeros(n_sketches, np.bool_)
    stale_extreme = np.zeros(n_extremes, np.bool_)

    keys = len(starts) - 1
    at = new_at[first_key]
    for k in range(first_key, keys):
        if len(new) - at < room:
            return k
        # --- decode -----------------------------------------------------------------------
        clock = np.int64(NONE)
        sequence = np.int64(0)
        for w in range(windows):
            head[w] = 0
            live[w] = 0
        for c in range(n_sums):
            totals[c] = 0
        for c in range(n_extremes):
            bests[c] = NONE
            stale_extreme[c] = False
        for c in range(n_sketches):
            _forget_union(union, facts, c)
            stale_sketch[c] = False
        for c in range(n_scalars):
            scalar[c] = NONE
        p = old_at[k]
        if old_at[k + 1] > p:
            if old[p] != FORMAT:
                return -1 - k
            clock = get_clock(old, p + 1)
            unsigned, p = get_unsigned(old, p + HEADER)
            sequence = np.int64(unsigned)
            for c in range(n_scalars):
                present = old[p]
                p += 1
                if present:
                    scalar[c], p = get_signed(old, p)
            for w in range(windows):
                count = np.int64(old[p]) | (np.int64(old[p + 1]) << np.int64(8))
                p += 2
                live[w] = count
                previous = np.int64(0)
                for i in range(count):
                    if i == 0:
                        previous, p = get_signed(old, p)
                    else:
                        unsigned, p = get_unsigned(old, p)
                        previous += np.int64(unsigned)
                    number[w, i] = previous
                    for c in range(sum_at[w], sum_at[w + 1]):
                        tile_sums[c, i], p = get_signed(old, p)
                        totals[c] += tile_sums[c, i]
                    for c in range(extreme_at[w], extreme_at[w + 1]):
                        tile_extremes[c, i] = NONE
                        present = old[p]
                        p += 1
                        if present:
                            tile_extremes[c, i], p = get_signed(old, p)
                            bests[c] = max(bests[c], tile_extremes[c, i])
                    for c in range(sketch_at[w], sketch_at[w + 1]):
                        tile_sketches[c, i, :] = 0
                        filled = old[p]
                        p += 1
                        if filled == 255:
                            for r in range(REGISTERS):
                                rank = old[p + r]
                                tile_sketches[c, i, r] = rank
                                _raise_register(union, facts, c, r, rank)
                            p += REGISTERS
                        else:
                            for _ in range(filled):
                                r = old[p]
                                rank = old[p + 1]
                                tile_sketches[c, i, r] = rank
                                _raise_register(union, facts, c, r, rank)
                                p += 2
        # --- fold -------------------------------------------------------------------------
        for j in range(starts[k], starts[k + 1]):
            row = order[j]
            now = time[row]
            if clock != NONE:
                if now - clock > retention:
                    sequence = 0
                    for w in range(windows):
                        head[w] = 0
                        live[w] = 0
                    for c in range(n_sums):
                        totals[c] = 0
                    for c in range(n_extremes):
                        bests[c] = NONE
                        stale_extreme[c] = False
                    for c in range(n_sketches):
                        _forget_union(union, facts, c)
                        stale_sketch[c] = False
                    for c in range(n_scalars):
                        scalar[c] = NONE
                elif now < clock:
                    now = clock  # a late event counts when it came, at the key's clock
            clock = now
            for w in range(windows):
                oldest = now // tile_us[w] - tiles[w] + 1
                while live[w] > 0 and number[w, head[w]] < oldest:
                    gone = head[w]
                    for c in range(sum_at[w], sum_at[w + 1]):
                        totals[c] -= tile_sums[c, gone]
                    for c in range(extreme_at[w], extreme_at[w + 1]):
                        if tile_extremes[c, gone] == bests[c]:
                            stale_extreme[c] = True
                    for c in range(sketch_at[w], sketch_at[w + 1]):
                        stale_sketch[c] = True
                    head[w] = (gone + 1) % tiles[w]
                    live[w] -= 1
            for c in range(n_extremes):
                if stale_extreme[c]:
                    stale_extreme[c] = False
                    w = extremes[c, 0]
                    best = np.int64(NONE)
                    for i in range(live[w]):
                        best = max(best, tile_extremes[c, (head[w] + i) % tiles[w]])
                    bests[c] = best
            for c in range(n_sketches):
                if stale_sketch[c]:
                    stale_sketch[c] = False
                    _forget_union(union, facts, c)
                    w = sketches[c, 0]
                    if live[w] == 0:
                        continue
                    for i in range(live[w]):
                        tile = (head[w] + i) % tiles[w]
                        for r in range(REGISTERS):
                            union[c, r] = max(union[c, r], tile_sketches[c, tile, r])
                    zeros = np.uint64(0)
                    scaled = np.uint64(0)
                    full = np.uint64(0)
                    for r in range(REGISTERS):
                        rank = union[c, r]
                        zeros += np.uint64(rank == 0)
                        full += np.uint64(rank == Q + 1)
                        scaled += _WEIGHTS[rank]
                    facts[c, 0] = zeros
                    facts[c, 1] = scaled
                    facts[c, 2] = full
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
                for c in range(n_scalars):
                    if scalar[c] == NONE or scalars[c, 0] == 0:
                        outputs[q, column] = scalar[c]
                    else:
                        outputs[q, column] = now - scalar[c]
                    column += 1
            # --- the row itself, for those after it
            bits = mask[row]
            sequence += 1
            for w in range(windows):
                if bits & touches[w] == np.uint64(0):
                    continue
                current = now // tile_us[w]
                last = (head[w] + live[w] - 1) % tiles[w]
                if live[w] == 0 or number[w, last] != current:
                    last = (head[w] + live[w]) % tiles[w]
                    live[w] += 1
                    number[w, last] = current
                    for c in range(sum_at[w], sum_at[w + 1]):
                        tile_sums[c, last] = 0
                    for c in range(extreme_at[w], extreme_at[w + 1]):
                        tile_extremes[c, last] = NONE
                    for c in range(sketch_at[w], sketch_at[w + 1]):
                        tile_sketches[c, last, :] = 0
                for c in range(sum_at[w], sum_at[w + 1]):
                    if (bits >> np.uint64(sums[c, 1])) & np.uint64(1):
                        value = np.int64(1)
                        if sums[c, 2] >= 0:
                            value = values[sums[c, 2], row]
                        before = tile_sums[c, last]
                        after = min(max(before + value, -LIMIT), LIMIT)
                        tile_sums[c, last] = after
                        totals[c] += after - before
                for c in range(extreme_at[w], extreme_at[w + 1]):
                    if (bits >> np.uint64(extremes[c, 1])) & np.uint64(1):
                        value = extremes[c, 3] * values[extremes[c, 2], row]
                        tile_extremes[c, last] = max(tile_extremes[c, last], value)
                        bests[c] = max(bests[c], value)
                for c in range(sketch_at[w], sketch_at[w + 1]):
                    if (bits >> np.uint64(sketches[c, 1])) & np.uint64(1):
                        hashed = hashes[sketches[c, 2], row]
                        register = np.int64(hashed >> np.uint64(57))
                        rank = _rank_of(hashed)
                        if rank > tile_sketches[c, last, register]:
                            tile_sketches[c, last, register] = rank
                            _raise_register(union, facts, c, register, rank)
            for c in range(n_scalars):
                if (bits >> np.uint64(scalars[c, 1])) & np.uint64(1):
                    if scalars[c, 0] == 0:
                        scalar[c] = values[scalars[c, 2], row]
                    elif scalars[c, 0] == 2 or scalar[c] == NONE:
                        scalar[c] = now
        # --- encode -----------------------------------------------------------------------
        new[at] = FORMAT
        at = put_clock(new, at + 1, clock)
        at = put_unsigned(new, at, sequence)
        for c in range(n_scalars):
            if scalar[c] == NONE:
                new[at] = 0
                at += 1
            else:
                new[at] = 1
                at = put_signed(new, at + 1, scalar[c])
        for w in range(windows):
            new[at] = np.uint8(live[w] & 255)
            new[at + 1] = np.uint8(live[w] >> 8)
            at += 2
            previous = np.int64(0)
            for i in range(live[w]):
                tile = (head[w] + i) % tiles[w]
                if i == 0:
                    at = put_signed(new, at, number[w, tile])
                else:
                    at = put_unsigned(new, at, number[w, tile] - previous)
                previous = number[w, tile]
                for c in range(sum_at[w], sum_at[w + 1]):
                    at = put_signed(new, at, tile_sums[c, tile])
                for c in range(extreme_at[w], extreme_at[w + 1]):
                    if tile_extremes[c, tile] == NONE:
                        new[at] = 0
                        at += 1
                    else:
                        new[at] = 1
                        at = put_signed(new, at + 1, tile_extremes[c, tile])
                for c in range(sketch_at[w], sketch_at[w + 1]):
                    filled = 0
                    end = at + 1
                    for word in range(REGISTERS // 8):
                        if tile_words[c, tile, word] == np.uint64(0):
                            continue  # most sketches are nearly empty
                        for r in range(8 * word, 8 * word + 8):
                            if tile_sketches[c, tile, r] != 0 and filled <= SPARSE:
                                filled += 1
                                if filled <= SPARSE:
                                    new[end] = r
                                    new[end + 1] = tile_sketches[c, tile, r]
                                    end += 2
                    if filled > SPARSE:
                        new[at] = 255
                        for r in range(REGISTERS):
                            new[at + 1 + r] = tile_sketches[c, tile, r]
                        at += 1 + REGISTERS
                    else:
                        new[at] = filled
                        at = end
        new_at[k + 1] = at
    return keys
