"""How a subscription is read: every setting of the source, and what follows from them.

What enters: what the operator chose. What leaves: the parts that the disorder buffer and the client
want, each in its own terms.
"""

from __future__ import annotations

import dataclasses
import enum

from pipelines.pubsub.client import PullSettings
from transforms.disorder import OrderSettings
from transforms.watermark import Settling

_IDLE_AGAIN_US = 1_000_000  # what was given back comes at once, and is all there after such a pause
_CLEAN_S = 5.0  # where more comes all the time, there is no such pause
_LEASE_MARGIN_S = 5.0  # a busy server hands out again a while after the lease has ended


class Before(enum.Enum):
    """How the process before this one ended, which read the same subscription.

    NONE: there was none, or it held nothing that is to be put in order with what comes.
    CLEAN: it gave back what it held, which comes again at once.
    SUDDEN: what it held comes again when its leases end.
    """

    NONE = "none"
    CLEAN = "clean"
    SUDDEN = "sudden"


@dataclasses.dataclass(frozen=True)
class SourceSettings:
    """How a subscription is read.

    Attributes:
      subscription: full name, "projects/P/subscriptions/S".
      endpoint: "127.0.0.1:8085"; None: `PUBSUB_EMULATOR_HOST`, or Google Cloud.
      disorder_us: see `transforms.disorder`, as are the next two.
      idle_after_us, ahead_us: see there.
      batch_events: most events of a micro-batch.
      latency_s: how long a micro-batch waits for more, once one event may be folded.
      idle_s: how long a read waits when nothing comes, before the loop looks up.
      buffer_events: not yet acknowledged, at which pulling stops.
      buffer_bytes: the same, in payload bytes.
      lease_s: ack deadline, 10 to 600; extended at half of it.
      settle_s: how long order waits at a start for what an earlier process held; None: a little
        longer than a lease.
      end_after_idle_s: everything is given out, and the stream ends, when nothing came for so
        long; None: never.
    """

    subscription: str
    endpoint: str | None = None
    disorder_us: int = 5_000_000
    idle_after_us: int = 200_000
    ahead_us: int | None = 10_000_000
    batch_events: int = 1000
    latency_s: float = 0.05
    idle_s: float = 1.0
    buffer_events: int = 200_000
    buffer_bytes: int = 256 << 20
    lease_s: int = 30
    settle_s: float | None = None
    end_after_idle_s: float | None = None

    def order(self) -> OrderSettings:
        """The disorder buffer's part."""
        return OrderSettings(
            self.disorder_us, self.idle_after_us, self.ahead_us, self.buffer_events
        )

    def settling(self, before: Before, now_us: int) -> Settling | None:
        """How long order waits for what came before, from now on."""
        wait_s = self.lease_s + _LEASE_MARGIN_S if self.settle_s is None else self.settle_s
        if before is Before.CLEAN:
            wait_s = min(wait_s, _CLEAN_S)
        if before is Before.NONE or wait_s <= 0:
            return None
        idle_us = _IDLE_AGAIN_US if before is Before.CLEAN else None
        return Settling(now_us + int(wait_s * 1e6), idle_us)

    def pull(self) -> PullSettings:
        """The client's part."""
        return PullSettings(
            self.subscription, self.endpoint, self.buffer_events, self.buffer_bytes, self.lease_s
        )
