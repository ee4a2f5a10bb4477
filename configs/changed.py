"""A config as differences from another one: the same YAML text with some values replaced.

The result is text, not a spec: a bundle keeps the config that it was trained with.
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import Any

from ruamel.yaml import YAML


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
