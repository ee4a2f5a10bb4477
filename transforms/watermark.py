"""Until when no earlier event is expected: the one rule of every scorer that reads a stream.

- It is the latest event time seen, minus the disorder bound, and never goes back. A message that
  makes several events speaks for the earliest of them: the later ones are held until the watermark
  gets there.
- *Idle*: while the caller says that nothing waits to be read, after `idle_after_us` without an
  arrival, it moves on as fast as the clock. Without that the last events before a pause would
  wait for the next one.
- *Ahead*: an event time beyond the clock counts as the clock: one sender whose clock is fast would
  else make everybody's events late. Its events wait until the clock gets there.
- *Redelivery grace period*: what an earlier reader held and did not acknowledge comes again when
  its lease ends, behind newer events. Until then the watermark stays, so that a restart makes no
  event late.
"""

from __future__ import annotations

import dataclasses

import numpy as np
import numpy.typing as npt


@dataclasses.dataclass(frozen=True)
class WaitSettings:
    """How long to wait.

    Attributes:
      bound_us: disorder that is put right, in event time.
      idle_after_us: without an arrival for this long, the watermark follows the clock.
      ahead_us: how far beyond the clock an event time may be; None: the clock has no say (replays
        of another year's events).
    """

    bound_us: int
    idle_after_us: int = 200_000
    ahead_us: int | None = 10_000_000


class Watermark:
    """Moves on with what arrives, and with the clock where nothing does.

    Args:
      settings: how long to wait.
      grace_until_us: the clock at which the redelivery grace period ends, microseconds UTC; None:
        nothing is expected again.
      value_us: where it begins; None: nowhere yet.

    >>> watermark = Watermark(WaitSettings(bound_us=5, ahead_us=None))
    >>> watermark.arrived(np.array([12, 9]), now_us=100)
    >>> watermark.value_us
    7
    """

    def __init__(
        self,
        settings: WaitSettings,
        grace_until_us: int | None = None,
        value_us: int | None = None,
    ) -> None:
        self.value_us = value_us
        self._settings = settings
        self._until_us = grace_until_us
        self._latest: int | None = None  # event time
        self._arrived_us: int | None = None  # clock

    def arrived(self, earliest: npt.NDArray[np.int64], now_us: int) -> None:
        """Messages came, none too far ahead.

        Args:
          earliest: int64 `[n]`, of each message's events, microseconds UTC.
          now_us: the clock.
        """
        if not len(earliest):
            return
        self._arrived_us = now_us
        latest = int(earliest.max())
        if self._settings.ahead_us is not None:
            latest = min(latest, now_us)
        self._latest = latest if self._latest is None else max(self._latest, latest)
        if self._settled(now_us):
            self.raise_to(self._latest - self._settings.bound_us)

    def idle(self, now_us: int) -> None:
        """Nothing waits to be read now; the watermark may follow the clock."""
        if self._latest is None or self._arrived_us is None:
            return
        quiet = max(0, now_us - self._arrived_us - self._settings.idle_after_us)
        if self._settled(now_us):
            self.raise_to(self._latest + quiet - self._settings.bound_us)

    def drained(self, now_us: int) -> None:
        """All that was published has been read, by this reader or others: the clock decides."""
        if self._settled(now_us):
            self.raise_to(now_us - self._settings.bound_us)

    def awake(self, now_us: int) -> None:
        """Silence up to now says nothing: the connection was lost, or the caller did not look."""
        if self._arrived_us is not None:
            self._arrived_us = max(self._arrived_us, now_us)

    def raise_to(self, time_us: int) -> None:
        """It is at least there."""
        if self.value_us is None or time_us > self.value_us:
            self.value_us = time_us

    def wait_until(self, until_us: int) -> None:
        """Older messages may come behind newer ones until the clock is there."""
        self._until_us = until_us if self._until_us is None else max(self._until_us, until_us)

    def _settled(self, now_us: int) -> bool:
        return self._until_us is None or now_us >= self._until_us
