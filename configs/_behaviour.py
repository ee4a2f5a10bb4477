"""The section of a config about behaviour: entities, their windows and aggregates."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from configs._arguments import read_arguments, read_where
from configs._events import check_name, known_names, present_in
from configs._nodes import Fields, Items, Position
from configs._yaml import Section, did_you_mean, what_is
from configs.catalog import Bounds, Catalog, operand_fields
from configs.schema import LIFETIME, Aggregate, Column, ColumnType, Entity, Kind, Window
from configs.units import format_duration, parse_duration

MOST_TILES = 1024
"""Of a window: bounds the state of a key."""

_DEFAULT_TILES = 60  # where the config does not say: the most, up to so many, that divide it
_SHORTEST_US = 1_000_000
_LONGEST_US = 400 * 86_400_000_000
_LEAST_RETENTION_US = 30 * 86_400_000_000


def read_entities(
    root: Section,
    kinds: Mapping[str, Kind],
    types: Mapping[str, ColumnType],
    known: Mapping[str, Column],
    catalog: Catalog,
) -> dict[str, Entity]:
    """The `entities` section; `known` says what values columns can have."""
    found: dict[str, Entity] = {}
    for name, section in root.sections("entities"):
        check_name(section, name, "entities")
        found[name] = _entity(name, section, kinds, types, known, catalog)
    seen: dict[str, str] = {}
    for entity in found.values():
        for feature, where in feature_names({entity.name: entity}, catalog).items():
            if feature in seen or feature in types:
                other = seen.get(feature, "a column")
                root.mistakes.add(
                    _place(root, *where.split(".")),
                    f"the name {feature!r} is made twice: by {where} and by {other}",
                    "rename one of them",
                )
            seen[feature] = where
    return found


def _place(root: Section, entity: str, aggregate: str) -> Position:
    """Where an aggregate's name stands."""
    place = root.at_key("entities")
    for name in ("entities", entity, "aggregates"):
        inner = root.section(name)
        if inner is None:
            return place
        root = inner
    return root.at_key(aggregate)


def feature_names(entities: Mapping[str, Entity], catalog: Catalog) -> dict[str, str]:
    """Every velocity feature's name -> "entity.aggregate", in the order of the spec."""
    names = {}
    for entity in entities.values():
        for aggregate in entity.aggregates:
            where = f"{entity.name}.{aggregate.name}"
            if aggregate.op in catalog.aggregates and not catalog.aggregates[aggregate.op].windowed:
                names[f"{entity.name}_{aggregate.name}"] = where
                continue
            for window in aggregate.windows:
                names[f"{entity.name}_{aggregate.name}_{window.name}"] = where
    return names


def feature_values(
    entities: Mapping[str, Entity], known: Mapping[str, Column], catalog: Catalog
) -> dict[str, Column]:
    """Every velocity feature, as a column with the values that it can have."""
    found = {}
    for entity in entities.values():
        for aggregate in entity.aggregates:
            least, most = _bounds(entity, aggregate, known, catalog)
            one = dataclasses.replace(entity, aggregates=(aggregate,))
            for name in feature_names({"": one}, catalog):
                found[name] = Column(name, ColumnType.NUMBER, minimum=least, maximum=most)
    return found


def _bounds(
    entity: Entity, aggregate: Aggregate, known: Mapping[str, Column], catalog: Catalog
) -> Bounds:
    if catalog.bounds is None or aggregate.op not in catalog.aggregates:
        return None, None
    return catalog.bounds(entity, aggregate, known, catalog)


def _entity(
    name: str,
    section: Section,
    kinds: Mapping[str, Kind],
    types: Mapping[str, ColumnType],
    known: Mapping[str, Column],
    catalog: Catalog,
) -> Entity:
    keys = {}
    inner = section.section("key")
    if inner is None and "key" not in section:
        section.mistakes.add(
            section.position, f"{name}: 'key' is missing (kind: [column], for each kind)"
        )
    for kind in inner.keys() if inner else ():
        if inner is None:
            continue
        if kind not in kinds:
            inner.mistakes.add(
                inner.at_key(kind), f"key: there is no kind {kind!r}", did_you_mean(kind, kinds)
            )
        columns = known_names(inner, kind, types, "column")
        if columns:
            keys[kind] = tuple(columns)
    if inner is not None:
        _check_key_types(inner, keys, types)
    keyed = {kind: keys.get(kind, ()) for kind in (inner.keys() if inner else ()) if kind in kinds}
    windows = read_windows(section)
    parts = section.sections("aggregates")
    aggregates = tuple(
        _aggregate(name, one, part, keyed, kinds, windows, types, known, catalog, dict(parts))
        for one, part in parts
    )
    if "windows" in section and not any(_takes_windows(part, catalog) for _, part in parts):
        section.mistakes.add(
            section.at_key("windows"),
            f"{name}: windows mean nothing here: every aggregate has its own, or none",
            "leave them out",
        )
    _check_references(parts, aggregates, catalog)
    longest = max((w.length_us for one in aggregates for w in one.windows), default=0)
    retention = section.duration("retention", max(longest, _LEAST_RETENTION_US))
    if retention < longest:
        section.note(
            "retention",
            f"retention: expected at least the longest window, {format_duration(longest)}",
        )
    entity = Entity(name, keys, aggregates, retention, section.text("about", ""))
    section.done()
    if catalog.check_entity is not None and not len(section.mistakes):
        fault = catalog.check_entity(entity, catalog)
        if fault is not None:
            section.mistakes.add(section.position, f"{name}: {fault[0]}", fault[1])
    if not len(section.mistakes):
        _check_constants(dict(parts), entity, known, catalog)
    return entity


def _check_constants(
    parts: Mapping[str, Section], entity: Entity, known: Mapping[str, Column], catalog: Catalog
) -> None:
    """An aggregate that is always the same tells a model nothing."""
    for aggregate in entity.aggregates:
        least, most = _bounds(entity, aggregate, known, catalog)
        if least is not None and least == most:
            section = parts[aggregate.name]
            section.mistakes.add(
                section.position,
                f"{aggregate.name}: {aggregate.op} is always {least:g} here, or null",
                "leave it out, or make it of something else",
            )


def _takes_windows(section: Section, catalog: Catalog) -> bool:
    """Whether an aggregate has the windows of its entity; one with a mistake may."""
    operation = catalog.aggregates.get(str(section.raw("op")))
    return operation is None or (operation.windowed and "windows" not in section)


def _check_key_types(
    section: Section, keys: Mapping[str, tuple[str, ...]], types: Mapping[str, ColumnType]
) -> None:
    """The keys of all kinds have the same shape: a text and a number never are the same key."""
    shapes = {kind: [str(types[name]) for name in names] for kind, names in keys.items()}
    first = next(iter(shapes), "")
    for kind, shape in shapes.items():
        if shape != shapes[first]:
            section.note(
                kind,
                f"key: {kind} is keyed by {' and '.join(shape)}, {first} by "
                f"{' and '.join(shapes[first])}; their events would never share a key",
                "give every kind as many columns, of the same types and in the same order",
            )


def _aggregate(
    entity: str,
    name: str,
    section: Section,
    keys: Mapping[str, Sequence[str]],
    kinds: Mapping[str, Kind],
    windows: tuple[Window, ...] | None,
    types: Mapping[str, ColumnType],
    known: Mapping[str, Column],
    catalog: Catalog,
    siblings: Mapping[str, Any],
) -> Aggregate:
    check_name(section, name, "aggregates")
    op = section.choice("op", catalog.aggregates)
    of = known_names(section, "of", keys, "kind with a key in this entity:")
    counted = {one: kinds[one] for one in of or keys or kinds}
    present = present_in(  # an event without its key is not counted
        Kind(one.name, (*one.required, *keys.get(one.name, ()))) for one in counted.values()
    )
    where = read_where(section, types, counted, known, present)
    about = section.text("about", "")
    own = read_windows(section) if "windows" in section else windows
    section.raw("windows")
    if op is None:
        return Aggregate(name, "", tuple(of), own or (), where, {}, about)
    operation = catalog.aggregates[op]
    _check_shared(section, name, operation)
    others = {one: None for one in siblings if one != name}
    faults = len(section.mistakes)
    arguments, _ = read_arguments(section, operation, types, others, kinds, known)
    section.done()
    sound = len(section.mistakes) == faults
    if operation.windowed and own == ():
        section.mistakes.add(
            section.position,
            f"{name}: {op} needs windows",
            "add windows: [1h, 1d] here or to the entity",
        )
    shown = own if operation.windowed and own else ()
    if LIFETIME in shown and getattr(operation, "needs_length", False):
        section.mistakes.add(
            section.position,
            f"{name}: {op} is by the length of its window, and {LIFETIME.name!r} has none",
            "give it windows of its own, such as windows: [1d]",
        )
    made = Aggregate(name, op, tuple(of), shown, where, arguments, about)
    if sound and catalog.check_values is not None:
        fault = catalog.check_values(entity, made, known, catalog)
        if fault is not None:
            key = "decimals" if "decimals" in section else "column"
            section.mistakes.add(section.at(key), f"{name}: {fault[0]}", fault[1])
    return made


def shared_settings(operation: type[Any]) -> tuple[str, ...]:
    """Settings that any aggregate may have and that mean something for this one."""
    counts = () if operand_fields(operation) else ("of", "where")
    return (*counts, "windows") if operation.windowed else counts


def _check_shared(section: Section, name: str, operation: type[Any]) -> None:
    reasons = {
        "of": "it is made of aggregates, which say what counts",
        "where": "it is made of aggregates, which say what counts",
        "windows": "it is one value, of all that the key remembers",
    }
    for key, reason in reasons.items():
        if key in section and key not in shared_settings(operation):
            section.mistakes.add(
                section.at_key(key),
                f"{name}: {key} means nothing for {operation.op}",
                f"{reason}: leave it out",
            )


def _check_references(
    parts: list[tuple[str, Section]], aggregates: tuple[Aggregate, ...], catalog: Catalog
) -> None:
    """An aggregate of aggregates has windows that those have too, and does not stand on itself."""
    named = {one.name: one for one in aggregates}
    for (_, section), aggregate in zip(parts, aggregates, strict=True):
        operation = catalog.aggregates.get(aggregate.op)
        if operation is None:
            continue
        for key in operand_fields(operation):
            if aggregate.arguments.get(key) not in named:
                continue
            value = aggregate.arguments[key]
            other = named[value]
            lacking = [w.name for w in aggregate.windows if w not in other.windows]
            other_op = catalog.aggregates.get(other.op)
            if other_op is not None and operand_fields(other_op):
                section.note(key, f"{key}: {value!r} is itself made of other aggregates")
            elif lacking:
                section.note(
                    key,
                    f"{key}: {value!r} has no window {lacking[0]}",
                    f"it has: {', '.join(w.name for w in other.windows) or 'none'}",
                )


def read_windows(section: Section) -> tuple[Window, ...] | None:
    """The `windows` of a section: "1h", "all", or {length: 1h, tiles: 60}; None: all are wrong."""
    value = section.raw("windows")
    if value is None:
        return ()
    if not isinstance(value, Items):
        section.note("windows", "windows: expected a list such as [1h, 7d]")
        return None
    found: list[Window] = []
    for index, item in enumerate(value):
        line, column = value.places[index]
        window = _window(section, item, (line, column))
        if window is None:
            continue
        same = next((one.name for one in found if one.length_us == window.length_us), None)
        if same is not None:
            also = "" if same == window.name else f", as {same} too"
            section.mistakes.add((line, column), f"windows: {window.name} is there twice{also}")
            continue
        found.append(window)
    return tuple(found) if found or not value else None


def _window(section: Section, item: object, place: Position) -> Window | None:
    tiles = None
    if isinstance(item, Fields):
        inner = Section(item, place, "windows", section.mistakes)
        name, tiles = inner.text("length"), inner.integer("tiles", None, least=1)
        inner.done()
        if name is None:
            return None
    elif item == LIFETIME.name:
        return LIFETIME
    elif isinstance(item, str):
        name = item
    else:
        section.mistakes.add(place, f"windows: expected a length such as 1h, found {what_is(item)}")
        return None
    try:
        if "." in name:
            raise ValueError("a whole number and a unit, since it is a part of the features' names")
        length = parse_duration(name)
    except ValueError as error:
        hint = "" if name[:1].isdigit() else f"or {LIFETIME.name}: since the key's first event"
        section.mistakes.add(place, f"windows: expected {error}, found {name!r}", hint)
        return None
    if not _SHORTEST_US <= length <= _LONGEST_US:
        section.mistakes.add(place, f"windows: expected 1s to 400d, found {name}")
        return None
    if tiles is not None and tiles < 1:
        return None  # noted where it was read
    if tiles is None:
        tiles = next(n for n in range(_DEFAULT_TILES, 0, -1) if length % n == 0)
    elif tiles > MOST_TILES:
        section.mistakes.add(place, f"windows: at most {MOST_TILES} tiles, found {tiles}")
        return None
    elif length % tiles:
        near = max(n for n in range(1, tiles) if length % n == 0)
        section.mistakes.add(
            place,
            f"windows: {name} cannot be cut into {tiles} tiles of whole microseconds",
            f"{near} tiles of {format_duration(length // near)} would do",
        )
        return None
    return Window(name.replace(" ", ""), length, tiles)
