"""Writers: what a run makes goes to files of its attempt, and a line of JSON says what each is.

Every path is the attempt's own and written once, so a worker that was given up, or that outlives
its run, writes what nobody reads. What is there is what the manifest names; the launcher, which
holds the output, publishes it (`pipelines.backfill.publish`). No writer makes a folder: where the
attempt's are gone, it fails.
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
from pipelines.files import join, unique_path, write_arrow, write_parquet, write_text
from transforms.batches import ShardKey
from transforms.dead_letter import DEAD_LETTER_SCHEMA
from transforms.steps.shards import Keyed, is_state
from transforms.steps.stamps import TAGS, tags_of

SPEC_KEY = b"lockstep.spec"
PART, VERDICTS, SCORES = "part", "verdicts", "scores"
STATE, DEAD_LETTERS, SPLIT = "state", "dead_letters", "split"
_FOLDER_OF = {PART: "features", VERDICTS: "verdicts", SCORES: "scores"}
FOLDERS = ("scratch", "features", "verdicts", "state", "dead_letters", "failures")
MANIFEST = "manifest.jsonl"


@dataclasses.dataclass(eq=False)
class WriteDays(beam.PTransform):
    """Batches of a day's part to Parquet, one file each.

    Args:
      spec: the use; its dataset's fingerprint is in every file.
      attempt: the attempt's folder.
      what: `PART`, `VERDICTS` or `SCORES`.
    """

    spec: Spec
    attempt: str
    what: str = PART

    def expand(self, rows: beam.PCollection[pa.RecordBatch]) -> beam.PCollection[str]:
        """Applies it."""
        metadata = {SPEC_KEY: dataset_fingerprint(self.spec)}
        return rows | "Write" >> beam.ParDo(
            _WriteParquet(self.attempt, self.what, metadata)
        ).with_output_types(str)


@dataclasses.dataclass(eq=False)
class WriteStates(beam.PTransform):
    """State by shard to Arrow files.

    Args:
      attempt: the attempt's folder.
    """

    attempt: str

    def expand(self, states: beam.PCollection[Keyed]) -> beam.PCollection[str]:
        """Applies it."""
        return states | "Write" >> beam.ParDo(_WriteState(self.attempt)).with_output_types(str)


@dataclasses.dataclass(eq=False)
class WriteDeadLetters(beam.PTransform):
    """Batches of dead letters to Parquet files by the name that they are tagged with, or the day.

    Args:
      attempt: the attempt's folder.
    """

    attempt: str

    def expand(self, dead: beam.PCollection[pa.RecordBatch]) -> beam.PCollection[str]:
        """Applies it."""
        return (
            dead
            | "ByFile"
            >> beam.Map(lambda batch: (ShardKey(dead_letter_name(batch), 0), batch))
            .with_output_types(Keyed)
            | "Group" >> beam.GroupByKey()
            | "Write" >> beam.ParDo(_WriteDead(self.attempt)).with_output_types(str)
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
    day = dt.datetime.fromtimestamp(int(tags["day"]) // 1_000_000, dt.UTC).date()
    return f"duplicates-{day}"


class _WriteParquet(beam.DoFn):
    def __init__(self, attempt: str, what: str, metadata: dict[bytes, str]) -> None:
        self._attempt, self._what, self._metadata = attempt, what, metadata
        self._rows = Metrics.counter("lockstep", f"{what}_rows_written")

    def process(self, batch: pa.RecordBatch) -> Iterator[str]:
        start = tags_of(batch)["start"]
        table = pa.Table.from_batches([batch]).replace_schema_metadata(self._metadata)
        with reported(self._attempt):
            path = unique_path(join(self._attempt, _FOLDER_OF[self._what]), f"{start}.parquet")
            write_parquet(table, path)
        self._rows.inc(batch.num_rows)
        yield _line(what=self._what, start=start, path=path, rows=batch.num_rows)


class _WriteState(beam.DoFn):
    def __init__(self, attempt: str) -> None:
        self._attempt = attempt

    def process(self, element: Keyed) -> Iterator[str]:
        (group, shard), batch = element
        moment = tags_of(batch)["moment"]
        kept = {k: v for k, v in (batch.schema.metadata or {}).items() if k != TAGS}
        batch = batch.replace_schema_metadata(kept or None)
        with reported(self._attempt):
            path = unique_path(join(self._attempt, "state"), f"{group}-{shard:03d}.arrow")
            write_arrow(batch, path)
        size = 0
        if is_state(batch):
            size = pc.sum(pc.binary_length(batch.column("state"))).as_py() or 0
        yield _line(
            what=STATE, group=group, shard=shard, moment=moment, path=path,
            keys=batch.num_rows, bytes=size,
        )  # fmt: skip


class _WriteDead(beam.DoFn):
    def __init__(self, attempt: str) -> None:
        self._attempt = attempt

    def process(self, element: tuple[ShardKey, Iterable[pa.RecordBatch]]) -> Iterator[str]:
        (name, _), batches = element
        table = pa.Table.from_batches([b.replace_schema_metadata(None) for b in batches])
        first = ["source", "position"]
        rest = [column for column in DEAD_LETTER_SCHEMA.names if column not in first]
        table = table.sort_by([(column, "ascending") for column in [*first, *rest]])
        with reported(self._attempt):
            path = unique_path(join(self._attempt, "dead_letters"), "dead.parquet")
            write_parquet(table.combine_chunks(), path)
        yield _line(what=DEAD_LETTERS, name=name, path=path, rows=table.num_rows)


class _WriteManifest(beam.DoFn):
    def __init__(self, attempt: str) -> None:
        self._attempt = attempt

    def process(self, element: tuple[ShardKey, Iterable[str]]) -> Iterator[str]:
        path = join(self._attempt, MANIFEST)
        with reported(self._attempt):
            write_text(path, "\n".join(sorted(element[1])))
        yield path


def _line(**facts: Any) -> str:
    return json.dumps(facts, sort_keys=True)
