"""The arrival log: what a subscription gave, on disk before anything else is done with it.

A message is acknowledged when it is here, not when it is decided. So a restart does not depend on
when a server delivers again: the messages that were not decided are read back, in the order and
with the clock of their arrival, and the disorder buffer is what it was. Segments whose messages
are all decided (`Done`, which the log of steps and its snapshots keep) are deleted.

    STATE/arrivals/segment-000000000000.log      records of `records`, named by the first message

Messages are numbered in the order of their arrival. A record is what one pull brought: it is
written and flushed (fdatasync) as one, which is the group commit.
"""

from __future__ import annotations

import dataclasses
import errno
import itertools
import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import IO

import msgspec

from configs.errors import InputError, StateError
from pipelines.pubsub.client import RawMessage
from pipelines.pubsub.intake import Logged
from pipelines.streaming import records
from pipelines.streaming.disk import retry_until_written
from pipelines.streaming.stopping import Stopping
from scoring.files import sync

SEGMENT_BYTES = 16 * 1024 * 1024
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_REMEDY = (
    "its messages were acknowledged, and do not come again. Keep --state, and start a fresh one "
    "with --from-night and --seek"
)


class _Message(msgspec.Struct, frozen=True, array_like=True):
    message_id: str
    publish_us: int
    data: bytes
    attributes: dict[str, str]


class ArrivalRecord(msgspec.Struct, frozen=True, array_like=True):
    """A record's payload: messages that came together, numbered from `first` on."""

    first: int
    clock_us: int
    messages: list[_Message]


_ENCODER, _DECODER = msgspec.msgpack.Encoder(), msgspec.msgpack.Decoder(ArrivalRecord)


@dataclasses.dataclass
class Done:
    """Which messages need nothing more: all below a number, and some beyond it.

    >>> done = Done()
    >>> done.add([2, 0])
    >>> done.below, sorted(done.beyond), 1 in done, 2 in done
    (1, [2], False, True)
    >>> done.add([1])
    >>> done.below, done.beyond
    (3, set())
    """

    below: int = 0
    beyond: set[int] = dataclasses.field(default_factory=set)

    def add(self, numbers: Iterable[int]) -> None:
        """These too; in any order, and again without harm."""
        self.beyond.update(one for one in numbers if one >= self.below)
        while self.below in self.beyond:
            self.beyond.remove(self.below)
            self.below += 1

    def merge(self, other: Done) -> None:
        """All that another one knows."""
        self.below = max(self.below, other.below)
        self.beyond = {one for one in self.beyond if one >= self.below}
        self.add(other.beyond)

    def copy(self) -> Done:
        """One of its own."""
        return Done(self.below, set(self.beyond))

    def __contains__(self, number: int) -> bool:
        return number < self.below or number in self.beyond


class ArrivalLog:
    """Appends what arrives; reads back what is not done. One process uses it.

    Args:
      root: the state folder.
      segment_bytes: a segment that is larger is followed by a new one.
    """

    def __init__(self, root: Path, segment_bytes: int = SEGMENT_BYTES) -> None:
        self._folder = root / "arrivals"
        self._segment_bytes = segment_bytes
        self._next = 0
        self._segments: list[tuple[int, Path]] = []
        self._file: IO[bytes] | None = None
        self._first = self._size = 0

    def recover(self, done: Done) -> list[Logged]:
        """What is not done, as it came; then the log can be appended to. A torn end is cut.

        Raises:
          StateError: the log is damaged, or a part of it is gone.
          InputError: it cannot be read or cut.
        """
        found: list[Logged] = []
        segments = self._segments = list_arrivals(self._folder)
        following = segments[0][0] if segments else 0
        if following > done.below:
            raise StateError(
                f"{self._folder} begins with message {following}, and messages from {done.below} "
                f"on are not decided; a segment is gone, and {_REMEDY}"
            )
        for index, (first, path) in enumerate(segments):
            if following != first:
                raise StateError(
                    f"{path} begins with message {first}, and the segment before it ends before "
                    f"message {following}; {_REMEDY}"
                )
            last = index + 1 == len(segments)
            for arrived in _read(path, first, last):
                if arrived.first != following:
                    raise StateError(
                        f"{path}: message {arrived.first} follows message {following - 1}; "
                        f"{_REMEDY}"
                    )
                if not last and arrived.first == segments[index + 1][0]:
                    break  # not confirmed by its disk, and appended again to the next segment
                following += len(arrived.messages)
                found += _undone(arrived, done)
        known = max(done.below, max(done.beyond, default=-1) + 1)
        if following < known:
            raise StateError(
                f"{self._folder} ends before message {following}, and message {known - 1} was "
                f"decided; its end is gone, and {_REMEDY}"
            )
        self._next = following
        return found

    def append(self, messages: Sequence[RawMessage], clock_us: int) -> int:
        """Writes messages and flushes them to disk, all or none; the first one's number.

        Raises:
          OSError: the disk is full or gone; they may be appended again later.
        """
        rows = [_Message(m.message_id, m.publish_us, m.data, {**m.attributes}) for m in messages]
        payload = _ENCODER.encode(ArrivalRecord(self._next, clock_us, rows))
        if self._file is None or self._size >= self._segment_bytes:
            self._open()
        file = self._file
        if file is None:
            raise InputError(f"{self._folder}: the log is not open")
        data = records.frame(payload, self._first, self._size)
        try:
            write_all(file, data)
            os.fdatasync(file.fileno())
        except OSError:
            self._cut()
            raise
        self._size += len(data)
        first = self._next
        self._next += len(messages)
        return first

    def forget(self, below: int) -> None:
        """Deletes the oldest segments whose messages all have lower numbers; not the newest one."""
        while len(self._segments) > 1 and self._segments[1][0] <= below:
            self._segments[0][1].unlink(missing_ok=True)
            del self._segments[0]

    def close(self) -> None:
        """Closes the segment."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def _open(self) -> None:
        self.close()
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        path = self._folder / f"segment-{self._next:012d}.log"
        head = records.begin_segment(self._next)
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        file = open(handle, "wb", buffering=0)  # noqa: SIM115 - lives as long as the segment
        try:
            write_all(file, head)
            sync(self._folder)
            sync(self._folder.parent)
        except OSError:
            file.close()
            path.unlink(missing_ok=True)
            raise
        self._file, self._first, self._size = file, self._next, len(head)
        if not self._segments or self._segments[-1][0] != self._next:
            self._segments.append((self._next, path))

    def _cut(self) -> None:
        """Takes a half-written record back, and leaves the segment at its end.

        What a disk did not confirm it may have dropped from its cache as if it had: the next try
        writes it to a new segment.
        """
        file, self._file = self._file, None
        if file is None:
            return
        try:
            file.truncate(self._size)
        finally:
            file.close()


class KeptArrivals:
    """The log as an intake has it: what it cannot write it waits for, or ends the scorer.

    Args:
      root: the state folder.
      stopping: a scorer that is to end does not wait.
    """

    def __init__(self, root: Path, stopping: Stopping) -> None:
        self.log = ArrivalLog(root)
        self._root, self._stopping = root, stopping

    def append(self, messages: Sequence[RawMessage], clock_us: int) -> int:
        """Returns once they are on disk; a full disk is waited for.

        Raises:
          StateError: the scorer is to end.
          InputError: the disk fails.
        """
        first = -1

        def write() -> None:
            nonlocal first
            try:
                first = self.log.append(messages, clock_us)
            except OSError as error:
                if error.errno not in _FULL:
                    raise InputError(
                        f"the arrival log in {self._root} cannot be written ({error.strerror}), "
                        "and more room would not help: the disk fails, or is read-only. Nothing of "
                        "it was acknowledged. See to the disk, or give another --state"
                    ) from error
                raise

        retry_until_written(self._root, "the arrival log", write, self._stopping)
        return first


def list_arrivals(folder: Path) -> list[tuple[int, Path]]:
    """Segments as (first message, path), in order."""
    return sorted((int(path.stem.split("-")[1]), path) for path in folder.glob("segment-*.log"))


def write_all(file: IO[bytes], data: bytes) -> None:
    """Writes to an unbuffered file until all is written: a full disk may take a part."""
    left = memoryview(data)
    while left:
        left = left[file.write(left) :]


def _read(path: Path, first: int, last: bool) -> Iterator[ArrivalRecord]:
    try:
        data = path.read_bytes()
        segment = records.read_segment(data)
        if last and segment.end < len(data):
            _cut_off(path, segment.end)
    except records.DamagedError as error:
        raise StateError(
            f"{path} is damaged at byte {error.offset}: its checksum is {error.expected:08x}, "
            f"what is there has {error.found:08x}; {_REMEDY}"
        ) from None
    except OSError as error:
        raise InputError(
            f"{path} cannot be read or cut ({error.strerror}); see to the disk and the rights, and "
            "start again"
        ) from error
    if segment.first not in (first, None):
        raise StateError(f"{path} begins with message {segment.first}; {_REMEDY}")
    yield from map(decode_arrived, segment.payloads)


def decode_arrived(payload: bytes | memoryview) -> ArrivalRecord:
    """A record of the log."""
    return _DECODER.decode(payload)


def _cut_off(path: Path, size: int) -> None:
    """Takes a torn end away for good, or the whole file where not even its head is there."""
    if size == 0:
        path.unlink()
        return
    os.truncate(path, size)
    sync(path)


def _undone(arrived: ArrivalRecord, done: Done) -> Iterator[Logged]:
    """Runs of messages that are not done."""
    numbered = enumerate(arrived.messages, arrived.first)
    for is_done, run in itertools.groupby(numbered, lambda one: one[0] in done):
        if not is_done:
            some = list(run)
            messages = [
                RawMessage("", m.message_id, m.publish_us, m.data, attributes=m.attributes)
                for _, m in some
            ]
            yield Logged(some[0][0], arrived.clock_us, messages)
