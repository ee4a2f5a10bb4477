"""The sections of a config about what an event is: columns, kinds, derive, events, ingest."""

from __future__ import annotations

import dataclasses
import datetime as dt
import re
import typing
from collections.abc import Iterable, Mapping
from typing import Any

from configs._yaml import Position, Section, did_you_mean
from configs.catalog import AggregateName, Catalog, ColumnName
from configs.expression import ExpressionError, check, columns, parse
from configs.schema import (
    RESERVED_COLUMNS,
    Column,
    ColumnType,
    Derived,
    Events,
    Expression,
    Ingest,
    Kind,
)

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_NAMES_HINT = "names are letters, digits and underscores, and do not start with a digit"


def check_name(section: Section, name: str, what: str) -> None:
    """Notes a name that cannot be a column, an entity or an aggregate."""
    if not _NAME.fullmatch(name):
        section.mistakes.add(section.position, f"{what}: {name!r} cannot be a name", _NAMES_HINT)


def read_columns(root: Section) -> dict[str, Column]:
    """The `columns` section."""
    found = {}
    if "columns" not in root:
        root.mistakes.add(root.position, "the file: the section 'columns' is missing")
    for name, section in root.sections("columns"):
        check_name(section, name, "columns")
        if name in RESERVED_COLUMNS:
            section.mistakes.add(
                section.position,
                f"columns: the name {name!r} is reserved",
                "give the input's name in events (id:, time:, kind:) and leave it out here",
            )
        type_name = section.choice("type", [str(one) for one in ColumnType])
        found[name] = Column(
            name=name,
            type=ColumnType(type_name) if type_name else ColumnType.STRING,
            private=section.boolean("private", False),
            max_bytes=section.integer("max_bytes", 65_536, least=1),
            minimum=section.number("minimum", None),
            maximum=section.number("maximum", None),
            allow_nonfinite=section.boolean("allow_nonfinite", False),
            about=section.text("about", ""),
        )
        section.done()
    return found


def read_kinds(root: Section, columns: Mapping[str, Column]) -> dict[str, Kind]:
    """The `kinds` section."""
    found = {}
    if "kinds" not in root:
        root.mistakes.add(root.position, "the file: the section 'kinds' is missing")
    for name, section in root.sections("kinds"):
        check_name(section, name, "kinds")
        required = known_names(section, "required", columns, "column")
        found[name] = Kind(
            name, tuple(required), section.boolean("scored", False), section.text("about", "")
        )
        section.done()
    return found


def known_names(section: Section, key: str, known: Iterable[str], what: str) -> list[str]:
    """A list of names that must be known; the unknown ones are noted and left out."""
    words, found = set(known), []
    for name, place in section.strings(key, one=True):
        if name in words:
            found.append(name)
        else:
            section.mistakes.add(
                place, f"{key}: there is no {what} {name!r}", did_you_mean(name, words)
            )
    return found


def read_events(root: Section) -> Events:
    """The `events` section."""
    section = root.section("events")
    if section is None:
        return Events()
    default = Events()
    kind = section.text("kind", None if "ingest" in root else default.kind)
    events = Events(
        id=section.text("id", default.id),
        time=section.text("time", default.time),
        kind=kind,
        aliases=_aliases(section),
        earliest_us=_moment(section, "earliest", default.earliest_us),
        latest_us=_moment(section, "latest", default.latest_us),
        disorder_us=section.duration("disorder", default.disorder_us),
        dedup_us=section.duration("dedup", default.dedup_us),
        max_dead_share=section.number("max_dead_share", default.max_dead_share, 0.0, 1.0),
    )
    section.done()
    return events


def _aliases(section: Section) -> dict[str, str]:
    inner = section.section("aliases")
    if inner is None:
        return {}
    found = {name: inner.text(name) for name in inner.keys()}  # noqa: SIM118 - not a dict
    return {name: one for name, one in found.items() if one}


def _moment(section: Section, key: str, default: int) -> int:
    value = section.raw(key)
    if value is None:
        return default
    if isinstance(value, dt.datetime):
        value = value if value.tzinfo else value.replace(tzinfo=dt.UTC)
        return round(value.timestamp()) * 1_000_000
    if isinstance(value, dt.date):
        return (value - dt.date(1970, 1, 1)).days * 86_400_000_000
    section.note(key, f"{key}: expected a date such as 2000-01-01")
    return default


def read_derived(
    root: Section, columns: Mapping[str, Column], catalog: Catalog
) -> dict[str, Derived]:
    """The `derive` section, in the order of dependencies."""
    parts = root.sections("derive")
    names = [name for name, _ in parts]
    for name, section in parts:
        check_name(section, name, "derive")
        if name in columns or name in RESERVED_COLUMNS:
            section.mistakes.add(section.position, f"derive: {name!r} is a column already")
    types = {name: column.type for name, column in columns.items()}
    types |= {"event_id": ColumnType.STRING, "kind": ColumnType.STRING}
    types |= {"event_time": ColumnType.TIMESTAMP}
    returns = {}
    for name, section in parts:
        op = section.raw("op")
        if isinstance(op, str) and op in catalog.derivations:
            returns[name] = catalog.derivations[op].returns
        else:
            returns[name] = ColumnType.NUMBER
    known = returns | types  # a clash is told once, and the column stays
    found: dict[str, Derived] = {}
    needs: dict[str, list[str]] = {}
    for name, section in parts:
        op = section.choice("op", catalog.derivations)
        about = section.text("about", "")
        arguments: dict[str, Any] = {}
        used: list[str] = []
        if op is not None:
            arguments, used = read_arguments(section, catalog.derivations[op], known, {})
            section.done()
        needs[name] = [one for one in used if one in names]
        found[name] = Derived(name, op or "", returns[name], arguments, about)
    places = {name: section.position for name, section in parts}
    return {name: found[name] for name in _in_order(root, needs, places)}


def _in_order(
    root: Section, needs: Mapping[str, list[str]], places: Mapping[str, Position]
) -> list[str]:
    """Names such that each stands after what it needs (depth first); cycles are noted."""
    order: list[str] = []
    state: dict[str, int] = {}

    def visit(name: str, trail: tuple[str, ...]) -> None:
        if state.get(name) == 1:
            cycle = " -> ".join([*trail[trail.index(name) :], name])
            root.mistakes.add(places[name], f"derive: {name!r} depends on itself ({cycle})")
            return
        if name in state:
            return
        state[name] = 1
        for need in needs[name]:
            visit(need, (*trail, name))
        state[name] = 2
        order.append(name)

    for name in needs:
        visit(name, ())
    return order


def read_arguments(
    section: Section,
    operation: type[Any],
    types: Mapping[str, ColumnType],
    siblings: Mapping[str, Any],
) -> tuple[dict[str, Any], list[str]]:
    """The arguments of an operation, by its dataclass fields, and the columns that they name.

    Args:
      section: the operation's own.
      operation: a frozen dataclass (`configs.catalog`).
      types: every column that may be named.
      siblings: aggregates of the same entity, for `AggregateName` fields.
    """
    hints = typing.get_type_hints(operation)
    arguments: dict[str, Any] = {}
    used: list[str] = []
    lacking: list[dataclasses.Field[Any]] = []
    for field in dataclasses.fields(operation):
        required = (
            field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
        )
        if field.name not in section:
            section.raw(field.name)  # it may be given, says `done`
            if required:
                section.mistakes.add(
                    section.position, f"{operation.op}: the argument {field.name!r} is missing"
                )
            lacking.append(field)
            continue
        value = _argument(section, field, hints[field.name], operation, types, siblings)
        if value is None:
            continue
        arguments[field.name] = value
        if hints[field.name] is ColumnName:
            used.append(value)
        elif hints[field.name] is Expression:
            used.extend(value.columns)
        elif typing.get_origin(hints[field.name]) is tuple:
            used.extend(one for one in value if isinstance(one, str))
    for field in lacking:
        type_ = field.metadata.get("needed_for")
        for name in used:
            if type_ is not None and types.get(name) == type_:
                section.mistakes.add(
                    section.position,
                    f"{operation.op}: {name!r} is a {type_}, so {field.name!r} must be said "
                    f"(a whole number, {field.metadata['least']} to {field.metadata['most']})",
                    _NEEDED_HINTS.get(field.name, ""),
                )
    return arguments, used


_NEEDED_HINTS = {
    "decimals": "add decimals: 2 to keep two digits after the point; 0 rounds to whole numbers"
}


def _argument(
    section: Section,
    field: dataclasses.Field[Any],
    hint: Any,
    operation: type[Any],
    types: Mapping[str, ColumnType],
    siblings: Mapping[str, Any],
) -> Any:
    key, limits = field.name, field.metadata
    if type(None) in typing.get_args(hint):
        [hint] = [one for one in typing.get_args(hint) if one is not type(None)]
    if hint is ColumnName:
        return _column(section, key, section.text(key), section.at(key), operation, types)
    if hint is AggregateName:
        return section.choice(key, siblings)
    if hint is Expression:
        return read_expression(section, key, types)
    if typing.get_origin(hint) is tuple:
        if typing.get_args(hint)[0] is not ColumnName:
            return tuple(name for name, _ in section.strings(key))
        names = [
            _column(section, key, name, place, operation, types)
            for name, place in section.strings(key)
        ]
        return tuple(name for name in names if name is not None)
    if hint is bool:
        return section.boolean(key, False)
    if hint is int:
        return section.integer(key, None, limits.get("least"), limits.get("most"))
    if hint is float:
        return section.number(key, None)
    return section.text(key)


def _column(
    section: Section,
    key: str,
    name: str | None,
    place: Position,
    operation: type[Any],
    types: Mapping[str, ColumnType],
) -> str | None:
    if name is None:
        return None
    if name not in types:
        section.mistakes.add(
            place, f"{key}: there is no column {name!r}", did_you_mean(name, types)
        )
        return None
    if types[name] not in operation.accepts:
        accepted = " or ".join(sorted(str(one) for one in operation.accepts))
        section.mistakes.add(
            place, f"{key}: {operation.op} takes a {accepted} column; {name!r} is a {types[name]}"
        )
        return None
    return name


def read_expression(
    section: Section, key: str, types: Mapping[str, ColumnType], required: bool = False
) -> Expression | None:
    """An expression over columns, checked; mistakes are noted at their place in it."""
    value = section.raw(key)
    if value is None:
        if required:
            section.mistakes.add(
                section.position, f"{section.title}: {key!r} is missing (an expression)"
            )
        return None
    text = str(value).lower() if isinstance(value, bool) else str(value)
    try:
        node = parse(text)
        check(node, types)
    except ExpressionError as error:
        line, column = section.at(key)
        quoted = 1 if isinstance(value, str) else 0
        hint = did_you_mean(error.name, error.choices or types) if error.name else ""
        place = (line, column + quoted + error.column)
        section.mistakes.add(place, f"{key}: {error}", hint)
        return None
    return Expression(text, columns(node))


def read_ingest(
    root: Section,
    kinds: Mapping[str, Kind],
    known: Mapping[str, Column],
) -> tuple[Ingest, ...]:
    """The `ingest` section: how a row of a file becomes events."""
    types = {name: column.type for name, column in known.items()}
    found = []
    for section in root.items("ingest"):
        kind = section.choice("kind", kinds)
        renames = {}
        inner = section.section("columns")
        for name in inner.keys() if inner else ():
            if inner is not None and name not in known:
                inner.mistakes.add(
                    inner.at_key(name),
                    f"columns: there is no column {name!r}",
                    did_you_mean(name, known),
                )
            renames[name] = inner.text(name) if inner is not None else ""
        if inner is not None:
            inner.done()
        subject = None
        pointer = section.section("subject")
        for name in pointer.keys() if pointer else ():
            if pointer is None:
                continue
            if types.get(name) != ColumnType.STRING:
                pointer.mistakes.add(
                    pointer.at_key(name),
                    f"subject: there is no string column {name!r}",
                    did_you_mean(name, known),
                )
            subject = (name, pointer.choice(name, kinds) or "")
        found.append(
            Ingest(
                kind=kind or "",
                id=section.text("id", None),
                time=section.text("time") or "",
                delay_us=section.duration("delay", 0),
                columns=renames,
                subject=subject,
                where=read_expression(section, "where", types),
            )
        )
        section.done()
    return tuple(found)
