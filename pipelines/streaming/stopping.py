"""SIGTERM and SIGINT: the first one drains, any other one ends the process at once.

What enters: signals. What leaves: `asked`, which loops look at, or the end of the process. The
scorer is made to be killed at any moment (`journal`), so ending at once is one line and
`os._exit`: nothing is unwound, since a server that is away would be waited for.

A thread of its own hears them (`signal.set_wakeup_fd`). Python calls a handler in the main thread,
and once for all signals of a number that came while that thread was in a call of C; gRPC asks for
them each 0.2 s. So a second signal would be taken for the first.

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

_SIGNALS = (signal.SIGTERM, signal.SIGINT)
_SLICE_S = 0.1


class Stopping:
    """Whether a scorer is to end; a context that has the signals while it lasts.

    Attributes:
      asked: by a signal, after `draining`.
    """

    def __init__(self) -> None:
        self.asked = False
        self._drain: Callable[[], None] | None = None
        self._before: dict[int, Any] = {}
        self._wakeup: tuple[int, int] | None = None  # written to now, and before
        self._thread: threading.Thread | None = None

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
            heard, written = os.pipe()
            os.set_blocking(written, False)
            self._thread = threading.Thread(target=self._hear, args=(heard,), daemon=True)
            self._thread.start()
            self._wakeup = written, signal.set_wakeup_fd(written, warn_on_full_buffer=False)
            for number in _SIGNALS:
                self._before[number] = signal.signal(number, _python_goes_on)
        return self

    def __exit__(self, *failure: object) -> None:
        for number, before in self._before.items():
            signal.signal(number, before)
        self._before.clear()
        if self._wakeup is not None and self._thread is not None:
            written, before = self._wakeup
            signal.set_wakeup_fd(before)
            os.close(written)
            self._thread.join()
            self._wakeup = self._thread = None

    def _hear(self, heard: int) -> None:
        """Takes signals, one byte each, until the writing end is closed."""
        with open(heard, "rb", buffering=0) as signals:
            while number := signals.read(1):
                if number[0] in _SIGNALS:
                    self._on_signal(number[0])

    def _on_signal(self, number: int) -> None:
        if self.asked or self._drain is None:
            said = line(
                "WARNING",
                "lockstep: stopped at once; what is not decided goes on after the next start",
            )
            os.write(2, f"{said}\n".encode())
            os._exit(128 + number)
        self.asked = True
        self._drain()


def _python_goes_on(number: int, frame: FrameType | None) -> None:
    """Without a handler of Python's, the signal would end the process, or be unheard."""
