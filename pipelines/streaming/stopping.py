"""SIGTERM and SIGINT: the first one drains, any other one ends the process at once.

What enters: signals, in the main thread. What leaves: `asked`, which loops look at, or the end of
the process. The scorer is made to be killed at any moment (`journal`), so ending at once is one
line and `os._exit`: nothing is unwound, since a server that is away would be waited for.

While a scorer starts (imports, restores, publishes again) it has nothing to drain, so the first
signal ends it at once too, with 128 and the signal's number (143, 130).

Nothing heavy is imported here: the command installs it before the imports that take seconds.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable
from types import FrameType
from typing import Any

from pipelines.logs import line
from pipelines.signals import raise_if_stopped

_SLICE_S = 0.1


class Stopping:
    """Whether a scorer is to end; a context that has the signals while it lasts.

    A plain attribute, not an `Event`: a handler that runs inside `Event.wait` would wait for the
    lock that its own thread holds.

    Attributes:
      asked: by a signal, after `draining`.
    """

    def __init__(self) -> None:
        self.asked = False
        self._drain: Callable[[], None] | None = None
        self._before: dict[int, Any] = {}

    def draining(self, drain: Callable[[], None]) -> None:
        """From now on the first signal asks to end and calls `drain`."""
        self._drain = drain

    def sleep(self, seconds: float) -> None:
        """Sleeps, but no longer than until it is asked to end."""
        ends = time.monotonic() + seconds
        while not self.asked and (left := ends - time.monotonic()) > 0:
            time.sleep(min(left, _SLICE_S))

    def __enter__(self) -> Stopping:
        raise_if_stopped()  # a signal that came before, and was lost in an import
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGTERM, signal.SIGINT):
                self._before[number] = signal.signal(number, self._on_signal)
        return self

    def __exit__(self, *failure: object) -> None:
        for number, before in self._before.items():
            signal.signal(number, before)
        self._before.clear()

    def _on_signal(self, signum: int, frame: FrameType | None) -> None:
        if self.asked or self._drain is None:
            said = line(
                "WARNING",
                "lockstep: stopped at once; what is not decided goes on after the next start",
            )
            os.write(2, f"{said}\n".encode())
            os._exit(128 + signum)
        self.asked = True
        self._drain()
