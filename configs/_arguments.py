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
from configs.expression_types import NUMBER, read
from configs.schema import ColumnType, Expression


def read_arguments(
    section: Section,
    operation: type[Any],
    types: Mapping[str, ColumnType],
    siblings: Mapping[str, Any],
    kinds: Collection[str] = (),
) -> tuple[dict[str, Any], list[str]]:
    """The arguments of an operation, by its dataclass fields, and the columns that they name.

    Args:
      section: the operation's own.
      operation: a frozen dataclass (`configs.catalog`).
      types: every column that may be named.
      siblings: aggregates of the same entity, for `AggregateName` fields.
      kinds: of events, for expressions that name them.
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
        value = _argument(section, field, hints[field.name], operation, types, siblings, kinds)
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
    kinds: Collection[str],
) -> Any:
    key, limits = field.name, field.metadata
    if type(None) in typing.get_args(hint):
        [hint] = [one for one in typing.get_args(hint) if one is not type(None)]
    if hint is ColumnName:
        return _column(section, key, section.text(key), section.at(key), operation, types)
    if hint is AggregateName:
        return section.choice(key, siblings)
    if hint is Expression:
        return read_expression(section, key, types, NUMBER, kinds)
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
            place,
            f"{key}: {operation.op} takes a {accepted} column; {name!r} is a {types[name]}",
            getattr(operation, "instead", {}).get(types[name], ""),
        )
        return None
    return name


def read_expression(
    section: Section,
    key: str,
    types: Mapping[str, ColumnType],
    want: str,
    kinds: Collection[str],
    required: bool = False,
) -> Expression | None:
    """An expression over columns, checked; each mistake is noted at its place in it.

    Args:
      section: of the key.
      key: the expression's.
      types: of the columns that it may name.
      want: `BOOLEAN` for a condition, `NUMBER` for a value.
      kinds: of events, for a `kind` that is compared with one.
      required: whether its absence is a mistake.
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
    node, faults = read(text, types, want, kinds)
    for fault in faults:
        hint = did_you_mean(fault.name, fault.choices or types) if fault.name else ""
        section.mistakes.add(section.within(key, text, fault.column), f"{key}: {fault}", hint)
    return None if faults else Expression(text, columns(node))
