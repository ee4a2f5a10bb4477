"""The command line: one file per verb, registered here.

Results go to standard output, progress and errors to standard error. Exit codes: 0 done, 1 a bug,
2 wrong usage, 3 to 10 the error's own (`configs.errors`; docs/commands.md), 130 interrupted,
143 terminated.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import sys

# Before anything imports TensorFlow: its start-up lines are not ours to show.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")

_VERBS = (
    "validate",
    "features",
    "simulate",
    "backfill",
    "nightly",
    "evaluate",
    "bundle",
    "publish",
    "stream",
    "parity",
    "demo",
)


def main() -> None:
    """The `lockstep` command."""
    import typer
    from rich.console import Console

    from configs.errors import LockstepError
    from pipelines import signals

    signals.install()
    app = typer.Typer(
        name="lockstep",
        help="Spam and abuse detection where training and serving never drift apart.",
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        add_completion=False,
        rich_markup_mode="rich",
    )
    for verb in _VERBS:
        if importlib.util.find_spec(f"pipelines.commands.{verb}"):
            importlib.import_module(f"pipelines.commands.{verb}").register(app)
    try:
        app(standalone_mode=True)
    except LockstepError as error:
        console = Console(stderr=True, highlight=False, soft_wrap=True)
        console.print(f"lockstep: {error}", markup=False, style="red")
        sys.exit(error.exit_code)
