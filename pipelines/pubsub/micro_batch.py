"""What a scorer processes at a time: events in the order of their fold, and what cannot be used."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from pipelines.pubsub.client import RawMessage
from transforms.dead_letter import DeadLetter


@dataclasses.dataclass(frozen=True)
class DeadMessage:
    """A message that cannot be used: why, and what it was, for the dead-letter topic and folder."""

    letter: DeadLetter
    message: RawMessage


@dataclasses.dataclass(frozen=True)
class MicroBatch:
    """Events to fold now, in this order, and what was lost on the way.

    Attributes:
      sequence: from 0 on within the process.
      batch: `[n]` decoded events; n may be 0.
      late: bool `[n]`; late events come first.
      message_ids: `[n]`, of the message that made each event.
      publish_us: int64 `[n]`, when it was published, microseconds UTC.
      dead: messages that cannot be used.
      watermark_us: no earlier event is expected; None before the first event.
      forced: how many events were given out before their time, because the buffer was full.
      redelivered: how many messages came again while held; they are not in the batch twice.
      arrivals: numbers in the arrival log of the messages that this micro-batch completes.
      doubtful_s: as `client.Puller.doubtful_s`, when it was handed out.
      arrived: events that came since the micro-batch before, where they are asked for.
    """

    sequence: int
    batch: pa.RecordBatch
    late: npt.NDArray[np.bool_]
    message_ids: tuple[str, ...]
    publish_us: npt.NDArray[np.int64]
    dead: tuple[DeadMessage, ...]
    watermark_us: int | None
    forced: int = 0
    redelivered: int = 0
    arrivals: tuple[int, ...] = ()
    doubtful_s: float = -math.inf
    arrived: tuple[pa.RecordBatch, ...] = ()
