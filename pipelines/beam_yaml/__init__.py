"""Lockstep's transforms for Beam YAML: rows in, rows out; `PROVIDERS` is the provider file.

    ReadLockstep: {input: events/, config: chat}         -> events, dead_letters
    LockstepFeatures: {config: chat}         events       -> rows, verdicts, dead_letters
    LockstepScore: {bundle: out/bundles}     rows with features -> the same with score and action

Beam YAML passes rows from step to step, so each of these turns rows into Arrow batches, runs the
same `Decode`, `Features` and `Score` as everything else, and turns batches into rows again: made
for pipelines of a page, and slower than batches. `ReadLockstep` gives decoded batches, which
`LockstepFeatures` takes as they are. NaN, which stands for null in a feature, is null in a row.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Optional

import apache_beam as beam
import pyarrow as pa
import pyarrow.compute as pc
from apache_beam.typehints.row_type import RowTypeConstraint

from configs.loader import load, shipped
from configs.schema import Spec
from pipelines.snapshots import read_snapshots
from pipelines.sources import open_source
from pipelines.sources.step import ReadEvents
from scoring.serving import POLL_SECONDS
from scoring.steps import ACTION, BUNDLE, SCORE, Score
from transforms.catalog import CATALOG
from transforms.dead_letter import DEAD_LETTER_SCHEMA
from transforms.inputs import numeric_names
from transforms.selection import dataset_fields, verdict_schema
from transforms.steps import Decode, Features

__all__ = ["PROVIDERS", "BatchesToRows", "RowsToBatches", "YamlFeatures", "YamlRead", "YamlScore"]

PROVIDERS = Path(__file__).with_name("providers.yaml")
"""The provider file, for `providers: [{include: …}]`."""

_ROWS = 4096
_PYTHON: Mapping[pa.DataType, Any] = {  # Beam takes `str | None` for any type at all
    pa.string(): Optional[str],  # noqa: UP045
    pa.int64(): Optional[int],  # noqa: UP045
    pa.float64(): Optional[float],  # noqa: UP045
    pa.float32(): Optional[float],  # noqa: UP045
    pa.bool_(): Optional[bool],  # noqa: UP045
    pa.binary(): Optional[bytes],  # noqa: UP045
}


class YamlRead(beam.PTransform):
    """Files, as `lockstep backfill --input` reads them, to decoded events and dead letters.

    Args:
      input: file, folder or glob, on any filesystem that Beam knows.
      config: YAML file of a spec, or the name of a shipped one.

    Outputs: `events`, for `LockstepFeatures`; `dead_letters`, rows.
    """

    def __init__(self, input: str, config: str) -> None:  # named as in the YAML
        super().__init__()
        self._input, self._spec = input, _load(config)

    def expand(self, root: Any) -> dict[str, beam.PCollection[Any]]:
        """Applies it."""
        begin = root if isinstance(root, beam.pvalue.PBegin) else root.pipeline
        splits = list(enumerate(open_source(self._input, self._spec)))
        read = begin | ReadEvents(splits, self._spec)
        dead = read["dead_letters"] | "Dead" >> BatchesToRows(_row_type(DEAD_LETTER_SCHEMA))
        return {"events": read["events"], "dead_letters": dead}


class YamlFeatures(beam.PTransform):
    """Events, as rows or as `ReadLockstep` gives them, to scored events with their features.

    Args:
      config: YAML file of a spec, or the name of a shipped one.
      graph: folder of snapshots of the social graph, where the spec reads them (OUT/graph).

    Outputs: `rows`, `verdicts`, `dead_letters`.
    """

    def __init__(self, config: str, graph: str | None = None) -> None:
        super().__init__()
        self._spec = _load(config)
        self._sees = read_snapshots(graph).of(self._spec) if graph else None

    def expand(self, events: beam.PCollection[Any]) -> dict[str, beam.PCollection[Any]]:
        """Applies it."""
        spec = self._spec
        if events.element_type is pa.RecordBatch:
            made = events | Features(spec, snapshots=self._sees)
            dead = made.dead_letters
        else:
            decoded = events | RowsToBatches() | Decode(spec)
            made = decoded["events"] | Features(spec, snapshots=self._sees)
            dead = (decoded["dead_letters"], made.dead_letters) | "AllDead" >> beam.Flatten()
        return {
            "rows": made.rows | "Rows" >> BatchesToRows(_row_type(_featured_schema(spec))),
            "verdicts": made.verdicts
            | "Verdicts" >> BatchesToRows(_row_type(verdict_schema(spec))),
            "dead_letters": dead | "Dead" >> BatchesToRows(_row_type(DEAD_LETTER_SCHEMA)),
        }


class YamlScore(beam.PTransform):
    """Rows with features to the same with score, action, and the fingerprint of the bundle.

    Args:
      bundle: folder of a bundle, or of a store, whose serving bundle is followed.
      poll_seconds: how often a store's pointer is looked at.
    """

    def __init__(self, bundle: str, poll_seconds: float = POLL_SECONDS) -> None:
        super().__init__()
        self._bundle, self._poll_seconds = bundle, poll_seconds

    def expand(self, rows: beam.PCollection[Any]) -> beam.PCollection[Any]:
        """Applies it."""
        given = RowTypeConstraint.from_user_type(rows.element_type) or rows.element_type
        fields = [*given._fields, (SCORE, float), (ACTION, str), ("bundle", str)]
        return (
            rows
            | RowsToBatches()
            | Score(self._bundle, self._poll_seconds)
            | BatchesToRows(RowTypeConstraint.from_fields(fields))
        )


@dataclasses.dataclass(eq=False)
class RowsToBatches(beam.PTransform):
    """Rows, or mappings, to Arrow batches with a column per field."""

    def expand(self, rows: beam.PCollection[Any]) -> beam.PCollection[pa.RecordBatch]:
        """Applies it."""
        return (
            rows
            | "Gather" >> beam.BatchElements(min_batch_size=_ROWS, max_batch_size=_ROWS)
            | "ToBatch" >> beam.Map(rows_to_batch).with_output_types(pa.RecordBatch)
        )


@dataclasses.dataclass(eq=False)
class BatchesToRows(beam.PTransform):
    """Arrow batches to rows.

    Args:
      row_type: the fields that a row has; other columns are left out.
    """

    row_type: RowTypeConstraint

    def expand(self, batches: beam.PCollection[pa.RecordBatch]) -> beam.PCollection[Any]:
        """Applies it."""
        names = [name for name, _ in self.row_type._fields]
        return batches | "ToRows" >> beam.FlatMap(batch_to_rows, names).with_output_types(
            self.row_type
        )


def rows_to_batch(rows: Sequence[Any]) -> pa.RecordBatch:
    """Rows as one batch.

    A field that a row lacks is null.

    >>> rows_to_batch([beam.Row(a=1, b="x"), {"b": "y"}]).to_pydict()
    {'a': [1, None], 'b': ['x', 'y']}
    """
    plain = [row if isinstance(row, Mapping) else row._asdict() for row in rows]
    names = dict.fromkeys(name for row in plain for name in row)
    return pa.RecordBatch.from_pydict({name: [row.get(name) for row in plain] for name in names})


def batch_to_rows(batch: pa.RecordBatch, names: Sequence[str]) -> Iterator[Any]:
    """A batch's rows.

    >>> batch = pa.RecordBatch.from_pydict({"a": pa.array([float("nan"), 1.0]), "b": ["x", None]})
    >>> list(batch_to_rows(batch, ["a", "b"]))
    [Row(a=None, b='x'), Row(a=1.0, b=None)]
    """
    bundle = (batch.schema.metadata or {}).get(BUNDLE, b"").decode()
    columns = []
    for name in names:
        if name not in batch.schema.names and name == "bundle":
            columns.append([bundle] * batch.num_rows)
            continue
        column = batch.column(name)
        if pa.types.is_floating(column.type):
            column = pc.if_else(pc.is_nan(column), None, column)
        columns.append(column.to_pylist())
    for values in zip(*columns, strict=True):
        yield beam.Row(**dict(zip(names, values, strict=True)))


def _load(config: str) -> Spec:
    path = Path(config)
    return load(path if path.suffix else shipped(config), CATALOG)


def _featured_schema(spec: Spec) -> pa.Schema:
    """Columns of the rows that `Features` gives."""
    names = numeric_names(spec)
    kept = [field for field in dataset_fields(spec) if field.name not in names]
    return pa.schema([*kept, *(pa.field(name, pa.float32()) for name in names)])


def _row_type(schema: pa.Schema) -> RowTypeConstraint:
    return RowTypeConstraint.from_fields([(field.name, _PYTHON[field.type]) for field in schema])
