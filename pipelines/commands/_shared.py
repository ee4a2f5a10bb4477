"""What several verbs need: the config by path or by name, and numbers as people write them."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable
from pathlib import Path

import typer

from configs.errors import InputError
from configs.loader import load, shipped
from configs.schema import Spec
from transforms.catalog import CATALOG

_SUFFIX = {"": 1, "k": 1_000, "m": 1_000_000}


def load_config(name: str) -> Spec:
    """The spec of a YAML file, or of a shipped one by its name ("chat").

    Raises:
      ConfigError: the file's mistakes, all of them.
      InputError: there is no such file.
    """
    return load(config_path(name), CATALOG)


def config_path(name: str) -> Path:
    """Where a config is: a path as given, or a shipped file.

    Raises:
      InputError: there is no such file.
    """
    path = Path(name)
    if path.is_file():
        return path
    if path.suffix or "/" in name:
        raise InputError(f"there is no config {name}; give a YAML file or a shipped name")
    return shipped(name)


def event_count(text: str) -> int:
    """How many events: "5000", "200k" or "10m".

    Raises:
      typer.BadParameter: not such a text.

    >>> event_count("200k")
    200000
    """
    match = re.fullmatch(r"(\d+)([km]?)", text.lower())
    if match is None:
        raise typer.BadParameter(f"{text!r}: expected a number such as 5000, 200k or 10m")
    return int(match[1]) * _SUFFIX[match[2]]


def warn(lines: Iterable[str]) -> None:
    """Lines on standard error, whatever `--quiet` says: they tell what may be wrong."""
    for line in lines:
        print(f"lockstep: warning: {line}", file=sys.stderr)
