"""How a subscription is read: every setting of the source, and what follows from them.

What enters: what the operator chose. What leaves: the parts that the disorder buffer and the client
want, each in its own terms.
"""

from __future__ import annotations

import dataclasses
import enum

from pipelines.pubsub.client import PullSettings
from transforms.disorder import OrderSettings

_PREFETCHED = 10_000  # messages that wait to be logged; what is pulled and not logged comes again


class Ack(enum.Enum):
    """When a message is acknowledged.

    ARRIVED: once it is in the arrival log, on this machine's disk.
    DECIDED: once its decision is logged and published; for machines whose disk may be lost.
    """

    ARRIVED = "arrived"
    DECIDED = "decided"


class DecideAt(enum.Enum):
    """When an event is decided.

    IN_ORDER: once, after the disorder bound.
    AT_ARRIVAL: at once, with what is known; again, where its order makes another action of it.
    """

    IN_ORDER = "in_order"
    AT_ARRIVAL = "at_arrival"


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
      buffer_events: not yet decided, at which pulling stops.
      buffer_bytes: not yet acknowledged, in payload bytes, at which pulling stops.
      lease_s: ack deadline, 10 to 600; extended at half of it.
      ack: when a message is acknowledged.
      decide: when an event is decided.
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
    ack: Ack = Ack.ARRIVED
    decide: DecideAt = DecideAt.IN_ORDER
    end_after_idle_s: float | None = None

    def order(self) -> OrderSettings:
        """The disorder buffer's part."""
        return OrderSettings(
            self.disorder_us, self.idle_after_us, self.ahead_us, self.buffer_events
        )

    def pull(self) -> PullSettings:
        """The client's part."""
        most = self.buffer_events
        if self.ack is Ack.ARRIVED:
            most = min(most, _PREFETCHED)
        return PullSettings(
            self.subscription, self.endpoint, most, self.buffer_bytes, self.lease_s, reclaim=True
        )
