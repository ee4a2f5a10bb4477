"""Files of shards of a job that reads events: what it wrote, and whether it read all.

`lockstep graph` and `lockstep campaigns` are such jobs: Beam reads, narrows and reduces events
shard by shard to files of an attempt, and the launcher joins them.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import json
from collections import Counter
from collections.abc import Iterator
from typing import Any

import apache_beam as beam
import pyarrow as pa

from configs.errors import InputError
from configs.schema import Spec
from pipelines.failures import FAILURES, reported
from pipelines.files import arrow_bytes, read_published, write_by_content
from pipelines.layout import make_folders
from pipelines.runners import Running, run_pipeline, workers_of
from pipelines.sources import Split, open_source
from pipelines.sources.step import FACTS, ReadEvents
from pipelines.writers import MANIFEST, SPLIT, WriteManifest
from scoring.files import Place, join, read_file
from transforms.steps.shards import Keyed

SHARDS = "shards"


@dataclasses.dataclass(frozen=True)
class SnapshotRequest:
    """What someone asks for: a snapshot of a day, or of each of some days.

    Attributes:
      source: file, folder or glob of events.
      as_of: the snapshot is of events before this day, UTC.
      published: when it is published, by the launcher's clock.
      workers, flags: see `pipelines.runners`.
    """

    spec: Spec
    source: str
    out: Place
    as_of: dt.date
    published: dt.datetime
    workers: int = 1
    flags: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True)
class ShardTables:
    """What a job has made.

    Attributes:
      tables: group -> of its shards.
      days: of events that its splits hold, in ISO format; some may be outside of the job's range.
    """

    tables: dict[str, list[pa.Table]]
    days: frozenset[str]

    def of(self, group: str, schema: pa.Schema) -> pa.Table:
        """All rows of a group, in no order."""
        return pa.concat_tables([schema.empty_table(), *self.tables.get(group, ())])


@dataclasses.dataclass(frozen=True)
class ShardJob:
    """A job over the events of a range of time.

    Attributes:
      source: file, folder or glob of events.
      start_us, end_us: half-open range of event times.
      attempt: folder of this attempt.
    """

    spec: Spec
    source: str
    start_us: int
    end_us: int
    attempt: str
    running: Running

    def splits(self) -> list[Split]:
        """Splits of the source that can hold such events."""
        splits = open_source(self.source, self.spec)
        return [one for one in splits if _overlaps(one, self.start_us, self.end_us)]

    def run(self, splits: list[Split], reduce: beam.PTransform) -> ShardTables:
        """Runs it.

        Args:
          splits: of the source.
          reduce: decoded events to batches by shard (`Keyed`).

        Raises:
          InputError: too many dead letters.
          RuntimeError: the runner lost a split.
        """
        if not splits:
            return ShardTables({}, frozenset())
        make_folders([join(self.attempt, FAILURES), join(self.attempt, SHARDS)])

        def build(root: beam.Pipeline) -> None:
            read = root | ReadEvents(
                list(enumerate(splits)), self.spec, self.start_us, self.end_us, self.attempt
            )
            written = (read["events"] | reduce | WriteShards(self.attempt), read[FACTS])
            _ = written | "Written" >> beam.Flatten() | WriteManifest(self.attempt)

        with workers_of(self.running):
            run_pipeline(build, self.running, self.attempt)
        text = read_file(join(self.attempt, MANIFEST))
        lines = [json.loads(line) for line in text.splitlines()]
        facts = [one for one in lines if one["what"] == SPLIT]
        _check_read(self.spec, facts, len(splits))
        made: dict[str, list[pa.Table]] = {}
        for one in lines:
            if one["what"] == SHARDS:
                table = read_published(join(self.attempt, *one["path"].split("/")))
                made.setdefault(one["group"], []).append(table)
        return ShardTables(made, frozenset(day for one in facts for day in one["seen"]))


def _overlaps(split: Split, start: int, end: int) -> bool:
    if split.min_us is None or split.max_us is None:
        return True
    return split.min_us < end and split.max_us >= start


def _check_read(spec: Spec, facts: list[dict[str, Any]], splits: int) -> None:
    """Refuses a run whose runner lost a split, or that read too many bad records."""
    if len(facts) != splits:
        raise RuntimeError(
            f"{len(facts)} of {splits} splits were read; nothing was published. The runner has "
            "lost elements: run it again, on another runner"
        )
    dead: Counter[str] = Counter()
    for one in facts:
        for _, reason, count in one["dead"]:
            dead[reason] += count
    read = sum(one["read"] for one in facts)
    if dead.total() > spec.events.max_dead_share * read:
        reasons = ", ".join(f"{reason}: {count:,}" for reason, count in dead.most_common())
        raise InputError(
            f"{dead.total():,} of {read:,} records are dead letters ({reasons}; max_dead_share is "
            f"{spec.events.max_dead_share:.2%}). `lockstep backfill` of this input writes them down"
        )


@dataclasses.dataclass(eq=False)
class WriteShards(beam.PTransform):
    """Batches by shard to Arrow files of the attempt.

    Args:
      attempt: the attempt's folder.
    """

    attempt: str

    def expand(self, shards: beam.PCollection[Keyed]) -> beam.PCollection[str]:
        """Applies it."""
        return shards | "Write" >> beam.ParDo(_WriteShard(self.attempt)).with_output_types(str)


class _WriteShard(beam.DoFn):
    def __init__(self, attempt: str) -> None:
        self._attempt = attempt

    def process(self, element: Keyed) -> Iterator[str]:
        (group, shard), batch = element
        with reported(self._attempt):
            name = f"{group}-{shard:03d}.arrow"
            made = write_by_content(self._attempt, SHARDS, name, arrow_bytes(batch))
        yield json.dumps({"what": SHARDS, "group": group, **made}, sort_keys=True)
