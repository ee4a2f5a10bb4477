"""Sources of verdicts that stopped or flood, by what each did on the days before.

What enters: a table of verdicts and a moment. What leaves: who is silent for longer than ever, and
who said far more on the last day than ever. A source that stops turns what it would have judged
into negatives by age; a flood may be an attack on somebody's account. Both are said, and change no
label: only people know whether it was a holiday or a wave.
"""

from __future__ import annotations

import dataclasses

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from training.labels import in_order, strings
from transforms.ticks import DAY_US

FEWEST_DAYS = 5
"""Days of a source that its last one is compared with."""
FEWEST_A_DAY = 5
"""Mean of a source from which its silence means something; and of a day, times four, a flood."""
_FEWEST = min(FEWEST_DAYS, 4) * FEWEST_A_DAY
"""Verdicts of a source, in all, below which it can neither fall silent nor flood."""
TIMES = 3
"""The largest day before, times this, is a flood."""


@dataclasses.dataclass(frozen=True)
class SourceAlarm:
    """A source that is silent (`last` is 0) or floods, in verdicts a UTC day.

    Attributes:
      last: on the last day before the moment; `usual`: mean of the days before.
      days: of silence; or 1.
      most: the most on a day before; of silence, the longest before, in days.
    """

    source: str
    last: int
    usual: float
    days: int
    most: int

    def __str__(self) -> str:
        if self.last == 0:
            return (
                f"Source {self.source!r} gave no verdict for {self.days} days; it gave "
                f"{self.usual:,.0f} a day before, and never paused longer than {self.most}. "
                "What it would have judged counts as not abuse once it is old enough: look whether "
                "it runs"
            )
        return (
            f"Source {self.source!r} gave {self.last:,} verdicts on the last day; it gave "
            f"{self.usual:,.0f} a day before, at most {self.most:,}. If these are reports by "
            "users, rank it behind people in labels.precedence"
        )


def source_alarms(verdicts: pa.Table, as_of_us: int) -> tuple[SourceAlarm, ...]:
    """Sources whose last day is unlike all days before, by name; none without `labels.source`.

    Args:
      verdicts: as in `training.labels.resolve`.
      as_of_us: microseconds UTC; verdicts at or after it are invisible.

    >>> day = 86_400_000_000
    >>> times = [at * day for at in range(9) for _ in range(10)]
    >>> rows = len(times)
    >>> table = pa.table({"event_id": [""] * rows, "event_time": times, "subject": ["a"] * rows,
    ...                   "positive": [True] * rows, "source": ["bot"] * rows})
    >>> source_alarms(table, 9 * day), [one.days for one in source_alarms(table, 11 * day)]
    ((), [2])
    """
    known = in_order(verdicts, as_of_us)
    if "source" not in known.column_names or known.num_rows == 0:
        return ()
    known = known.filter(known["source"].is_valid())
    encoded = strings(known["source"]).dictionary_encode()
    codes, names = encoded.indices.to_numpy(), encoded.dictionary.to_pylist()
    last = (as_of_us - 1) // DAY_US
    days = last - known["event_time"].to_numpy() // DAY_US
    totals = np.bincount(codes)
    ends = np.cumsum(totals)
    by_source = days[np.argsort(codes, kind="stable")]
    made = []
    # A source may be each user who reports: most of them are passed over.
    for code in sorted(np.flatnonzero(totals >= _FEWEST), key=lambda at: names[at]):
        own = by_source[ends[code] - totals[code] : ends[code]]
        alarm = _alarm(names[code], np.bincount(own)[::-1])  # the last day comes last
        made += [alarm] if alarm is not None else []
    return tuple(made)


def _alarm(name: str, counts: npt.NDArray[np.int64]) -> SourceAlarm | None:
    spoke = np.flatnonzero(counts)
    silent = len(counts) - 1 - int(spoke[-1])
    before = counts[: len(counts) - max(silent, 1)]
    if len(before) < FEWEST_DAYS:
        return None
    usual = float(before.mean())
    longest = int(np.diff(spoke).max(initial=1)) - 1
    if silent > longest and usual >= FEWEST_A_DAY:
        return SourceAlarm(name, 0, usual, silent, longest)
    most, now = int(before.max()), int(counts[-1])
    if now > TIMES * most and now >= 4 * FEWEST_A_DAY:
        return SourceAlarm(name, now, usual, 1, most)
    return None
