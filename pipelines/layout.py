"""Where things are in an output folder, and how they appear there: whole, or not at all.

What enters: days, names, tables. What leaves: files that are complete whenever they can be seen.
Everything is written aside, flushed to disk, and renamed; a day exists when its marker exists,
and the marker comes last. So a killed run leaves either a day or no day, and a second run can
tell which.

    OUT/
    ├── features/date=2026-03-01/part-00000.parquet   scored events, one float32 column per input
    ├── verdicts/date=2026-03-01/part-00000.parquet   what became known on that day
    ├── state/date=2026-03-01/author-003.arrow        velocity state at the end of that day
    ├── dead_letters/                                 what could not be read, and why
    ├── days/2026-03-01.json                          the marker: counts, fingerprints
    ├── sources/2026-03-01.json                       the files that the day was made from
    ├── bundles/                                      trained models (scoring.store)
    ├── reports/2026-03-04/report.html                one page a night
    └── .work/                                        scratch of the run that holds the lock
"""

from __future__ import annotations

import contextlib
import dataclasses
import datetime as dt
import fcntl
import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from configs.errors import BusyError, InputError

DAY_US = 86_400_000_000
_EPOCH = dt.date(1970, 1, 1)


@dataclasses.dataclass(frozen=True)
class Days:
    """Consecutive UTC days, `first` to `last`, both included.

    >>> [str(day) for day in Days.parse("2026-03-01..2026-03-02")]
    ['2026-03-01', '2026-03-02']
    """

    first: dt.date
    last: dt.date

    @classmethod
    def parse(cls, text: str) -> Days:
        """Days of "2026-03-01..2026-03-07" or "2026-03-01".

        Raises:
          InputError: not such a text, or the last day lies before the first.
        """
        first, separator, last = text.partition("..")
        days = cls(parse_day(first), parse_day(last if separator else first))
        if days.last < days.first:
            raise InputError(f"days {text!r}: the last day lies before the first; swap them")
        return days

    def __iter__(self) -> Iterator[dt.date]:
        return (self.first + dt.timedelta(days=i) for i in range(len(self)))

    def __len__(self) -> int:
        return (self.last - self.first).days + 1

    def __str__(self) -> str:
        return f"{self.first}..{self.last}"

    @property
    def start_us(self) -> int:
        """The first microsecond, UTC."""
        return day_us(self.first)

    @property
    def end_us(self) -> int:
        """The microsecond after the last one, UTC."""
        return day_us(self.last) + DAY_US


def parse_day(text: str) -> dt.date:
    """A date of "2026-03-01".

    Raises:
      InputError: not a date.

    >>> parse_day("2026-03-01")
    datetime.date(2026, 3, 1)
    """
    try:
        return dt.date.fromisoformat(text.strip())
    except ValueError as error:
        raise InputError(f"{text!r} is not a day; write it as 2026-03-01") from error


def day_us(day: dt.date) -> int:
    """Midnight UTC at the start of a day, in microseconds since 1970.

    >>> day_us(dt.date(1970, 1, 2))
    86400000000
    """
    return (day - _EPOCH).days * DAY_US


def day_of(time_us: int) -> dt.date:
    """The UTC day of a time in microseconds.

    >>> day_of(-1)
    datetime.date(1969, 12, 31)
    """
    return _EPOCH + dt.timedelta(days=int(time_us // DAY_US))


@dataclasses.dataclass(frozen=True)
class Layout:
    """The paths of an output folder."""

    root: Path

    def features(self, day: dt.date) -> Path:
        """Folder of the day's scored events."""
        return self.root / "features" / f"date={day}"

    def verdicts(self, day: dt.date) -> Path:
        """Folder of the verdicts that became known on the day."""
        return self.root / "verdicts" / f"date={day}"

    def state(self, day: dt.date) -> Path:
        """Folder of the state snapshot at the end of the day."""
        return self.root / "state" / f"date={day}"

    def marker(self, day: dt.date) -> Path:
        """The file that says that the day is there, whole."""
        return self.root / "days" / f"{day}.json"

    def sources(self, day: dt.date) -> Path:
        """The file that says from which files the day was made."""
        return self.root / "sources" / f"{day}.json"

    def report(self, day: dt.date) -> Path:
        """Folder of the page of the nightly as of the day."""
        return self.root / "reports" / str(day)

    @property
    def dead_letters(self) -> Path:
        """Folder of dead letters, one file per source file."""
        return self.root / "dead_letters"

    @property
    def bundles(self) -> Path:
        """The bundle store."""
        return self.root / "bundles"

    @property
    def work(self) -> Path:
        """Scratch of the run that holds the lock; removed at its end and before the next."""
        return self.root / ".work"

    def published(self) -> list[dt.date]:
        """Days that are there, ascending."""
        folder = self.root / "days"
        if not folder.is_dir():
            return []
        return sorted(dt.date.fromisoformat(path.stem) for path in folder.glob("????-??-??.json"))

    def read_marker(self, day: dt.date) -> dict[str, Any]:
        """What the day's marker says.

        Raises:
          InputError: there is no such day, or its marker is damaged.
        """
        path = self.marker(day)
        try:
            marker: dict[str, Any] = json.loads(path.read_text())
        except FileNotFoundError as error:
            there = self.published()
            held = f"{there[0]} to {there[-1]}" if there else "no day"
            raise InputError(
                f"{self.root} has no day {day} (it holds {held}); run `lockstep backfill` for it"
            ) from error
        except ValueError as error:
            raise InputError(
                f"{path} is damaged ({error}); run a backfill of {day} anew"
            ) from error
        return marker

    def read_sources(self, day: dt.date) -> dict[str, dict[str, int]] | None:
        """The files that a day was made from (`backfill.origin`); None if it does not tell."""
        try:
            record: dict[str, dict[str, int]] = json.loads(self.sources(day).read_text())
        except (FileNotFoundError, ValueError):
            return None
        return record


@contextlib.contextmanager
def locked(layout: Layout) -> Iterator[None]:
    """Holds the output folder for one run; its scratch is empty at the start and gone at the end.

    The lock is the kernel's (flock), so a killed run leaves none behind.

    Raises:
      BusyError: another run holds it.
      InputError: the folder cannot be made or written.
    """
    try:
        layout.root.mkdir(parents=True, exist_ok=True)
        handle = os.open(layout.root / ".lock", os.O_RDWR | os.O_CREAT, 0o644)
    except OSError as error:
        raise InputError(
            f"cannot write to {layout.root} ({error.strerror}); choose another --out"
        ) from error
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            holder = os.pread(handle, 32, 0).decode(errors="replace").strip() or "unknown"
            raise BusyError(
                f"{layout.root} is in use by another run (process {holder}); wait for it to end, "
                "or give this run another --out"
            ) from error
        os.ftruncate(handle, 0)
        os.pwrite(handle, f"{os.getpid()}\n".encode(), 0)
        shutil.rmtree(layout.work, ignore_errors=True)
        layout.work.mkdir()
        try:
            yield
        finally:
            shutil.rmtree(layout.work, ignore_errors=True)
    finally:
        os.close(handle)


def write_json(path: Path, value: object) -> None:
    """Writes JSON so that the file is seen whole or not at all."""
    write_bytes(path, (json.dumps(value, indent=1, sort_keys=True) + "\n").encode())


def write_bytes(path: Path, data: bytes) -> None:
    """Writes a file aside, flushes it to disk and renames it into place."""
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(f".{path.name}.tmp")
    try:
        with open(aside, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(aside, path)
    except OSError:
        aside.unlink(missing_ok=True)
        raise
    _sync_folder(path.parent)


def publish_folder(aside: Path, target: Path) -> None:
    """Puts a finished folder in place of `target`, which need not exist.

    A reader sees the old folder, for an instant none, then the new one, never a mixture: the
    day's marker, removed before and written after, tells it to wait.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    for file in aside.rglob("*"):
        if file.is_file():
            _sync(file)
    if target.exists():
        shutil.rmtree(target)
    os.rename(aside, target)
    _sync_folder(target.parent)


def write_parquet(table: pa.Table, path: Path) -> None:
    """Writes one Parquet file, the same bytes for the same table.

    Strings are dictionary-encoded where that helps; floats are not (it costs time and saves none),
    nor do they have least and largest values, which nobody filters by. LZ4, since writing is the
    largest step of a backfill and zstd takes longer.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    strings = [f.name for f in table.schema if pa.types.is_string(f.type)]
    ordered = [f.name for f in table.schema if not _is_float(f.type)]
    pq.write_table(table, path, compression="lz4", use_dictionary=strings, write_statistics=ordered)


def _is_float(kind: pa.DataType) -> bool:
    return bool(pa.types.is_floating(kind) or pa.types.is_fixed_size_list(kind))


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _sync_folder(path: Path) -> None:
    _sync(path)
