"""Which events are scored, which are verdicts, and which of their columns are kept."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from configs.schema import (
    EVENT_ID,
    EVENT_TIME,
    KIND,
    RESERVED_COLUMNS,
    JudgedSubject,
    Labels,
    Spec,
)
from transforms.columns import ARROW_TYPES
from transforms.expression import evaluate_mask

SUBJECT, POSITIVE = "subject", "positive"
SOURCE = "source"
SUBJECT_COLUMN, SUBJECT_VALUE = "subject_column", "subject_value"


def input_columns(spec: Spec) -> tuple[str, ...]:
    """Columns of a scored event that its model inputs are made of, beside the velocity features.

    They are what a dataset keeps of an event; anything else is in the archive only.
    """
    inputs = spec.inputs
    computed = {name for expression in inputs.computed.values() for name in expression.columns}
    known = set(spec.columns) | set(spec.derived)
    names = [*inputs.numeric, *sorted(computed & known)]
    names += [categorical.column for categorical in inputs.categorical]
    names += [inputs.text.column] if inputs.text else []
    names += [spec.evaluation.group] if spec.evaluation.group else []
    names += [one.of for one in spec.labels.subjects] if spec.labels is not None else []
    return tuple(dict.fromkeys(name for name in names if name not in RESERVED_COLUMNS))


def kept_columns(spec: Spec) -> tuple[str, ...]:
    """`input_columns`, and the accounts that are looked up, which a dataset does not keep."""
    accounts = spec.graph.accounts.values() if spec.graph is not None else ()
    kept = dict.fromkeys([*input_columns(spec), *accounts])
    return tuple(name for name in kept if name not in RESERVED_COLUMNS)


def dataset_fields(spec: Spec) -> list[pa.Field]:
    """What a dataset keeps of an event: `scored_schema` without accounts that are no inputs."""
    kept = {EVENT_ID, EVENT_TIME, KIND, *input_columns(spec)}
    return [field for field in scored_schema(spec) if field.name in kept]


def scored_schema(spec: Spec) -> pa.Schema:
    """Columns that scored events have until their features are joined to them."""
    columns = {EVENT_ID: pa.string(), EVENT_TIME: pa.int64(), KIND: pa.string()}
    columns |= {name: ARROW_TYPES[spec.column_type(name)] for name in kept_columns(spec)}
    return pa.schema(columns)


def scored_mask(spec: Spec, batch: pa.RecordBatch) -> npt.NDArray[np.bool_]:
    """Which events of a batch are scored: bool `[n]`."""
    kinds = pa.array(spec.scored_kinds, pa.string())
    mask: npt.NDArray[np.bool_] = pc.is_in(batch.column(KIND), value_set=kinds).to_numpy(
        zero_copy_only=False
    )
    return mask


def verdict_mask(spec: Spec, batch: pa.RecordBatch) -> npt.NDArray[np.bool_]:
    """Which events of a batch are verdicts: bool `[n]`; one that names nothing judges nothing."""
    if spec.labels is None:
        return np.zeros(batch.num_rows, np.bool_)
    mask = _names_event(spec.labels, batch)
    for one in spec.labels.subjects:
        mask |= _names_subject(spec.labels, one, batch)
    return mask


def _names_event(labels: Labels, batch: pa.RecordBatch) -> npt.NDArray[np.bool_]:
    judges = pc.equal(batch.column(KIND), labels.kind).to_numpy(zero_copy_only=False)
    named = batch.column(labels.subject).is_valid().to_numpy(zero_copy_only=False)
    return np.asarray(judges & named, np.bool_)


def _names_subject(
    labels: Labels, one: JudgedSubject, batch: pa.RecordBatch
) -> npt.NDArray[np.bool_]:
    """Which events name a subject and, by the rule, no event."""
    judges = pc.equal(batch.column(KIND), one.kind or labels.kind).to_numpy(zero_copy_only=False)
    named = batch.column(one.column).is_valid().to_numpy(zero_copy_only=False)
    return np.asarray(judges & named & ~_names_event(labels, batch), np.bool_)


def verdict_schema(spec: Spec) -> pa.Schema:
    """Columns of `verdict_rows`: with who judged, and with subjects, where `labels` has these."""
    columns = {EVENT_ID: pa.string(), EVENT_TIME: pa.int64(), SUBJECT: pa.string()}
    columns[POSITIVE] = pa.bool_()
    if spec.labels is not None and spec.labels.source is not None:
        columns[SOURCE] = pa.string()
    if spec.labels is not None and spec.labels.subjects:
        columns |= {SUBJECT_COLUMN: pa.string(), SUBJECT_VALUE: pa.string()}
    return pa.schema(columns)


def verdict_columns(spec: Spec) -> set[str]:
    """The columns of events that `verdict_rows` reads."""
    if spec.labels is None:
        return set()
    labels = spec.labels
    read = {EVENT_ID, EVENT_TIME, KIND, labels.subject, *labels.positive.columns}
    read |= {one.column for one in labels.subjects}
    return read | ({labels.source} if labels.source is not None else set())


def verdict_rows(spec: Spec, batch: pa.RecordBatch) -> pa.RecordBatch:
    """What a batch of verdicts says (`verdict_schema`): of what, and whether it is abuse."""
    labels, schema = spec.labels, verdict_schema(spec)
    if labels is None:
        return pa.RecordBatch.from_pylist([], schema)
    positive = pa.array(evaluate_mask(labels.positive, batch))
    about = batch.column(labels.subject)
    if labels.subjects:  # a verdict of another kind than `labels.kind` is about no event
        about = pc.if_else(
            pa.array(_names_event(labels, batch)), about, pa.scalar(None, about.type)
        )
    columns = [batch.column(EVENT_ID), batch.column(EVENT_TIME), about, positive]
    columns += [batch.column(labels.source)] if labels.source is not None else []
    if labels.subjects:
        name, value = pa.nulls(batch.num_rows, pa.string()), pa.nulls(batch.num_rows, pa.string())
        for one in reversed(labels.subjects):  # the first that is named counts
            named = pa.array(_names_subject(labels, one, batch))
            name = pc.if_else(named, pa.scalar(one.of), name)
            value = pc.if_else(named, batch.column(one.column).cast(pa.string()), value)
        columns += [name, value]
    return pa.RecordBatch.from_arrays(columns, schema=schema)
