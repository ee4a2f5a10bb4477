"""Whether published days mean what a spec means: the same inputs, made in the same way.

What enters: a spec, and the markers of published days. What leaves: a digest per model input, which
a backfill writes into each day's marker, and the first input that differs, in words. A name alone
tells nothing: an aggregate whose filter was changed keeps its name, and would feed a model that was
trained before the change other numbers than it knows.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Iterable, Mapping
from typing import Any

from configs.catalog import operand_fields
from configs.fingerprint import dataset_fingerprint, graph_fingerprint, state_fingerprint
from configs.schema import Aggregate, Entity, Evaluation, Events, Expression, Inputs, Spec
from configs.social import graph_inputs
from transforms.catalog import CATALOG
from transforms.inputs import numeric_names
from transforms.velocity import make_plan
from transforms.velocity.plan import Feature


def input_fingerprints(spec: Spec) -> dict[str, str]:
    """What each input of a spec's models means: name -> 16 hex digits.

    An input is digested by itself, so another aggregate beside it changes nothing.
    """
    features = {
        name: (entity, _one_window(recipe))
        for entity in spec.entities
        for name, recipe in zip(
            make_plan(spec, entity).features, make_plan(spec, entity).recipes, strict=True
        )
    }
    names = [*numeric_names(spec), *(one.column for one in spec.inputs.categorical)]
    names += [spec.inputs.text.column] if spec.inputs.text else []
    return {name: _signature(spec, name, features) for name in dict.fromkeys(names)}


def find_unlike(wanted: Spec, there: Mapping[str, str]) -> str:
    """The first input of a spec that is not among `there`, or means something else; "" if none.

    Args:
      wanted: a bundle's spec.
      there: input -> fingerprint, of another spec or of a day's marker.
    """
    for name, digest in input_fingerprints(wanted).items():
        if name not in there:
            return f"{name!r}, which is not there"
        if there[name] != digest:
            return f"{name!r}, which is made in another way there"
    return ""


def marker_unlike(wanted: Spec, marker: Mapping[str, Any]) -> str:
    """As `find_unlike`, of a published day; a day of the same dataset needs no look at inputs."""
    if marker["spec"] == dataset_fingerprint(wanted):
        return ""
    if "inputs" not in marker:
        return "inputs whose signatures the day does not record (it was made by an earlier build)"
    return find_unlike(wanted, marker["inputs"])


def columns_behind(spec: Spec, names: Iterable[str]) -> set[str]:
    """These columns, and all that they are derived from."""
    used: set[str] = set()
    waiting = list(names)
    while waiting:
        name = waiting.pop()
        if name not in used:
            used.add(name)
            if name in spec.derived:
                waiting += _names_in(spec.derived[name].arguments.values())
    return used


def source_columns(spec: Spec, name: str) -> tuple[str, ...]:
    """The event columns that a column is made of, itself if it is one, sorted."""
    return tuple(sorted(columns_behind(spec, [name]) & set(spec.columns)))


def is_private(spec: Spec, name: str) -> bool:
    """Whether a column's values must not be shown: declared so, or derived from one that is."""
    return any(spec.columns[source].private for source in source_columns(spec, name))


def _one_window(recipe: Feature) -> Aggregate:
    """The aggregate with the feature's own window only."""
    windows = (recipe.window,) if recipe.window else ()
    return dataclasses.replace(recipe.aggregate, windows=windows)


def _signature(spec: Spec, name: str, features: Mapping[str, tuple[str, Aggregate]]) -> str:
    if name in spec.inputs.computed:
        expression = spec.inputs.computed[name]
        parts = [expression.text, *(_signature(spec, c, features) for c in expression.columns)]
        return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16]
    for account, names in graph_inputs(spec.graph).items():
        if name in names and spec.graph is not None:
            column = spec.graph.columns[names.index(name)]
            parts = [graph_fingerprint(spec), column]
            parts.append(_column_signature(spec, spec.graph.accounts[account]))
            return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16]
    if name in features:
        entity, aggregate = features[name]
        return _feature_signature(spec, spec.entities[entity], aggregate)
    return _column_signature(spec, name)


def _feature_signature(spec: Spec, entity: Entity, aggregate: Aggregate) -> str:
    """Of the entity's state, had it this aggregate only, and those that it refers to."""
    by_name = {one.name: one for one in entity.aggregates}
    used, waiting = [], [aggregate]
    while waiting:
        one = waiting.pop()
        used.append(one)
        # Operands only: a column may have the name of an aggregate, this one's too.
        operands = operand_fields(CATALOG.aggregates[one.op])
        waiting += [by_name[one.arguments[operand]] for operand in operands]
    alone = dataclasses.replace(entity, aggregates=tuple(used))
    return state_fingerprint(
        dataclasses.replace(spec, entities={**spec.entities, entity.name: alone}), entity.name
    )


def _column_signature(spec: Spec, name: str) -> str:
    """Of a dataset that held this column only."""
    used = columns_behind(spec, [name])
    return dataset_fingerprint(
        dataclasses.replace(
            spec,
            events=Events(spec.events.id, spec.events.time, spec.events.kind, spec.events.aliases),
            columns={
                column: dataclasses.replace(one, private=False)
                for column, one in spec.columns.items()
                if column in used
            },
            kinds={},
            derived={n: one for n, one in spec.derived.items() if n in used},
            entities={},
            inputs=Inputs(numeric=(name,)),
            labels=None,
            evaluation=Evaluation(),
            shards=1,
            graph=None,
        )
    )


def _names_in(values: Iterable[Any]) -> list[str]:
    found: list[str] = []
    for value in values:
        if isinstance(value, Expression):
            found += value.columns
        elif isinstance(value, (str, tuple)):
            found += [value] if isinstance(value, str) else [v for v in value if isinstance(v, str)]
    return found
