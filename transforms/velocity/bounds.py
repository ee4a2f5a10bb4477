"""What values features can have, by what their columns declare; for the loader.

A comparison that no feature can meet is a mistake of the config (`configs.expression_ranges`).
Bounds go through the roundings of the fold and of 32-bit floats, which keep the order of numbers.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np

from configs.catalog import Bounds, Catalog, operand_fields
from configs.schema import Aggregate, Column, Entity


def feature_bounds(
    entity: Entity, aggregate: Aggregate, columns: Mapping[str, Column], catalog: Catalog
) -> Bounds:
    """The smallest and the largest value of an aggregate's features, null aside.

    Args:
      entity: of the aggregate.
      aggregate: with whatever arguments it has; where some are missing nothing is known.
      columns: what values columns can have.
      catalog: with its operation.
    """
    operation = catalog.aggregates[aggregate.op]
    if any(one.name not in aggregate.arguments for one in _required(operation)):
        return None, None
    if operand_fields(operation):
        return _of_others(operation, entity, aggregate, columns, catalog)
    least, most = getattr(operation, "least", None), getattr(operation, "most", None)
    if hasattr(operation, "bounds"):
        least, most = operation(**aggregate.arguments).bounds(columns)
    return _as_kept(least), _as_kept(most)


def _required(operation: type[Any]) -> list[dataclasses.Field[Any]]:
    return [one for one in dataclasses.fields(operation) if one.default is dataclasses.MISSING]


def _of_others(
    operation: type[Any],
    entity: Entity,
    aggregate: Aggregate,
    columns: Mapping[str, Column],
    catalog: Catalog,
) -> Bounds:
    named = {one.name: one for one in entity.aggregates}
    others = [named.get(str(aggregate.arguments[one])) for one in operand_fields(operation)]
    known = [one for one in others if one is not None and one.op in catalog.aggregates]
    if len(known) < len(others) or any(operand_fields(catalog.aggregates[one.op]) for one in known):
        return None, None
    nameless = [dataclasses.replace(one, name="", about="", windows=()) for one in known]
    bounds = [feature_bounds(entity, one, columns, catalog) for one in known]
    made: Bounds = operation.combined_bounds(nameless, bounds)
    return made


def _as_kept(bound: float | None) -> float | None:
    if bound is None:
        return None
    kept = float(np.float32(bound))
    return int(kept) if kept.is_integer() else kept
