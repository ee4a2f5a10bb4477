"""Published days as training and evaluation read them: numeric block, events, labels."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from configs.errors import ConfigError
from configs.schema import EVENT_ID, EVENT_TIME, Labels, Spec
from pipelines.backfill import read_features, read_verdicts
from pipelines.files import open_published
from pipelines.layout import FEATURES, Days, Layout, day_of
from pipelines.read_days import read_part, sample_hashes, sample_limit
from training.known_labels import KnownLabels, label_events, subject_weights
from training.labels import UNLABELLED
from transforms.inputs import numeric_names
from transforms.selection import input_columns


@dataclasses.dataclass(frozen=True)
class Dataset:
    """Scored events of a range of time, in total order.

    Attributes:
      numeric: float32 `[n, K]`, in the order of `transforms.inputs.numeric_names`.
      events: event_id, event_time, and the columns that inputs are made of.
      times: int64 `[n]`, microseconds UTC.
      labels: int8 `[n]`, as known at the given moment: 1, 0, -1.
      judged: bool `[n]`, whether a verdict was known then; other labels come from age alone.
      early: bool `[n]`, whether one has an earlier time than the event, which has no label then.
      by_subject: bool `[n]`, whether the label is by a verdict about an account or the like.
      share: of the range's scored events that these are.
    """

    numeric: npt.NDArray[np.float32]
    events: pa.Table
    times: npt.NDArray[np.int64]
    labels: npt.NDArray[np.int8]
    judged: npt.NDArray[np.bool_]
    early: npt.NDArray[np.bool_]
    by_subject: npt.NDArray[np.bool_]
    share: float = 1.0

    def __len__(self) -> int:
        return len(self.times)

    def take(self, rows: npt.NDArray[np.int64]) -> Dataset:
        """Some rows, in order."""
        events = self.events.take(pa.array(rows)).combine_chunks()
        return Dataset(
            self.numeric[rows],
            events,
            self.times[rows],
            self.labels[rows],
            self.judged[rows],
            self.early[rows],
            self.by_subject[rows],
            self.share,
        )

    def without_labels(self, rows: npt.NDArray[np.bool_] | None) -> Dataset:
        """The same, but some events have no label; None: none of them."""
        if rows is None:
            return self
        return dataclasses.replace(self, labels=np.where(rows, np.int8(UNLABELLED), self.labels))

    def group(self, spec: Spec) -> pa.ChunkedArray | None:
        """The column of `spec.evaluation.group`, or None."""
        return self.events.column(spec.evaluation.group) if spec.evaluation.group else None

    def subject_weights(self, spec: Spec) -> npt.NDArray[np.float64] | None:
        """What the events weigh in training (`labels.subjects`); None: all weigh 1."""
        if spec.labels is None or not spec.labels.subjects:
            return None
        named = {name: self.events.column(name) for name in subject_columns(spec.labels)}
        return subject_weights(spec.labels, self.by_subject, named)

    def batch(self) -> pa.RecordBatch:
        """The events as one batch."""
        batches = self.events.combine_chunks().to_batches()
        return batches[0] if batches else pa.RecordBatch.from_pylist([], self.events.schema)


def load_dataset(
    spec: Spec,
    layout: Layout,
    start_us: int,
    end_us: int,
    as_of_us: int,
    most: int | None = None,
    limit: int | None = None,
) -> Dataset:
    """Scored events of `[start_us, end_us)`, with labels as known before `as_of_us`.

    Args:
      spec: the use; names the columns.
      layout: of the output folder.
      start_us, end_us: half-open range of event times, microseconds UTC.
      as_of_us: the moment of knowing.
      most: at most about so many events, chosen by the hash of their id.
      limit: instead, the largest hash (`pipelines.read_days.sample_limit`).

    Raises:
      ConfigError: the spec has no labels.
      InputError: a day of the range is not there.
    """
    parts, count = _parts(layout, start_us, end_us)
    if most is not None and count > most:
        limit = sample_limit(_hashes(parts, start_us, end_us), most)
    table = pa.concat_tables([read_part(spec, part, start_us, end_us, limit) for part in parts])
    names = numeric_names(spec)
    other = [name for name in input_columns(spec) if name not in names]
    events = table.select([EVENT_ID, EVENT_TIME, *other]).combine_chunks()
    times = events.column(EVENT_TIME).to_numpy()
    known = load_labels(spec, layout, events.column(EVENT_ID), times, as_of_us, events)
    share = 1.0 if limit is None else table.num_rows / count
    return Dataset(_stack(table, names), events, times, *known, share)


def load_labels(
    spec: Spec,
    layout: Layout,
    ids: pa.Array | pa.ChunkedArray,
    times: npt.NDArray[np.int64],
    as_of_us: int,
    events: pa.Table | None = None,
) -> KnownLabels:
    """Labels of events as known before a moment.

    Args:
      spec: the use.
      layout: of the output folder.
      ids: string `[n]`, of published days; times: int64 `[n]`, microseconds UTC.
      as_of_us: the moment.
      events: `[n]`, with the columns of `labels.subjects`; None: they are read.

    Raises:
      ConfigError: the spec has no labels.
      InputError: published days lack a column of `labels.subjects`.
    """
    if spec.labels is None:
        raise ConfigError(f"the config {spec.name!r} has no labels section; add one to train")
    verdicts = read_verdicts(layout, day_of(as_of_us - 1))
    wanted = subject_columns(spec.labels)
    if wanted and events is None:
        events = read_named(layout, ids, times, wanted)
    named = {} if events is None else {name: events.column(name) for name in wanted}
    return label_events(spec.labels, ids, times, named, verdicts, as_of_us)


def subject_columns(labels: Labels) -> list[str]:
    """The columns of scored events that name what verdicts are about."""
    return [one.of for one in labels.subjects]


def read_named(
    layout: Layout,
    ids: pa.Array | pa.ChunkedArray,
    times: npt.NDArray[np.int64],
    columns: Sequence[str],
) -> pa.Table:
    """Columns of some events of published days: `[n]`; null for an event that no day holds."""
    days = [
        day for day in layout.published() if len(times) and day <= day_of(int(times.max()))
        and day >= day_of(int(times.min()))
    ]  # fmt: skip
    if not days:
        return pa.table({name: pa.nulls(len(ids), pa.string()) for name in columns})
    table = read_features(layout, days, [EVENT_ID, *columns])
    at = pc.index_in(ids, value_set=table.column(EVENT_ID).combine_chunks())
    return table.select(list(columns)).take(at)


def early_verdicts(count: int) -> str:
    """The warning about events that have a verdict with an earlier time than their own.

    >>> early_verdicts(1)
    '1 event has a verdict with an earlier time than its own: nobody judges what has not happened, \
so it has no label, teaches nothing and is in no figure. Look where verdicts get their times'
    """
    one = count == 1
    return (
        f"{count:,} event{' has' if one else 's have'} a verdict with an earlier time than "
        f"{'its' if one else 'their'} own: nobody judges what has not happened, so "
        f"{'it has no label, teaches' if one else 'they have no label, teach'} nothing and "
        f"{'is' if one else 'are'} in no figure. Look where verdicts get their times"
    )


def published_parts(layout: Layout, start_us: int, end_us: int) -> list[str]:
    """Files of the published days that hold scored events of a range of time, in total order.

    Raises:
      InputError: a day of the range is not there.
    """
    return _parts(layout, start_us, end_us)[0]


def count_events(layout: Layout, start_us: int, end_us: int) -> int:
    """Scored events of the days that a range touches.

    Raises:
      InputError: a day of the range is not there.
    """
    return _parts(layout, start_us, end_us)[1]


def _parts(layout: Layout, start_us: int, end_us: int) -> tuple[list[str], int]:
    """The files, and how many scored events their days have."""
    days = Days(day_of(start_us), day_of(end_us - 1))
    markers = [layout.read_marker(day) for day in days]
    parts = [part for one in markers for part in layout.named(one, FEATURES).values()]
    return parts, sum(int(marker["scored"]) for marker in markers)


def _hashes(parts: Sequence[str], start_us: int, end_us: int) -> npt.NDArray[np.uint64]:
    """Of the ids of the range's events: two columns are read, so a sample costs no wide rows."""
    made = []
    for part in parts:
        table = open_published(part).read([EVENT_ID, EVENT_TIME])
        times = table.column(EVENT_TIME).to_numpy()
        inside = (times >= start_us) & (times < end_us)
        made.append(sample_hashes(table.column(EVENT_ID))[inside])
    return np.concatenate(made)


def _stack(table: pa.Table, names: Iterable[str]) -> npt.NDArray[np.float32]:
    columns = [table.column(name) for name in names]
    block = np.empty((table.num_rows, len(columns)), np.float32)
    for index, column in enumerate(columns):
        block[:, index] = column.to_numpy()
    return block
