"""Whether packed state is what `kernels` writes, before the kernel trusts it.

The fold decodes without looking at bounds, because it does so for every row of every batch; here
each byte is looked at once, when a table is loaded.
"""

# numba compiles these; annotations would be lost on it.
# mypy: disable-error-code="no-untyped-def,no-untyped-call,assignment"

from __future__ import annotations

import numba
import numpy as np

from transforms.velocity.bins import MOST_BINS, MOST_MERGES, PLACES
from transforms.velocity.cells import LIMIT, NONE, ScalarKind
from transforms.velocity.codec import get_clock
from transforms.velocity.packing import FORMAT, HEADER, SPARSE, tile_number
from transforms.velocity.sketch import REGISTERS, Q
from transforms.velocity.wide import HIGHEST

FAULTS = (
    "is of another format",
    "ends too early",
    "goes on after its end",
    "has a mark that is neither 0 nor 1",
    "has a number beyond its bounds",
    "has more tiles than its window, or tiles out of order or outside of it",
    "has a sketch that no values make",
    "has bins that no values make",
)
"""What can be wrong with a key's bytes, in words; `first_fault` returns an index."""

_FORMAT, _SHORT, _LONG, _MARK, _RANGE, _TILES, _SKETCH, _BINS = range(len(FAULTS))
_LONGEST = 10  # bytes of a varint of 64 bits
_LAST_VALUE = int(ScalarKind.LAST_VALUE)
_SAME_AS_LAST = int(ScalarKind.SAME_AS_LAST)

_jit = numba.njit(cache=True, nogil=True)


@_jit
def _unsigned(data, at, end):
    """A varint and the place after it; the place is -1 where the bytes end or it is too long."""
    value = np.uint64(0)
    for i in range(_LONGEST):
        if at + i >= end:
            return value, -1
        byte = data[at + i]
        value |= np.uint64(byte & 127) << np.uint64(7 * i)
        if byte < 128:
            return value, at + i + 1
    return value, -1


@_jit
def _signed(data, at, end):
    zigzag, at = _unsigned(data, at, end)
    return np.int64(zigzag >> np.uint64(1)) ^ -np.int64(zigzag & np.uint64(1)), at


@_jit
def _value(data, at, end, fault):
    """A value within the limit: the place after it, or -1 and what is wrong."""
    value, at = _signed(data, at, end)
    if at < 0:
        return -1, _SHORT
    if value > LIMIT or value < -LIMIT:
        return -1, _RANGE
    return at, fault


@_jit
def _marked(data, at, end, fault):
    """A mark of one byte, and any value but `NONE` if it is 1."""
    if at >= end:
        return -1, _SHORT
    if data[at] > 1:
        return -1, _MARK
    if data[at] == 0:
        return at + 1, fault
    value, at = _signed(data, at + 1, end)
    if at < 0:
        return -1, _SHORT
    return (-1, _RANGE) if value == NONE else (at, fault)


@_jit
def _sketch(data, at, end, fault):
    if at >= end:
        return -1, _SHORT
    filled = data[at]
    at += 1
    if filled == 255:
        if at + REGISTERS > end:
            return -1, _SHORT
        found = 0
        for r in range(REGISTERS):
            if data[at + r] > Q + 1:
                return -1, _SKETCH
            found += data[at + r] > 0
        return (at + REGISTERS, fault) if found > SPARSE else (-1, _SKETCH)
    if filled > SPARSE:
        return -1, _SKETCH
    if at + 2 * np.int64(filled) > end:
        return -1, _SHORT
    before = -1
    for _ in range(filled):
        register, rank = np.int64(data[at]), data[at + 1]
        if register <= before or register >= REGISTERS or rank == 0 or rank > Q + 1:
            return -1, _SKETCH
        before = register
        at += 2
    return at, fault


@_jit
def _square(data, at, end, fault):
    """The two words of a sum of squares."""
    high, at = _unsigned(data, at, end)
    if at < 0:
        return -1, _SHORT
    low, at = _unsigned(data, at, end)
    if at < 0:
        return -1, _SHORT
    if high > np.uint64(HIGHEST) or (high == np.uint64(HIGHEST) and low > np.uint64(0)):
        return -1, _RANGE
    return at, fault


@_jit
def _bins(data, at, end, fault):
    if at >= end:
        return -1, _SHORT
    filled = data[at]
    at += 1
    if filled == 0:
        return at, fault
    if filled > MOST_BINS:
        return -1, _BINS
    if at >= end:
        return -1, _SHORT
    merges = data[at]
    at += 1
    if merges > MOST_MERGES:
        return -1, _BINS
    most = np.int64(PLACES) >> np.int64(merges)
    place = np.int64(0)
    for i in range(filled):
        step, at = _unsigned(data, at, end)
        if at < 0:
            return -1, _SHORT
        if step >= np.uint64(most - place) or (i > 0 and step == np.uint64(0)):
            return -1, _BINS
        place += np.int64(step)
        count, at = _unsigned(data, at, end)
        if at < 0:
            return -1, _SHORT
        if count == np.uint64(0) or count > np.uint64(LIMIT):
            return -1, _BINS
    return at, fault


@_jit
def _key_fault(data, at, end, arrays):
    """What is wrong with one key's bytes, ``data[at:end]``; -1: nothing."""
    none = -1
    if at >= end:
        return _SHORT
    if data[at] != FORMAT:
        return _FORMAT
    if at + HEADER > end:
        return _SHORT
    clock = get_clock(data, at + 1)
    _, at = _unsigned(data, at + HEADER, end)
    if at < 0:
        return _SHORT
    for c in range(len(arrays.scalars)):
        kind = arrays.scalars[c, 0]
        if kind == _LAST_VALUE:
            at, fault = _marked(data, at, end, none)
            if at < 0:
                return fault
            continue
        if at >= end:
            return _SHORT
        if data[at] > 1:
            return _MARK
        if data[at] == 0:
            at += 1
            continue
        moment, at = _signed(data, at + 1, end)
        if at < 0:
            return _SHORT
        if (kind != _SAME_AS_LAST and moment > clock) or (kind == _SAME_AS_LAST and moment < 0):
            return _RANGE
    for w in range(len(arrays.tiles)):
        if at + 2 > end:
            return _SHORT
        live = np.int64(data[at]) | (np.int64(data[at + 1]) << np.int64(8))
        at += 2
        if live > arrays.tiles[w]:
            return _TILES
        newest = tile_number(clock, arrays.tile_us[w])
        number = np.int64(0)
        for i in range(live):
            if i == 0:
                number, at = _signed(data, at, end)
                if at < 0:
                    return _SHORT
                if number > newest or number <= newest - arrays.tiles[w]:
                    return _TILES
            else:
                step, at = _unsigned(data, at, end)
                if at < 0:
                    return _SHORT
                if step == 0 or step > np.uint64(newest - number):
                    return _TILES
                number += np.int64(step)
            for _ in range(arrays.sum_at[w], arrays.sum_at[w + 1]):
                at, fault = _value(data, at, end, none)
                if at < 0:
                    return fault
            for _ in range(arrays.extreme_at[w], arrays.extreme_at[w + 1]):
                at, fault = _marked(data, at, end, none)
                if at < 0:
                    return fault
            for _ in range(arrays.sketch_at[w], arrays.sketch_at[w + 1]):
                at, fault = _sketch(data, at, end, none)
                if at < 0:
                    return fault
            for _ in range(arrays.square_at[w], arrays.square_at[w + 1]):
                at, fault = _square(data, at, end, none)
                if at < 0:
                    return fault
            for _ in range(arrays.bins_at[w], arrays.bins_at[w + 1]):
                at, fault = _bins(data, at, end, none)
                if at < 0:
                    return fault
    return none if at == end else _LONG


@_jit
def first_fault(data, ends, arrays):
    """The first key whose bytes are damaged.

    Args:
      data: uint8, packed states one after the other.
      ends: int64 `[keys + 1]`, where each begins and the last one ends.
      arrays: `layout.Arrays` of the plan.

    Returns:
      Its number and an index into `FAULTS`; (-1, -1) if all are right.
    """
    for k in range(len(ends) - 1):
        fault = _key_fault(data, ends[k], ends[k + 1], arrays)
        if fault >= 0:
            return k, fault
    return -1, -1
