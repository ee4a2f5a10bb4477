"""The scorer's two logs, followed while it writes them; nothing is written or locked.

    StepTail      STATE/log        steps, each once, in order
    ArrivalTail   STATE/arrivals   records of messages, each once, in order

A writer that is killed or meets a full disk may take back what it had not confirmed, and write
something else under the same number. A reader may have seen it: then it has `Diverged`, and begins
again from a snapshot.
"""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa

from configs.errors import StateError
from pipelines.streaming import records
from pipelines.streaming.arrivals import ArrivalRecord, Done, decode_arrived, list_arrivals
from pipelines.streaming.journal import (
    LoggedStep,
    goes_on,
    is_repeated,
    list_segments,
    read_batches,
)
from scoring.engine import STEP


class DivergedError(Exception):
    """What was read is not what the log says now, or a part of it went before it was read."""


class StepTail:
    """Steps after a number.

    Args:
      root: the state folder.
      after: the last step that is known.
    """

    def __init__(self, root: Path, after: int) -> None:
        self._root, self._next = root, after + 1
        self._segment: tuple[int, Path] | None = None
        self._good = self._inode = 0
        self._stuck: tuple[int, int] | None = None  # where nothing could be read, and the size then
        self._last: pa.RecordBatch | None = None

    def poll(self) -> list[LoggedStep]:
        """What has come since the last time.

        Raises:
          DivergedError: see above.
        """
        found: list[LoggedStep] = []
        segments = list_segments(self._root)  # before it is read: all but the newest are whole
        if self._segment is None:
            before = [one for one in segments if one[0] <= self._next]
            if not before and segments:
                raise DivergedError(f"the log begins after step {self._next}")
            if not before:
                return found
            self._segment = before[-1]
        while True:
            found += self._read(self._segment[1])
            later = [one for one in segments if one[0] > self._segment[0]]
            if not later:
                return found
            self._segment, self._good = later[0], 0

    def _read(self, path: Path) -> list[LoggedStep]:
        found: list[LoggedStep] = []
        try:
            now = path.stat()
            if now.st_size < self._good or (self._good and now.st_ino != self._inode):
                raise DivergedError(f"{path.name} was written anew")
            self._inode = now.st_ino
            if now.st_size == self._good:
                return found
            begins = self._good
            with pa.OSFile(str(path)) as source:
                for batch, end in read_batches(source, self._good):
                    self._good = end
                    if batch is not None:
                        found += self._taken(batch)
            if self._good == begins:
                self._require_torn(path, now.st_size)
        except FileNotFoundError as error:
            raise DivergedError(f"{path.name} was dropped before it was read") from error
        return found

    def _require_torn(self, path: Path, size: int) -> None:
        """What cannot be read is a step that is being written, or damage: then whole ones follow.

        Looked for where the file has grown since: most of the time it is the former.
        """
        before, self._stuck = self._stuck, (self._good, size)
        if before is None or before[0] != self._good or before[1] == size:
            return
        try:
            goes_on(path, self._good)
        except StateError as error:
            raise DivergedError(str(error)) from error

    def _taken(self, batch: pa.RecordBatch) -> list[LoggedStep]:
        number = int(batch.column(STEP)[0].as_py())
        if number == self._next:
            self._next, self._last = number + 1, batch
            return [LoggedStep(number, batch)]
        if number > self._next:
            raise DivergedError(f"step {number} follows step {self._next - 1}")
        if self._last is not None and not (
            number == self._next - 1 and is_repeated(self._last, batch)
        ):
            raise DivergedError(f"step {number} was written anew")
        return []


class ArrivalTail:
    """Records of the arrival log that may hold messages that are not done.

    Args:
      root: the state folder.
      done: messages that need nothing more.
    """

    def __init__(self, root: Path, done: Done) -> None:
        self._folder, self._below = root / "arrivals", done.below
        self._segment: tuple[int, Path] | None = None
        self._good = 0
        self._next: int | None = None
        self._last: bytes | None = None

    def poll(self) -> list[ArrivalRecord]:
        """What has come since the last time; none where there is no arrival log.

        Raises:
          DivergedError: see above.
        """
        found: list[ArrivalRecord] = []
        segments = list_arrivals(self._folder)  # before it is read: all but the newest are whole
        if self._segment is None:
            if not segments:
                return found
            before = [one for one in segments if one[0] <= self._below]
            self._segment = before[-1] if before else segments[0]
        while True:
            found += self._read(*self._segment)
            later = [one for one in segments if one[0] > self._segment[0]]
            if not later:
                return found
            self._segment, self._good = later[0], 0

    def _read(self, first: int, path: Path) -> list[ArrivalRecord]:
        try:
            size = path.stat().st_size
            if size < self._good:
                raise DivergedError(f"{path.name} was cut")
            if size == self._good:
                return []
            with path.open("rb") as file:
                file.seek(self._good)
                data = file.read()
            if self._good:
                segment = records.read_records(data, first, self._good)
            else:
                segment = records.read_segment(data)
        except FileNotFoundError:  # all that was in it is done, and steps say so
            self._next = None
            return []
        except records.DamagedError as error:
            raise DivergedError(f"{path.name}: {error}") from error
        self._good = segment.end
        return [one for payload in segment.payloads for one in self._taken(bytes(payload))]

    def _taken(self, payload: bytes) -> list[ArrivalRecord]:
        arrived = decode_arrived(payload)
        if self._next is not None and arrived.first != self._next:
            if arrived.first < self._next and payload == self._last:
                return []  # not confirmed by its disk, and appended again to the next segment
            raise DivergedError(f"message {arrived.first} follows message {self._next - 1}")
        self._next, self._last = arrived.first + len(arrived.messages), payload
        return [arrived]
