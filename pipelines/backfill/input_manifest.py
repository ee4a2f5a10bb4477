"""Which files a published day was made from, and whether the source holds others by now.

A published day is never read again, so what arrives, changes or goes away afterwards would be
missed without a word. Two records notice it:

- `OUT/sources/DAY.json`: path -> bytes, events, and what they come to (`contents`), by kind;
- `OUT/sources/files.json`: path -> bytes and time of the last change, and what each part of the
  file (the row groups of a Parquet split, or all) held of each day when it was read last.

A file whose size and time are those of `files.json` holds what it held then. Any other is read to
be compared, if it may have events of a published day and the run did not read it anyway. A day is
compared as a whole first, so files may be moved or put together; where it differs, a file that only
has another name by now is no part of the difference.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import os
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from configs.errors import InputError
from configs.schema import Spec
from pipelines.layout import DAY_US, Days, Layout, day_of, day_us
from pipelines.sources import Split, read_split
from pipelines.sources.contents import Contents, Kinds, add_contents, add_kinds, count, same
from pipelines.sources.contents import contents as contents_of
from pipelines.sources.listing import would_hold

Record = dict[str, dict[str, Any]]
Files = dict[str, dict[str, Any]]


@dataclasses.dataclass(frozen=True)
class ChangedFiles:
    """Files of which a day's events are not those that it was made from.

    Attributes:
      late: not there when the day was made.
      changed: there with other events of the day.
      removed: gone.
      copies: late, with the same events as a file that was there: duplicates, which change nothing.
    """

    late: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    copies: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.late or self.changed or self.removed)


class InputManifest:
    """What is known of the source: what this run has read, and what earlier ones had.

    Args:
      splits: all of the source.
      pattern: what was asked for; says of a file that is gone whether it would belong here.
      files: the record of earlier runs; None if there is none.
    """

    def __init__(
        self, splits: Sequence[Split], pattern: str = "", files: Files | None = None
    ) -> None:
        self._splits = splits
        self._pattern = pattern
        self._known: dict[Split, Contents | None] = {}
        self._read: set[Split] = set()
        self._earlier = files or {}
        for split in splits:
            file = self._earlier.get(path_of(split), {})
            if files is None:
                self._known[split] = None  # nobody knows, and it is not worth a whole reading
            elif _identity(split).items() <= file.items() and _key(split) in file["splits"]:
                self._known[split] = file["splits"][_key(split)]
        self._of_path: dict[str, list[Split]] = {}
        self._path_of = {split: path_of(split) for split in splits}
        self._of_day: dict[str, set[str]] = {}  # paths that hold events of it, or held
        for split, path in self._path_of.items():
            self._of_path.setdefault(path, []).append(split)
        for split, held in self._known.items():
            self._index(split, held)

    def add(self, split: Split, found: Contents) -> None:
        """A split was read: what it holds of each day."""
        self._known[split] = found
        self._read.add(split)
        self._index(split, found)

    def record(self, day: dt.date) -> Record:
        """The files that give the day its events, as far as they are known."""
        record: Record = {}
        for path in sorted(self._of_day.get(str(day), ())):
            kinds = self._kinds(path, day)
            if count(kinds):
                size = self._of_path[path][0].file_bytes
                record[path] = {"bytes": size, "events": count(kinds), "kinds": kinds}
        return record

    def files(self) -> Files:
        """What the next run should know of every file."""
        kept = {
            path: file
            for path, file in self._earlier.items()
            if path not in self._of_path and not would_hold(self._pattern, path)
        }
        for path, splits in self._of_path.items():
            known = {_key(split): self._known[split] for split in splits if split in self._known}
            if known:
                kept[path] = {**_identity(splits[0]), "splits": known}
        return dict(sorted(kept.items()))

    def silent(self) -> list[str]:
        """Files that this run read without finding an event in them."""
        return sorted(
            path
            for path, splits in self._of_path.items()
            if all(split in self._read and not self._known[split] for split in splits)
        )

    def newest(self, last: dt.date) -> dt.date | None:
        """The newest day up to `last` of which the source shows an event; None: none.

        Of what is not read yet, statistics tell; what has none may hold any day.
        """
        days = []
        for split in self._splits:
            if split in self._read:
                held = map(dt.date.fromisoformat, self._known[split] or {})
                days += [day for day in held if day <= last]
            elif split.min_us is None or split.max_us is None:
                return last
            elif _day_within(split.min_us) <= last:
                days.append(min(_day_within(split.max_us), last))
        return max(days, default=None)

    def unknown(self, days: Iterable[dt.date]) -> list[Split]:
        """Splits that may hold events of some days, and of which nothing is known."""
        wanted = sorted(days)
        return [
            split
            for split in self._splits
            if split not in self._known and any(_touches(split, day) for day in wanted)
        ]

    def difference(self, day: dt.date, record: Record, whole: bool = False) -> ChangedFiles:
        """What the source holds of a day otherwise than when the day was made.

        Args:
          day: a published day.
          record: what it was made from.
          whole: the source must hold all of the day's files; else those that the pattern does not
            ask for are out of the question.
        """
        here = self._of_day.get(str(day), set()) | (record.keys() & self._of_path.keys())
        now = {path: self._kinds(path, day) for path in sorted(here)}
        gone = [
            path
            for path in record
            if path not in now and (whole or would_hold(self._pattern, path))
        ]
        before = {path: record[path] for path in [*now, *gone] if path in record}
        if all("kinds" in file for file in before.values()) and same(
            add_kinds(file["kinds"] for file in before.values()), add_kinds(now.values())
        ):
            return ChangedFiles()
        late = [path for path in now if path not in before and count(now[path])]
        late, gone = _unmoved(late, gone, now, record)
        elsewhere = [path for path in record if path not in before]  # the input is another folder
        late, _ = _unmoved(late, elsewhere, now, record)
        old = [file["kinds"] for path, file in before.items() if path in now and "kinds" in file]
        copies = [path for path in late if any(same(one, now[path]) for one in old)]
        late = [path for path in late if path not in copies]
        changed = [
            path
            for path in now.keys() & before.keys()
            if self._is_known(path, day) and not _agree(before[path], now[path])
        ]
        return ChangedFiles(tuple(late), tuple(sorted(changed)), tuple(gone), tuple(copies))

    def _index(self, split: Split, held: Contents | None) -> None:
        for day in held or ():
            self._of_day.setdefault(day, set()).add(self._path_of[split])

    def _kinds(self, path: str, day: dt.date) -> Kinds:
        known = (self._known.get(split) for split in self._of_path[path])
        return add_kinds(one[str(day)] for one in known if one and str(day) in one)

    def _is_known(self, path: str, day: dt.date) -> bool:
        return all(
            self._known.get(split) is not None
            for split in self._of_path[path]
            if _touches(split, day)
        )


def require_events(manifest: InputManifest, days: Sequence[dt.date]) -> None:
    """Does nothing if the source shows events of the last of these days.

    Raises:
      InputError: it ends before: published empty, the days would never be read again.
    """
    newest = manifest.newest(days[-1])
    if newest is not None and newest >= days[-1]:
        return
    shown = f"shows no event after {newest}" if newest else f"shows no event up to {days[-1]}"
    raise InputError(
        f"the source {shown}, and {Days(days[0], days[-1])} is asked for: published without "
        "events, a day is never read again. Check --days or --as-of, wait for the events, or give "
        "--allow-empty-days if nothing happened on these days"
    )


def require_same_input(manifest: InputManifest, layout: Layout, days: Iterable[dt.date]) -> None:
    """Does nothing if the source holds of these days what they were made from.

    Raises:
      InputError: it does not, and features of two inputs would stand in one row.
    """
    for day in days:
        record = layout.read_sources(day)
        found = ChangedFiles() if record is None else manifest.difference(day, record, whole=True)
        if found:
            paths = _all_of([*found.changed, *found.late, *found.removed])
            raise InputError(
                f"the input of {day} is not what the day was made from ({paths}): "
                "--only-new-features would put features of the old and of the new events into one "
                f"row. Bring the old input back, or make the day anew: remove {layout.marker(day)} "
                "and the markers of all later days, and run without --only-new-features"
            )


def warn_of_changes(
    manifest: InputManifest, spec: Spec, layout: Layout, published: Sequence[dt.date]
) -> tuple[str, ...]:
    """Lines about published days that the source holds otherwise by now; reads what it must.

    Returns:
      at most one line for each way in which it differs.
    """
    records = {day: record for day in published if (record := layout.read_sources(day)) is not None}
    unread = read_unknown(manifest, spec, records)
    found = {day: manifest.difference(day, record) for day, record in records.items()}
    anew = "To make {them} anew, remove {marker} and the markers of all later days, and run again"
    ways = {
        "late": f"published before {{files}} came; those events are in no feature. {anew}",
        "changed": "made from other contents of {files} than there are now; features and state are "
        f"of the old ones. {anew}",
        "removed": "made from {files}, which the input holds no longer; nothing is lost, unless "
        "{they} {are} made anew",
        "copies": "published before {files} came, with the same events as a file that was there: "
        "duplicates, which change no feature",
    }
    warnings = []
    for way, text in ways.items():
        days = [day for day in found if getattr(found[day], way)]
        if days:
            paths = list(dict.fromkeys(p for day in days for p in getattr(found[day], way)))
            one = len(days) == 1
            line = text.format(
                files=_all_of(paths),
                marker=layout.marker(days[0]),
                **dict(zip(("them", "they", "are"), _WORDS[one], strict=True)),
            )
            warnings.append(f"{_named(days)} {'was' if one else 'were'} {line}")
    if unread:
        warnings.append(
            f"{_all_of(unread)} cannot be read, so nobody knows whether published "
            "days lack events of it: it is damaged or not there yet as a whole"
        )
    return tuple(warnings)


_WORDS = {True: ("it", "it", "is"), False: ("them", "they", "are")}


def warn_of_silent_files(manifest: InputManifest) -> tuple[str, ...]:
    """A line about files in which there was no event at all."""
    paths = manifest.silent()
    if not paths:
        return ()
    return (
        f"{_all_of(paths)} gave no event: nothing is in there, no row that the config asks for, or "
        "nothing but dead letters",
    )


def read_unknown(manifest: InputManifest, spec: Spec, days: Iterable[dt.date]) -> list[str]:
    """Reads what may hold events of some days and is not known; the files that cannot be read."""
    unreadable = []
    for split in manifest.unknown(days):
        found: Contents = {}
        try:
            for part in read_split(split, spec):
                found = add_contents([found, contents_of(spec, part.batch)])
        except InputError:
            unreadable.append(path_of(split))
        else:
            manifest.add(split, found)
    return sorted(set(unreadable))


def path_of(split: Split) -> str:
    """The file's path, the same from wherever the run is started."""
    return os.path.abspath(split.path) if os.path.exists(split.path) else split.path


def _identity(split: Split) -> dict[str, Any]:
    return {"bytes": split.file_bytes, "modified": split.modified}


def _key(split: Split) -> str:
    groups = split.row_groups
    return f"{groups[0]}-{groups[-1]}" if groups else "all"


def _agree(before: Mapping[str, Any], now: Kinds) -> bool:
    if "kinds" not in before:  # made by a version that counted only
        return bool(before["events"] == count(now))
    return same(before["kinds"], now)


def _unmoved(
    late: list[str], gone: list[str], now: Mapping[str, Kinds], record: Record
) -> tuple[list[str], list[str]]:
    """New and missing files without those that only have another name, or were put together.

    What is left on one side and is nothing but all that is left on the other is moved too: three
    files that became one, or one that was cut into three.
    """
    old: dict[str, Kinds] = {p: record[p]["kinds"] for p in gone if "kinds" in record[p]}
    left = list(late)
    for path in late:
        twin = next((p for p in old if same(old[p], now[path])), None)
        if twin is not None:
            del old[twin]
            left.remove(path)
    new = {path: now[path] for path in left}
    for several, ones in ((old, new), (new, old)):
        whole = add_kinds(several.values())
        joined = next((p for p in ones if several and same(ones[p], whole)), None)
        if joined is not None:
            del ones[joined]
            several.clear()
    return list(new), [path for path in gone if path in old or "kinds" not in record[path]]


def _touches(split: Split, day: dt.date) -> bool:
    """Whether a split may have events of a day, as far as statistics tell."""
    if split.min_us is None or split.max_us is None:
        return True
    return bool(split.min_us < day_us(day) + DAY_US and split.max_us >= day_us(day))


def _day_within(time_us: int) -> dt.date:
    """The day of a time; the calendar's first or last beyond it."""
    try:
        return day_of(time_us)
    except OverflowError:
        return dt.date.max if time_us > 0 else dt.date.min


_MOST_NAMED = 10


def _all_of(paths: Sequence[str]) -> str:
    """Names of files, all of them up to a number.

    >>> _all_of(["a", "b", "c"]), _all_of([str(one) for one in range(12)])
    ('a, b and c', '0, 1, 2, 3, 4, 5, 6, 7, 8, 9 and 2 more')
    """
    named, more = paths[:_MOST_NAMED], len(paths) - _MOST_NAMED
    if more > 0:
        return f"{', '.join(named)} and {more} more"
    return " and ".join([one for one in (", ".join(named[:-1]), named[-1]) if one])


def _named(days: Sequence[dt.date]) -> str:
    if len(days) == 1:
        return str(days[0])
    return f"{days[0]} and {len(days) - 1} more day(s) up to {days[-1]}"
