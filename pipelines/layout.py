"""Where things are in an output folder, and how they appear there: whole, or not at all.

What enters: days, names, tables. What leaves: files that are complete whenever they can be seen.
Everything is written aside, flushed to disk, and renamed; a day exists when its marker exists,
and the marker comes last. So a killed run leaves either a day or no day, and a second run can
tell which; a day that was being made anew says so in its marker, and the same run goes on there.

    OUT/
    ├── features/date=2026-03-01/part-00000.parquet   scored events, one float32 column per input
    ├── verdicts/date=2026-03-01/part-00000.parquet   what became known on that day
    ├── state/date=2026-03-01/author-003.arrow        velocity state at the end of that day
    ├── dead_letters/                                 what could not be read, and why
    ├── days/2026-03-01.json                          the marker: counts, fingerprints
    ├── sources/2026-03-01.json                       the files that the day was made from
    ├── sources/files.json                            what each file held when it was read last
    ├── bundles/                                      trained models (scoring.store)
    ├── reports/2026-03-04/report.html                one page a run
    └── .work/                                        scratch of the run that holds the lock
"""

from __future__ import annotations

import contextlib
import dataclasses
import datetime as dt
import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from configs.errors import InputError
from scoring.files import exclusive, publish, replace_file

DAY_US = 86_400_000_000
REMAKING = "remaking"
"""In the marker of a day whose folders are being replaced; it says what the day was before."""
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


def require_folder(out: Path) -> None:
    """Refuses an output folder that is not there.

    Raises:
      InputError: it is no folder.
    """
    if not out.is_dir():
        raise InputError(
            f"--out {out} is no folder; give the one that `lockstep nightly` or `lockstep "
            "backfill` wrote"
        )


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

    def parts(self, day: dt.date) -> list[Path]:
        """The files of the day's scored events, in total order."""
        return sorted(self.features(day).glob("part-*.parquet"))

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

    @property
    def source_files(self) -> Path:
        """The file that says what each source file held when it was read last."""
        return self.root / "sources" / "files.json"

    def report(self, day: dt.date) -> Path:
        """Folder of the page of the nightly as of the day."""
        return self.reports / str(day)

    @property
    def reports(self) -> Path:
        """Pages of nightly runs, one folder for each day."""
        return self.root / "reports"

    @property
    def dead_letters(self) -> Path:
        """Folder of dead letters, one file per source file."""
        return self.root / "dead_letters"

    @property
    def bundles(self) -> Path:
        """The bundle store."""
        return self.root / "bundles"

    @property
    def replaced(self) -> Path:
        """Folders that are being replaced; gone at the end of a run."""
        return self.root / ".replaced"

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

    def read_marker(self, day: dt.date, unfinished: bool = False) -> dict[str, Any]:
        """What the day's marker says.

        Args:
          unfinished: also of a day that a run was making anew when it was killed.

        Raises:
          InputError: there is no such day, its marker is damaged, or it is being made anew.
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
        if marker.get(REMAKING) and not unfinished:
            raise InputError(
                f"{self.root}: the day {day} is being made anew; wait for the run that does, or if "
                "it was killed run the same backfill again"
            )
        return marker

    def read_sources(self, day: dt.date) -> dict[str, dict[str, Any]] | None:
        """The files that a day was made from (`backfill.input_manifest`); None: not recorded."""
        return _read_record(self.sources(day))

    def read_source_files(self) -> dict[str, dict[str, Any]] | None:
        """What each source file held when it was read last; None if that was never written."""
        return _read_record(self.source_files)


def _read_record(path: Path) -> dict[str, dict[str, Any]] | None:
    try:
        record: dict[str, dict[str, Any]] = json.loads(path.read_text())
    except (FileNotFoundError, ValueError):
        return None
    return record


@contextlib.contextmanager
def locked(layout: Layout, option: str = "--out") -> Iterator[None]:
    """Holds the output folder for one run; its scratch is empty at the start and gone at the end.

    What a killed run was replacing is put back first (`publish_folder`).

    Args:
      layout: the folder.
      option: that named it on the command line, for messages.

    Raises:
      BusyError: another run holds it.
      InputError: the folder cannot be made or written.
    """
    with contextlib.ExitStack() as stack:
        try:
            stack.enter_context(exclusive(layout.root, wait=False, option=option))
        except OSError as error:
            raise InputError(
                f"cannot write to {layout.root} ({error.strerror}); choose another {option}"
            ) from error
        _put_back(layout)
        shutil.rmtree(layout.work, ignore_errors=True)
        try:
            layout.work.mkdir()
        except OSError as error:
            raise InputError(
                f"cannot write to {layout.root} ({error.strerror}); choose another {option}"
            ) from error
        try:
            yield
        finally:
            shutil.rmtree(layout.work, ignore_errors=True)


def write_json(path: Path, value: object, flush: bool = True) -> None:
    """Writes JSON so that the file is seen whole or not at all."""
    data = (json.dumps(value, indent=1, sort_keys=True) + "\n").encode()
    replace_file(path, data, flush)


def write_bytes(path: Path, data: bytes) -> None:
    """Writes a file so that it is seen whole or not at all."""
    replace_file(path, data)


def publish_folder(layout: Layout, aside: Path, target: Path, flush: bool = True) -> None:
    """Puts a finished folder in place of `target`, which need not exist.

    A reader sees the old folder, for an instant none, then the new one, never a mixture of files.
    A run that is killed in between leaves the old one in `OUT/.replaced`, and the next one puts it
    back. Of a day's several folders the marker tells whether they belong together.
    """
    old = layout.replaced / target.relative_to(layout.root)
    if target.exists():
        old.parent.mkdir(parents=True, exist_ok=True)
        os.rename(target, old)
    publish(aside, target, flush)
    if old.exists():
        shutil.rmtree(old)
        shutil.rmtree(layout.replaced, ignore_errors=True)


def _put_back(layout: Layout) -> None:
    for old in layout.replaced.glob("*/*"):
        target = layout.root / old.relative_to(layout.replaced)
        if not target.exists():
            target.parent.mkdir(parents=True, exist_ok=True)
            os.rename(old, target)
    shutil.rmtree(layout.replaced, ignore_errors=True)
