"""Writers: what a run makes goes to files, and a line of JSON says what each of them is.

A file's name ends with a digest of its contents (`files.write_by_content`), so a worker that was
given up, or that outlives its run, overwrites nothing that anyone reads. What the attempt made is
what its manifest names; the launcher, which holds the output, publishes it
(`pipelines.backfill.publish`). No writer makes a folder.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import json
from collections.abc import Iterable, Iterator
from typing import Any

import apache_beam as beam
import pyarrow as pa
import pyarrow.compute as pc
from apache_beam.metrics import Metrics

from configs.fingerprint import dataset_fingerprint
from configs.schema import Spec
from pipelines.failures import reported
from pipelines.files import arrow_bytes, parquet_bytes, write_by_content
from pipelines.layout import DAY_US, DEAD_LETTERS, FEATURES, STATE, day_of, day_us
from pipelines.states import state_file
from scoring.files import join, replace_file
from transforms.batches import ShardKey
from transforms.dead_letter import DEAD_LETTER_SCHEMA
from transforms.steps.shards import Keyed, is_state
from transforms.steps.stamps import TAGS, tags_of

SPEC_KEY = b"lockstep.spec"
SCORES, SPLIT = "scores", "split"
MANIFEST = "manifest.jsonl"
_MINUTE_US = 60_000_000


@dataclasses.dataclass(eq=False)
class WriteDays(beam.PTransform):
    """Batches of a day's part to Parquet, one file each.

    Args:
      spec: the use; its dataset's fingerprint is in every file.
      out: the output folder.
      attempt: the attempt's folder.
      what: `FEATURES`, `VERDICTS` or `SCORES`.
    """

    spec: Spec
    out: str
    attempt: str
    what: str = FEATURES

    def expand(self, rows: beam.PCollection[pa.RecordBatch]) -> beam.PCollection[str]:
        """Applies it."""
        metadata = {SPEC_KEY: dataset_fingerprint(self.spec)}
        return rows | "Write" >> beam.ParDo(
            _WriteParquet(self.out, self.attempt, self.what, metadata)
        ).with_output_types(str)


@dataclasses.dataclass(eq=False)
class WriteStates(beam.PTransform):
    """State by shard to Arrow files.

    Args:
      out: the output folder.
      attempt: the attempt's folder.
    """

    out: str
    attempt: str

    def expand(self, states: beam.PCollection[Keyed]) -> beam.PCollection[str]:
        """Applies it."""
        return states | "Write" >> beam.ParDo(
            _WriteState(self.out, self.attempt)
        ).with_output_types(str)


@dataclasses.dataclass(eq=False)
class WriteDeadLetters(beam.PTransform):
    """Batches of dead letters to Parquet files by the name that they are tagged with, or the day.

    Args:
      out: the output folder.
      attempt: the attempt's folder.
    """

    out: str
    attempt: str

    def expand(self, dead: beam.PCollection[pa.RecordBatch]) -> beam.PCollection[str]:
        """Applies it."""
        return (
            dead
            | "ByFile"
            >> beam.Map(lambda batch: (ShardKey(dead_letter_name(batch), 0), batch))
            .with_output_types(Keyed)
            | "Group" >> beam.GroupByKey()
            | "Write" >> beam.ParDo(_WriteDead(self.out, self.attempt)).with_output_types(str)
        )  # fmt: skip


@dataclasses.dataclass(eq=False)
class WriteManifest(beam.PTransform):
    """Lines of all writers to one file.

    Args:
      attempt: the attempt's folder.
    """

    attempt: str

    def expand(self, lines: beam.PCollection[str]) -> beam.PCollection[str]:
        """Applies it."""
        return (
            lines
            | "ByOneKey"
            >> beam.Map(lambda line: (ShardKey("manifest", 0), line))
            .with_output_types(tuple[ShardKey, str])
            | "Group" >> beam.GroupByKey()
            | "Write" >> beam.ParDo(_WriteManifest(self.attempt)).with_output_types(str)
        )  # fmt: skip


def dead_letter_name(batch: pa.RecordBatch) -> str:
    """Of the file for a batch of dead letters: that of the split, or of the day's duplicates."""
    tags = tags_of(batch)
    if "name" in tags:
        return str(tags["name"])
    return duplicates_name(day_of(int(tags["day"])))


def duplicates_name(day: dt.date) -> str:
    """Of the file for a day's duplicates."""
    return f"duplicates-{day}"


class _WriteParquet(beam.DoFn):
    def __init__(self, out: str, attempt: str, what: str, metadata: dict[bytes, str]) -> None:
        self._out, self._attempt, self._what, self._metadata = out, attempt, what, metadata
        self._rows = Metrics.counter("lockstep", f"{what}_rows_written")

    def process(self, batch: pa.RecordBatch) -> Iterator[str]:
        start = int(tags_of(batch)["start"])
        folder, name = _place(self._what, start)
        table = pa.Table.from_batches([batch]).replace_schema_metadata(self._metadata)
        with reported(self._attempt):
            made = write_by_content(self._out, folder, name, parquet_bytes(table))
        self._rows.inc(batch.num_rows)
        yield _line(what=self._what, start=start, rows=batch.num_rows, **made)


def _place(what: str, start: int) -> tuple[str, str]:
    """Folder and name of a file, by where its rows begin."""
    if what == SCORES:  # of no day: the place in total order
        return SCORES, f"{start:020d}.parquet"
    day = day_of(start)
    minute = (start - day_us(day)) // _MINUTE_US
    return f"{what}/date={day}", f"part-{minute // 60:02d}{minute % 60:02d}.parquet"


class _WriteState(beam.DoFn):
    def __init__(self, out: str, attempt: str) -> None:
        self._out, self._attempt = out, attempt

    def process(self, element: Keyed) -> Iterator[str]:
        (group, shard), batch = element
        moment = int(tags_of(batch)["moment"])
        kept = {k: v for k, v in (batch.schema.metadata or {}).items() if k != TAGS}
        batch = batch.replace_schema_metadata(kept or None)
        folder = f"{STATE}/date={day_of(moment - DAY_US)}"
        with reported(self._attempt):
            made = write_by_content(self._out, folder, state_file(group, shard), arrow_bytes(batch))
        size = 0
        if is_state(batch):
            size = pc.sum(pc.binary_length(batch.column("state"))).as_py() or 0
        yield _line(
            what=STATE, group=group, moment=moment, rows=batch.num_rows, state_bytes=size, **made
        )


class _WriteDead(beam.DoFn):
    def __init__(self, out: str, attempt: str) -> None:
        self._out, self._attempt = out, attempt

    def process(self, element: tuple[ShardKey, Iterable[pa.RecordBatch]]) -> Iterator[str]:
        (group, _), batches = element
        table = pa.Table.from_batches([b.replace_schema_metadata(None) for b in batches])
        first = ["source", "position"]
        rest = [column for column in DEAD_LETTER_SCHEMA.names if column not in first]
        table = table.sort_by([(column, "ascending") for column in [*first, *rest]])
        data = parquet_bytes(table.combine_chunks())
        with reported(self._attempt):
            made = write_by_content(self._out, DEAD_LETTERS, f"{group}.parquet", data)
        yield _line(what=DEAD_LETTERS, group=group, rows=table.num_rows, **made)


class _WriteManifest(beam.DoFn):
    def __init__(self, attempt: str) -> None:
        self._attempt = attempt

    def process(self, element: tuple[ShardKey, Iterable[str]]) -> Iterator[str]:
        path = join(self._attempt, MANIFEST)
        with reported(self._attempt):
            replace_file(path, "\n".join(sorted(element[1])).encode(), flush=False, shared=True)
        yield path


def _line(**facts: Any) -> str:
    return json.dumps(facts, sort_keys=True)
