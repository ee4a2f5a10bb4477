"""The backfill's pipeline: events in, days out.

    splits ─ ReadEvents ─ Features ─┬─ rows ───── Score ─ WriteDays ─┐
             state of the day before┘─ verdicts ───────── WriteDays ─┤
                                    ├─ states ────────── WriteStates ┼─ WriteManifest
                                    └─ dead letters ─ WriteDeadLetters┘

`run` publishes what the manifest names.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
from collections.abc import Mapping
from typing import Any

import apache_beam as beam
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from configs.errors import InputError
from configs.schema import EVENT_ID, EVENT_TIME, Spec
from pipelines.failures import reported
from pipelines.files import checked_file
from pipelines.layout import DAY_US, FEATURES, VERDICTS, Layout, day_of, day_us
from pipelines.scratch import InFiles
from pipelines.sources.splits import Split
from pipelines.sources.step import FACTS, ReadEvents
from pipelines.states import ReadStates
from pipelines.writers import (
    WriteDays,
    WriteDeadLetters,
    WriteManifest,
    WriteStates,
)
from scoring.steps import Score
from transforms.exchange import THROUGH_ENGINE, Exchange
from transforms.social.as_of import AsOf
from transforms.steps import Features
from transforms.velocity import make_plan

Floats = npt.NDArray[np.float32]


@dataclasses.dataclass(frozen=True)
class Chunk:
    """Days that one pipeline makes.

    Attributes:
      days: consecutive.
      splits: what is read, by their number in the run.
      computed: entities whose features are computed; the others' are those of the published days.
      before: name -> path of the state at the end of the day before; None: a cold start.
      kept: days at whose end state is written, ascending.
      attempt: folder of this attempt's scratch and manifest, on any Beam filesystem.
      out: the output folder, to which files are written under names of their contents.
      bundle: folder of a model bundle, or None.
      sees: snapshots of the social graph; None where the spec reads none.
      scratch: folder of the files in which batches travel between the steps; "": they do not.
    """

    spec: Spec
    days: tuple[dt.date, ...]
    splits: tuple[tuple[int, Split], ...]
    computed: tuple[str, ...]
    before: Mapping[str, str] | None
    kept: tuple[dt.date, ...]
    attempt: str
    out: str
    bundle: str | None = None
    scratch: str = ""
    sees: AsOf | None = None

    @property
    def exchange(self) -> Exchange:
        """How batches travel between the steps."""
        return InFiles(self.scratch, self.attempt) if self.scratch else THROUGH_ENGINE


def build(root: beam.Pipeline, chunk: Chunk) -> None:
    """Applies the steps of a backfill."""
    spec, out, attempt = chunk.spec, chunk.out, chunk.attempt
    start_us, end_us = day_us(chunk.days[0]), day_us(chunk.days[-1]) + DAY_US
    read = root | ReadEvents(chunk.splits, spec, start_us, end_us, attempt)
    before = None
    if chunk.before is not None:
        before = root | ReadStates(chunk.before, spec, chunk.computed, attempt)
    reused = tuple(entity for entity in spec.entities if entity not in chunk.computed)
    made = read["events"] | Features(
        spec,
        before,
        moments=[day_us(day) + DAY_US for day in chunk.kept],
        days=[day_us(day) for day in chunk.days],
        entities=chunk.computed,
        known=PublishedFeatures(out, spec, reused, attempt) if reused else None,
        exchange=chunk.exchange,
        snapshots=chunk.sees,
    )
    rows: Any = made.rows
    if chunk.bundle is not None:
        rows = rows | Score(chunk.bundle)
    dead = (read["dead_letters"], made.dead_letters) | "DeadLetters" >> beam.Flatten()
    written = (
        rows | WriteDays(spec, out, attempt),
        made.verdicts | "WriteVerdicts" >> WriteDays(spec, out, attempt, VERDICTS),
        made.entity_states | "WriteEntityStates" >> WriteStates(out, attempt),
        made.id_states | "WriteIdStates" >> WriteStates(out, attempt),
        dead | WriteDeadLetters(out, attempt),
        read[FACTS],
    )
    _ = written | "Written" >> beam.Flatten() | WriteManifest(attempt)


@dataclasses.dataclass(frozen=True)
class PublishedFeatures:
    """Features that an earlier run published, of entities that are not computed now.

    Attributes:
      out: the output folder.
      entities: whose features are asked for.
      attempt: where failures are written down.
    """

    out: str
    spec: Spec
    entities: tuple[str, ...]
    attempt: str

    def __call__(self, events: pa.RecordBatch, start_us: int) -> dict[str, Floats]:
        """Of the events of one part: entity -> float32 `[n, F]`.

        Raises:
          InputError: the published part holds other events.
        """
        with reported(self.attempt):
            table = self._read(events, start_us)
        return {entity: self._features(table, entity) for entity in self.entities}

    def _read(self, events: pa.RecordBatch, start_us: int) -> pa.Table:
        times = events.column(EVENT_TIME).to_numpy()
        last = int(times[-1]) if len(times) else start_us - 1
        where = (pc.field(EVENT_TIME) >= start_us) & (pc.field(EVENT_TIME) <= last)
        layout, day = Layout(self.out), day_of(start_us)
        named = layout.named(layout.read_marker(day), FEATURES)
        parts = parts_within(named, start_us - day_us(day), max(last, start_us) - day_us(day))
        table = pa.concat_tables(
            [pq.read_table(checked_file(part), filters=where) for part in parts],
            promote_options="default",
        )
        if not table.column(EVENT_ID).combine_chunks().equals(events.column(EVENT_ID)):
            raise other_events(day_of(start_us), self.out, table.num_rows, events.num_rows)
        return table

    def _features(self, table: pa.Table, entity: str) -> Floats:
        columns = [
            table.column(name).to_numpy()
            if name in table.column_names
            else np.full(table.num_rows, np.nan, np.float32)
            for name in make_plan(self.spec, entity).features
        ]
        if not columns:
            return np.empty((table.num_rows, 0), np.float32)
        return np.stack(columns, axis=1)


def parts_within(named: Mapping[str, str], first_us: int, last_us: int) -> list[str]:
    """Paths of a day's parts that may have events of a range, so that each is read for few others.

    Args:
      named: name -> path, in order; a name says at which minute the part begins.
      first_us, last_us: of the range, both included, microseconds of the day.

    >>> named = {"part-0000.parquet": "a", "part-0130.parquet": "b", "part-0200.parquet": "c"}
    >>> parts_within(named, 5_400_000_000, 7_199_999_999), parts_within(named, 0, 5_400_000_000)
    (['b'], ['a', 'b'])
    """
    starts = [(60 * int(name[5:7]) + int(name[7:9])) * 60_000_000 for name in named]
    ends = [*starts[1:], DAY_US]
    return [
        path
        for start, end, path in zip(starts, ends, named.values(), strict=True)
        if start <= last_us and end > first_us
    ]


def other_events(day: dt.date, out: str, there: int, now: int) -> InputError:
    """Why features of two inputs cannot stand in one row."""
    return InputError(
        f"{day} in {out} holds other events than the input does now ({there:,} against {now:,}); "
        "run the backfill without --only-new-features into another --out"
    )
