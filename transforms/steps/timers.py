"""Timers that nothing overtakes on Flink.

While a worker has a Beam bundle, Flink's operator (beam 2.70) is to hold its output watermark for
what the bundle will give out. It holds it at the earliest timer that was set in the bundle before
that one: where those were later ones (the end of a later tick, an expiry; of a timer of processing
time the clock counts), the watermark goes on as soon as a timer has fired, ahead of all that the
timer's method gives out. The next step then folds a tick without what belongs to it.

So a bundle that sets a timer sets another one first, at the beginning of time, and then again at a
time at which it does nothing: the watermark goes on between bundles only, when all of a bundle's
output has gone before it. (To clear it would be simpler, but Prism 2.77 fires what is cleared.)
What is given out while a checkpoint is made has to go before it as well, which the option
`--finish_bundle_before_checkpointing` sees to (`pipelines.runners`). Other engines have no use for
either, and no harm of it.
"""

from __future__ import annotations

from typing import Any

from apache_beam.utils.timestamp import MIN_TIMESTAMP, Timestamp

HOLD = "hold"
"""The tag of timers at which nothing is to be done."""


class Timers:
    """Sets timers for one DoFn, which calls `start_bundle` from its own."""

    def __init__(self) -> None:
        self._holds = False

    def start_bundle(self) -> None:
        """Nothing is held."""
        self._holds = False

    def set(self, timer: Any, at: Timestamp, tag: str = "") -> None:
        """As `timer.set`."""
        if not self._holds:
            timer.set(MIN_TIMESTAMP, dynamic_timer_tag=HOLD)
            timer.set(at, dynamic_timer_tag=HOLD)
            self._holds = True
        timer.set(at, dynamic_timer_tag=tag)
