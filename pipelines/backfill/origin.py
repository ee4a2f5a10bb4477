"""Which files a published day was made from, and whether a later run sees others.

What enters: the splits of a source, and how many events of which day each of them gave. What
leaves: a record per day (`OUT/sources/DAY.json`: path -> bytes and events), and warnings about days
that were published before some of their events arrived: a published day is never read again, so
such events would otherwise be missing without a word. The record holds no clock: the same source
makes the same bytes.
"""

from __future__ import annotations

import datetime as dt
import os
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import numpy.typing as npt

from configs.errors import InputError
from pipelines.layout import DAY_US, Days, Layout, day_of, day_us
from pipelines.sources import Split

Record = dict[str, dict[str, int]]


class Origins:
    """What a run has seen of the source so far.

    Args:
      splits: all of the source.
    """

    def __init__(self, splits: Sequence[Split]) -> None:
        self._splits = splits
        self._read: set[Split] = set()
        self._events: dict[dt.date, Counter[str]] = {}

    def add(self, split: Split, days: Mapping[str, int]) -> None:
        """A split was read, and gave so many events of these days."""
        self._read.add(split)
        for day, count in days.items():
            counts = self._events.setdefault(dt.date.fromisoformat(day), Counter())
            counts[path_of(split)] += count

    def record(self, day: dt.date) -> Record:
        """The files that gave the day its events, and those whose statistics say that they may."""
        counts = self._events.get(day, Counter())
        record: Record = {}
        for split in self._splits:
            path = path_of(split)
            if path in counts or _touches(split, day):
                known = record.setdefault(path, {"bytes": 0, "events": counts.get(path, 0)})
                known["bytes"] += split.size
        return dict(sorted(record.items()))

    def newest(self, last: dt.date) -> dt.date | None:
        """The newest day up to `last` of which the source shows an event; None: none.

        Of what is not read yet, statistics tell; what has none may hold any day.
        """
        days = [day for day in self._events if day <= last]
        for split in self._splits:
            if split in self._read:
                continue
            if split.min_us is None or split.max_us is None:
                return last
            if _day_within(split.min_us) <= last:
                days.append(min(_day_within(split.max_us), last))
        return max(days, default=None)

    def others(self, day: dt.date, record: Record) -> list[str]:
        """Files that now hold another number of the day's events than when it was published."""
        unread = {path_of(s) for s in self._splits if s not in self._read and _touches(s, day)}
        found = []
        for path, now in self.record(day).items():
            before = record.get(path)
            if path in unread:
                same = before is not None and before["bytes"] == now["bytes"]
            else:
                same = (before["events"] if before else 0) == now["events"]
            if not same:
                found.append(path)
        return found


def require_events(origins: Origins, days: Sequence[dt.date]) -> None:
    """Does nothing if the source shows events of the last of these days.

    Raises:
      InputError: it ends before: published empty, the days would never be read again.
    """
    newest = origins.newest(days[-1])
    if newest is not None and newest >= days[-1]:
        return
    shown = f"shows no event after {newest}" if newest else f"shows no event up to {days[-1]}"
    raise InputError(
        f"the source {shown}, and {Days(days[0], days[-1])} is asked for: published without "
        "events, a day is never read again. Check --days or --as-of, wait for the events, or give "
        "--allow-empty-days if nothing happened on these days"
    )


def warn_of_late_files(
    origins: Origins, layout: Layout, published: Iterable[dt.date]
) -> tuple[str, ...]:
    """A line for each published day that other files belong to now than when it was made."""
    warnings = []
    for day in published:
        record = layout.read_sources(day)
        others = [] if record is None else origins.others(day, record)
        if others:
            more = f" and {len(others) - 1} more" if len(others) > 1 else ""
            warnings.append(
                f"{day} was published before {others[0]}{more} had what it has now of that day; "
                f"those events are in no feature. To make it anew, remove {layout.marker(day)} and "
                "the markers of all later days, and run again"
            )
    return tuple(warnings)


def count_days(times: npt.NDArray[np.int64]) -> dict[str, int]:
    """Events by day: int64 `[n]` µs UTC.

    >>> count_days(np.array([0, 1, 86_400_000_000]))
    {'1970-01-01': 2, '1970-01-02': 1}
    """
    days, counts = np.unique(times // DAY_US, return_counts=True)
    return {
        str(day_of(day * DAY_US)): count
        for day, count in zip(days.tolist(), counts.tolist(), strict=True)
    }


def path_of(split: Split) -> str:
    """The file's path, the same from wherever the run is started."""
    return os.path.abspath(split.path) if os.path.exists(split.path) else split.path


def _touches(split: Split, day: dt.date) -> bool:
    if split.min_us is None or split.max_us is None:
        return False
    return bool(split.min_us < day_us(day) + DAY_US and split.max_us >= day_us(day))


def _day_within(time_us: int) -> dt.date:
    """The day of a time; the calendar's first or last beyond it."""
    try:
        return day_of(time_us)
    except OverflowError:
        return dt.date.max if time_us > 0 else dt.date.min
