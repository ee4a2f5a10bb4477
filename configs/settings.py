"""A spec's settings as one flat list, so that two of them can be compared line by line.

What enters: a `Spec`. What leaves: path -> value in words, as people write it in YAML, of every
setting that is not the default. Texts that mean nothing to a run (`about`, `unit`) are left out.
"""

from __future__ import annotations

import dataclasses
import enum
import json
from collections.abc import Iterator, Mapping
from typing import Any

from configs.schema import Expression, Spec, Window
from configs.units import format_duration

_WORDS = ("about", "unit", "numbered", "prefixed")
_FILE = {"derived": "derive", "keys": "key", "arguments": ""}
"""Names of the spec that are others in a file."""


def flat_settings(spec: Spec) -> dict[str, str]:
    """Path -> value of what a config sets, in the order of the spec.

    A list of things with names has a path for each of them, so one that is new is one new path.
    """
    return {path: text for path, text in _walk("", spec) if path}


def _walk(path: str, value: Any) -> Iterator[tuple[str, str]]:
    if isinstance(value, Expression):
        yield path, value.text
    elif dataclasses.is_dataclass(value) and not isinstance(value, type):
        yield from _of_dataclass(path, value)
    elif isinstance(value, Mapping):
        for key, one in value.items():
            yield from _walk(_join(path, str(key)), one)
    elif _named(value):
        for one in value:
            yield from _walk(_join(path, _name(one)), one)
    else:
        yield path, _text(value)


def _of_dataclass(path: str, value: Any) -> Iterator[tuple[str, str]]:
    found = False
    for field in dataclasses.fields(value):
        inner = getattr(value, field.name)
        if field.name in _WORDS or inner is None or inner == field.default or _empty(inner):
            continue
        if path and field.name == ("column" if hasattr(value, "vocabulary") else "name"):
            continue  # the path says it
        found = True
        if field.name.endswith("_us") and isinstance(inner, int):
            yield _join(path, field.name.removesuffix("_us")), format_duration(inner)
        else:
            yield from _walk(_join(path, _FILE.get(field.name, field.name)), inner)
    if not found and path:
        yield path, "as by default"


def _named(value: Any) -> bool:
    """Whether it is a list of things with names."""
    if not isinstance(value, (list, tuple)) or not value:
        return False
    return all(dataclasses.is_dataclass(one) and _name(one) for one in value) and not any(
        isinstance(one, Window) for one in value
    )


def _name(value: Any) -> str:
    """Of an entity, an aggregate, an action, a category; "" of what has none."""
    for field in ("name", "column"):
        found = getattr(value, field, None)
        if isinstance(found, str):
            return found
    return ""


def _empty(value: Any) -> bool:
    return isinstance(value, (Mapping, list, tuple)) and not value


def _text(value: Any) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, enum.Enum):
        return str(value.value)
    if isinstance(value, Window):
        return value.name
    if isinstance(value, (list, tuple)):
        return ", ".join(_text(one) for one in value)
    if isinstance(value, Expression):
        return value.text
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return ", ".join(f"{path}: {text}" for path, text in _walk("", value))
    return json.dumps(value, default=str)


def _join(path: str, name: str) -> str:
    return ".".join(part for part in (path, name) if part)
