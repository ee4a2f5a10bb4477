"""Where things are in an output folder, on a disk or any filesystem of Beam's, and what is there.

A day exists when its marker does. The marker names the day's files, each with its size and SHA-256,
and readers read what markers name and nothing else: neither a disk's rename nor a listing decides.
A file's name ends with the beginning of its SHA-256, so what a marker names is never overwritten,
readers see when it is damaged (`files.checked_file`), and a day that is made anew is the old one
until its marker is replaced, and the new one from then on. What no marker names is of a dead
attempt; the next run removes it (`backfill.publish`).

    OUT/
    ├── features/date=2026-03-01/part-0000-4c7d….parquet   scored events, a column per model input
    ├── verdicts/date=2026-03-01/part-0000-91b0….parquet   what became known on that day
    ├── state/date=2026-03-01/author-003-b8e2….arrow      velocity state at the end of that day
    ├── dead_letters/                                     what could not be read, and why
    ├── days/2026-03-01.json                              the marker: files, counts, fingerprints
    ├── sources/2026-03-01.json                           the files that the day was made from
    ├── sources/files.json                                what each file held when it was read last
    ├── bundles/                                          trained models (scoring.store)
    ├── graph/2026-03-12.json                             a snapshot of the social graph
    ├── campaigns/2026-03-12.json                         a snapshot of campaigns
    ├── reports/2026-03-04/report.html                    one page a run
    └── .work/                                            scratch of the run that holds the lock
"""

from __future__ import annotations

import contextlib
import dataclasses
import datetime as dt
import json
import os
import re
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from configs.errors import BusyError, InputError
from scoring.files import (
    Place,
    exists,
    is_local,
    join,
    list_files,
    name_of,
    read_file,
    remove_folder,
    replace_file,
    require_known,
)
from scoring.locks import Require, exclusive

DAY_US = 86_400_000_000
FEATURES, VERDICTS, STATE, DEAD_LETTERS = "features", "verdicts", "state", "dead_letters"
FILES = "files"
"""In a marker: kind -> the day's files of that kind, `FEATURES` in total order."""
REPORT_PAGE, REPORT_FACTS = "report.html", "report.json"
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


def require_folder(out: Place) -> None:
    """Refuses an output folder that is not there.

    Raises:
      InputError: it is no folder of this machine; in an object store there are none to look for.
    """
    if is_local(out) and not os.path.isdir(out):
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


class Layout:
    """The paths of an output folder, and what its markers name.

    Args:
      root: a folder of this machine, or of a filesystem that Beam knows ("gs://bucket/out").

    Raises:
      InputError: Beam knows no filesystem of this scheme.
    """

    def __init__(self, root: Place) -> None:
        self.root = str(Path(root)) if is_local(root) else str(root).rstrip("/")
        require_known(self.root)

    def folder(self, kind: str, day: dt.date) -> str:
        """Where a day's files of a kind are (`FEATURES`, `VERDICTS`, `STATE`)."""
        return join(self.root, kind, f"date={day}")

    def marker(self, day: dt.date) -> str:
        """The file that says that the day is there, and of which files it is made."""
        return join(self.root, "days", f"{day}.json")

    def sources(self, day: dt.date) -> str:
        """The file that says from which files the day was made."""
        return join(self.root, "sources", f"{day}.json")

    @property
    def source_files(self) -> str:
        """The file that says what each source file held when it was read last."""
        return join(self.root, "sources", "files.json")

    def report(self, day: dt.date) -> str:
        """Folder of the page of the nightly as of the day."""
        return join(self.reports, str(day))

    @property
    def reports(self) -> str:
        """Pages of nightly runs, one folder for each day."""
        return join(self.root, "reports")

    @property
    def dead_letters(self) -> str:
        """Folder of dead letters: files by source file, and by day for duplicates."""
        return join(self.root, DEAD_LETTERS)

    @property
    def bundles(self) -> str:
        """The bundle store."""
        return join(self.root, "bundles")

    @property
    def work(self) -> str:
        """Scratch of the run that holds the lock; removed at its end and before the next."""
        return join(self.root, ".work")

    def published(self) -> list[dt.date]:
        """Days that are there, ascending."""
        names = (name_of(path) for path in list_files(join(self.root, "days")))
        return sorted(dt.date.fromisoformat(name[:10]) for name in names if _DAY.fullmatch(name))

    def read_marker(self, day: dt.date) -> dict[str, Any]:
        """What the day's marker says.

        Raises:
          InputError: there is no such day, or its marker is damaged.
        """
        path = self.marker(day)
        try:
            marker: dict[str, Any] = json.loads(read_file(path))
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
        if FILES not in marker:
            marker[FILES] = self._listed(day, path, marker)
        return marker

    def files(self, day: dt.date, kind: str) -> list[str]:
        """Paths of the files of a kind that the day's marker names; `FEATURES` in total order.

        Raises:
          InputError: see `read_marker`.
        """
        return list(self.named(self.read_marker(day), kind).values())

    def named(self, marker: Mapping[str, Any], kind: str) -> dict[str, str]:
        """Name without its digest -> path of the files of a kind that a marker names."""
        files = marker[FILES].get(kind, [])
        return {one["name"]: join(self.root, *one["path"].split("/")) for one in files}

    def state(self, day: dt.date) -> dict[str, str]:
        """Name -> path of the state at the day's end; {} where it is kept no longer.

        Raises:
          InputError: the marker is damaged.
        """
        if not exists(self.marker(day)):
            return {}
        named = self.named(self.read_marker(day), STATE)
        return named if set(named.values()) <= set(list_files(self.folder(STATE, day))) else {}

    def read_sources(self, day: dt.date) -> dict[str, dict[str, Any]] | None:
        """The files that a day was made from (`backfill.input_manifest`); None: not recorded."""
        return _read_record(self.sources(day))

    def read_source_files(self) -> dict[str, dict[str, Any]] | None:
        """What each source file held when it was read last; None if that was never written."""
        return _read_record(self.source_files)

    def _listed(
        self, day: dt.date, path: str, marker: Mapping[str, Any]
    ) -> dict[str, list[dict[str, Any]]]:
        """The files of a day that an earlier build published: what is in its folders."""
        if marker.get("remaking"):
            raise InputError(
                f"{path}: an earlier release was killed while it made the day anew; remove the "
                "markers of this and all later days, and run the backfill again"
            )
        kinds = {kind: self.folder(kind, day) for kind in (FEATURES, VERDICTS, STATE)}
        found = {
            kind: [one for one in list_files(folder) if one.endswith(_ENDINGS)]
            for kind, folder in kinds.items()
        }
        dead = join(self.dead_letters, f"duplicates-{day}.parquet")
        found[DEAD_LETTERS] = [dead] if exists(dead) else []
        below = len(self.root) + 1
        return {
            kind: [{"name": name_of(one), "path": one[below:]} for one in paths]
            for kind, paths in found.items()
        }


_DAY = re.compile(r"\d{4}-\d{2}-\d{2}\.json")
_ENDINGS = (".parquet", ".arrow")


def _read_record(path: str) -> dict[str, dict[str, Any]] | None:
    try:
        record: dict[str, dict[str, Any]] = json.loads(read_file(path))
    except (FileNotFoundError, ValueError):
        return None
    return record


@contextlib.contextmanager
def locked(layout: Layout, option: str = "--out") -> Iterator[Require]:
    """Holds the output folder for one run; its scratch is empty at the start and gone at the end.

    Args:
      layout: the folder.
      option: that named it on the command line, for messages.

    Returns:
      what checks that it is still held (`scoring.locks`).

    Raises:
      BusyError: another run holds it.
      InputError: the folder cannot be made or written.
    """
    with contextlib.ExitStack() as stack:
        try:
            require = stack.enter_context(exclusive(layout.root, wait=False, option=option))
            remove_folder(layout.work)
            make_folders([layout.work])
        except OSError as error:
            raise InputError(
                f"cannot write to {layout.root} ({error.strerror or error}); choose another "
                f"{option}"
            ) from error
        try:
            yield require
        finally:
            with contextlib.suppress(BusyError):  # it is the next holder's by now
                require()
                remove_folder(layout.work)


@contextlib.contextmanager
def local_scratch(layout: Layout) -> Iterator[Path]:
    """A folder of this machine for the run that holds the lock; gone at its end."""
    if is_local(layout.work):
        yield Path(layout.work)
        return
    with tempfile.TemporaryDirectory(prefix="lockstep-") as folder:
        yield Path(folder)


def make_folders(paths: Iterable[str]) -> None:
    """Makes folders of this machine; an object store needs none."""
    for path in paths:
        if is_local(path):
            os.makedirs(path, exist_ok=True)


def json_bytes(value: object) -> bytes:
    """As JSON for people: indented, keys sorted."""
    return (json.dumps(value, indent=1, sort_keys=True) + "\n").encode()


def write_json(path: str, value: object) -> None:
    """Writes JSON so that the file is seen whole or not at all."""
    replace_file(path, json_bytes(value))
