"""The naive oracle: every feature from the key's whole history, with Python's own integers.

It shares no code with the fold: tiles are recomputed from the times of earlier events, sketches are
dictionaries, sums are exact. O(n^2), and obvious.
"""

import math

NONE = None
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


def feature(op, window, history, now, argument=None):
    """A feature of an event from the (time, counts, value) of earlier events of its key.

    Args:
      op: the aggregate's name.
      window: a `configs.schema.Window`, or None.
      history: (time, value or hash) of earlier events that count, in order.
      now: the event's effective time.
      argument: decimals, or for ratio a pair of features.
    """
    if window is not None:
        oldest = now // window.tile_us - window.tiles + 1
        history = [(t, v) for t, v in history if t // window.tile_us >= oldest]
    values = [v for _, v in history]
    scale = 10 ** (argument or 0)
    if op == "count":
        return float(len(values))
    if op == "rate":
        return len(values) / (window.length_us / 1e6)
    if op == "sum":
        return sum(_per_tile(history, window).values()) / scale
    if op == "mean":
        if not values:
            return math.nan
        return sum(_per_tile(history, window).values()) / scale / len(values)
    if op == "max":
        return max(values) / scale if values else math.nan
    if op == "min":
        return min(values) / scale if values else math.nan
    if op == "last":
        return values[-1] / scale if values else math.nan
    if op == "seconds_since_last":
        return (now - history[-1][0]) / MICRO if history else math.nan
    if op == "seconds_since_first":
        return (now - history[0][0]) / MICRO if history else math.nan
    if op == "distinct":
        return distinct(values)
    raise ValueError(op)


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
