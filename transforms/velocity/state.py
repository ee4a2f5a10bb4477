"""The state of one shard: each key's packed bytes, and their form on disk.

What enters: what `fold` hands back. What leaves: the bytes of asked keys, and an Arrow table with
the plan's fingerprint and a digest, which refuses to be read by another plan or if it is damaged.
"""

from __future__ import annotations

import itertools
import operator
from collections.abc import Mapping, Sequence

import numpy as np
import pyarrow as pa
import xxhash

from configs.errors import StateError
from transforms.hashing import string_buffers
from transforms.velocity.audit import FAULTS, first_fault
from transforms.velocity.layout import Int64s, Packed, UInt8s, UInt64s
from transforms.velocity.packing import FORMAT
from transforms.velocity.plan import Plan
from transforms.velocity.rows import shard_of

_clock = operator.itemgetter(slice(1, 9))  # bytes after the version byte
_FORMAT_KEY, _PLAN_KEY = b"lockstep.state_format", b"lockstep.state"
_DIGEST_KEY = b"lockstep.state_digest"


class ShardState:
    """Packed state by key. The bytes of a key never change; a fold puts others in their place.

    Args:
      plan: of the entity.
      states: key -> packed bytes.
    """

    def __init__(self, plan: Plan, states: dict[int, bytes] | None = None) -> None:
        self._plan = plan
        self._states = {} if states is None else states

    @classmethod
    def empty(cls, plan: Plan) -> ShardState:
        """No keys."""
        return cls(plan)

    def __len__(self) -> int:
        return len(self._states)

    @property
    def nbytes(self) -> int:
        """Bytes of packed state."""
        return sum(map(len, list(self._states.values())))  # a copy: a fold may go on meanwhile

    def get(self, key: int) -> bytes:
        """A key's packed bytes; empty if there is none."""
        return self._states.get(key, b"")

    def get_all(self, keys: Sequence[int]) -> list[bytes]:
        """The packed bytes of some keys, as `get` gives them."""
        return list(map(self._states.get, keys, itertools.repeat(b"")))

    def read(self, keys: UInt64s) -> Packed:
        """The same as one array, for the kernel."""
        packed = self.get_all(keys.tolist())
        at = np.zeros(len(packed) + 1, np.int64)
        np.cumsum(np.fromiter(map(len, packed), np.int64, len(packed)), out=at[1:])
        return Packed(np.frombuffer(b"".join(packed) or b"\0", np.uint8), at)

    def update(self, delta: Mapping[int, bytes]) -> None:
        """Takes over what a fold has made."""
        self._states.update(delta)

    def merge(self, other: ShardState) -> None:
        """Takes over the keys of another shard of the same entity; they do not meet."""
        self._states.update(other._states)

    def copy(self) -> ShardState:
        """A snapshot: the same bytes, another mapping."""
        return ShardState(self._plan, dict(self._states))

    def expire(self, now_us: int) -> None:
        """Drops keys that saw nothing for longer than their retention before `now_us`.

        The fold treats such a state as empty anyway; this frees its memory.
        """
        oldest = now_us - self._plan.retention_us
        clocks = np.frombuffer(b"".join(map(_clock, self._states.values())), "<i8")
        old = np.flatnonzero(clocks < oldest)
        if len(old):
            keys = list(self._states)
            for place in old.tolist():
                del self._states[keys[place]]

    def to_table(self) -> pa.Table:
        """Arrow: `key` uint64 ascending, `state` large_binary; equal states are equal bytes."""
        keys, states = np.fromiter(self._states, np.uint64, len(self)), list(self._states.values())
        offsets = np.zeros(len(keys) + 1, np.int64)
        np.cumsum(np.fromiter(map(len, states), np.int64, len(keys)), out=offsets[1:])
        buffers = [None, pa.py_buffer(offsets), pa.py_buffer(b"".join(states))]
        packed = pa.LargeBinaryArray.from_buffers(pa.large_binary(), len(keys), buffers)
        order = np.argsort(keys)
        return state_table(self._plan, keys[order], packed.take(pa.array(order)))

    def split(self, plan: Plan, shards: int) -> list[ShardState]:
        """The same keys, each in its shard's state (`rows.shard_of`), under another plan's name.

        Args:
          plan: of the same cells; its spec may name its input otherwise.
          shards: how many.
        """
        keys = np.fromiter(self._states, np.uint64, len(self._states))
        parts: list[dict[int, bytes]] = [{} for _ in range(shards)]
        for shard, (key, packed) in zip(
            shard_of(keys, shards).tolist(), self._states.items(), strict=True
        ):
            parts[shard][key] = packed
        return [ShardState(plan, part) for part in parts]

    @classmethod
    def from_table(cls, table: pa.Table, plan: Plan) -> ShardState:
        """The reverse of `to_table`.

        Raises:
          StateError: the table is of another format, of another entity or spec, or damaged.
        """
        keys, _ = read_table(table, plan)
        states = table.column("state").to_pylist()
        return cls(plan, dict(zip(keys.tolist(), states, strict=True)))


def state_table(plan: Plan, keys: UInt64s, states: pa.LargeBinaryArray) -> pa.Table:
    """A state's table: its keys, ascending, and their packed bytes."""
    schema = pa.schema(
        {"key": pa.uint64(), "state": pa.large_binary()},
        metadata={
            _FORMAT_KEY: str(FORMAT),
            _PLAN_KEY: plan.fingerprint,
            _DIGEST_KEY: _digest(keys, *_packed(states)),
        },
    )
    return pa.table([pa.array(keys), states], schema=schema)


def read_table(table: pa.Table, plan: Plan) -> tuple[UInt64s, Packed]:
    """The reverse of `state_table`.

    Raises:
      StateError: the table is of another format, of another entity or spec, or damaged.
    """
    metadata = table.schema.metadata or {}
    format_ = metadata.get(_FORMAT_KEY, b"none").decode()
    made_for = metadata.get(_PLAN_KEY, b"none").decode()
    if format_ != str(FORMAT):
        raise StateError(
            f"state of entity {plan.entity!r} has format {format_}, this release reads "
            f"{FORMAT}; make it anew with `lockstep backfill`"
        )
    if made_for != plan.fingerprint:
        raise StateError(
            f"state of entity {plan.entity!r} was made for {made_for}, the spec now needs "
            f"{plan.fingerprint}: its keys, aggregates or windows changed. Backfill under this "
            "spec (--only-new-features, or another --out)"
        )
    keys, states = table.column("key"), table.column("state")
    if keys.null_count or states.null_count:
        raise StateError(_damaged(plan, "a key or a state is null"))
    offsets, data = _packed(states)
    digest = metadata.get(_DIGEST_KEY)
    if digest is not None and digest.decode() != _digest(keys.to_numpy(), offsets, data):
        raise StateError(_damaged(plan, "its bytes are not those that were written"))
    number, fault = first_fault(data, offsets, plan.arrays)
    if number >= 0:
        raise StateError(_damaged(plan, f"key {number + 1} of {len(offsets) - 1} {FAULTS[fault]}"))
    return keys.to_numpy(), Packed(data, offsets)


def _packed(states: pa.Array | pa.ChunkedArray) -> tuple[Int64s, UInt8s]:
    """Where each state begins, and the last one ends: int64 `[keys + 1]`; and all bytes."""
    if isinstance(states, pa.ChunkedArray):
        states = states.combine_chunks()
    if len(states) == 0:
        return np.zeros(1, np.int64), np.zeros(0, np.uint8)
    offsets, data = string_buffers(states)
    return offsets.astype(np.int64), data


def _digest(keys: UInt64s, offsets: Int64s, data: UInt8s) -> str:
    """XXH64 of the keys, the lengths of their states and the states, in 16 hex digits."""
    hashed = xxhash.xxh64(np.ascontiguousarray(keys).data)
    hashed.update(np.diff(offsets).data)
    hashed.update(data[offsets[0] : offsets[-1]].data)
    return hashed.hexdigest()


def _damaged(plan: Plan, what: str) -> str:
    return (
        f"state of entity {plan.entity!r} is damaged: {what}. Put the file back from a copy, or "
        "make the state anew with `lockstep backfill`"
    )
