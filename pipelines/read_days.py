"""`ReadDays`: the scored events of published days, with what model inputs are made of.

    root | ReadDays(parts, spec, start_us, end_us, attempt) | Score(bundle) | …

A sample is chosen by the hash of the events' ids, so every reader of the same days takes the same.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator, Sequence

import apache_beam as beam
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from configs.errors import InputError
from configs.schema import EVENT_ID, EVENT_TIME, Spec
from pipelines.failures import reported
from pipelines.files import open_published
from transforms.batches import one_batch
from transforms.hashing import hash_column
from transforms.inputs import numeric_names
from transforms.selection import input_columns
from transforms.steps.spread import Spread
from transforms.steps.stamps import tag_batch

_SEED = 0x616E616C


@dataclasses.dataclass(eq=False)
class ReadDays(beam.PTransform):
    """Files of published days to batches, tagged with their place in total order (`start`).

    Args:
      parts: the files, in total order.
      spec: the use; names the columns.
      start_us, end_us: half-open range of event times.
      attempt: the attempt's folder, where failures are written down.
      limit: the largest hash of an event's id (`sample_limit`) that is read; None: all.
      batch_rows: rows of a batch at most; None: a file is one batch, as it was written.
    """

    parts: Sequence[str]
    spec: Spec
    start_us: int
    end_us: int
    attempt: str
    limit: int | None = None
    batch_rows: int | None = None

    def expand(self, root: beam.pvalue.PBegin) -> beam.PCollection[pa.RecordBatch]:
        """Applies it."""
        given = [json.dumps([number, part]) for number, part in enumerate(self.parts)]
        return (
            root
            | "Parts" >> beam.Create(given, reshuffle=False).with_output_types(str)
            | Spread(str)
            | "Read" >> beam.ParDo(_ReadPart(self)).with_output_types(pa.RecordBatch)
        )


def read_part(
    spec: Spec, part: str, start_us: int, end_us: int, limit: int | None = None
) -> pa.Table:
    """What model inputs are made of, of the chosen events of a published file, in its order.

    Args:
      spec: the use; names the columns.
      part: the file.
      start_us, end_us: half-open range of event times.
      limit: of the ids' hashes; None: all.

    Raises:
      InputError: a column is missing, or the file is damaged.
    """
    names = numeric_names(spec)
    other = [name for name in input_columns(spec) if name not in names]
    columns = [EVENT_ID, EVENT_TIME, *names, *other]
    parquet = open_published(part)
    missing = set(columns) - set(parquet.schema_arrow.names)
    if missing:
        raise missing_column(part, sorted(missing)[0])
    table = parquet.read(columns)
    times = table.column(EVENT_TIME).to_numpy()
    keep = (times >= start_us) & (times < end_us)
    if limit is not None:
        keep &= sample_hashes(table.column(EVENT_ID)) <= np.uint64(limit)
    return table if keep.all() else table.filter(pa.array(keep))


def missing_column(part: str, name: str) -> InputError:
    """A published file lacks a column that is asked for."""
    return InputError(
        f"{part} has no column {name!r}; it was made under another spec. "
        "Run `lockstep backfill --only-new-features` for these days"
    )


def sample_hashes(ids: pa.ChunkedArray | pa.Array) -> npt.NDArray[np.uint64]:
    """By which a sample is chosen: uint64 `[n]`."""
    return np.asarray(hash_column(ids, _SEED), np.uint64)


def sample_limit(hashes: npt.NDArray[np.uint64], most: int) -> int:
    """The largest hash among the `most` smallest ones; of none, 0.

    >>> sample_limit(np.array([7, 3, 9], np.uint64), 2)
    7
    """
    if not len(hashes):
        return 0
    most = min(most, len(hashes))
    return int(np.partition(hashes, most - 1)[most - 1])


class _ReadPart(beam.DoFn):
    def __init__(self, step: ReadDays) -> None:
        self._spec, self._attempt, self._limit = step.spec, step.attempt, step.limit
        self._range, self._batch_rows = (step.start_us, step.end_us), step.batch_rows
        self._rows = beam.metrics.Metrics.counter("lockstep", "published_events_read")

    def process(self, line: str) -> Iterator[pa.RecordBatch]:
        number, part = json.loads(line)
        with reported(self._attempt):
            table = read_part(self._spec, part, *self._range, self._limit).combine_chunks()
        self._rows.inc(table.num_rows)
        batches = table.to_batches(max_chunksize=self._batch_rows)
        if self._batch_rows is None:
            batches = [one_batch(batches, table.schema)]
        row = 0
        for batch in batches:
            yield tag_batch(batch.replace_schema_metadata(None), start=(number << 32) + row)
            row += batch.num_rows
