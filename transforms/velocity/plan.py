"""Compiles an entity of the spec into what the fold runs on: slots, cells, and features.

What enters: a `Spec` and an entity's name. What leaves: a `Plan`, frozen and cached: the slots
that a row fills, the cells that a key keeps, as arrays for the kernel, and for each feature the
outputs that it is finished from.
"""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from configs.catalog import Catalog, operand_fields
from configs.fingerprint import state_fingerprint
from configs.schema import Aggregate, Column, ColumnType, Entity, Spec, Window
from transforms.velocity.aggregates import AGGREGATES
from transforms.velocity.bins import MOST_BINS
from transforms.velocity.cells import (
    LIMIT,
    Ask,
    Bins,
    Cell,
    Extreme,
    Measure,
    Scalar,
    Sketch,
    Slot,
    Squares,
    Sum,
)
from transforms.velocity.layout import Arrays, Int64s
from transforms.velocity.packing import HEADER
from transforms.velocity.sketch import REGISTERS

MOST_SLOTS = 63
"""A row's slots are the bits of one 64-bit mask."""

_VARINT = 10  # longest encoding of an int64
_SQUARES = 7 + _VARINT  # of a saturated high word, and of a low one
_TILE_EVENTS = 1_000
_SMALLER = "give fewer decimals, or the range that the column has"
_BIN = 2 + 8  # of a place, and of a count up to `LIMIT`
_SORTS = (Sum, Extreme, Sketch, Squares, Bins, Scalar)  # the order of outputs and of state


@dataclasses.dataclass(frozen=True)
class Feature:
    """One feature: its aggregate, its window, and where its outputs stand.

    Attributes:
      operands: indices of the features that it is made of; empty unless it names aggregates.
      outputs: columns of the fold's output, in the order of the aggregate's cells.
      cells: what a key keeps for it.
    """

    name: str
    aggregate: Aggregate
    window: Window | None
    logic: Any
    outputs: tuple[int, ...]
    operands: tuple[int, ...] = ()
    cells: tuple[Cell, ...] = ()


@dataclasses.dataclass(frozen=True, eq=False)
class Plan:
    """What the fold of one entity runs on.

    Attributes:
      entity: its name.
      features: names, in the order of the spec; columns of `finish`.
      slots: in the order of the mask's bits.
      values, hashes: slots that bring a value or a hash, in the order of the rows' arrays.
      width: how many int64 the fold puts out per event.
      fingerprint: `configs.fingerprint.state_fingerprint`.
    """

    entity: str
    config: Entity
    features: tuple[str, ...]
    recipes: tuple[Feature, ...]
    slots: tuple[Slot, ...]
    values: tuple[Slot, ...]
    hashes: tuple[Slot, ...]
    arrays: Arrays
    width: int
    retention_us: int
    scored_kinds: tuple[str, ...]
    hash_seed: int
    fingerprint: str

    @functools.cached_property
    def max_state_bytes(self) -> int:
        """The most bytes that one key's state can take, whatever happens to it."""
        cells = {cell for recipe in self.recipes for cell in recipe.cells}
        return HEADER + _VARINT + most_bytes(cells)  # version, clock, sequence; then the cells


def most_bytes(cells: Iterable[Cell]) -> int:
    """The most bytes that a key keeps for some cells, and for the tiles that they stand in."""
    different = set(cells)
    windows = {cell.window for cell in different if not isinstance(cell, Scalar)}
    return sum(2 + window.tiles * _VARINT for window in windows) + sum(map(_cell_bytes, different))


def _cell_bytes(cell: Cell) -> int:
    match cell:
        case Sum():
            return cell.window.tiles * _VARINT
        case Extreme():
            return cell.window.tiles * (1 + _VARINT)
        case Sketch():
            return cell.window.tiles * (1 + REGISTERS)
        case Squares():
            return cell.window.tiles * _SQUARES
        case Bins():
            return cell.window.tiles * (2 + MOST_BINS * _BIN)
        case Scalar():
            return 1 + _VARINT


SHIPPED = Catalog.of((), AGGREGATES)
_PLANS: dict[tuple[int, str], tuple[Spec, Catalog, Plan]] = {}
"""By the spec's identity: a spec holds mappings, so it has no hash. The spec is kept alive here."""


def make_plan(spec: Spec, entity: str, catalog: Catalog = SHIPPED) -> Plan:
    """The plan of an entity; cached per spec.

    Args:
      spec: the use.
      entity: its name.
      catalog: with the classes of the aggregates that the spec names.

    Raises:
      KeyError: the spec has no such entity.
      ValueError: its aggregates need more than `MOST_SLOTS` slots.
    """
    held = _PLANS.get((id(spec), entity))
    if held is not None and held[0] is spec and held[1] is catalog:
        return held[2]
    plan = _compile(spec, entity, catalog)
    if len(_PLANS) > 1024:
        _PLANS.clear()
    _PLANS[(id(spec), entity)] = (spec, catalog, plan)
    return plan


def check_entity(entity: Entity, catalog: Catalog) -> tuple[str, str] | None:
    """What the fold cannot hold of an entity, and what to do; for the loader."""
    slots = {cell.slot for wish in _wishes(entity, catalog) for cell in wish.cells}
    if len(slots) <= MOST_SLOTS:
        return None
    return (
        f"its aggregates need {len(slots)} different filters and columns; at most {MOST_SLOTS} fit",
        "split it into two entities with the same key",
    )


def check_values(
    entity: str, aggregate: Aggregate, columns: Mapping[str, Column], catalog: Catalog
) -> tuple[str, str] | None:
    """Which declared values an aggregate cannot hold, and what to do; for the loader.

    A bound beyond `LIMIT` would be clipped. Where even the smallest values of a column, as of times
    in microseconds, fill a tile's sum within `_TILE_EVENTS` events, the sum would mean nothing.
    """
    config = Entity(entity, {}, (aggregate,), 0)
    for cell in (cell for wish in _wishes(config, catalog) for cell in wish.cells):
        column = columns.get(cell.slot.column or "")
        if cell.slot.measure is not Measure.VALUE or column is None or cell.slot.texts:
            continue
        kept_whole = column.type is ColumnType.INTEGER and isinstance(cell, Extreme | Scalar)
        most = (2**63 - 1 if kept_whole else LIMIT) / 10**cell.slot.decimals
        low, high = column.minimum, column.maximum
        large = [one for one in (low, high) if one is not None and abs(one) > most]
        decimals = f"with decimals: {cell.slot.decimals}"
        holds = f"{aggregate.op} holds values up to {math.floor(most):,} {decimals}"
        if large:
            return f"{column.name!r} may be {large[0]:,}; {holds}", _SMALLER
        least = max(low or 0, -high if high is not None else 0, 0)
        if isinstance(cell, Sum) and least * _TILE_EVENTS > most:
            return (
                f"{column.name!r} is never nearer to 0 than {least:,}; {holds}, and so does the "
                f"sum of a tile: fewer than {_TILE_EVENTS:,} events would fill it",
                _SMALLER + ", or a column that counts from a nearer zero",
            )
    return None


def feature_names(spec: Spec) -> tuple[str, ...]:
    """Names of all velocity features, entity by entity."""
    return tuple(name for entity in spec.entities for name in make_plan(spec, entity).features)


@dataclasses.dataclass(frozen=True)
class _Wish:
    """A feature, and the cells that it is made of; one that is made of others has none."""

    name: str
    aggregate: Aggregate
    window: Window | None
    logic: Any
    cells: tuple[Cell, ...]
    operands: tuple[str, ...]


def _wishes(config: Entity, catalog: Catalog) -> list[_Wish]:
    """The features of an entity, in the order of the spec."""
    wishes = []
    for aggregate in config.aggregates:
        operation = catalog.aggregates[aggregate.op]
        logic, others = operation(**aggregate.arguments), operand_fields(operation)
        windows: tuple[Window | None, ...] = aggregate.windows if logic.windowed else (None,)
        for window in windows:
            name = _feature_name(config.name, aggregate.name, window)
            operands = tuple(
                _feature_name(config.name, getattr(logic, field), window) for field in others
            )
            cells = () if others else logic.cells(Ask(aggregate, window))
            wishes.append(_Wish(name, aggregate, window, logic, cells, operands))
    return wishes


def _feature_name(entity: str, aggregate: str, window: Window | None) -> str:
    return f"{entity}_{aggregate}" + (f"_{window.name}" if window else "")


def _compile(spec: Spec, entity: str, catalog: Catalog) -> Plan:
    config = spec.entities[entity]
    fault = check_entity(config, catalog)
    if fault is not None:
        raise ValueError(f"entity {entity!r}: {fault[0]}; {fault[1]}")
    wishes = _wishes(config, catalog)
    cells = list(dict.fromkeys(cell for wish in wishes for cell in wish.cells))
    ordered = [cell for kind in _SORTS for cell in cells if isinstance(cell, kind)]
    tiled = list(dict.fromkeys(cell.window for cell in ordered if not isinstance(cell, Scalar)))
    ordered.sort(key=lambda cell: _place(cell, tiled))  # stable: state keeps its format
    column, columns = 0, {}
    for cell in ordered:
        width = {Sketch: 3, Squares: 2}.get(type(cell), 1)
        columns[cell] = tuple(range(column, column + width))
        column += width
    names = [wish.name for wish in wishes]
    recipes = tuple(
        Feature(
            wish.name,
            wish.aggregate,
            wish.window,
            wish.logic,
            outputs=tuple(index for cell in wish.cells for index in columns[cell]),
            operands=tuple(names.index(name) for name in wish.operands),
            cells=wish.cells,
        )
        for wish in wishes
    )
    slots = tuple(dict.fromkeys(cell.slot for cell in ordered))
    values = tuple(slot for slot in slots if slot.measure is Measure.VALUE)
    hashes = tuple(slot for slot in slots if slot.measure is Measure.HASH)
    return Plan(
        entity=entity,
        config=config,
        features=tuple(names),
        recipes=recipes,
        slots=slots,
        values=values,
        hashes=hashes,
        arrays=_arrays(ordered, tiled, slots, values, hashes),
        width=column,
        retention_us=config.retention_us,
        scored_kinds=spec.scored_kinds,
        hash_seed=spec.hash_seed,
        fingerprint=state_fingerprint(spec, entity),
    )


def _place(cell: Cell, windows: list[Window]) -> tuple[int, int]:
    sort = _SORTS.index(type(cell))
    return sort, 0 if isinstance(cell, Scalar) else windows.index(cell.window)


def _arrays(
    cells: list[Cell],
    windows: list[Window],
    slots: tuple[Slot, ...],
    values: tuple[Slot, ...],
    hashes: tuple[Slot, ...],
) -> Arrays:
    bit = {slot: index for index, slot in enumerate(slots)}
    measured = {slot: index for index, slot in enumerate(values)}
    measured |= {slot: index for index, slot in enumerate(hashes)}

    def rows(sort: type[Cell]) -> list[tuple[int, ...]]:
        """Window or kind, slot bit, row of the values or the hashes, and the sign of an extreme."""
        return [
            (
                int(c.kind) if isinstance(c, Scalar) else windows.index(c.window),
                bit[c.slot],
                measured.get(c.slot, -1),
                *((c.sign,) if isinstance(c, Extreme) else ()),
            )
            for c in cells
            if isinstance(c, sort)
        ]

    made = {sort: rows(sort) for sort in _SORTS}
    table = {
        sort: np.array(one, np.int64).reshape(-1, 4 if sort is Extreme else 3)
        for sort, one in made.items()
    }
    at = {sort: _starts(one, len(windows)) for sort, one in made.items() if sort is not Scalar}
    touches = [0] * len(windows)
    for cell in cells:
        if not isinstance(cell, Scalar):
            touches[windows.index(cell.window)] |= 1 << bit[cell.slot]
    return Arrays(
        tile_us=np.array([w.tile_us for w in windows], np.int64),
        tiles=np.array([w.tiles for w in windows], np.int64),
        sums=table[Sum],
        extremes=table[Extreme],
        sketches=table[Sketch],
        squares=table[Squares],
        bins=table[Bins],
        scalars=table[Scalar],
        sum_at=at[Sum],
        extreme_at=at[Extreme],
        sketch_at=at[Sketch],
        square_at=at[Squares],
        bins_at=at[Bins],
        touches=np.array(touches, np.uint64),
    )


def _starts(cells: Sequence[tuple[int, ...]], windows: int) -> Int64s:
    """Where the cells of each window begin, and their end."""
    counts = np.bincount([cell[0] for cell in cells], minlength=windows) if cells else [0] * windows
    return np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
