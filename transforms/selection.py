"""Which events are scored, which are verdicts, and which of their columns are kept."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from configs.schema import EVENT_ID, EVENT_TIME, KIND, RESERVED_COLUMNS, Spec
from transforms.columns import ARROW_TYPES
from transforms.expression import evaluate_mask

SUBJECT, POSITIVE = "subject", "positive"
SOURCE = "source"


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
    """Which events of a batch are verdicts: bool `[n]`; one without subject judges nothing."""
    if spec.labels is None:
        return np.zeros(batch.num_rows, np.bool_)
    is_verdict = pc.equal(batch.column(KIND), spec.labels.kind).to_numpy(zero_copy_only=False)
    subject = batch.column(spec.labels.subject).is_valid().to_numpy(zero_copy_only=False)
    return np.asarray(is_verdict & subject, np.bool_)


def verdict_schema(spec: Spec) -> pa.Schema:
    """Columns of `verdict_rows`; who judged is among them where `labels.source` says so."""
    columns = {EVENT_ID: pa.string(), EVENT_TIME: pa.int64(), SUBJECT: pa.string()}
    columns[POSITIVE] = pa.bool_()
    if spec.labels is not None and spec.labels.source is not None:
        columns[SOURCE] = pa.string()
    return pa.schema(columns)


def verdict_rows(spec: Spec, batch: pa.RecordBatch) -> pa.RecordBatch:
    """What a batch of verdicts says (`verdict_schema`): of which event, and whether it is abuse."""
    labels, schema = spec.labels, verdict_schema(spec)
    if labels is None:
        return pa.RecordBatch.from_pylist([], schema)
    positive = pa.array(evaluate_mask(labels.positive, batch))
    columns = [batch.column(name) for name in (EVENT_ID, EVENT_TIME, labels.subject)]
    sources = [batch.column(labels.source)] if labels.source is not None else []
    return pa.RecordBatch.from_arrays([*columns, positive, *sources], schema=schema)
