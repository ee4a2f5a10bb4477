"""The naive oracle: every feature from the key's whole history, with Python's own integers.

It shares no code with the fold and imports nothing of Lockstep: tiles are recomputed from the times
of earlier events, sketches are dictionaries, sums are exact. O(n^2), and obvious.
"""

import itertools
import math
from fractions import Fraction

MICRO = 1_000_000
LIMIT = 1 << 52


def effective_times(times, retention_us):
    """Each event's time as the key sees it (late ones at the clock), and where histories begin."""
    clock, made, begins, begin = None, [], [], 0
    for index, time in enumerate(times):
        if clock is not None and time - clock > retention_us:
            begin = index
            clock = time
        clock = time if clock is None else max(clock, time)
        made.append(clock)
        begins.append(begin)
    return made, begins


def in_window(history, window, now):
    """Those of the (time, value) pairs that a window sees; `window` is a `Window`, or None."""
    if window is None or window.length_us == 0:  # a lifetime
        return history
    oldest = now // window.tile_us - window.tiles + 1
    return [(t, v) for t, v in history if t // window.tile_us >= oldest]


def _values(history):
    return [value for _, value in history]


def _mean(history, window, now, decimals):
    if not history:
        return math.nan
    return sum(_per_tile(history, window).values()) / 10**decimals / len(history)


RULES = {
    "count": lambda h, window, now, decimals: float(len(h)),
    "rate": lambda h, window, now, decimals: len(h) / (window.length_us / 1e6),
    "sum": lambda h, window, now, decimals: sum(_per_tile(h, window).values()) / 10**decimals,
    "mean": _mean,
    "max": lambda h, window, now, decimals: max(_values(h)) / 10**decimals if h else math.nan,
    "min": lambda h, window, now, decimals: min(_values(h)) / 10**decimals if h else math.nan,
    "last": lambda h, window, now, decimals: h[-1][1] / 10**decimals if h else math.nan,
    "seconds_since_last": lambda h, window, now, _: (now - h[-1][0]) / MICRO if h else math.nan,
    "seconds_since_first": lambda h, window, now, _: (now - h[0][0]) / MICRO if h else math.nan,
    "std": lambda h, window, now, decimals: _std(h, window, now, decimals),
    "median": lambda h, window, now, decimals: _median(h, window, now, decimals),
    "distinct": lambda h, window, now, decimals: distinct(_values(h)),
}
"""Kind of aggregate -> its value from the (time, value) pairs that count, in order. `value` is the
column's in fixed point, or its hash. A ratio is made of two of them; `same_as_last` looks at the
event itself too."""


def _per_tile(history, window):
    """Sums of tiles, which saturate: no order of additions may change them within a tile."""
    tiles = {}
    for time, value in history:
        tile = _tile(time, window)
        tiles[tile] = min(max(tiles.get(tile, 0) + value, -LIMIT), LIMIT)
    return tiles


def _tile(time, window):
    return time // window.tile_us if window.length_us else 0


def _std(history, window, now, decimals):
    """Of the sums and of the squares of each tile, which saturate at 2^112, as fractions."""
    if len(history) < 2:
        return math.nan
    squares = {}
    for time, value in history:
        tile = _tile(time, window)
        squares[tile] = min(squares.get(tile, 0) + value * value, 1 << 112)
    total, count = sum(_per_tile(history, window).values()), len(history)
    scatter = Fraction(sum(squares.values())) - Fraction(total * total, count)
    return math.sqrt(max(scatter, 0) / (count - 1)) / 10**decimals


def _median(history, window, now, decimals):
    """The lower median of the values, each replaced by the middle of its bin of its tile."""
    if not history:
        return math.nan
    tiles = {}
    for time, value in history:
        tiles.setdefault(_tile(time, window), []).append(value)
    middles = sorted(middle for values in tiles.values() for middle in in_bins(values))
    return middles[(len(middles) - 1) // 2] / 10**decimals


def in_bins(values):
    """The values of one tile as their bins' middles: as few merges as leave at most 64 bins."""
    for merges in itertools.count():
        keys = [_bin(value, merges) for value in values]
        if len(set(keys)) <= 64:
            return [_middle(key, merges) for key in keys]


def _bin(value, merges):
    """(sign, number): small magnitudes alone, then 16 equal parts of each octave, merged."""
    magnitude = abs(value)
    octave = max(magnitude.bit_length() - 5, 0)
    return value < 0, (octave * 16 + (magnitude >> octave)) >> merges


def _middle(key, merges):
    negative, number = key
    if merges:  # of the bins that were merged, the last of the half that is nearer to 0
        number = (number << merges) + (1 << merges >> 1) - 1
    octave = max((number >> 4) - 1, 0)
    low = number if number < 32 else (16 + number % 16) << octave
    middle = low + ((1 << octave) - 1) / 2
    return -middle if negative else middle


def same_as_last(history, own):
    """Whether an event's own value (None: it has none) is the last one of the history."""
    return float(history[-1][1] == own) if history and own is not None else math.nan


def distinct(hashes):
    """Ertl's improved estimate from registers in a dictionary (arXiv:1702.01284)."""
    registers = {}
    for hashed in hashes:
        index = hashed >> 57
        rest = f"{hashed & (2**57 - 1):057b}"
        rank = (rest + "1").index("1") + 1
        registers[index] = max(registers.get(index, 0), rank)
    if not registers:
        return 0.0
    m, q = 128, 57
    counts = [0] * (q + 2)
    for index in range(m):
        counts[registers.get(index, 0)] += 1
    z = m * _tau(1 - counts[q + 1] / m)
    for k in range(q, 0, -1):
        z = 0.5 * (z + counts[k])
    z += m * _sigma(counts[0] / m)
    return m * m / (2 * math.log(2)) / z


def _sigma(x):
    if x == 1:
        return math.inf
    y, z, before = 1.0, x, None
    while z != before:
        before = z
        x *= x
        z += x * y
        y += y
    return z


def _tau(x):
    if x in (0, 1):
        return 0.0
    y, z, before = 1.0, 1 - x, None
    while z != before:
        before = z
        x = math.sqrt(x)
        y *= 0.5
        z -= (1 - x) ** 2 * y
    return z / 3
