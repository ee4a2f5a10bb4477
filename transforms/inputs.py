"""The numeric block: event columns, velocity features and computed values, side by side.

It is the one place where features become inputs.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from configs.catalog import Catalog
from configs.errors import InputError
from configs.schema import Expression, Spec
from configs.social import GRAPH_FEATURES, graph_inputs
from transforms.columns import ARROW_TYPES
from transforms.derive import DERIVATIONS
from transforms.expression import evaluate_arrays
from transforms.numbers import to_floats
from transforms.social.as_of import key_of
from transforms.velocity import FeatureInfo, column_unit, make_plan

Floats = npt.NDArray[np.float32]

_ROWS = 2048
"""Rows that are laid side by side at a time: columns and block stay in the processor's cache."""


def numeric_names(spec: Spec) -> tuple[str, ...]:
    """Names of the numeric block's columns: `numeric`, features not excluded, `computed`.

    Features of accounts in the social graph come after those of entities.
    """
    excluded = set(spec.inputs.exclude)
    features = [
        name
        for entity in spec.entities
        for name in make_plan(spec, entity).features
        if name not in excluded
    ]
    for names in graph_inputs(spec.graph).values():
        features += [name for name in names if name not in excluded]
    return (*spec.inputs.numeric, *features, *spec.inputs.computed)


def describe_inputs(spec: Spec, catalog: Catalog | None = None) -> tuple[FeatureInfo, ...]:
    """What the model sees beside velocity features, in words: numeric, computed, categorical, text.

    The roles are "event" (a numeric column), "derived", "graph" (of an account in the social
    graph), "computed", "categorical" and "text".
    """
    operations = catalog.derivations if catalog else {one.op: one for one in DERIVATIONS}

    def info(name: str, role: str, about: str, dtype: str, null_rule: str) -> FeatureInfo:
        unit = column_unit(spec, name) if role == "event" else ""
        return FeatureInfo(name, about, "", "", unit, dtype, null_rule, "", 0, role)

    def meaning(name: str) -> str:
        """Of an event column or a derived one: the config's own words beside what is done."""
        if name in spec.derived:
            derived = spec.derived[name]
            fields = dataclasses.fields(operations[derived.op])
            usual = {field.name: field.metadata.get("now") for field in fields}
            given = [
                one.text if isinstance(one, Expression) else str(one)
                for key, one in derived.arguments.items()
                if one != usual[key]  # a version, where it is the one that is meant by itself
            ]
            done = f"{operations[derived.op].about}: {', '.join(given)}"
            return f"{derived.about}: {done}" if derived.about else done
        own = spec.columns[name].about if name in spec.columns else ""
        return own or f"the event's {name}"

    made = []
    for name in spec.inputs.numeric:
        role = "derived" if name in spec.derived else "event"
        rule = "null where it does not apply" if role == "derived" else "null where it is absent"
        made.append(info(name, role, meaning(name), "float32", rule))
    for name, about in account_meanings(spec).items():
        if name not in spec.inputs.exclude:
            rule = "null for an account that the snapshot lacks, and before the first one"
            made.append(info(name, "graph", about, "float32", rule))
    for name, expression in spec.inputs.computed.items():
        rule = "null where an operand is null or a divisor is 0"
        made.append(info(name, "computed", expression.text, "float32", rule))
    for one in spec.inputs.categorical:
        size = f"{one.vocabulary:,} values and {one.oov_buckets} buckets for others"
        about = f"{meaning(one.column)}; vocabulary of {size}"
        made.append(
            info(one.column, "categorical", about, "string", "null counts as an empty text")
        )
    text = spec.inputs.text
    if text is not None:
        read = f"n-grams in {text.buckets:,} buckets"
        if text.encoder:
            read = f"vector of its first {text.encoder_tokens} tokens by an encoder"
        about = f"{meaning(text.column)}; {read}"
        made.append(info(text.column, "text", about, "string", "null counts as an empty text"))
    return tuple(made)


def account_meanings(spec: Spec) -> dict[str, str]:
    """What each feature of an account in the social graph says, by name."""
    graph, found = spec.graph, {}
    for account, names in graph_inputs(graph).items():
        for name, column in zip(names, graph.columns if graph else (), strict=True):
            base, _, hop = column.partition("_mean_")
            said = GRAPH_FEATURES[base]
            if hop:
                said = f"mean over neighbours{' of neighbours' if hop == '2' else ''} of: {said}"
            found[name] = f"of {account}, in the newest snapshot known then: {said}"
    return found


def input_arrays(spec: Spec, table: pa.Table) -> tuple[Floats, pa.RecordBatch]:
    """The numeric block and the other input columns of a published dataset's rows.

    Args:
      spec: the use.
      table: `[n]`, with a column for each of `numeric_names`, categories and text.

    Returns:
      float32 `[n, K]`, null as NaN; and `[n]` rows of the categorical and text columns.

    Raises:
      InputError: a column is missing, or of a type that does not fit.
    """
    names = numeric_names(spec)
    text = [spec.inputs.text.column] if spec.inputs.text else []
    other = dict.fromkeys([*(one.column for one in spec.inputs.categorical), *text])
    there = set(table.column_names)  # a list made anew at each look
    missing = [name for name in (*names, *other) if name not in there]
    if missing:
        raise InputError(
            f"the table has no column {missing[0]!r} ({len(missing)} are missing); expected the "
            "inputs of this bundle, as `lockstep backfill` writes them under its spec.yaml"
        )
    block = _block([_cast(table, name, pa.float32()).to_numpy() for name in names], table.num_rows)
    types = {name: ARROW_TYPES[spec.column_type(name)] for name in other}
    columns = {name: _cast(table, name, type_).combine_chunks() for name, type_ in types.items()}
    if not columns:  # a batch without columns has no length
        columns = {names[0]: pa.array(block[:, 0])}
    return block, pa.RecordBatch.from_pydict(columns)


def _cast(table: pa.Table, name: str, wanted: pa.DataType) -> pa.ChunkedArray:
    column = table.column(name)
    try:
        return column.cast(wanted, safe=not pa.types.is_floating(wanted))
    except pa.ArrowException as error:
        raise InputError(
            f"the column {name!r} is {column.type}, expected {wanted} or what can be made of it"
        ) from error


def numeric_block(spec: Spec, batch: pa.RecordBatch, features: Mapping[str, Floats]) -> Floats:
    """The numeric block of scored events.

    Args:
      spec: the use.
      batch: derived events `[n]`, the scored ones only.
      features: entity -> float32 `[n, F]`, columns in the order of its plan; and likewise of each
        of the accounts that events see in the social graph (`transforms.social.as_of.key_of`).

    Returns:
      float32 `[n, K]`. An infinite value (an overflow of float32) is null.
    """
    return _block(_columns(spec, batch, features), batch.num_rows)


def numeric_columns(spec: Spec, batch: pa.RecordBatch, features: Mapping[str, Floats]) -> Floats:
    """The same with each column in one piece: float32 `[K, n]`."""
    columns = _columns(spec, batch, features)
    made = np.empty((len(columns), batch.num_rows), np.float32)
    _fill(made, columns)
    return made


def _columns(
    spec: Spec, batch: pa.RecordBatch, features: Mapping[str, Floats]
) -> list[npt.NDArray[np.floating]]:
    excluded, computed = set(spec.inputs.exclude), spec.inputs.computed
    needed = {name for expression in computed.values() for name in expression.columns}
    columns: list[npt.NDArray[np.floating]] = []
    arrays: dict[str, pa.Array | npt.NDArray[np.float64]] = {}
    for name in spec.inputs.numeric:
        columns.append(to_floats(batch.column(name)))
    for name in needed & set(batch.schema.names):
        arrays[name] = batch.column(name)
    named = {entity: make_plan(spec, entity).features for entity in spec.entities}
    named |= {key_of(name): names for name, names in graph_inputs(spec.graph).items()}
    for group, names in named.items():
        for index, name in enumerate(names):
            values = features[group][:, index]
            if name not in excluded:
                columns.append(values)
            if name in needed:
                arrays[name] = values.astype(np.float64)
    for expression in computed.values():
        columns.append(evaluate_arrays(expression, arrays, batch.num_rows))
    return columns


def _block(columns: Sequence[npt.NDArray[np.floating]], count: int) -> Floats:
    """Columns side by side: float32 `[count, K]`; infinite values are null."""
    block = np.empty((count, len(columns)), np.float32)
    _fill(block.T, columns)
    return block


def _fill(made: Floats, columns: Sequence[npt.NDArray[np.floating]]) -> None:
    """Writes columns `[n]` to `made` `[K, n]`; infinite values are null."""
    with np.errstate(over="ignore"):
        for start in range(0, made.shape[1], _ROWS):
            part = made[:, start : start + _ROWS]
            for index, column in enumerate(columns):
                part[index] = column[start : start + _ROWS]
            np.copyto(part, np.float32(np.nan), where=np.isinf(part))
