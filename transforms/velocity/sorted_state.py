"""The state of one shard in two arrays, for folds of whole days; `ShardState` is for small ones.

A day touches most keys of a shard and then gives its state out: with an object for each key, that
took longer than the fold itself. Here a key's bytes are moved when the state moves on, and no
Python object stands for a key. What it gives out has the bytes that `ShardState` gives.
"""

# numba compiles these; annotations would be lost on it.
# mypy: disable-error-code="no-untyped-def,no-untyped-call"

from __future__ import annotations

import numba
import numpy as np
import pyarrow as pa

from transforms.velocity.codec import get_clock
from transforms.velocity.fold import Touched
from transforms.velocity.layout import Packed, UInt64s
from transforms.velocity.plan import Plan
from transforms.velocity.state import ShardState, read_table, state_table

_jit = numba.njit(cache=True, nogil=True)


class SortedState:
    """Packed state by key.

    Args:
      plan: of the entity.
      keys: uint64 `[k]`, ascending.
      packed: their states, in this order.
    """

    def __init__(self, plan: Plan, keys: UInt64s, packed: Packed) -> None:
        self._plan, self._keys, self._packed = plan, keys, packed
        for array in (keys, *packed):  # as mapped files give them: one compiled form for both
            array.flags.writeable = False

    @classmethod
    def empty(cls, plan: Plan) -> SortedState:
        """No keys."""
        none = Packed(np.empty(0, np.uint8), np.zeros(1, np.int64))
        return cls(plan, np.empty(0, np.uint64), none)

    def __len__(self) -> int:
        return len(self._keys)

    @property
    def nbytes(self) -> int:
        """Bytes of packed state."""
        return int(self._packed.at[-1] - self._packed.at[0])

    def read(self, keys: UInt64s) -> Packed:
        """The packed bytes of some keys, uint64 `[n]`, ascending; empty where there is none."""
        data, at = _gather(self._keys, *self._packed, keys)
        data.flags.writeable = False
        return Packed(data, at)

    def after(self, touched: Touched) -> SortedState:
        """With what a fold has made."""
        keys, data, at = _merge(self._keys, *self._packed, touched.keys, *touched.packed)
        return SortedState(self._plan, keys, Packed(data, at))

    def at(self, now_us: int) -> SortedState:
        """Without keys that saw nothing for longer than their retention before `now_us`."""
        keep = _newer(*self._packed, now_us - self._plan.retention_us)
        if keep.all():
            return self
        kept = self._keys[keep]
        return SortedState(self._plan, kept, self.read(kept))

    def to_table(self) -> pa.Table:
        """As `ShardState.to_table`."""
        buffers = [None, pa.py_buffer(self._packed.at), pa.py_buffer(self._packed.data)]
        states = pa.LargeBinaryArray.from_buffers(pa.large_binary(), len(self), buffers)
        return state_table(self._plan, self._keys, states)

    @classmethod
    def from_table(cls, table: pa.Table, plan: Plan) -> SortedState:
        """The reverse of `to_table`.

        Raises:
          StateError: the table is of another format, of another entity or spec, or damaged.
        """
        keys, packed = read_table(table, plan)
        if not (keys[1:] > keys[:-1]).all():
            keys, packed = read_table(ShardState.from_table(table, plan).to_table(), plan)
        return cls(plan, keys, packed)


@_jit
def _gather(keys, data, at, wanted):
    """The bytes of some of the keys, both ascending."""
    places = np.searchsorted(keys, wanted)
    ends = np.zeros(len(wanted) + 1, np.int64)
    for i in range(len(wanted)):
        size = 0
        if places[i] < len(keys) and keys[places[i]] == wanted[i]:
            size = at[places[i] + 1] - at[places[i]]
        ends[i + 1] = ends[i] + size
    made = np.empty(max(ends[-1], 1), np.uint8)
    for i in range(len(wanted)):
        if ends[i + 1] > ends[i]:
            _copy(made, ends[i], data, at[places[i]], ends[i + 1] - ends[i])
    return made, ends


@_jit
def _merge(keys, data, at, others, new, new_at):
    """The keys of both, ascending; the bytes of the others where both have a key."""
    most = len(keys) + len(others)
    made_keys = np.empty(most, np.uint64)
    source = np.empty(most, np.int64)  # a place among the keys, or -1 - place among the others
    ends = np.zeros(most + 1, np.int64)
    count = one = other = 0
    while one < len(keys) or other < len(others):
        if other == len(others) or (one < len(keys) and keys[one] < others[other]):
            made_keys[count], source[count] = keys[one], one
            ends[count + 1] = ends[count] + at[one + 1] - at[one]
            one += 1
        else:
            made_keys[count], source[count] = others[other], -1 - other
            ends[count + 1] = ends[count] + new_at[other + 1] - new_at[other]
            one += one < len(keys) and keys[one] == others[other]
            other += 1
        count += 1
    made = np.empty(ends[count], np.uint8)
    for i in range(count):
        size = ends[i + 1] - ends[i]
        if source[i] >= 0:
            _copy(made, ends[i], data, at[source[i]], size)
        else:
            _copy(made, ends[i], new, new_at[-1 - source[i]], size)
    return made_keys[:count].copy(), made, ends[: count + 1].copy()


@_jit
def _newer(data, at, oldest):
    """Which states have a clock of `oldest` or later."""
    keep = np.empty(len(at) - 1, np.bool_)
    for i in range(len(keep)):
        keep[i] = get_clock(data, at[i] + 1) >= oldest
    return keep


@_jit
def _copy(target, to, source, start, size):
    for i in range(size):
        target[np.uint64(to + i)] = source[np.uint64(start + i)]
