"""Whole numbers of 128 bits, as two words of 64: sums of squares stay exact.

Used by the fold's kernel, which adds up squares per tile, and by `aggregates.std`, which makes a
standard deviation of them. A value has at most 52 bits (`cells.LIMIT`), its square 104.
"""

# numba compiles these; annotations would be lost on it.
# mypy: disable-error-code="no-untyped-def,no-untyped-call"

from __future__ import annotations

import numba
import numpy as np

HIGHEST = 1 << 48
"""The high word at which the sum of squares of a tile saturates: 2^112 in all.

That is 256 events of the largest magnitude. A window has at most 1,024 tiles, so its sum stays
below 2^123.
"""

_jit = numba.njit(cache=True, nogil=True)


@_jit
def multiply(one, other):
    """The product of two unsigned words: its high and its low word."""
    half = np.uint64(0xFFFFFFFF)
    shift = np.uint64(32)
    a, b = one >> shift, one & half
    c, d = other >> shift, other & half
    low = b * d
    left, right = a * d, b * c
    middle = (low >> shift) + (left & half) + (right & half)
    high = a * c + (left >> shift) + (right >> shift) + (middle >> shift)
    return high, (middle << shift) | (low & half)


@_jit
def add(high, low, more_high, more_low):
    """The sum modulo 2^128."""
    total = low + more_low
    return high + more_high + np.uint64(total < low), total


@_jit
def subtract(high, low, less_high, less_low):
    """The difference modulo 2^128; a negative one as two's complement."""
    return high - less_high - np.uint64(low < less_low), low - less_low


@_jit
def add_square(high, low, value):
    """A tile's sum of squares and one more value's, saturated."""
    magnitude = np.uint64(abs(value))
    square_high, square_low = multiply(magnitude, magnitude)
    high, low = add(high, low, square_high, square_low)
    if high >= np.uint64(HIGHEST):
        return np.uint64(HIGHEST), np.uint64(0)
    return high, low


@_jit
def squared_deviations(count, total, high, low):
    """The sum of squared deviations from the mean: float64 `[n]`, 0 where it would be negative.

    With m the whole number nearest to the mean and r what is left of the sum (`total - count m`),
    it is `sum of (v - m)^2 - r^2 / count`. The first term is a whole number, found without
    rounding; the second is at most half of it, so that nothing cancels. Negative it can be only
    where a tile has saturated.

    Args:
      count: int64 `[n]`, at least 1.
      total: int64 `[n]`, sum of the values.
      high, low: words of the sum of their squares, as int64 `[n]`.
    """
    made = np.empty(len(count), np.float64)
    for i in range(len(count)):
        mean = total[i] // count[i]
        rest = total[i] - mean * count[i]
        if rest > count[i] - rest:
            mean += 1
            rest -= count[i]
        other = total[i] + rest
        less_high, less_low = multiply(np.uint64(abs(mean)), np.uint64(abs(other)))
        words = np.uint64(high[i]), np.uint64(low[i])
        if (mean < 0) == (other < 0):
            words = subtract(words[0], words[1], less_high, less_low)
        else:
            words = add(words[0], words[1], less_high, less_low)
        if np.int64(words[0]) < 0:
            made[i] = 0.0
            continue
        about_mean = np.float64(words[0]) * 2.0**64 + np.float64(words[1])
        made[i] = max(about_mean - np.float64(rest) * np.float64(rest) / np.float64(count[i]), 0.0)
    return made
