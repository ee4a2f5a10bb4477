"""What a running command shows: bars with rate and time left on a terminal, plain lines otherwise.

What enters: steps, their totals, what is done. What leaves: text on standard error, so that
standard output stays for results (`--json`). Logic never imports this; drivers take a `Progress`.
"""

from __future__ import annotations

import contextlib
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Protocol

from rich.console import Console
from rich.live import Live
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.progress import Progress as Bars
from rich.text import Text

from pipelines.logs import log, structured

_PLAIN_SECONDS = 5.0  # a line at most this often where there is no terminal
_LIVE_SECONDS = 30.0  # the same for what runs for weeks


class Step(Protocol):
    """One step under way."""

    def advance(self, amount: float) -> None:
        """So much more is done, in the step's unit."""


class Progress(Protocol):
    """Where a launcher reports what it does."""

    def say(self, text: str) -> None:
        """A line for people."""

    def step(self, name: str, total: float, unit: str) -> contextlib.AbstractContextManager[Step]:
        """A step with a known amount of work."""

    def live(self, line: Callable[[], str]) -> contextlib.AbstractContextManager[None]:
        """Shows a line of how things stand, made anew while this lasts."""


class Quiet:
    """Shows nothing: notebooks, tests, `--quiet` and `--json`."""

    def say(self, text: str) -> None:
        """Nothing."""

    def advance(self, amount: float) -> None:
        """Nothing."""

    @contextlib.contextmanager
    def step(self, name: str, total: float, unit: str) -> Iterator[Step]:
        """A step that shows nothing."""
        yield self

    @contextlib.contextmanager
    def live(self, line: Callable[[], str]) -> Iterator[None]:
        """Asks nothing, shows nothing."""
        yield


class Plain:
    """Lines on standard error, with the rate: logs, cron, CI.

    Args:
      live_seconds: a live line is printed that often.
    """

    def __init__(self, live_seconds: float = _LIVE_SECONDS) -> None:
        self._live_seconds = live_seconds

    def say(self, text: str) -> None:
        """Prints a line."""
        log("INFO", text)

    @contextlib.contextmanager
    def step(self, name: str, total: float, unit: str) -> Iterator[Step]:
        """A step that says at its end how much it did, and now and then how far it is."""
        line = _PlainStep(name, total, unit)
        yield line
        line.end()

    @contextlib.contextmanager
    def live(self, line: Callable[[], str]) -> Iterator[None]:
        """Prints the line now and then, and at the end."""
        ended = threading.Event()

        def repeat() -> None:
            while not ended.wait(self._live_seconds):
                self.say(line())

        thread = threading.Thread(target=repeat, daemon=True)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()
            self.say(line())


class _PlainStep:
    def __init__(self, name: str, total: float, unit: str) -> None:
        self._name, self._total, self._unit = name, total, unit
        self._done = 0.0
        self._started = self._said = time.monotonic()

    def advance(self, amount: float) -> None:
        self._done += amount
        if time.monotonic() - self._said >= _PLAIN_SECONDS:
            self._said = time.monotonic()
            self._print()

    def end(self) -> None:
        self._print()

    def _print(self) -> None:
        seconds = max(time.monotonic() - self._started, 1e-3)
        done = min(self._done / self._total, 1.0) if self._total else None  # totals are estimates
        share = "" if done is None else f"{done:4.0%} "
        log(
            "INFO",
            f"  {self._name}: {share}{self._done:,.0f} {self._unit}, "
            f"{self._done / seconds:,.0f}/s, {seconds:.1f} s",
        )


class Terminal:
    """Bars with rate and time left."""

    def __init__(self) -> None:
        self._console = Console(stderr=True, highlight=False, markup=False, emoji=False)

    def say(self, text: str) -> None:
        """Prints a line above the bars."""
        self._console.print(text)

    @contextlib.contextmanager
    def step(self, name: str, total: float, unit: str) -> Iterator[Step]:
        """A step drawn as a bar."""
        columns = (
            TextColumn("  {task.description:<22}", markup=False),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TextColumn("{task.fields[unit]}", markup=False),
            TextColumn("{task.fields[rate]:>12}"),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
        )
        with Bars(*columns, console=self._console) as bars:
            task = bars.add_task(name, total=round(total), unit=unit, rate="")
            yield _Bar(bars, task)
            bars.update(task, total=max(bars.tasks[0].completed, 1))

    @contextlib.contextmanager
    def live(self, line: Callable[[], str]) -> Iterator[None]:
        """One line that is written over itself, as wide as the terminal."""

        def shown() -> Text:
            return Text(line(), no_wrap=True, overflow="ellipsis")

        with Live(get_renderable=shown, console=self._console, refresh_per_second=2):
            yield


class _Bar:
    def __init__(self, bars: Bars, task: TaskID) -> None:
        self._bars, self._task = bars, task
        self._started = time.monotonic()
        self._done = 0.0

    def advance(self, amount: float) -> None:
        self._done += amount
        rate = self._done / max(time.monotonic() - self._started, 1e-3)
        self._bars.update(self._task, completed=round(self._done), rate=f"{rate:,.0f}/s")


def choose_progress(quiet: bool = False) -> Progress:
    """Bars where standard error is a terminal, lines where it is not, nothing when quiet."""
    if quiet:
        return Quiet()
    return Terminal() if sys.stderr.isatty() and not structured() else Plain()
