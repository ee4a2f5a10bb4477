"""What several verbs need: the config by path or by name, and numbers as people write them."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

import typer

from configs.errors import InputError
from configs.files import find_yaml
from configs.loader import load
from configs.schema import Spec
from pipelines.logs import log
from transforms.catalog import CATALOG

MetricsPort = Annotated[
    int | None, typer.Option(help="Prometheus metrics, /livez and /readyz on that port.")
]
MetricsHost = Annotated[
    str, typer.Option(help="Address for --metrics-port; whoever reaches it may read.")
]
GraphStore = Annotated[
    str | None,
    typer.Option(help="Look accounts of the graph up here: bigtable:PROJECT/INSTANCE/TABLE."),
]
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
    return find_yaml(name, "config")


def beam_flags(context: typer.Context) -> tuple[str, ...]:
    """What is left of a command line, as options for Beam.

    Raises:
      typer.BadParameter: neither Lockstep nor Beam has such an option, or it must not be used.
    """
    from pipelines.runners import check_flags

    options = [name for parameter in context.command.params for name in parameter.opts]
    try:
        return check_flags(context.args, options)
    except InputError as error:
        raise typer.BadParameter(str(error), context) from error


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
    """Lines on standard error, whatever `--quiet` says: they say what may be wrong."""
    for line in lines:
        log("WARNING", f"lockstep: warning: {line}")
