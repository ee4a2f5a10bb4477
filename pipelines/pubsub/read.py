"""`ReadSubscription`: a subscription to decoded events and dead letters, on every engine.

    Flink, Prism:  PullSubscription ─┐
                                     ├─ raw batches ─ DecodeMessages ─┬─ events
    Dataflow:      ReadFromPubSub ───┘                                └─ dead letters

The payload of a message that cannot be used is in its dead letter: once it is acknowledged it is
nowhere else.
"""

from __future__ import annotations

import dataclasses
import time
from collections import Counter
from collections.abc import Iterator
from typing import Any

import apache_beam as beam
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import xxhash
from apache_beam.metrics import Metrics
from apache_beam.pvalue import TaggedOutput
from apache_beam.transforms.window import GlobalWindow
from apache_beam.utils.windowed_value import WindowedValue

from configs.schema import EVENT_TIME, Spec
from pipelines.pubsub.client import RawMessage
from pipelines.pubsub.micro_batch import DeadMessage
from pipelines.pubsub.session import (
    ARRIVED_US,
    ATTRIBUTES,
    MESSAGE_ID,
    ReaderSettings,
    earliest_times,
    raw_batch,
)
from pipelines.pubsub.source import PullSubscription
from transforms.batches import one_batch
from transforms.dead_letter import (
    DEAD_LETTER_SCHEMA,
    DeadLetter,
    Reason,
    Stage,
    dead_letter_table,
)
from transforms.decode import decode_json
from transforms.steps.decode import DEAD_LETTERS, EVENTS, RECORD, count_dead
from transforms.steps.stamps import NUMBER_BITS, stamp

DEAD_MESSAGE_SCHEMA = pa.schema(
    [
        *DEAD_LETTER_SCHEMA,
        pa.field(RECORD, pa.binary()),
        pa.field(MESSAGE_ID, pa.string()),
        pa.field(ARRIVED_US, pa.int64()),
        pa.field(ATTRIBUTES, pa.map_(pa.string(), pa.string())),
    ]
)
"""Dead letters with the messages that they are about."""


@dataclasses.dataclass(eq=False)
class ReadSubscription(beam.PTransform):
    """A subscription to events.

    Args:
      spec: of the events.
      settings: how it is read.
      native: by the engine's own source (`ReadFromPubSub`, on Dataflow), whose watermark is that of
        publish times.
      first_us: events before this time are left out, as those that the initial state holds; None:
        none is.

    Outputs: `events`, decoded; `dead_letters`, batches of `DEAD_MESSAGE_SCHEMA`.
    """

    spec: Spec
    settings: ReaderSettings
    native: bool = False
    first_us: int | None = None

    def expand(self, root: beam.pvalue.PBegin) -> Any:
        """Applies it."""
        settings = self.settings
        if self.native:
            read = (
                root
                | "ReadFromPubSub"
                >> beam.io.ReadFromPubSub(
                    subscription=settings.subscription, with_attributes=True
                )
                | "Batch"
                >> beam.ParDo(_Batch(settings.batch_events)).with_output_types(pa.RecordBatch)
            )  # fmt: skip
        else:
            read = root | PullSubscription(self.spec, settings)
        return read | "DecodeMessages" >> beam.ParDo(
            _Decode(self.spec, settings, self.first_us)
        ).with_output_types(pa.RecordBatch, **{DEAD_LETTERS: pa.RecordBatch}).with_outputs(
            DEAD_LETTERS, main=EVENTS
        )


def decode_messages(
    spec: Spec, batch: pa.RecordBatch, source: str, ahead_us: int | None
) -> tuple[pa.RecordBatch, pa.RecordBatch | None]:
    """Events of a batch of raw messages, and the messages that are dead.

    Args:
      spec: the use.
      batch: as `session.raw_batch` makes it.
      source: the subscription.
      ahead_us: how far an event may be beyond the clock at its message's arrival; None: the clock
        has no say.

    Returns:
      (events, dead): stamped events; `DEAD_MESSAGE_SCHEMA`, or None.
    """
    records = batch.column(RECORD).to_pylist()
    decoded = decode_json(spec, records, source)
    events, positions, dead = decoded.batch, decoded.positions, list(decoded.dead)
    if ahead_us is not None and len(positions):
        times = np.asarray(events.column(EVENT_TIME).to_numpy(), np.int64)
        earliest = earliest_times(positions, times, len(records))
        made = np.isin(np.arange(len(records)), positions)
        ahead = made & (earliest > batch.column(ARRIVED_US).to_numpy() + ahead_us)
        dead += [_ahead(source, int(row), ahead_us) for row in np.flatnonzero(ahead)]
        if ahead.any():
            keep = ~ahead[positions]
            events, positions = events.filter(pa.array(keep)), positions[keep]
    events = stamp(events, source, _number(batch), positions)
    return events, _dead_messages(dead, batch) if dead else None


def dead_messages(batch: pa.RecordBatch) -> list[DeadMessage]:
    """The messages of a batch of `DEAD_MESSAGE_SCHEMA`, as the embedded scorer has them."""
    return [
        DeadMessage(
            DeadLetter(
                Stage(row["stage"]),
                Reason(row["reason"]),
                row["source"],
                row["position"],
                row["column"],
                row["detail"],
            ),
            RawMessage("", row[MESSAGE_ID], 0, row[RECORD], dict(row[ATTRIBUTES])),
        )
        for row in batch.to_pylist()
    ]


def _number(batch: pa.RecordBatch) -> int:
    """Names a batch by its messages: the same when it is read again, whatever reader has them."""
    named = "\n".join(batch.column(MESSAGE_ID).to_pylist())
    return xxhash.xxh64_intdigest(named.encode()) >> (64 - NUMBER_BITS)


def _ahead(source: str, position: int, ahead_us: int) -> DeadLetter:
    return DeadLetter(
        Stage.READ,
        Reason.BAD_TIME,
        source,
        position,
        EVENT_TIME,
        f"expected at most {ahead_us / 1e6:g} s ahead of the scorer's clock",
    )


def _dead_messages(dead: list[DeadLetter], batch: pa.RecordBatch) -> pa.RecordBatch:
    letters = one_batch(dead_letter_table(dead).to_batches(), DEAD_LETTER_SCHEMA)
    of = batch.take(pa.array([letter.position for letter in dead]))
    columns = [
        *letters.columns,
        *(of.column(name) for name in (RECORD, MESSAGE_ID, ARRIVED_US, ATTRIBUTES)),
    ]
    return pa.RecordBatch.from_arrays(columns, schema=DEAD_MESSAGE_SCHEMA)


class _Decode(beam.DoFn):
    def __init__(self, spec: Spec, settings: ReaderSettings, first_us: int | None) -> None:
        self._spec, self._settings, self._first_us = spec, settings, first_us
        self._before_start = Metrics.counter("lockstep", "before_start")
        self._messages = Metrics.counter("lockstep", "messages")

    def process(self, batch: pa.RecordBatch) -> Iterator[Any]:
        settings = self._settings
        self._messages.inc(batch.num_rows)
        events, dead = decode_messages(self._spec, batch, settings.subscription, settings.ahead_us)
        if self._first_us is not None:
            fresh = pc.greater_equal(events.column(EVENT_TIME), self._first_us)
            self._before_start.inc(events.num_rows - (pc.sum(fresh).as_py() or 0))
            events = events.filter(fresh)
        if events.num_rows:
            yield events
        if dead is not None:
            reasons = zip(
                dead.column("stage").to_pylist(), dead.column("reason").to_pylist(), strict=True
            )
            count_dead(Counter(reasons))
            yield TaggedOutput(DEAD_LETTERS, dead)


class _Batch(beam.DoFn):
    """Messages of the engine's own source to raw batches, bundle by bundle.

    A batch's time is the earliest of its messages': until then the watermark may have come.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._held: list[Any] = []

    def start_bundle(self) -> None:
        """Nothing is carried over."""
        self._held = []

    def process(self, message: Any, moment: Any = beam.DoFn.TimestampParam) -> Iterator[Any]:
        self._held.append((message, moment))
        if len(self._held) >= self._most:
            yield from self.finish_bundle()

    def finish_bundle(self) -> Iterator[Any]:
        """What is left."""
        if self._held:
            earliest = min(moment for _, moment in self._held)
            yield WindowedValue(self._made(), earliest, [GlobalWindow()])

    def _made(self) -> pa.RecordBatch:
        held, self._held = [message for message, _ in self._held], []
        return raw_batch(
            [message.data for message in held],
            [message.message_id for message in held],
            [message.attributes for message in held],
            time.time_ns() // 1000,
        )
