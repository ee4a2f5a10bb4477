"""The state of one shard: each key's packed bytes, and their form on disk.

What enters: what `fold` hands back. What leaves: the bytes of asked keys, and an Arrow table with
the plan's fingerprint, which refuses to be read by another plan.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pyarrow as pa

from configs.errors import StateError
from transforms.velocity.kernels import FORMAT
from transforms.velocity.plan import Plan

_CLOCK = slice(1, 9)  # after the version byte
_FORMAT_KEY, _PLAN_KEY = b"lockstep.state_format", b"lockstep.state"


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
        clocks = np.frombuffer(
            b"".join([packed[_CLOCK] for packed in self._states.values()]), "<i8"
        )
        old = np.flatnonzero(clocks < oldest)
        if len(old):
            keys = list(self._states)
            for place in old.tolist():
                del self._states[keys[place]]

    def to_table(self) -> pa.Table:
        """Arrow: `key` uint64 ascending, `state` large_binary; equal states are equal bytes."""
        keys = np.fromiter(self._states, np.uint64, len(self._states))
        order = np.argsort(keys)
        schema = pa.schema(
            {"key": pa.uint64(), "state": pa.large_binary()},
            metadata={_FORMAT_KEY: str(FORMAT), _PLAN_KEY: self._plan.fingerprint},
        )
        packed = pa.array(list(self._states.values()), pa.large_binary())
        return pa.table([pa.array(keys[order]), packed.take(pa.array(order))], schema=schema)

    @classmethod
    def from_table(cls, table: pa.Table, plan: Plan) -> ShardState:
        """The reverse of `to_table`.

        Raises:
          StateError: the table is of another format, or of another entity or spec.
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
        keys = table.column("key").to_pylist()
        return cls(plan, dict(zip(keys, table.column("state").to_pylist(), strict=True)))
