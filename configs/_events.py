"""The sections of a config about what an event is: columns, kinds, derive, events, ingest."""

from __future__ import annotations

import codecs
import contextlib
import dataclasses
import datetime as dt
import re
import zoneinfo
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from configs._arguments import read_arguments, read_where
from configs._nodes import Position
from configs._yaml import Section, did_you_mean, what_is
from configs.catalog import Catalog
from configs.expression_ranges import columns_of
from configs.schema import (
    EVENT_TIME,
    RESERVED_COLUMNS,
    SEPARATORS,
    Column,
    ColumnType,
    Derived,
    Events,
    Ingest,
    Kind,
)

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_OURS = "lockstep_"
_DAY_US = 86_400_000_000
_NAMES_HINT = "names are letters, digits and underscores, and do not start with a digit"


def check_name(section: Section, name: str, what: str) -> None:
    """Notes a name that cannot be a column, an entity or an aggregate."""
    if not _NAME.fullmatch(name):
        section.mistakes.add(section.position, f"{what}: {name!r} cannot be a name", _NAMES_HINT)
    elif name.startswith(_OURS):
        section.mistakes.add(section.position, f"{what}: names with {_OURS!r} are reserved")


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
        if type_name:
            _check_settings(section, name, ColumnType(type_name))
        minimum = _bound(section, "minimum", type_name)
        maximum = _bound(section, "maximum", type_name)
        if minimum is not None and maximum is not None and minimum > maximum:
            section.note("minimum", f"minimum: {minimum} is above the maximum, {maximum}")
        found[name] = Column(
            name=name,
            type=ColumnType(type_name) if type_name else ColumnType.STRING,
            private=section.boolean("private", False),
            max_bytes=section.integer("max_bytes", 65_536, least=1),
            minimum=minimum,
            maximum=maximum,
            allow_nonfinite=section.boolean("allow_nonfinite", False),
            unit=section.text("unit", ""),
            about=section.text("about", ""),
        )
        section.done()
    return found


def _bound(section: Section, key: str, type_: str | None) -> int | float | None:
    """A bound exactly as written; one that no value of the column can be is a mistake."""
    value: float | None = section.number(key, None)
    written = section.raw(key)
    if value is None or type(written) is bool or not isinstance(written, int):
        return value
    if type_ == ColumnType.INTEGER:
        if not -(2**63) <= written < 2**63:
            section.note(key, f"{key}: expected an integer of 64 bits")
            return None
        return int(written)
    if int(value) != written:
        section.note(
            key, f"{key}: no 64-bit float is {written}", f"{int(value)} is the nearest that is one"
        )
    return float(value)


_NUMERIC = (ColumnType.INTEGER, ColumnType.NUMBER)
SETTINGS = {
    "max_bytes": (ColumnType.STRING,),
    "minimum": _NUMERIC,
    "maximum": _NUMERIC,
    "allow_nonfinite": (ColumnType.NUMBER,),
}
"""Settings that mean something for columns of some types only."""


def _check_settings(section: Section, name: str, type_: ColumnType) -> None:
    for key, types in SETTINGS.items():
        if key in section and type_ not in types:
            section.mistakes.add(
                section.at_key(key),
                f"{name}: {key} means nothing for a column of type {type_}",
                f"it is for {' and '.join(types)}: leave it out",
            )


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
        if name in found:
            section.mistakes.add(place, f"{key}: {name!r} is there twice")
        elif name in words:
            found.append(name)
        else:
            section.mistakes.add(
                place, f"{key}: there is no {what} {name!r}", did_you_mean(name, words)
            )
    return found


def read_events(root: Section, columns: Mapping[str, Column]) -> Events:
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
        latest_us=_moment(section, "latest", default.latest_us, last=True),
        disorder_us=section.duration("disorder", default.disorder_us),
        dedup_us=section.duration("dedup", default.dedup_us),
        max_dead_share=section.number("max_dead_share", default.max_dead_share, 0.0, 1.0),
        sequence=_sequence(section, columns),
        time_unit=section.choice("time_unit", TIME_UNITS, default.time_unit),
        time_zone=_time_zone(section, default.time_zone),
        encoding=_encoding(section, default.encoding),
        header=_header(section),
        separator=_separator(section, default.separator),
    )
    if events.earliest_us > events.latest_us:
        section.note(
            "earliest" if "earliest" in section else "latest",
            "events: earliest lies after latest, so no event could be accepted",
        )
    section.done()
    return events


TIME_UNITS = ("s", "ms", "us", "ns")
_MACHINES_ZONES = ("localtime", "posixrules", "Factory")  # another one on each machine, or none
_NO_FILES_ENCODINGS = ("idna", "punycode", "unicode-escape", "raw-unicode-escape", "undefined")


def _time_zone(section: Section, default: str) -> str:
    name: str = section.text("time_zone", default)
    zones = zoneinfo.available_timezones() - set(_MACHINES_ZONES)
    if name not in zones:
        section.note(
            "time_zone",
            f"time_zone: there is no zone {name!r}",
            str(did_you_mean(name, zones))
            or "expected a name of the IANA database, such as Europe/Berlin",
        )
        return default
    return name


def _encoding(section: Section, default: str) -> str:
    name: str = section.text("encoding", default)
    try:
        "a".encode(name)
        known = codecs.lookup(name).name
        if known in _NO_FILES_ENCODINGS:
            raise LookupError(name)
        return known
    except (LookupError, UnicodeError):
        section.note(
            "encoding",
            f"encoding: {name!r} is not known",
            "expected one such as utf-8, latin-1, windows-1252 or utf-16",
        )
        return default


def _separator(section: Section, default: str) -> str:
    given: str = section.text("separator", default)
    if given in (*SEPARATORS, default):
        return given
    section.note("separator", f"separator: expected ',', ';', '|' or \"\\t\", found {given!r}")
    return default


def _header(section: Section) -> tuple[str, ...]:
    names = [name for name, _ in section.strings("header")]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        section.note("header", f"header: names {', '.join(twice)} more than once")
    return tuple(names)


def _sequence(section: Section, columns: Mapping[str, Column]) -> str | None:
    name: str | None = section.text("sequence", None)
    if name is not None and (name not in columns or columns[name].type is not ColumnType.INTEGER):
        integers = [one.name for one in columns.values() if one.type is ColumnType.INTEGER]
        section.note(
            "sequence",
            f"sequence: there is no integer column {name!r}",
            did_you_mean(name, integers) if integers else "declare it in columns, as an integer",
        )
        return None
    return name


def with_ids(
    events: Events,
    ingest: Sequence[Ingest],
    kinds: Iterable[str],
    columns: Mapping[str, Column],
) -> Events:
    """The same, with what the order must know of the ids: whose are numbers, whose have a kind.

    A kind's ids are numbers where the input's id column is also declared as an integer column;
    where rows have no id, the row's number stands in it.
    """
    integers = [one.name for one in columns.values() if one.type is ColumnType.INTEGER]
    if not ingest:
        numbered = tuple(kinds) if events.id in integers else ()
        return dataclasses.replace(events, numbered=numbered)
    found = {
        rule.kind
        for rule in ingest
        if rule.id is None or any(rule.columns.get(name, name) == rule.id for name in integers)
    }
    return dataclasses.replace(events, numbered=tuple(sorted(found)), prefixed=True)


def _aliases(section: Section) -> dict[str, str]:
    inner = section.section("aliases")
    if inner is None:
        return {}
    found = {name: inner.text(name) for name in inner.keys()}  # noqa: SIM118 - not a dict
    return {name: one for name, one in found.items() if one}


def _moment(section: Section, key: str, default: int, last: bool = False) -> int:
    """A time; a day means its beginning, or its last microsecond."""
    value = section.raw(key)
    if value is None:
        return default
    if isinstance(value, str):  # as JSON has it, and YAML in quotes
        with contextlib.suppress(ValueError):
            moment = dt.datetime.fromisoformat(value.strip())
            value = moment.date() if len(value.strip()) <= len("2000-01-01") else moment
    if isinstance(value, dt.datetime):
        moment = value if value.tzinfo else value.replace(tzinfo=dt.UTC)
        return (moment - dt.datetime(1970, 1, 1, tzinfo=dt.UTC)) // dt.timedelta(microseconds=1)
    if isinstance(value, dt.date):
        days = (value - dt.date(1970, 1, 1)).days
        return (days + 1) * _DAY_US - 1 if last else days * _DAY_US
    given = f"{value!r} is no date" if isinstance(value, str) else f"found {what_is(value)}"
    section.note(key, f"{key}: expected a date such as 2000-01-01; {given}")
    return default


def event_times(events: Events, ingest: Sequence[Ingest]) -> Column:
    """What event times there can be, as a column; a rule of `ingest` adds its delay to them."""
    delay = max((rule.delay_us for rule in ingest), default=0)
    return Column(
        EVENT_TIME,
        ColumnType.TIMESTAMP,
        minimum=events.earliest_us,
        maximum=events.latest_us + delay,
    )


def read_derived(
    root: Section,
    columns: Mapping[str, Column],
    kinds: Mapping[str, Kind],
    given: Mapping[str, Column],
    catalog: Catalog,
) -> dict[str, Derived]:
    """The `derive` section, in the order of dependencies; `given` says what values there can be."""
    parts = root.sections("derive")
    for name, section in parts:
        check_name(section, name, "derive")
        if name in columns or name in RESERVED_COLUMNS:
            section.mistakes.add(
                section.position,
                f"derive: {name!r} is a column already",
                "expected a name of its own",
            )
    types = {name: column.type for name, column in columns.items()}
    types |= {"event_id": ColumnType.STRING, "kind": ColumnType.STRING}
    types |= {"event_time": ColumnType.TIMESTAMP}
    operations = {name: catalog.derivations.get(str(section.raw("op"))) for name, section in parts}
    returns = {name: one.returns if one else ColumnType.NUMBER for name, one in operations.items()}
    known = returns | types  # a clash is told once, and the column stays
    values = {
        **columns_of((name, returns[name], one) for name, one in operations.items()),
        **given,
    }
    found: dict[str, Derived] = {}
    needs: dict[str, list[str]] = {}
    for name, section in parts:
        op = section.choice("op", catalog.derivations)
        about = section.text("about", "")
        arguments: dict[str, Any] = {}
        used: list[str] = []
        if op is not None:
            arguments, used = read_arguments(
                section,
                catalog.derivations[op],
                known,
                {},
                kinds,
                values,
                present_in(kinds.values()),
            )
            section.done()
        needs[name] = [one for one in used if one in returns and one not in types]
        found[name] = Derived(name, op or "", returns[name], arguments, about)
    places = {name: section.position for name, section in parts}
    return {name: found[name] for name in _in_order(root, needs, places)}


def present_in(kinds: Iterable[Kind]) -> frozenset[str]:
    """Columns that no event of some kinds lacks.

    >>> sorted(present_in([Kind("a", ("x", "y")), Kind("b", ("y",))]))
    ['y']
    """
    required = [frozenset(kind.required) for kind in kinds]
    return frozenset.intersection(*required) if required else frozenset()


def _in_order(
    root: Section, needs: Mapping[str, list[str]], places: Mapping[str, Position]
) -> list[str]:
    """Names such that each stands after what it needs (depth first); cycles are noted."""
    order: dict[str, None] = {}
    for first in needs:
        # Names on the way down, each with what it needs yet.
        trail = {} if first in order else {first: iter(needs[first])}
        while trail:
            last = next(reversed(trail))
            need = next(trail[last], None)
            if need is None:
                del trail[last]
                order[last] = None
            elif need in trail:
                way = list(trail)
                cycle = " -> ".join([*way[way.index(need) :], need])
                root.mistakes.add(
                    places[need],
                    f"derive: {need!r} depends on itself ({cycle})",
                    "expected one of them to be made of columns of the events",
                )
            elif need not in order:
                trail[need] = iter(needs[need])
    return list(order)


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
                where=read_where(section, types, kinds, known),
            )
        )
        section.done()
    return tuple(found)
