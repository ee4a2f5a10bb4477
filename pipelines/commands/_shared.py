"""What several verbs need: the config by path or by name."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path

from configs.errors import InputError
from configs.loader import load, shipped
from configs.schema import Spec
from transforms.catalog import CATALOG


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


def warn(lines: Iterable[str]) -> None:
    """Lines on standard error, whatever `--quiet` says: they tell what may be wrong."""
    for line in lines:
        print(f"lockstep: warning: {line}", file=sys.stderr)
