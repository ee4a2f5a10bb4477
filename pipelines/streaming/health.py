"""Whether a running scorer is alive, and whether it is ready: for systemd, Kubernetes, a balancer.

What enters: turns of the scorer's loop, its connection, signals. What leaves: a verdict with its
reason, when it is asked for. Ready: what arrives is decided now; while a scorer starts, waits for a
full disk or for a server, or drains, it is not. Alive: its loop has turned within ten minutes; what
stands longer may as well be started again, since a start loses nothing.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable
from typing import Protocol

_HELD_UP_S = 15.0  # a turn of the loop takes less than a second where nothing is waited for
_STUCK_S = 600.0


class Connected(Protocol):
    """What reads a subscription (`pipelines.pubsub.client.Puller`)."""

    @property
    def connected(self) -> bool:
        """Whether the last pull was answered."""


class Ending(Protocol):
    """What knows of signals (`pipelines.streaming.stopping.Stopping`)."""

    asked: bool


@dataclasses.dataclass(frozen=True)
class Verdict:
    """Whether it is so, and why it is not."""

    holds: bool
    reason: str


class Health:
    """Of one scorer; it is starting until `begin`.

    Args:
      stopping: whether it was asked to end.
      clock_s: a steady clock.
    """

    def __init__(self, stopping: Ending, clock_s: Callable[[], float] = time.monotonic) -> None:
        self._stopping, self._clock_s = stopping, clock_s
        self._reader: Connected | None = None
        self._turned_s = clock_s()

    def begin(self, reader: Connected) -> None:
        """From now on it decides what this reader brings."""
        self.turn()
        self._reader = reader

    def turn(self) -> None:
        """The loop has gone round."""
        self._turned_s = self._clock_s()

    def alive(self) -> Verdict:
        """False where the loop has stood still for long."""
        stood_s = self._clock_s() - self._turned_s
        if self._reader is not None and stood_s > _STUCK_S:
            return Verdict(False, f"the loop has stood still for {stood_s:.0f} s")
        return Verdict(True, "alive")

    def ready(self) -> Verdict:
        """Whether what arrives is decided now."""
        stood_s = self._clock_s() - self._turned_s
        if self._stopping.asked:
            return Verdict(False, "stopping")
        if self._reader is None:
            return Verdict(False, "starting: the state is read back")
        if stood_s > _HELD_UP_S:
            return Verdict(False, f"held up for {stood_s:.0f} s: see the log")
        if not self._reader.connected:
            return Verdict(False, "the subscription does not answer")
        return Verdict(True, "ready")
