"""SIGTERM and SIGINT: a run ends at once, or after the step under way where that is said.

Both raise in the main thread. Beam makes another error of whatever is raised while it runs a
pipeline in this process, or loses it; so whoever runs one asks `raise_if_stopped` afterwards, and
steps that read or write ask it as well. What must not be cut in two is put into `held`: the signal
is delivered when the block has ended, and a second one at once.
"""

from __future__ import annotations

import contextlib
import signal
import sys
import threading
from collections.abc import Iterator
from types import FrameType

from pipelines.logs import log

_SIGNALS = (signal.SIGTERM, signal.SIGINT)
_WORDS = {signal.SIGTERM: "terminated", signal.SIGINT: "interrupted"}

_held: list[int] = []
_stopped: list[int] = []


def install() -> None:
    """Both signals unwind like an exception, so that locks, scratch and workers are let go."""
    for number in _SIGNALS:
        signal.signal(number, _stop)


def raise_if_stopped() -> None:
    """Does nothing, unless a signal came and what it raised was lost on its way.

    Raises:
      SystemExit: 128 + the signal's number.
    """
    if _stopped:
        raise SystemExit(128 + _stopped[0])


@contextlib.contextmanager
def held(words: str = "") -> Iterator[None]:
    """Holds signals until the block has ended; elsewhere than in the main thread does nothing.

    Args:
      words: what is logged when one came and a block may take a while; "": nothing.
    """
    if threading.current_thread() is not threading.main_thread() or _held:
        yield
        return
    before = {number: signal.getsignal(number) for number in _SIGNALS}

    def hold(number: int, frame: FrameType | None) -> None:
        if _held:
            _restore(before)
            _held.clear()
            signal.raise_signal(number)
        elif words:
            log("WARNING", f"lockstep: {words}")
        _held.append(number)

    for number in _SIGNALS:
        signal.signal(number, hold)
    try:
        yield
    finally:
        _restore(before)
        if _held:
            first = _held[0]
            _held.clear()
            signal.raise_signal(first)


def _restore(before: dict[signal.Signals, signal._HANDLER]) -> None:
    for number, handler in before.items():
        signal.signal(number, signal.SIG_DFL if handler is None else handler)


def _stop(number: int, frame: FrameType | None) -> None:
    _stopped.append(number)
    word = _WORDS[signal.Signals(number)]
    log("WARNING", f"lockstep: {word}; nothing half-written was left")
    sys.exit(128 + number)
