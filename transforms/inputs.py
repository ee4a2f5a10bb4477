"""The numeric block: event columns, velocity features and computed values, side by side.

What enters: scored derived events and the features of each entity. What leaves: float32 `[n, K]`,
NaN for null, in the order of `numeric_names`. It is the one place where features become inputs.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from configs.catalog import Catalog
from configs.schema import Expression, Spec
from transforms.derive import DERIVATIONS
from transforms.expression import evaluate_arrays, to_floats
from transforms.velocity import FeatureInfo, column_unit, make_plan

Floats = npt.NDArray[np.float32]

_ROWS = 2048
"""Rows that are laid side by side at a time: columns and block stay in the processor's cache."""


def numeric_names(spec: Spec) -> tuple[str, ...]:
    """Names of the numeric block's columns: `numeric`, features not excluded, `computed`."""
    excluded = set(spec.inputs.exclude)
    features = [
        name
        for entity in spec.entities
        for name in make_plan(spec, entity).features
        if name not in excluded
    ]
    return (*spec.inputs.numeric, *features, *spec.inputs.computed)


def describe_inputs(spec: Spec, catalog: Catalog | None = None) -> tuple[FeatureInfo, ...]:
    """What the model sees beside velocity features, in words: numeric, computed, categorical, text.

    The roles are "event" (a numeric column), "derived", "computed", "categorical" and "text".
    """
    operations = catalog.derivations if catalog else {one.op: one for one in DERIVATIONS}

    def info(name: str, role: str, about: str, dtype: str, null_rule: str) -> FeatureInfo:
        unit = column_unit(spec, name) if role == "event" else ""
        return FeatureInfo(name, about, "", "", unit, dtype, null_rule, "", 0, role)

    def meaning(name: str) -> str:
        """Of an event column or a derived one: the config's own words beside what is done."""
        if name in spec.derived:
            derived = spec.derived[name]
            given = [
                one.text if isinstance(one, Expression) else str(one)
                for one in derived.arguments.values()
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
        about = f"{meaning(text.column)}; n-grams in {text.buckets:,} buckets"
        made.append(info(text.column, "text", about, "string", "null counts as an empty text"))
    return tuple(made)


def numeric_block(spec: Spec, batch: pa.RecordBatch, features: Mapping[str, Floats]) -> Floats:
    """The numeric block of scored events.

    Args:
      spec: the use.
      batch: derived events `[n]`, the scored ones only.
      features: entity -> float32 `[n, F]`, columns in the order of its plan.

    Returns:
      float32 `[n, K]`. An infinite value (an overflow of float32) is null.
    """
    excluded, computed = set(spec.inputs.exclude), spec.inputs.computed
    needed = {name for expression in computed.values() for name in expression.columns}
    columns: list[npt.NDArray[np.floating]] = []
    arrays: dict[str, npt.NDArray[np.float64]] = {}
    for name in spec.inputs.numeric:
        columns.append(to_floats(batch.column(name)))
    for name in needed & set(batch.schema.names):
        arrays[name] = to_floats(batch.column(name))
    for entity in spec.entities:
        for index, name in enumerate(make_plan(spec, entity).features):
            values = features[entity][:, index]
            if name not in excluded:
                columns.append(values)
            if name in needed:
                arrays[name] = values.astype(np.float64)
    for expression in computed.values():
        columns.append(evaluate_arrays(expression, arrays, batch.num_rows))
    block = np.empty((batch.num_rows, len(columns)), np.float32)
    with np.errstate(over="ignore"):
        for start in range(0, len(block), _ROWS):
            part = block[start : start + _ROWS]
            for index, column in enumerate(columns):
                part[:, index] = column[start : start + _ROWS]
            part[np.isinf(part)] = np.nan
    return block
