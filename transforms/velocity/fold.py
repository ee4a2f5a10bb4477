"""The pure fold: (state, rows in total order) -> (features, what the state becomes).

What enters: a shard's state and its rows. What leaves: per queried row what the key had before it,
as whole numbers, and the new bytes of the keys that were touched. `finish` turns the numbers into
float32 features, elementwise. No clock, no randomness, no I/O: batch, stream and replay call this
with other cuts of the same rows and get the same bits.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from configs.errors import StateError
from transforms.velocity.cells import Ask
from transforms.velocity.kernels import fold_keys
from transforms.velocity.layout import Grouped, Int64s, Made, Packed, UInt64s
from transforms.velocity.packing import FORMAT
from transforms.velocity.plan import Plan
from transforms.velocity.rows import Rows
from transforms.velocity.state import ShardState

Floats = npt.NDArray[np.float32]

_ROWS = 4096  # finished at a time: their columns stay in the processor's cache
_BUFFER = 1 << 22  # bytes of new state per call of the kernel, at least one key's most


@dataclasses.dataclass(frozen=True)
class Folded:
    """What a fold has made.

    Attributes:
      outputs: int64 `[q, width]`, of the queried rows, in their order; for `finish`.
      sequence: int64 `[q]`, how many events the key had before each, since it was last empty (new,
        or silent for longer than its retention).
      delta: key -> new packed bytes, of every key that was touched.
      saturated: aggregate -> how often a value, or the sum of a tile, did not fit (`cells.LIMIT`):
        what is made of them is too small.
    """

    outputs: Int64s
    sequence: Int64s
    delta: dict[int, bytes]
    saturated: dict[str, int] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class Touched:
    """The same, with the keys that were touched in two arrays.

    Attributes:
      keys: uint64 `[k]`, ascending.
      packed: their new bytes, in this order.
      outputs, sequence, saturated: as `Folded`.
    """

    keys: UInt64s
    packed: Packed
    outputs: Int64s
    sequence: Int64s
    saturated: dict[str, int] = dataclasses.field(default_factory=dict)


def fold(plan: Plan, state: ShardState, rows: Rows) -> Folded:
    """Folds rows into a state, which stays as it is; `state.update(folded.delta)` moves it on.

    Args:
      plan: the entity's.
      state: of the shard (or of all shards: keys do not meet).
      rows: in the order in which they are to be folded: total order, late ones where they came.

    Raises:
      StateError: a key's bytes have another format.
    """
    made = fold_touched(plan, state.read, rows)
    data, ends = made.packed.data.tobytes(), made.packed.at.tolist()
    parts = map(data.__getitem__, map(slice, ends, ends[1:]))
    delta = dict(zip(made.keys.tolist(), parts, strict=True))
    return Folded(made.outputs, made.sequence, delta, made.saturated)


def fold_touched(plan: Plan, read: Callable[[UInt64s], Packed], rows: Rows) -> Touched:
    """As `fold`, of a state of any form.

    Args:
      plan: the entity's.
      read: the packed states of some keys, uint64 `[k]`, ascending; empty where there is none.
      rows: as `fold`.
    """
    count = len(rows)
    queried = np.flatnonzero(rows.query)
    outputs = np.empty((len(queried), plan.width), np.int64)
    sequence = np.empty(len(queried), np.int64)
    if count == 0:
        none = Packed(np.empty(0, np.uint8), np.zeros(1, np.int64))
        return Touched(np.empty(0, np.uint64), none, outputs, sequence)
    place = np.full(count, -1, np.int64)
    place[queried] = np.arange(len(queried))
    order = np.argsort(rows.key, kind="stable")
    grouped = rows.key[order]
    begins = np.flatnonzero(np.concatenate([[True], grouped[1:] != grouped[:-1]]))
    starts = np.concatenate([begins, [count]]).astype(np.int64)
    keys = grouped[begins]
    old = read(keys)
    room = plan.max_state_bytes
    new = Packed(
        np.empty(max(room, min(_BUFFER, room * len(keys))), np.uint8),
        np.zeros(len(keys) + 1, np.int64),
    )
    grouped_rows = Grouped(
        starts, order, rows.time, rows.mask,
        np.ascontiguousarray(rows.values), np.ascontiguousarray(rows.hashes), place,
    )  # fmt: skip
    made = Made(outputs, sequence, np.zeros(plan.width, np.int64))
    parts, lengths = [], []
    first = 0
    while first < len(keys):
        new.at[first] = 0
        done = fold_keys(plan.arrays, plan.retention_us, room, grouped_rows, old, new, made, first)
        if done < 0:
            version = old.data[old.at[-1 - done]]
            raise StateError(
                f"state of entity {plan.entity!r} holds a key in format {version}; "
                f"this release reads {FORMAT}. Make the state anew with `lockstep backfill`"
            )
        parts.append(new.data[: new.at[done]].copy())
        lengths.append(np.diff(new.at[first : done + 1]))
        first = done
    at = np.zeros(len(keys) + 1, np.int64)
    np.cumsum(np.concatenate(lengths), out=at[1:])
    packed = Packed(parts[0] if len(parts) == 1 else np.concatenate(parts), at)
    return Touched(keys, packed, outputs, sequence, _saturated(plan, made.saturated))


def finish(plan: Plan, outputs: Int64s, into: Floats | None = None) -> Floats:
    """Features of a fold's outputs: float32 `[q, features]`, NaN for null.

    Elementwise and correctly rounded throughout, so a row's bits do not depend on its neighbours.

    Args:
      plan: the entity's.
      outputs: int64 `[q, width]`.
      into: where they are written; None: a new array.
    """
    features = np.empty((len(outputs), len(plan.recipes)), np.float32) if into is None else into
    for start in range(0, len(outputs), _ROWS):
        _finish(plan, outputs[start : start + _ROWS], features[start : start + _ROWS])
    return features


def _saturated(plan: Plan, columns: Int64s) -> dict[str, int]:
    """By aggregate, the worst of its windows: a value that does not fit is counted in each."""
    counts: dict[str, int] = {}
    if columns.any():
        for recipe in plan.recipes:
            most = max((int(columns[one]) for one in recipe.outputs), default=0)
            if most:
                name = f"{plan.entity}.{recipe.aggregate.name}"
                counts[name] = max(counts.get(name, 0), most)
    return counts


def _finish(plan: Plan, outputs: Int64s, features: Floats) -> None:
    whole = np.ascontiguousarray(outputs.T)  # columns side by side: each is read and written whole
    made = np.empty((len(plan.recipes), len(outputs)), np.float64)
    for index, recipe in enumerate(plan.recipes):
        if not recipe.operands:
            columns = [whole[column] for column in recipe.outputs]
            made[index] = recipe.logic.finish(columns, Ask(recipe.aggregate, recipe.window))
    for index, recipe in enumerate(plan.recipes):
        if recipe.operands:
            made[index] = recipe.logic.combine(*(made[operand] for operand in recipe.operands))
    with np.errstate(over="ignore"):
        features[:] = made.T
