"""The flow of verdicts: by source and by day, what was reversed, and how late each source is.

What enters: a table of verdicts and the events that they are about. What leaves: figures for
people. A day is the UTC day on which a verdict became known.
"""

from __future__ import annotations

import dataclasses

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from training.delays import delay_curve
from training.label_counts import mark_reversals
from training.labels import in_order, strings
from transforms.ticks import DAY_US

ALL, _UNSAID, _OTHER = "(all)", "(none)", "(other)"
MOST_SOURCES = 6
"""With a row of their own; the rarer ones are one row."""
MOST_DAYS = 28


@dataclasses.dataclass(frozen=True)
class SourceFlow:
    """Verdicts of one source.

    Attributes:
      by_day: verdicts of each day of `LabelFlow.days`.
      reversed_by_day: those of them that say the opposite of the verdict before.
      verdicts, positive, reversing: sums over these days.
      delays: events with a verdict of it, of which its delay is made.
      median_us, late_us: by when half, and 90 %, of its verdicts have come (`training.delays`), of
        those that come within the longest age of an event; None without any.
    """

    source: str
    verdicts: int
    positive: int
    reversing: int
    by_day: tuple[int, ...]
    reversed_by_day: tuple[int, ...]
    delays: int
    median_us: int | None
    late_us: int | None


@dataclasses.dataclass(frozen=True)
class LabelFlow:
    """The last days, each by its midnight in microseconds UTC, and the sources, largest first."""

    days: tuple[int, ...]
    sources: tuple[SourceFlow, ...]


def label_flow(
    verdicts: pa.Table,
    as_of_us: int,
    event_ids: pa.Array | pa.ChunkedArray,
    event_times: npt.NDArray[np.int64],
    most_days: int = MOST_DAYS,
) -> LabelFlow:
    """The flow of the verdicts that were known just before a moment.

    Args:
      verdicts: as in `training.labels.resolve`; without `source`, all are of `ALL`.
      as_of_us: microseconds UTC, a midnight.
      event_ids: string `[n]`, of events by which delays are measured.
      event_times: int64 `[n]`, microseconds UTC.
      most_days: before the moment, that are shown.

    >>> day = 86_400_000_000
    >>> table = pa.table({"event_id": ["1", "2"], "event_time": [day + 5, day + 9],
    ...                   "subject": ["a", "a"], "positive": [True, False],
    ...                   "source": ["bot", "person"]})
    >>> made = label_flow(table, 2 * day, pa.array(["a"]), np.array([day]))
    >>> [(one.source, one.by_day, one.reversing, one.median_us) for one in made.sources]
    [('bot', (1,), 0, 5), ('person', (1,), 1, 9)]
    """
    known = in_order(verdicts, as_of_us)
    if known.num_rows == 0:
        return LabelFlow((), ())
    times = known["event_time"].to_numpy()
    last = (as_of_us - 1) // DAY_US
    first = max(int(times[0]) // DAY_US, last - most_days + 1)
    subject = strings(known["subject"]).dictionary_encode()
    said = known["positive"].combine_chunks().to_numpy(zero_copy_only=False).astype(np.bool_)
    reversing = mark_reversals(subject.indices.to_numpy(), said)
    delays, ages = _delays(subject, times, as_of_us, event_ids, event_times)
    made = []
    for name, rows in _sources(known):
        shown = rows[times[rows] // DAY_US >= first]
        day = times[shown] // DAY_US - first
        timed = rows[delays[rows] >= 0]
        # Verdicts are in order of time, so the first of an event is the source's earliest word.
        timed = timed[np.unique(subject.indices.to_numpy()[timed], return_index=True)[1]]
        curve = delay_curve(delays[timed], ages[timed])
        counts = np.bincount(day, minlength=last - first + 1)
        back = np.bincount(day[reversing[shown]], minlength=last - first + 1)
        made.append(
            SourceFlow(
                name,
                len(shown),
                int(said[shown].sum()),
                int(reversing[shown].sum()),
                tuple(counts.tolist()),
                tuple(back.tolist()),
                curve.events,
                curve.quantile(0.5),
                curve.quantile(0.9),
            )
        )
    return LabelFlow(tuple(day * DAY_US for day in range(first, last + 1)), tuple(made))


def _sources(known: pa.Table) -> list[tuple[str, npt.NDArray[np.int64]]]:
    """Rows of each source, most verdicts first; the rarest together."""
    if "source" not in known.column_names:
        return [(ALL, np.arange(known.num_rows))]
    encoded = strings(pc.fill_null(known["source"], _UNSAID)).dictionary_encode()
    names, code = encoded.dictionary.to_pylist(), encoded.indices.to_numpy()
    counts = np.bincount(code, minlength=len(names))
    ranked = sorted(range(len(names)), key=lambda at: (-counts[at], names[at]))
    made = [(names[at], np.flatnonzero(code == at)) for at in ranked[:MOST_SOURCES]]
    if len(ranked) > MOST_SOURCES:
        made.append((_OTHER, np.flatnonzero(~np.isin(code, ranked[:MOST_SOURCES]))))
    return made


def _delays(
    subject: pa.DictionaryArray,
    times: npt.NDArray[np.int64],
    as_of_us: int,
    event_ids: pa.Array | pa.ChunkedArray,
    event_times: npt.NDArray[np.int64],
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Of each verdict: its delay (-1: its event is not given, or later), and its event's age."""
    ids = strings(event_ids)
    place = pc.index_in(subject.dictionary.cast(ids.type), value_set=ids)
    at = place.fill_null(-1).to_numpy()[subject.indices.to_numpy()]
    happened = np.where(at >= 0, np.append(event_times, as_of_us)[at], as_of_us)
    delays = np.where(at >= 0, times - happened, -1)
    return np.maximum(delays, -1), as_of_us - happened
