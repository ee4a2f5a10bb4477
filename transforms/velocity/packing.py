"""The bytes of a key's state (format 1): read before its rows are folded, written after them.

All integers are LEB128 varints but for the two first:

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
        per square:  u high word, u low word
        per bins:    u8 count of bins n <= 64; if not 0: u8 merges, then n pairs: u place less that
                     of the bin before, u count
"""

# numba compiles these; annotations would be lost on it.
# mypy: disable-error-code="no-untyped-def,no-untyped-call,assignment"

from __future__ import annotations

import numba
import numpy as np

from transforms.velocity.bins import count_tile
from transforms.velocity.cells import NONE
from transforms.velocity.codec import (
    get_clock,
    get_signed,
    get_unsigned,
    put_clock,
    put_signed,
    put_unsigned,
)
from transforms.velocity.sketch import REGISTERS, forget_union, raise_register
from transforms.velocity.wide import add

FORMAT = 1
HEADER = 9  # version and clock: fixed, so that expiry can read them
SPARSE = 63  # a sketch with more registers than this is written whole

# Without numba's counts of references (`_nrt`): the kernel, which calls these for each key, holds
# the arrays, nothing is allocated here, and counting took a third of the fold of a key.
_jit = numba.njit(cache=True, nogil=True, _nrt=False)


@_jit
def tile_number(time, tile_us):
    """The tile that a time is in; a lifetime window has one tile, number 0."""
    return np.int64(0) if tile_us == 0 else time // tile_us


@_jit
def tile_times(number, tile_us):
    """When a tile begins and when it has ended."""
    if tile_us == 0:
        return np.int64(NONE), np.int64(2**63 - 1)
    return number * tile_us, (number + 1) * tile_us


@_jit
def ring_place(place, tiles):
    """Where a tile stands that is so far from the ring's first place; below twice around."""
    return place if place < tiles else place - tiles  # a division takes ten times as long


@_jit
def forget(key):
    """Makes a key's state empty."""
    head, live, totals, scalars = key.head, key.live, key.totals, key.scalars
    bests, stale_extreme = key.bests, key.stale_extreme
    union, facts, stale_sketch = key.union, key.facts, key.stale_sketch
    square_totals, whole, blocks, events = key.square_totals, key.whole, key.blocks, key.events
    for w in range(len(live)):
        head[w] = 0
        live[w] = 0
    for c in range(len(totals)):
        totals[c] = 0
    for c in range(len(bests)):
        bests[c] = NONE
        stale_extreme[c] = False
    for c in range(len(union)):
        forget_union(union, facts, c)
        stale_sketch[c] = False
    for c in range(len(square_totals)):
        square_totals[c, 0] = 0
        square_totals[c, 1] = 0
    for c in range(len(events)):
        if events[c] != 0:
            whole[c, :] = 0
            blocks[c, :] = 0
            events[c] = 0
    for c in range(len(scalars)):
        scalars[c] = NONE


@_jit
def unpack(arrays, key, old, p):
    """Reads a state into `key`, which is empty; returns clock and sequence."""
    sum_at, extreme_at, sketch_at = arrays.sum_at, arrays.extreme_at, arrays.sketch_at
    square_at, bins_at = arrays.square_at, arrays.bins_at
    number, live, scalars = key.number, key.live, key.scalars
    sums, totals, extremes, bests = key.sums, key.totals, key.extremes, key.bests
    sketches, union, facts = key.sketches, key.union, key.facts
    squares, square_totals = key.squares, key.square_totals
    places, counts, shapes = key.places, key.counts, key.shapes
    whole, blocks, events = key.whole, key.blocks, key.events
    clock = get_clock(old, p + 1)
    unsigned, p = get_unsigned(old, p + HEADER)
    sequence = np.int64(unsigned)
    for c in range(len(scalars)):
        present = old[p]
        p += 1
        if present:
            scalars[c], p = get_signed(old, p)
    for w in range(len(live)):
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
                sums[c, i], p = get_signed(old, p)
                totals[c] += sums[c, i]
            for c in range(extreme_at[w], extreme_at[w + 1]):
                extremes[c, i] = NONE
                present = old[p]
                p += 1
                if present:
                    extremes[c, i], p = get_signed(old, p)
                    bests[c] = max(bests[c], extremes[c, i])
            for c in range(sketch_at[w], sketch_at[w + 1]):
                p = _get_sketch(sketches, union, facts, c, i, old, p)
            for c in range(square_at[w], square_at[w + 1]):
                squares[c, i, 0], p = get_unsigned(old, p)
                squares[c, i, 1], p = get_unsigned(old, p)
                square_totals[c, 0], square_totals[c, 1] = add(
                    square_totals[c, 0], square_totals[c, 1], squares[c, i, 0], squares[c, i, 1]
                )
            for c in range(bins_at[w], bins_at[w + 1]):
                p = _get_bins(places, counts, shapes, c, i, old, p)
                events[c] += count_tile(places, counts, shapes, whole, blocks, c, i, 1)
    return clock, sequence


@_jit
def _get_sketch(sketches, union, facts, c, tile, old, p):
    sketches[c, tile, :] = 0
    filled = old[p]
    p += 1
    if filled == 255:
        for r in range(REGISTERS):
            rank = old[p + r]
            sketches[c, tile, r] = rank
            raise_register(union, facts, c, r, rank)
        return p + REGISTERS
    for _ in range(filled):
        r = old[p]
        rank = old[p + 1]
        sketches[c, tile, r] = rank
        raise_register(union, facts, c, r, rank)
        p += 2
    return p


@_jit
def _get_bins(places, counts, shapes, c, tile, old, p):
    filled = np.int64(old[p])
    p += 1
    shapes[c, tile, 0] = filled
    shapes[c, tile, 1] = 0
    if filled == 0:
        return p
    shapes[c, tile, 1] = old[p]
    p += 1
    place = np.int64(0)
    for i in range(filled):
        step, p = get_unsigned(old, p)
        count, p = get_unsigned(old, p)
        place += np.int64(step)
        places[c, tile, i] = place
        counts[c, tile, i] = np.int64(count)
    return p


@_jit
def pack(arrays, key, clock, sequence, new, at):
    """Writes a state at a place of `new`; returns the place after it."""
    tiles = arrays.tiles
    sum_at, extreme_at, sketch_at = arrays.sum_at, arrays.extreme_at, arrays.sketch_at
    square_at, bins_at = arrays.square_at, arrays.bins_at
    number, head, live, scalars = key.number, key.head, key.live, key.scalars
    sums, extremes, sketches, squares = key.sums, key.extremes, key.sketches, key.squares
    places, counts, shapes = key.places, key.counts, key.shapes
    words = sketches.view(np.uint64)  # eight registers at a time
    new[at] = FORMAT
    at = put_clock(new, at + 1, clock)
    at = put_unsigned(new, at, sequence)
    for c in range(len(scalars)):
        at = _put_marked(new, at, scalars[c])
    for w in range(len(live)):
        new[at] = np.uint8(live[w] & 255)
        new[at + 1] = np.uint8(live[w] >> 8)
        at += 2
        previous = np.int64(0)
        for i in range(live[w]):
            tile = ring_place(head[w] + i, tiles[w])
            if i == 0:
                at = put_signed(new, at, number[w, tile])
            else:
                at = put_unsigned(new, at, number[w, tile] - previous)
            previous = number[w, tile]
            for c in range(sum_at[w], sum_at[w + 1]):
                at = put_signed(new, at, sums[c, tile])
            for c in range(extreme_at[w], extreme_at[w + 1]):
                at = _put_marked(new, at, extremes[c, tile])
            for c in range(sketch_at[w], sketch_at[w + 1]):
                at = _put_sketch(sketches, words, c, tile, new, at)
            for c in range(square_at[w], square_at[w + 1]):
                at = put_unsigned(new, at, squares[c, tile, 0])
                at = put_unsigned(new, at, squares[c, tile, 1])
            for c in range(bins_at[w], bins_at[w + 1]):
                at = _put_bins(places, counts, shapes, c, tile, new, at)
    return at


@_jit
def _put_marked(new, at, value):
    """A value that may be `NONE`."""
    if value == NONE:
        new[at] = 0
        return at + 1
    new[at] = 1
    return put_signed(new, at + 1, value)


@_jit
def _put_sketch(sketches, words, c, tile, new, at):
    filled = 0
    end = at + 1
    for word in range(REGISTERS // 8):
        if words[c, tile, word] == np.uint64(0):
            continue  # most sketches are nearly empty
        for r in range(8 * word, 8 * word + 8):
            if sketches[c, tile, r] != 0 and filled <= SPARSE:
                filled += 1
                if filled <= SPARSE:
                    new[end] = r
                    new[end + 1] = sketches[c, tile, r]
                    end += 2
    if filled <= SPARSE:
        new[at] = filled
        return end
    new[at] = 255
    for r in range(REGISTERS):
        new[at + 1 + r] = sketches[c, tile, r]
    return at + 1 + REGISTERS


@_jit
def _put_bins(places, counts, shapes, c, tile, new, at):
    filled = shapes[c, tile, 0]
    new[at] = filled
    at += 1
    if filled == 0:
        return at
    new[at] = shapes[c, tile, 1]
    at += 1
    previous = np.int64(0)
    for i in range(filled):
        at = put_unsigned(new, at, places[c, tile, i] - previous)
        at = put_unsigned(new, at, counts[c, tile, i])
        previous = places[c, tile, i]
    return at
