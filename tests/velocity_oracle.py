"""The naive oracle: every feature from the key's whole history, with Python's own integers.

It shares no code with the fold and imports nothing of Lockstep: tiles are recomputed from the times
of earlier events, sketches are dictionaries, sums are exact. O(n^2), and obvious.
"""

import math

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
    if window is None:
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
    "distinct": lambda h, window, now, decimals: distinct(_values(h)),
}
"""Kind of aggregate -> its value from the (time, value) pairs that count, in order. A ratio is made
of two of them. `value` is the column's in fixed point, or its hash."""


def _per_tile(history, window):
    """Sums of tiles, which saturate: no order of additions may change them within a tile."""
    tiles = {}
    for time, value in history:
        tile = time // window.tile_us
        tiles[tile] = min(max(tiles.get(tile, 0) + value, -LIMIT), LIMIT)
    return tiles


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
