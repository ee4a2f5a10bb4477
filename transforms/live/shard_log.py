"""The shard log: a shard's state that lives in a worker and is safe in a runner's state cells.

A shard is a Beam key. Rows that arrive are appended to a buffer, unread, and a timer is set for the
end of their tick; when it fires, the whole tick is folded in one call on the state that the worker
holds (`ResidentShard`). What the fold changed is appended as a delta, and now and then the state is
written whole (a snapshot). A random number, the version, is written at each fold and kept beside
the resident state: where the two differ (after a restart, a move to another worker and back, a
bundle that failed and is repeated), the resident state is not the one that the cells speak of, and
is made anew of snapshot and deltas. Durability, exclusion and exactly-once are the runner's.

Nothing here knows of Beam. `Cells` is what a runner keeps of a shard; a `Machine` is what is kept
and folded: ids (`transforms.live.ids`) or an entity's keys (`transforms.live.entity`).
"""

from __future__ import annotations

import dataclasses
import struct
from collections import deque
from collections.abc import Callable, Iterator
from typing import Generic, Protocol, TypeVar

import pyarrow as pa

from configs.errors import StateError
from transforms.live.blocks import BlockHeader, Blocks, read_header, unpack_blocks
from transforms.ticks import TickSettings, expiry_before

SLOTS = 4
"""Cells of a buffer; a tick's rows wait in the cell of its number: a fold reads few others."""
_FORMAT = 1
_VERSION = struct.Struct("<B16s?qIQQ")
_DELTA = struct.Struct("<I")
_SEED = struct.Struct("<4s?q")
_SEED_MAGIC = b"LSS\x01"
_NOTE_S = 1.0

S = TypeVar("S")
Out = TypeVar("Out", covariant=True)


class Cells(Protocol):
    """What a runner keeps of a shard; what is written is seen by later reads."""

    def put(self, slot: int, block: bytes) -> None:
        """Appends to a cell of the buffer."""

    def take(self, slot: int) -> list[bytes]:
        """Empties a cell of the buffer."""

    def version(self) -> bytes | None:
        """What `set_version` wrote; None: nothing."""

    def set_version(self, data: bytes) -> None:
        """Replaces it."""

    def snapshot(self) -> bytes | None:
        """What `set_snapshot` wrote; None: nothing."""

    def set_snapshot(self, data: bytes) -> None:
        """Replaces it, and drops all deltas."""

    def deltas(self) -> list[bytes]:
        """Since the snapshot, in any order."""

    def add_delta(self, data: bytes) -> None:
        """Appends one."""

    def clear(self) -> None:
        """Forgets version, snapshot and deltas."""


class Machine(Protocol[S, Out]):
    """What a shard keeps, and how rows are folded into it.

    Attributes:
      blocks: of the rows that it folds.
      name: for errors: "entity 'author'".
      fingerprint: state of another fingerprint is refused.
      keep_us: state that saw nothing for so long in event time is empty.
    """

    blocks: Blocks
    name: str
    fingerprint: str
    keep_us: int

    def empty(self) -> S:
        """A cold start."""

    def load(self, data: bytes) -> S:
        """The reverse of `dump`."""

    def dump(self, state: S) -> bytes:
        """A snapshot."""

    def merge(self, state: S, other: S) -> None:
        """Takes over what another piece of the same shard's state holds."""

    def fold(self, state: S, tick: Tick) -> tuple[bytes, Out]:
        """Folds a tick's rows into the state; what changed, and what comes of it."""

    def apply(self, state: S, delta: bytes) -> None:
        """Changes the state as the fold did that made the delta."""

    def prune(self, state: S, now_us: int) -> None:
        """Before a snapshot: forgets what no event from `now_us` on can need."""


@dataclasses.dataclass(frozen=True)
class Tick:
    """What is folded at once.

    Attributes:
      number: of the tick.
      start_us: its first microsecond.
      blocks: rows, in any order.
      overtaken: a later tick was folded before: the source gave the rows out behind its watermark,
        and they are late.
      expire_us: keys that were silent for their retention then are freed first; None: none.
    """

    number: int
    start_us: int
    blocks: list[tuple[BlockHeader, bytes]]
    overtaken: bool
    expire_us: int | None


@dataclasses.dataclass(frozen=True)
class Version:
    """What the cells say about a shard's state.

    Attributes:
      number: random; the resident state with the same one is up to date.
      folded: the last tick that was folded, or the last one that the initial state holds; None:
        the initial state does not say.
      deltas, delta_bytes: since the snapshot.
      snapshot_bytes: of it.
      fingerprint: of the machine.
    """

    number: bytes
    folded: int | None
    deltas: int
    delta_bytes: int
    snapshot_bytes: int
    fingerprint: str

    def write(self) -> bytes:
        """As bytes."""
        return (
            _VERSION.pack(
                _FORMAT,
                self.number,
                self.folded is not None,
                self.folded or 0,
                self.deltas,
                self.delta_bytes,
                self.snapshot_bytes,
            )
            + self.fingerprint.encode()
        )

    @classmethod
    def read(cls, data: bytes, name: str) -> Version:
        """The reverse.

        Raises:
          StateError: another release wrote it.
        """
        if data[0] != _FORMAT:
            raise StateError(
                f"the job's state of {name} has format {data[0]}, this release reads {_FORMAT}; "
                "go on with the release that wrote it, or start a job of its own from a night's "
                "state"
            )
        _, number, known, folded, deltas, delta_bytes, snapshot_bytes = _VERSION.unpack_from(data)
        fingerprint = data[_VERSION.size :].decode()
        return cls(
            number, folded if known else None, deltas, delta_bytes, snapshot_bytes, fingerprint
        )


@dataclasses.dataclass
class ResidentShard(Generic[S]):
    """A shard's state in a worker, and the version that it is.

    Attributes:
      reached: (clock in seconds, event time that was folded by then), ascending.
    """

    number: bytes
    state: S
    reached: deque[tuple[float, int]] = dataclasses.field(default_factory=deque)


@dataclasses.dataclass(frozen=True)
class Fired(Generic[S, Out]):
    """What a timer gave.

    Attributes:
      outputs: of the machine, a tick each.
      resident: to be kept for the next time; None: as before.
      rebuilt: the state was made anew of snapshot and deltas.
      late: blocks that were overtaken.
    """

    outputs: list[Out]
    resident: ResidentShard[S] | None
    rebuilt: bool = False
    late: int = 0


class ShardLog(Generic[S, Out]):
    """The driver.

    Args:
      machine: what is kept and folded.
      settings: of ticks.
      number: gives 16 random bytes.
      remember_s: what was folded within so many seconds of the clock is not pruned, however far
        event time went meanwhile; after a rebuild nothing is, for as long.
    """

    def __init__(
        self,
        machine: Machine[S, Out],
        settings: TickSettings,
        number: Callable[[], bytes],
        remember_s: float = 0.0,
    ) -> None:
        self._machine, self._settings, self._number = machine, settings, number
        self._remember_s = remember_s

    def seed(self, cells: Cells, block: bytes) -> None:
        """Takes over (a piece of) a shard's state from before the first event.

        Args:
          cells: of the shard.
          block: of `seed_block`.

        Raises:
          StateError: it is of another spec, or events were folded already.
        """
        data, moment_us = _read_seed(block)
        machine, state = self._machine, self._machine.load(data)
        before = self._read(cells)
        if before is not None:
            if before.deltas:
                raise StateError(
                    f"initial state of {machine.name} came after its first event was folded; give "
                    "the state as a bounded collection, which holds back the watermark until all "
                    "of it is there"
                )
            machine.merge(state, self._rebuild(cells))
        snapshot = machine.dump(state)
        folded = None if moment_us is None else moment_us // self._settings.tick_us - 1
        cells.set_snapshot(snapshot)
        cells.set_version(
            Version(self._number(), folded, 0, 0, len(snapshot), machine.fingerprint).write()
        )

    def fire(
        self,
        cells: Cells,
        tick: int,
        resident: ResidentShard[S] | None,
        in_order: bool = True,
        now_s: float = 0.0,
    ) -> Fired[S, Out]:
        """Folds what waits for a tick.

        Args:
          cells: of the shard.
          tick: whose end has passed.
          resident: what this worker holds of the shard; its state is changed, also where this
            raises, so the caller is to have let go of it.
          in_order: see `take_due`.
          now_s: a steady clock, for `remember_s`.

        Raises:
          StateError: the cells hold state or rows of another spec.
        """
        due = take_due(cells, tick, in_order)
        if not due:
            return Fired([], resident)
        machine, settings = self._machine, self._settings
        before, rebuilt = self._read(cells), False
        reached: deque[tuple[float, int]] = deque()
        if before is None:
            state = machine.empty()
            before = Version(b"\0" * 16, None, 0, 0, 0, machine.fingerprint)
        elif resident is not None and resident.number == before.number:
            state, reached = resident.state, resident.reached
        else:
            state, rebuilt = self._rebuild(cells), True
        folded, deltas, size = before.folded, before.deltas, before.delta_bytes
        outputs, late = [], 0
        for number, blocks in due:
            overtaken = folded is not None and number <= folded
            late += len(blocks) if overtaken else 0
            start, last = number * settings.tick_us, folded
            expire = None if overtaken else expiry_before(number, last, settings.tick_us)
            delta, output = machine.fold(state, Tick(number, start, blocks, overtaken, expire))
            cells.add_delta(_DELTA.pack(deltas) + delta)
            outputs.append(output)
            deltas, size = deltas + 1, size + len(delta)
            folded = number if folded is None else max(folded, number)
        whole = before.snapshot_bytes
        forget_us = self._reach(reached, (folded or 0) * settings.tick_us, now_s)
        if deltas >= settings.snapshot_ticks and size >= whole:
            if forget_us is not None:
                machine.prune(state, forget_us)
            snapshot = machine.dump(state)
            cells.set_snapshot(snapshot)
            deltas, size, whole = 1, 0, len(snapshot)  # not 0: something has been folded
        version = Version(self._number(), folded, deltas, size, whole, machine.fingerprint)
        cells.set_version(version.write())
        return Fired(outputs, ResidentShard(version.number, state, reached), rebuilt, late)

    def expire(self, cells: Cells, now_us: int) -> bool:
        """Frees a shard that has folded nothing for as long as its state is kept.

        Returns:
          Whether it did; its resident state is to be dropped as well.
        """
        before = self._read(cells)
        if before is None or before.folded is None:
            return False
        if self._settings.end_us(before.folded) + self._machine.keep_us > now_us:
            return False
        cells.clear()
        return True

    def expires_us(self, tick: int) -> int:
        """When `expire` is to be called after a tick was folded."""
        return self._settings.end_us(tick) + self._machine.keep_us

    def _reach(self, reached: deque[tuple[float, int]], folded_us: int, now_s: float) -> int | None:
        """Notes how far event time is; how far it was `remember_s` ago, None: not known."""
        if not self._remember_s:
            return folded_us
        if not reached or now_s - reached[-1][0] >= _NOTE_S:
            reached.append((now_s, folded_us))
        while len(reached) > 1 and now_s - reached[1][0] >= self._remember_s:
            reached.popleft()
        first_s, first_us = reached[0]
        return first_us if now_s - first_s >= self._remember_s else None

    def _read(self, cells: Cells) -> Version | None:
        data = cells.version()
        if data is None:
            return None
        version, machine = Version.read(data, self._machine.name), self._machine
        if version.fingerprint != machine.fingerprint:
            raise StateError(
                f"the job's state of {machine.name} was made for {version.fingerprint}, the spec "
                f"now needs {machine.fingerprint}; start a job of its own, from a night's state "
                "under this spec and a subscription sought back to its end"
            )
        return version

    def _rebuild(self, cells: Cells) -> S:
        machine, snapshot = self._machine, cells.snapshot()
        state = machine.empty() if snapshot is None else machine.load(snapshot)
        for delta in sorted(cells.deltas(), key=lambda one: _DELTA.unpack_from(one)):
            machine.apply(state, delta[_DELTA.size :])
        return state


def seed_block(data: bytes, moment_us: int | None) -> bytes:
    """A shard's initial state, as it travels to the shard.

    Args:
      data: as `Machine.dump` gives it.
      moment_us: as of when it is: events before it are late; None: not known.

    >>> is_seed(seed_block(b"", None))
    True
    """
    return _SEED.pack(_SEED_MAGIC, moment_us is not None, moment_us or 0) + data


def is_seed(block: bytes) -> bool:
    """Whether a block is initial state, not rows."""
    return block[:4] == _SEED_MAGIC


def _read_seed(block: bytes) -> tuple[bytes, int | None]:
    _, known, moment_us = _SEED.unpack_from(block)
    return block[_SEED.size :], moment_us if known else None


def put_arrived(cells: Cells, element: bytes) -> tuple[int, ...]:
    """Appends blocks to the buffer, unread; the ticks for whose ends timers are to be set."""
    ticks = []
    for block in unpack_blocks(element):
        tick = read_header(block).tick
        cells.put(tick % SLOTS, block)
        ticks.append(tick)
    return tuple(ticks)


def take_due(
    cells: Cells, tick: int, in_order: bool = True
) -> list[tuple[int, list[tuple[BlockHeader, bytes]]]]:
    """Takes what waits for a tick, and for earlier ones: by tick, ascending.

    Args:
      cells: of the shard.
      tick: whose end has passed.
      in_order: a shard's timers fire in order, so that earlier ticks have nothing left.
    """
    found: dict[int, list[tuple[BlockHeader, bytes]]] = {}
    for slot in [tick % SLOTS] if in_order else range(SLOTS):
        for block in cells.take(slot):
            header = read_header(block)
            if header.tick > tick:
                cells.put(slot, block)
            else:
                found.setdefault(header.tick, []).append((header, block))
    return sorted(found.items())


def rows_of(
    blocks: Blocks, found: list[tuple[BlockHeader, bytes]], kind: int
) -> Iterator[pa.RecordBatch]:
    """The rows of a kind among blocks."""
    for header, block in found:
        if header.kind == kind:
            yield blocks.read(block)
