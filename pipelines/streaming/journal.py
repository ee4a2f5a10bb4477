"""The scorer's memory on disk: a log of steps, snapshots of state, and how far was published.

What enters: one Arrow batch per micro-batch ("step"), and now and then the resident state. What
leaves: after a restart, the newest snapshot and the steps since. The order that loses nothing:

1. a step's batch is appended and flushed to disk (the decisions are in it, and which messages of
   the arrival log it completes),
2. its decisions are published,
3. the cursor moves past it,
4. where there is no arrival log, its messages are acknowledged.

Killed after 1: the restart publishes the step's decisions again from the log, the same bytes.
Killed before: the arrival log, or the server, still has the messages, and they are decided then. A
decision is never made twice.

    STATE/
    ├── log/date=2026-03-08/segment-000000000017.arrows   Arrow IPC stream, one batch per step
    ├── snapshots/step-000000000017/                      state before step 17
    └── cursor                                            the last step that was published

Only the step that was being written when a process ended may be torn: the last one of the last
segment, or of one that is followed by a segment that begins with that very step. There it may also
be whole, the same bytes twice, and counts once. Any other damage is an error, since what is behind
it was acknowledged.

A segment is named by the day of the scorer's clock (the last event in order), which never goes
back: late events of any date are where they were folded. Each batch has a checksum (`sealed`).
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import itertools
import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import pyarrow as pa

from configs.errors import InputError, StateError
from pipelines.streaming.records import has_hole
from pipelines.streaming.sealed import is_whole, seal, step_size, steps_in
from scoring.engine import DECISION, STEP
from scoring.files import replace_file, sync

SEGMENT_BYTES = 64 * 1024 * 1024
WRITERS = {b"lockstep.writers": b"several"}
"""Of the schema of a segment that a job of an engine wrote: a step a segment, and one of its
writers may be behind another for a moment."""
_BEHIND_S, _LOOK_S = 15.0, 0.2
_REMEDY = (
    "the log is damaged, and events behind the damage were acknowledged. Keep --state, and start "
    "a fresh one with --from-night and --seek, which need no log"
)
_UNWRITTEN = (
    "a job of an engine writes the missing step once it runs: if it does not, start it again from "
    "its last checkpoint, and read the log then. If it runs, the step's file was deleted: start a "
    "fresh job and --state, with --from-night"
)


@dataclasses.dataclass(frozen=True)
class LoggedStep:
    """A step as it is in the log."""

    number: int
    batch: pa.RecordBatch


class Journal:
    """Appends steps; reads them back. One process writes (`pipelines.layout.locked` guards)."""

    def __init__(self, root: Path, segment_bytes: int = SEGMENT_BYTES) -> None:
        self.root = root
        self._segment_bytes = segment_bytes
        self._file: IO[bytes] | None = None
        self._schema: pa.Schema | None = None
        self._day: dt.date | None = None
        self._size = 0
        try:
            (root / "log").mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InputError(
                f"cannot write to {root} ({error.strerror}); give --state a writable folder"
            ) from error

    def append(self, step: int, batch: pa.RecordBatch, day: dt.date) -> None:
        """Appends a step and flushes it to disk; on failure nothing of it stays.

        Args:
          step: the next number.
          batch: `engine.log_batch`.
          day: names the folder of a new segment.

        Raises:
          OSError: the disk is full or gone; the step may be appended again later.
        """
        data = seal(batch)
        if self._must_roll(batch.schema, day):
            self._open(step, batch.schema, day)
        file = self._file
        if file is None:
            raise InputError(f"{self.root}: the log is not open")
        before = self._size
        try:
            _write_all(file, data)
            os.fsync(file.fileno())
        except OSError:
            self._cut(before)
            raise
        self._size += len(data)

    def close(self) -> None:
        """Closes the segment; an Arrow stream may end without a mark."""
        if self._file is not None:
            self._file.close()
            self._file = None

    @property
    def published(self) -> int:
        """The last step whose decisions were published; -1 before the first."""
        path = self.root / "cursor"
        try:
            return int(path.read_text() or -1)
        except FileNotFoundError:
            return -1
        except ValueError as error:
            raise StateError(
                f"{path} is damaged: it has the number of the last step that was published. Remove "
                "it, and decisions of the log are published again, the same bytes"
            ) from error

    def mark_published(self, step: int) -> None:
        """Moves the cursor. Not flushed: losing it repeats identical decisions, no more."""
        aside = self.root / ".cursor"
        aside.write_text(str(step))
        os.replace(aside, self.root / "cursor")

    def steps(self, after: int = -1) -> Iterator[LoggedStep]:
        """See `read_steps`."""
        return read_steps(self.root, after)

    def unpublished(self) -> Iterator[tuple[int, list[bytes]]]:
        """Logged steps after the cursor, with their decisions; read as they are asked for."""
        for logged in self.steps(self.published):
            yield logged.number, logged.batch.column(DECISION).drop_null().to_pylist()

    def forget(self, through: int, written_before_s: float) -> None:
        """Drops the oldest segments whose steps lie all at or before `through`.

        Segments stay by when they were written, not by the event times in them: a scorer that
        catches up with weeks of events in minutes keeps all of their log. What is dropped is the
        log's beginning, never a piece out of it.

        Args:
          through: the last step that a snapshot holds.
          written_before_s: only segments last written before this time, in seconds since 1970.
        """
        for (_, path), (following, _) in itertools.pairwise(list_segments(self.root)):
            # The following segment may begin with the step that this one ends with.
            if following > through or path.stat().st_mtime >= written_before_s:
                break
            path.unlink()

    def _must_roll(self, schema: pa.Schema, day: dt.date) -> bool:
        return (
            self._file is None
            or self._size >= self._segment_bytes
            or self._day != day
            or self._schema != schema
        )

    def _open(self, step: int, schema: pa.Schema, day: dt.date) -> None:
        self.close()
        folder = self.root / "log" / f"date={day}"
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"segment-{step:012d}.arrows"
        for torn in (self.root / "log").glob(f"date=*/{path.name}"):
            torn.unlink()  # of this very step, which is in no log yet
        head = schema.serialize().to_pybytes()
        file = open(path, "wb", buffering=0)  # noqa: SIM115 - lives as long as the segment
        try:
            _write_all(file, head)
            sync(folder)
            sync(folder.parent)
        except OSError:
            file.close()
            path.unlink(missing_ok=True)
            raise
        self._file, self._schema, self._day, self._size = file, schema, day, len(head)

    def _cut(self, size: int) -> None:
        """Takes a half-written step back; if even that fails, the segment is left at its end."""
        file, self._file = self._file, None
        if file is None:
            return
        try:
            file.truncate(size)
        finally:
            file.close()


def _write_all(file: IO[bytes], data: bytes) -> None:
    """Writes to an unbuffered file until all is written: a full disk may take a part."""
    left = memoryview(data)
    while left:
        left = left[file.write(left) :]


def read_steps(root: Path, after: int = -1) -> Iterator[LoggedStep]:
    """Steps of a log with a number above `after`, in order; the folder is only read.

    Raises:
      StateError: a step is damaged, or missing between two that are there.
      InputError: a segment cannot be read.
    """
    expected: int | None = None
    last: pa.RecordBatch | None = None
    segments, index = list_segments(root), -1
    while index + 1 < len(segments):
        index += 1
        first, path = segments[index]
        later = segments[index + 1][0] if index + 1 < len(segments) else None
        if later is not None and later <= after:
            continue
        following = first if expected is None else max(first, expected)
        for batch in read_segment(path):
            number = batch.column(STEP)[0].as_py()
            if last is not None and number == first and is_repeated(last, batch):
                continue
            if expected is not None and number != expected:
                raise StateError(f"{path}: step {number} follows step {expected - 1}; {_REMEDY}")
            expected = following = number + 1
            last = batch
            if number > after:
                yield LoggedStep(number, batch)
        if later is None or later <= after + 1:
            continue  # of a segment of older steps only a last one that was repeated matters
        if later not in (following, following - 1) and path.exists():
            several = last is not None and (last.schema.metadata or {}).items() >= WRITERS.items()
            come = _await_segment(root, following, segments[index + 1][1]) if several else None
            if come is not None:
                segments.insert(index + 1, (following, come))
                continue
            raise StateError(
                f"{path} ends before step {following}, and the next segment begins with step "
                f"{later}; {_UNWRITTEN if several else _REMEDY}"
            )


def _await_segment(root: Path, first: int, later: Path) -> Path | None:
    """The segment of a step that another writer has still to write; None: none comes."""
    while True:
        found = list((root / "log").glob(f"date=*/segment-{first:012d}.arrows"))
        if found:
            return found[0]
        if time.time() - later.stat().st_mtime > _BEHIND_S:
            return None
        time.sleep(_LOOK_S)


def is_repeated(last: pa.RecordBatch, batch: pa.RecordBatch) -> bool:
    """Whether a segment begins with the last step of the one before, bit by bit.

    A disk that fails may keep a step that it did not confirm, and not let it be cut off: the
    writer then appends the same step to a new segment.
    """
    same = last.schema == batch.schema
    return same and bool(last.serialize().equals(batch.serialize()))


def list_segments(root: Path) -> list[tuple[int, Path]]:
    """The log's segments as (first step, path), in order of steps."""
    paths = (root / "log").glob("date=*/segment-*.arrows")
    return sorted((int(path.stem.split("-")[1]), path) for path in paths)


def require_segments(root: Path) -> list[tuple[int, Path]]:
    """As `list_segments`, of what somebody says is a scorer's state.

    Raises:
      InputError: there is no log.
    """
    segments = list_segments(root)
    if not segments:
        raise InputError(f"{root} holds no log of a scorer; give the --state of `lockstep stream`")
    return segments


def read_segment(path: Path) -> Iterator[pa.RecordBatch]:
    """The steps of a segment, without a last one that is torn.

    Read, not mapped: a scorer that meets a full disk cuts a half-written step off again, and a
    reader of the same pages would be killed by SIGBUS.

    Raises:
      StateError: there are whole steps behind one that cannot be read.
      InputError: the file cannot be read.
    """
    good, tried = 0, -1
    try:
        while True:
            with pa.OSFile(str(path)) as source:
                for batch, end in read_batches(source, good):
                    good = end
                    if batch is not None:
                        yield batch
            if not goes_on(path, good):
                return
            if tried == good:
                raise _damaged(path, good)
            tried = good
    except FileNotFoundError:
        return  # dropped meanwhile, as the oldest; the gap is the reader's to see
    except OSError as error:
        raise InputError(
            f"{path} cannot be read ({error.strerror}); see to the disk and the rights, and start "
            "again"
        ) from error


def read_batches(source: pa.NativeFile, good: int) -> Iterator[tuple[pa.RecordBatch | None, int]]:
    """What can be read from `good` on, each with the place behind it; None for the schema."""
    try:
        reader = pa.ipc.open_stream(source)
        source.seek(max(good, source.tell()))
        yield None, source.tell()
        while True:
            begins = source.tell()
            batch = reader.read_next_batch()
            size = source.tell() - begins
            source.seek(begins)
            if not is_whole(source.read(size)):
                return
            yield batch, source.tell()
    except StopIteration:
        return  # the end, or zeros, which Arrow takes for one
    except pa.ArrowException:
        return
    except OSError as error:
        if error.errno is not None:
            raise
        # without a number it is Arrow's word for bytes that end too soon


def goes_on(path: Path, good: int) -> bool:
    """Whether what could not be read at `good` is whole now: its writer has gone on meanwhile.

    A step is an Arrow message: 0xFFFFFFFF, the length of its head, head and body, at a multiple of
    eight bytes.

    Raises:
      StateError: it is not, and a whole step is behind it.
    """
    if path.stat().st_size == good:
        return False
    data = path.read_bytes()
    try:
        schema = pa.ipc.open_stream(data).schema
    except (pa.ArrowException, OSError):  # a segment that was just begun is all torn
        whole = steps_in(data, None)
    else:
        if good == 0:
            return True
        size = step_size(data[good:], schema)
        if size:
            if is_whole(data[good : good + size]):
                return True
            if good + size == len(data) and has_hole(memoryview(data), good, len(data), 0):
                return False  # never confirmed
            raise _damaged(path, good, "its checksum is another")
        whole = steps_in(data[good + 8 :], schema)
    if whole:
        raise _damaged(path, good)
    return False


def _damaged(path: Path, good: int, why: str = "whole steps follow") -> StateError:
    return StateError(f"{path} is damaged at byte {good}, and {why}; {_REMEDY}")


def save_snapshot(root: Path, step: int, files: dict[str, bytes]) -> None:
    """Writes a snapshot aside, renames it, and drops those that nobody needs any more.

    The newest two stay, and for each day of the log the last one before the day: parity replays a
    range of the log from there.
    """
    target = root / "snapshots" / f"step-{step + 1:012d}"
    aside = target.with_name(f".{target.name}")
    shutil.rmtree(aside, ignore_errors=True)
    if target.exists():
        _mend(target, files)
    else:
        try:
            for name, data in files.items():
                replace_file(aside / name, data)
            os.rename(aside, target)
            sync(target.parent)
        except OSError:
            shutil.rmtree(aside, ignore_errors=True)
            raise
    snapshots = list_snapshots(root)
    needed = {path for _, path in snapshots[-2:]}
    firsts: dict[str, int] = {}
    for first, path in list_segments(root):
        firsts.setdefault(path.parent.name, first)
    for first in firsts.values():
        needed.update([path for before, path in snapshots if before < first][-1:])
    for _, path in snapshots:
        if path not in needed:
            shutil.rmtree(path)


def _mend(target: Path, files: dict[str, bytes]) -> None:
    """Makes a snapshot that is there hold these files, and at no moment less than it did.

    It may be the only one. The same step means the same state, so what is right stays, and what is
    damaged or missing is replaced, file by file.
    """
    for name, data in files.items():
        path = target / name
        if not path.is_file() or path.read_bytes() != data:
            replace_file(path, data)
    for path in target.iterdir():
        if path.name not in files:
            path.unlink()


def list_snapshots(root: Path) -> list[tuple[int, Path]]:
    """Snapshots as (step, folder), oldest first."""
    paths = (root / "snapshots").glob("step-*")
    return sorted((int(path.name.split("-")[1]) - 1, path) for path in paths)
