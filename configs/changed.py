"""A config as differences from another one: the same YAML text with some values replaced.

The result is text, not a spec: a bundle keeps the config that it was trained with.
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import Any

from ruamel.yaml import YAML

from configs._nodes import Fields, Items, Position, parse
from configs._yaml import Section
from configs.catalog import Catalog
from configs.errors import ConfigError
from configs.loader import loads
from configs.schema import Spec


def change_config(text: str, changes: Mapping[str, Any]) -> str:
    """A config's text with values replaced, deep in its sections; comments and order stay.

    Args:
      text: YAML whose root is a mapping.
      changes: as the config nests them; a mapping changes a mapping, anything else replaces what
        was there, and None takes it out.

    >>> print(change_config("a: {b: 1, c: 2}  # why\\n", {"a": {"b": 5}, "d": "7d"}), end="")
    a: {b: 5, c: 2}  # why
    d: 7d
    """
    if not changes:
        return text
    yaml = YAML()
    yaml.preserve_quotes = True
    yaml.width = 4096
    root = yaml.load(text)
    _change(root, changes)
    made = io.StringIO()
    yaml.dump(root, made)
    return made.getvalue()


def _change(target: Any, changes: Mapping[str, Any]) -> None:
    for key, value in changes.items():
        if value is None:
            target.pop(key, None)
        elif isinstance(value, Mapping) and isinstance(target.get(key), Mapping):
            _change(target[key], value)
        else:
            target[key] = _plain(value)


def _plain(value: Any) -> Any:
    """Values of our own reader as built-in ones, which the writer knows."""
    if isinstance(value, Mapping):
        return {key: _plain(one) for key, one in value.items()}
    return [_plain(one) for one in value] if isinstance(value, list) else value


def load_changed(
    text: str, name: str, change: Fields, catalog: Catalog, section: Section
) -> tuple[Spec | None, str]:
    """A config with differences from `text`, and its own text; what is wrong with it is noted.

    Args:
      text: of a config without mistakes; `name` stands for it in messages.
      change: the differences, with their places in the file that says them.
      section: of that file, which says the change under `change`; mistakes are noted where the
        change says what is wrong, or else there, with the line of the changed config.

    Returns:
      The config, None where it has mistakes; and its text.
    """
    changed = change_config(text, change)
    try:
        return loads(changed, name, catalog), changed
    except ConfigError as error:
        found, places = error.mistakes, dict[Position, Position]()
        _pair(parse(changed), change, places)
        lines = changed.splitlines()
        for one in found:
            line, column = int(one["line"]) - 1, int(one["column"]) - 1
            message, hint = str(one["message"]), str(one["hint"])
            place = places.get((line, column))
            if place is None:
                place = section.at_key("change")
                message = f"{name} with this change, line {line + 1}: {message}"
                message += f"\n    {lines[line].strip()}" if line < len(lines) else ""
            section.mistakes.add(place, message, hint)
        return None, changed


def _pair(now: Any, change: Any, places: dict[Position, Position]) -> None:
    """Where keys and values of a changed text stand in the change that they come from."""
    if isinstance(now, Fields) and isinstance(change, Fields):
        for key in change:
            if key in now.places and key in change.places:
                for here, there in zip(now.places[key], change.places[key], strict=True):
                    places.setdefault(here, there)
                _pair(now[key], change[key], places)
    elif isinstance(now, Items) and isinstance(change, Items):
        for index, value in enumerate(change):
            places.setdefault(now.places[index], change.places[index])
            _pair(now[index], value, places)
