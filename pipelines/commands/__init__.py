"""The command line: one file per verb, registered here.

Results go to standard output, progress and errors to standard error. Exit codes: 0 done, 1 a bug,
2 wrong usage, 3 to 10 the error's own (`configs.errors`; docs/commands.md), 130 interrupted,
143 terminated.
"""

from __future__ import annotations

import atexit
import contextlib
import gc
import importlib
import inspect
import json
import os
import sys
import traceback
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TextIO, cast

if TYPE_CHECKING:
    import typer

# Before anything imports TensorFlow: its start-up lines are not ours to show.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")

_VERBS = (
    "validate",
    "features",
    "simulate",
    "backfill",
    "nightly",
    "report",
    "evaluate",
    "experiment",
    "bundle",
    "control",
    "publish",
    "stream",
    "serve",
    "workers",
    "parity",
    "explain",
    "labels",
    "selective",
    "leakcheck",
    "graph",
    "campaigns",
    "demo",
)


def main() -> None:
    """The `lockstep` command."""
    collect_seldom()
    import typer

    from pipelines import logs, signals

    signals.install()
    app = typer.Typer(
        name="lockstep",
        help="Spam and abuse detection where training and serving never drift apart.",
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        add_completion=False,
        rich_markup_mode=None,  # texts of configs, paths and ids are shown as they are
    )
    for verb in _VERBS:
        add_verb(app, verb)

    def start() -> object:
        try:
            logs.install()
        except ValueError as error:
            raise typer.BadParameter(str(error)) from error
        return app(standalone_mode=False)

    sys.exit(run_app(start, "--json" in sys.argv[1:]))


def collect_seldom() -> None:
    """Looks for cycles of garbage seldom, and not at all at the end, when everything goes.

    Of what Beam, pandas and numba make when they are imported nothing is garbage: looking through
    it every 700 objects, and once more at the exit, was 1.0 of the 3.0 s of a backfill of nothing.
    """
    gc.set_threshold(50_000, 20, 100)
    atexit.register(gc.freeze)


def add_verb(app: typer.Typer, verb: str) -> None:
    """Adds a verb, the function of its module's name, or what its module's `register` adds.

    A verb that takes the context hands options that it does not know to Beam (`beam_flags`).
    """
    module = importlib.import_module(f"pipelines.commands.{verb}")
    if hasattr(module, "register"):
        module.register(app)
        return
    command = getattr(module, verb)
    passes_on = "context" in inspect.signature(command).parameters
    app.command(context_settings=_PASSED_ON if passes_on else None)(command)


_PASSED_ON = {"allow_extra_args": True, "ignore_unknown_options": True}


def run_app(app: Callable[[], object], as_json: bool) -> int:
    """Runs the command line, and prints what went wrong; returns the exit code.

    With `as_json` whatever ends without a result prints an object on standard output: `exit_code`,
    and where that is not 0, `error` (the class, or how it ended), `message`, and `mistakes` of a
    config.
    """
    from typer import TyperException

    from configs.errors import ConfigError, LockstepError
    from pipelines import logs

    written = _Watched(sys.stdout)
    with contextlib.redirect_stdout(cast(TextIO, written)):
        failure: dict[str, object] = {}
        try:
            ended = app()
            code = ended if isinstance(ended, int) else 0  # of --help, or of none at all
        except TyperException as error:
            code = error.exit_code
            message = error.format_message()
            if "unexpected extra argument" in message:
                message += _EXPANDED
                error.message = message
            failure = {"error": "UsageError", "message": message}
            show = getattr(error, "show", None)  # of wrong usage: with the command's usage line
            if show is None or logs.structured():
                _print_error(f"lockstep: {message}")
            else:
                show()
        except LockstepError as error:
            code = error.exit_code
            failure = {"error": type(error).__name__, "message": str(error)}
            if isinstance(error, ConfigError):
                failure["mistakes"] = error.mistakes
            _print_error(f"lockstep: {error}")
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else int(end.code is not None)
            failure = _ENDS.get(code, {"error": "Failed", "message": "see standard error"})
        except Exception as error:
            code = 1
            failure = {"error": type(error).__name__, "message": "a bug: see standard error"}
            _print_bug()
        if as_json and not written.any:
            print(json.dumps({**failure, "exit_code": code}))
    return code


_EXPANDED = ". A pattern with * or ? needs quotes, or the shell makes many arguments of it"

_ENDS: dict[int, dict[str, object]] = {
    130: {"error": "Interrupted", "message": "interrupted; nothing half-written was left"},
    143: {"error": "Terminated", "message": "terminated; nothing half-written was left"},
}


class _Watched:
    """Standard output that knows whether something was written to it."""

    def __init__(self, stream: TextIO) -> None:
        self._stream, self.any = stream, False

    def write(self, text: str) -> int:
        self.any = self.any or bool(text)
        return self._stream.write(text)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def _print_bug() -> None:
    from pipelines.logs import log

    log("ERROR", traceback.format_exc().rstrip())


def _print_error(text: str) -> None:
    """In red where that can be seen; otherwise as it is."""
    from pipelines.logs import log, structured

    red = sys.stderr.isatty() and "NO_COLOR" not in os.environ and not structured()
    log("ERROR", f"\x1b[31m{text}\x1b[0m" if red else text)
