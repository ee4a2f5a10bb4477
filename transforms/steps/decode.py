"""Decode and derive, as steps of a pipeline."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Iterator
from typing import Any

import apache_beam as beam
import pyarrow as pa
from apache_beam.metrics import Metrics
from apache_beam.pvalue import TaggedOutput

from configs.schema import Spec
from transforms.batches import one_batch
from transforms.dead_letter import DEAD_LETTER_SCHEMA, dead_letter_table
from transforms.decode import Decoded, decode_columns, decode_json
from transforms.derive import derive
from transforms.steps.stamps import positions_of, source_of

DEAD_LETTERS, EVENTS = "dead_letters", "events"
RECORD = "record"
"""The one column of a batch of JSON records."""


@beam.typehints.with_input_types(pa.RecordBatch)
@dataclasses.dataclass(eq=False)
class Decode(beam.PTransform):
    """Batches as a table gives them, or of JSON records (`RECORD`), to typed events.

    Args:
      spec: the use.

    Outputs: `events`; `dead_letters`, batches of `DEAD_LETTER_SCHEMA`.
    """

    spec: Spec

    def expand(self, batches: beam.PCollection[pa.RecordBatch]) -> Any:
        """Applies it."""
        return batches | "Decode" >> beam.ParDo(_Decode(self.spec)).with_output_types(
            pa.RecordBatch, **{DEAD_LETTERS: pa.RecordBatch}
        ).with_outputs(DEAD_LETTERS, main=EVENTS)


@beam.typehints.with_input_types(pa.RecordBatch)
@dataclasses.dataclass(eq=False)
class Derive(beam.PTransform):
    """Decoded events to the same with their derived columns.

    Args:
      spec: the use.
    """

    spec: Spec

    def expand(self, events: beam.PCollection[pa.RecordBatch]) -> beam.PCollection[pa.RecordBatch]:
        """Applies it."""
        spec = self.spec
        return events | "Derive" >> beam.Map(lambda batch: derive(spec, batch)).with_output_types(
            pa.RecordBatch
        )


def decode_batch(spec: Spec, batch: pa.RecordBatch) -> Decoded:
    """Events of a batch of either kind; see `Decode`."""
    positions, source = positions_of(batch), source_of(batch)
    if batch.schema.names[0] == RECORD:
        records = [record or b"" for record in batch.column(RECORD).cast(pa.binary()).to_pylist()]
        return decode_json(spec, records, source, positions=positions)
    return decode_columns(spec, batch, source, positions=positions)


def count_dead(counts: Counter[tuple[str, str]]) -> None:
    """Adds to the metrics of dead letters: (stage, reason) -> how many."""
    for (stage, reason), count in counts.items():
        Metrics.counter("lockstep", f"dead_letters_{stage}_{reason}").inc(count)


class _Decode(beam.DoFn):
    def __init__(self, spec: Spec) -> None:
        self._spec = spec

    def process(self, batch: pa.RecordBatch) -> Iterator[Any]:
        decoded = decode_batch(self._spec, batch)
        metadata = batch.schema.metadata or {}
        if decoded.batch.num_rows:
            yield decoded.batch.replace_schema_metadata(metadata)
        if decoded.dead:
            count_dead(Counter((str(one.stage), str(one.reason)) for one in decoded.dead))
            table = dead_letter_table(decoded.dead)
            yield TaggedOutput(DEAD_LETTERS, one_batch(table.to_batches(), DEAD_LETTER_SCHEMA))
