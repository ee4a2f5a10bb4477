"""What the fold's kernel is handed, as named tuples, since compiled code knows no dataclasses."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

Int64s = npt.NDArray[np.int64]
UInt64s = npt.NDArray[np.uint64]
UInt8s = npt.NDArray[np.uint8]


class Arrays(NamedTuple):
    """A plan's cells as arrays.

    Cells of a sort are ordered by window; those of window w are `..._at[w]` to `..._at[w + 1]`.
    """

    tile_us: Int64s  # [windows]; 0: the one tile of a lifetime window
    tiles: Int64s
    sums: Int64s  # [cells, 3]: window, slot bit, value row (-1: ones)
    extremes: Int64s  # [cells, 4]: window, slot bit, value row, sign
    sketches: Int64s  # [cells, 3]: window, slot bit, hash row
    squares: Int64s  # [cells, 3]: window, slot bit, value row
    bins: Int64s  # [cells, 3]: window, slot bit, value row
    scalars: Int64s  # [cells, 3]: kind, slot bit, value or hash row (-1: none)
    sum_at: Int64s  # [windows + 1]
    extreme_at: Int64s
    sketch_at: Int64s
    square_at: Int64s
    bins_at: Int64s
    touches: UInt64s  # [windows]: slots that touch a tile of the window


class Grouped(NamedTuple):
    """Rows, and how they are grouped by key.

    Attributes:
      starts: int64 `[keys + 1]`, where each key's rows begin in `order`.
      order: int64 `[m]`, rows grouped by key, each key's in the order of the fold.
      time, mask, values, hashes: as in `rows.Rows`.
      place: int64 `[m]`, the row's place in `Made`; -1: not queried.
    """

    starts: Int64s
    order: Int64s
    time: Int64s
    mask: UInt64s
    values: Int64s
    hashes: UInt64s
    place: Int64s


class Packed(NamedTuple):
    """States of keys one after the other: bytes, and int64 `[keys + 1]` where each begins."""

    data: UInt8s
    at: Int64s


class Made(NamedTuple):
    """What a fold puts out for queried rows: int64 `[q, width]`, and int64 `[q]`.

    `saturated`, int64 `[width]`, counts per column of the outputs how often a row's value, or what
    it made of its tile, did not fit.
    """

    outputs: Int64s
    sequences: Int64s
    saturated: Int64s


class Unpacked(NamedTuple):
    """One key's state while it is folded; arrays that the kernel makes once and uses for all keys.

    Tiles of a window stand in a ring: `live` of them from `head` on. Beside the tiles stands what
    all live ones of a window make together, so that a row does not look at every tile.
    """

    number: Any  # [windows, tiles]: numbers of tiles
    head: Any  # [windows]
    live: Any  # [windows]
    sums: Any  # [cells, tiles]
    totals: Any  # [cells]
    extremes: Any  # [cells, tiles], times the sign, so that the largest is always the best
    bests: Any  # [cells]
    stale_extreme: Any  # [cells]: whether the best left with its tile
    sketches: Any  # [cells, tiles, registers]
    union: Any  # [cells, registers]
    facts: Any  # [cells, 3]: see `sketch.estimate`
    stale_sketch: Any  # [cells]
    squares: Any  # [cells, tiles, 2]: high and low word
    square_totals: Any  # [cells, 2]
    places: Any  # [cells, tiles, bins], ascending
    counts: Any  # [cells, tiles, bins]
    shapes: Any  # [cells, tiles, 2]: bins in use, merges
    whole: Any  # [cells, places]: counts of the window by unmerged bin
    blocks: Any  # [cells, blocks]
    events: Any  # [cells]: how many values are in `whole`
    scalars: Any  # [scalars]; `NONE`: not there
