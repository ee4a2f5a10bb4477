"""How a running scorer stands, in one line: for a terminal, or now and then for a log.

What enters: counts of a service and its intake, when they are asked for. What leaves: text. The
scorer's loop pays nothing for it, and no line names an account.
"""

from __future__ import annotations

import dataclasses
import time
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING

from pipelines.streaming.metrics import WaitingFigures

if TYPE_CHECKING:
    from pipelines.streaming.service import Service

_RATE_SECONDS = 5.0  # the rate is that of the last so many seconds, or since the last line


@dataclasses.dataclass(frozen=True)
class Status:
    """A scorer at a moment.

    Attributes:
      steady_s: a clock for rates.
      events, decisions, late, dead: so far; `dead` are dead letters of all reasons.
      buffer: events that wait for earlier ones.
      lag_s: the wall clock less the watermark; None before the first event.
      bundle: fingerprint of what decides.
    """

    steady_s: float
    events: int
    decisions: int
    late: int
    dead: int
    buffer: int
    lag_s: float | None
    bundle: str


class StatusLine:
    """The line of a running scorer; each call looks anew."""

    def __init__(
        self,
        service: Service,
        intake: WaitingFigures,
        steady_s: Callable[[], float] = time.monotonic,
        wall_s: Callable[[], float] = time.time,
    ) -> None:
        self._service, self._intake = service, intake
        self._steady_s, self._wall_s = steady_s, wall_s
        self._seen: deque[Status] = deque([self._look()])

    def __call__(self) -> str:
        """See `describe`."""
        now = self._look()
        self._seen.append(now)
        while len(self._seen) > 2 and now.steady_s - self._seen[1].steady_s >= _RATE_SECONDS:
            self._seen.popleft()
        return describe(self._seen[0], now)

    def _look(self) -> Status:
        counts = self._service.counts
        watermark, scorer = self._intake.watermark_us, self._service.engine.scorer
        return Status(
            steady_s=self._steady_s(),
            events=counts.events,
            decisions=counts.decisions,
            late=counts.late,
            dead=counts.dead_letters.total(),
            buffer=self._intake.held,
            lag_s=None if watermark is None else self._wall_s() - watermark / 1e6,
            bundle="none" if scorer is None else scorer.bundle.fingerprint,
        )


def describe(before: Status, now: Status) -> str:
    """The line: rate since `before`, what was decided, how far behind, what waits, what was lost.

    >>> before = Status(0.0, 0, 0, 0, 0, 0, None, "ab")
    >>> describe(before, Status(2.0, 3000, 2500, 1, 0, 40, 5.25, "ab"))
    '1,500 events/s  decided 2,500  lag 5.2 s  buffer 40  dead letters 0  late 1  bundle ab'
    """
    seconds = max(now.steady_s - before.steady_s, 1e-3)
    return (
        f"{(now.events - before.events) / seconds:,.0f} events/s  decided {now.decisions:,}  "
        f"lag {_length(now.lag_s)}  buffer {now.buffer:,}  dead letters {now.dead:,}  "
        f"late {now.late:,}  bundle {now.bundle}"
    )


def _length(seconds: float | None) -> str:
    if seconds is None:
        return "unknown"
    for unit, size in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.1f} {unit}"
    return f"{seconds:.1f} s"
