"""Arguments of derivations and aggregates, and expressions: what operations are given in YAML."""

from __future__ import annotations

import dataclasses
import typing
from collections.abc import Collection, Mapping
from typing import Any

from configs._nodes import Position
from configs._yaml import Section, did_you_mean
from configs.catalog import AggregateName, ColumnName
from configs.expression import columns
from configs.expression_types import BOOLEAN, NUMBER, read
from configs.schema import Column, ColumnType, Expression


def read_arguments(
    section: Section,
    operation: type[Any],
    types: Mapping[str, ColumnType],
    siblings: Mapping[str, Any],
    kinds: Collection[str],
    columns: Mapping[str, Column],
    present: Collection[str] = (),
) -> tuple[dict[str, Any], list[str]]:
    """The arguments of an operation, by its dataclass fields, and the columns that they name.

    Args:
      section: the operation's own.
      operation: a frozen dataclass (`configs.catalog`).
      types: every column that may be named.
      siblings: aggregates of the same entity, for `AggregateName` fields.
      kinds: of events, for expressions that name them.
      columns: what is known of the columns' values, for expressions.
      present: columns that no event lacks, likewise.
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
            if field.metadata.get("now") is not None:
                arguments[field.name] = field.metadata["now"]
            continue
        value = _argument(
            section, field, hints[field.name], operation, types, siblings, kinds, columns, present
        )
        if value is None or (field.metadata.get("now") is not None and value == field.default):
            continue
        arguments[field.name] = value
        if hints[field.name] is ColumnName:
            used.append(value)
        elif hints[field.name] is Expression:
            used.extend(value.columns)
        elif typing.get_args(hints[field.name])[:1] == (ColumnName,):
            used.extend(value)
    for field in dataclasses.fields(operation):
        only_for = field.metadata.get("only_for")
        wrong = [name for name in used if only_for and types.get(name, None) not in only_for]
        if field.name in arguments and wrong:
            section.mistakes.add(
                section.at_key(field.name),
                f"{operation.op}: {field.name} means nothing for {wrong[0]!r}, of type "
                f"{types[wrong[0]]}",
                f"it is for {' and '.join(sorted(str(one) for one in only_for or ()))}: "
                "leave it out",
            )
    for field in lacking:
        type_ = field.metadata.get("needed_for")
        for name in used:
            if type_ is not None and types.get(name) == type_:
                section.mistakes.add(
                    section.position,
                    f"{operation.op}: {name!r} is a {type_}, so {field.name!r} must be said"
                    + _limits(field),
                    _NEEDED_HINTS.get(field.name, ""),
                )
    return arguments, used


def _limits(field: dataclasses.Field[Any]) -> str:
    least, most = field.metadata["least"], field.metadata["most"]
    return "" if least is None else f" (a whole number, {least} to {most})"


_NEEDED_HINTS = {
    "decimals": "add decimals: 2 to keep two digits after the point; 0 rounds to whole numbers",
    "values": "list the texts to tell apart, values: [android, ios]; or see whether it changed, "
    "with same_as_last",
}


def _argument(
    section: Section,
    field: dataclasses.Field[Any],
    hint: Any,
    operation: type[Any],
    types: Mapping[str, ColumnType],
    siblings: Mapping[str, Any],
    kinds: Collection[str],
    columns: Mapping[str, Column],
    present: Collection[str],
) -> Any:
    key, limits = field.name, field.metadata
    if type(None) in typing.get_args(hint):
        [hint] = [one for one in typing.get_args(hint) if one is not type(None)]
    if hint is ColumnName:
        return _column(section, key, section.text(key), section.at(key), operation, types)
    if hint is AggregateName:
        return section.choice(key, siblings)
    if hint is Expression:
        return read_expression(section, key, types, NUMBER, kinds, columns, present=present)
    if typing.get_origin(hint) is tuple:
        if typing.get_args(hint)[0] is not ColumnName:
            return _texts(section, key, columns.get(str(section.raw("column"))))
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


def _texts(section: Section, key: str, of: Column | None) -> tuple[str, ...]:
    """Some texts, each once, that a column can have."""
    found: dict[str, None] = {}
    for text, place in section.strings(key):
        if text in found:
            section.mistakes.add(place, f"{key}: {text!r} is there twice")
        if of is not None and of.type is ColumnType.STRING and len(text.encode()) > of.max_bytes:
            section.mistakes.add(
                place,
                f"{key}: {of.name!r} is never this: it has at most {of.max_bytes} bytes",
                "a shorter text, or a larger max_bytes",
            )
        found[text] = None
    if not found and section.raw(key) == []:
        section.note(key, f"{key}: expected at least one text")
    return tuple(found)


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
            place,
            f"{key}: {operation.op} takes a {accepted} column; {name!r} is a {types[name]}",
        )
        return None
    return name


def read_where(
    section: Section,
    types: Mapping[str, ColumnType],
    kinds: Collection[str],
    columns: Mapping[str, Column],
    present: Collection[str] = (),
) -> Expression | None:
    """The condition `where` of a section; one that looks at no column is a mistake."""
    where = read_expression(section, "where", types, BOOLEAN, kinds, columns, present=present)
    if where is not None and not where.columns:
        section.note(
            "where",
            "where: it names no column, so it is the same for every event",
            "leave it out, or compare a column",
        )
    return where


def read_expression(
    section: Section,
    key: str,
    types: Mapping[str, ColumnType],
    want: str,
    kinds: Collection[str],
    known: Mapping[str, Column],
    required: bool = False,
    features: Collection[str] = (),
    present: Collection[str] = (),
) -> Expression | None:
    """An expression over columns, checked; each mistake is noted at its place in it.

    Args:
      section: of the key.
      key: the expression's.
      types: of the columns that it may name.
      want: `BOOLEAN` for a condition, `NUMBER` for a value.
      kinds: of events, for a `kind` that is compared with one.
      known: what is known of the columns' values (`expression_ranges`).
      required: whether its absence is a mistake.
      features: which of the columns are features (`expression_types.read`).
      present: columns that no event lacks.
    """
    value = section.raw(key)
    if value is None:
        if required:
            section.mistakes.add(
                section.position, f"{section.title}: {key!r} is missing (an expression)"
            )
        return None
    if not isinstance(value, (str, bool, int, float)):
        section.note(key, f"{key}: expected an expression, found a list or a section")
        return None
    text = str(value).lower() if isinstance(value, bool) else str(value)
    node, faults = read(text, types, want, kinds, features, known, present)
    for fault in faults:
        hint = did_you_mean(fault.name, fault.choices or types) if fault.name else fault.hint
        section.mistakes.add(section.within(key, text, fault.column), f"{key}: {fault}", hint)
    return None if faults else Expression(text, columns(node))
