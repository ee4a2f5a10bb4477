"""Where a streaming job's decisions go: a topic, a log for parity, a folder of dead letters.

All three act on input that is stable (`transforms.steps.stable`): what they have seen once, the
engine hands over again after a failure, the same. So a decision that was published has one form for
ever, and a file that was written is written again with the same bytes.

    STATE/log/date=2026-03-08/segment-000000000017.arrows   a tick, in the order of the fold
    STATE/dead_letters/date=2026-03-08/NAME.jsonl           a batch of dead messages

The log is the embedded scorer's (`pipelines.streaming.journal`): one step per tick that has events,
numbered in the order of ticks. One key writes it, since it is one sequence; a tick is written when
the watermark has passed it, so all of it is there.
"""

from __future__ import annotations

import datetime as dt
import itertools
import os
import struct
from collections.abc import Iterator, Sequence
from typing import Any

import apache_beam as beam
import numpy as np
import pyarrow as pa
import xxhash
from apache_beam.coders import BytesCoder
from apache_beam.metrics import Metrics
from apache_beam.transforms.timeutil import TimeDomain
from apache_beam.transforms.userstate import (
    BagStateSpec,
    ReadModifyWriteStateSpec,
    TimerSpec,
    on_timer,
)
from apache_beam.utils.timestamp import Timestamp

from configs.schema import EVENT_TIME
from pipelines.layout import day_of
from pipelines.pubsub.publisher import TopicPublisher
from pipelines.pubsub.read import dead_messages
from pipelines.pubsub.session import ARRIVED_US
from pipelines.streaming.dead_letters import dead_line, publish_dead
from pipelines.streaming.journal import WRITERS
from pipelines.streaming.sealed import seal
from scoring.engine import BUNDLE, DECISION, EXPIRED, STEP
from scoring.files import is_local, join, replace_file
from transforms.batches import RecordBatchCoder, ShardKey, one_batch
from transforms.order import total_order
from transforms.steps.shards import Keyed
from transforms.steps.stable import par_do
from transforms.steps.timers import HOLD, Timers
from transforms.ticks import MILLISECOND_US, PLACE_IN_TIME, TICK, TickSettings, expiry_before

_AFTER_US = 3 * MILLISECOND_US  # the join of a tick's events is two behind its end
_NUMBERS = struct.Struct(">qq")
_NO_TICK = -(1 << 63)
_PATIENCE_S = 60.0  # for a server that is away; then the bundle fails, and the engine tries again


class WriteDecisions(beam.PTransform):
    """Publishes the decisions of log rows (from a shuffle); perhaps again, the same bytes.

    Args:
      topic: full name.
      endpoint: as `pipelines.pubsub.connect`.
      stable: see `transforms.steps.stable`.
    """

    def __init__(self, topic: str, endpoint: str | None = None, stable: bool = True) -> None:
        super().__init__()
        self._publish, self._stable = _Publish(topic, endpoint), stable

    def expand(self, rows: beam.PCollection[Keyed]) -> Any:
        """Applies it."""
        return rows | "Publish" >> par_do(self._publish, self._stable).with_output_types(bytes)


class WriteLog(beam.PTransform):
    """Writes log rows as steps of a scorer's log.

    Args:
      folder: the state folder, on a disk that all workers share, or any filesystem of Beam's.
      ticks: by which the rows were folded.
      stable: see `transforms.steps.stable`.
    """

    def __init__(self, folder: str, ticks: TickSettings, stable: bool = True) -> None:
        super().__init__()
        self._folder, self._ticks, self._stable = folder, ticks, stable

    def expand(self, rows: beam.PCollection[Keyed]) -> Any:
        """Applies it."""
        return (
            rows
            | "OneLog" >> beam.Map(to_one_log).with_output_types(Keyed)
            | "Order" >> beam.ParDo(_Order(self._ticks)).with_output_types(pa.RecordBatch)
            | "Ordered" >> beam.Reshuffle()
            | "Write" >> par_do(_WriteStep(self._folder), self._stable).with_output_types(bytes)
        )


class WriteSteps(beam.PTransform):
    """Writes steps of a scorer's log (from a shuffle), which `LimitActions` has put in order.

    Args:
      folder, stable: as `WriteLog`.
    """

    def __init__(self, folder: str, stable: bool = True) -> None:
        super().__init__()
        self._folder, self._stable = folder, stable

    def expand(self, steps: beam.PCollection[Keyed]) -> Any:
        """Applies it."""
        return (
            steps
            | "Step" >> beam.Map(lambda step: step[1]).with_output_types(pa.RecordBatch)
            | "Write" >> par_do(_WriteStep(self._folder), self._stable).with_output_types(bytes)
        )


class WriteDeadMessages(beam.PTransform):
    """Dead messages to a folder, and to a topic where there is one.

    Args:
      folder: the state folder.
      topic: full name; None: the folder has the messages too.
      endpoint: as `pipelines.pubsub.connect`.
      stable: see `transforms.steps.stable`.
    """

    def __init__(
        self,
        folder: str,
        topic: str | None = None,
        endpoint: str | None = None,
        stable: bool = True,
    ) -> None:
        super().__init__()
        self._write, self._stable = _WriteDeadMessages(folder, topic, endpoint), stable

    def expand(self, dead: beam.PCollection[pa.RecordBatch]) -> Any:
        """Applies it."""
        return (
            dead
            | "Stable" >> beam.Reshuffle()
            | "Write" >> par_do(self._write, self._stable).with_output_types(bytes)
        )


def steps_of(
    batches: Sequence[pa.RecordBatch], through: int, step: int, last: int | None, tick_us: int
) -> tuple[list[tuple[int, pa.RecordBatch]], list[pa.RecordBatch]]:
    """Log rows of whole ticks as steps, and what is to wait.

    Args:
      batches: each of one tick.
      through: number of the last tick that is whole.
      step: number of the next step.
      last: number of the last tick that has been written; None: none.
      tick_us: length of a tick.

    Returns:
      (tick, rows in fold order) for each step, of one tick and one bundle; and the batches of later
      ticks.
    """
    by_tick: dict[int, list[pa.RecordBatch]] = {}
    for batch in batches:
        by_tick.setdefault(batch.column(TICK)[0].as_py() // tick_us, []).append(batch)
    made = []
    for tick in sorted(one for one in by_tick if one <= through):
        rows = one_batch([one.replace_schema_metadata(None) for one in by_tick[tick]])
        times = np.asarray(rows.column(EVENT_TIME).to_numpy(), np.int64)
        rows = rows.take(pa.array(total_order(times, rows.column(PLACE_IN_TIME))))
        expired = expiry_before(tick, last, tick_us)
        for part in _by_bundle(rows):
            numbers = pa.array(np.full(part.num_rows, step, np.int64))
            moments = pa.array([expired] * part.num_rows, pa.int64())
            for name, column in ((STEP, numbers), (EXPIRED, moments)):
                part = part.set_column(part.schema.get_field_index(name), name, column)
            made.append((tick, part))
            step, expired = step + 1, None
        last = tick
    rest = [one for tick, some in by_tick.items() if tick > through for one in some]
    return made, rest


def _by_bundle(rows: pa.RecordBatch) -> Iterator[pa.RecordBatch]:
    """Stretches of rows that one bundle decided, in their order: a step is of one bundle."""
    bundles = rows.column(BUNDLE).dictionary_encode().indices.to_numpy()
    cuts = [0, *(np.flatnonzero(np.diff(bundles)) + 1).tolist(), len(bundles)]
    for first, last in itertools.pairwise(cuts):
        yield rows.slice(first, last - first)


def to_one_log(rows: Keyed) -> Keyed:
    """To the one key that holds the log, which is one sequence."""
    return ShardKey("log", 0), rows[1]


def segment_bytes(rows: pa.RecordBatch) -> bytes:
    """A segment of the log with one step (`pipelines.streaming.journal`)."""
    schema = rows.schema.with_metadata(WRITERS)
    return bytes(schema.serialize().to_pybytes() + seal(rows))


class _Publish(beam.DoFn):
    def __init__(self, topic: str, endpoint: str | None) -> None:
        self._settings = topic, endpoint, _PATIENCE_S
        self._published = Metrics.counter("lockstep", "decisions_published")
        self._publisher: TopicPublisher | None = None

    def setup(self) -> None:
        """Connects."""
        self._publisher = TopicPublisher(*self._settings)

    def process(self, element: Keyed) -> Iterator[bytes]:
        """Returns when the server has them."""
        messages = element[1].column(DECISION).drop_null().to_pylist()
        publisher = self._publisher or TopicPublisher(*self._settings)
        if messages:
            publisher.publish(messages)
            self._published.inc(len(messages))
        yield from ()

    def teardown(self) -> None:
        """Disconnects."""
        if self._publisher is not None:
            self._publisher.close()
            self._publisher = None


class OrderSteps(beam.DoFn):
    """Rows that wait for the rest of their tick, and then are steps in their order.

    A subclass has a timer of its own, since a timer has one method. It writes nothing: on Flink,
    stable input and state lock each other.
    """

    ROWS = BagStateSpec("rows", RecordBatchCoder())
    AT = ReadModifyWriteStateSpec("at", BytesCoder())

    def __init__(self, ticks: TickSettings) -> None:
        self._ticks = ticks
        self._timers = Timers()

    def start_bundle(self) -> None:
        """No timer is set yet."""
        self._timers.start_bundle()

    def keep(self, element: Keyed, rows: Any, due: Any) -> None:
        """Waits for the rest of the tick."""
        batch = element[1]
        rows.add(batch)
        tick = batch.column(TICK)[0].as_py() // self._ticks.tick_us
        at = Timestamp(micros=self._ticks.due_us(tick) + _AFTER_US)
        self._timers.set(due, at, str(tick))

    def take(self, tag: str, rows: Any, at: Any) -> list[tuple[int, pa.RecordBatch]]:
        """A tick is whole: (tick, step) of all that are to be written now."""
        if tag == HOLD:
            return []
        batches = list(rows.read())
        step, last = _NUMBERS.unpack(at.read() or _NUMBERS.pack(0, _NO_TICK))
        before = None if last == _NO_TICK else last
        made, rest = steps_of(batches, int(tag), step, before, self._ticks.tick_us)
        if made:
            rows.clear()
            for batch in rest:
                rows.add(batch)
            at.write(_NUMBERS.pack(step + len(made), max(last, made[-1][0])))
        return made


class _Order(OrderSteps):
    DUE = TimerSpec("due", TimeDomain.WATERMARK)
    _ROWS, _AT = beam.DoFn.StateParam(OrderSteps.ROWS), beam.DoFn.StateParam(OrderSteps.AT)

    def process(
        self, element: Keyed, rows: Any = _ROWS, due: Any = beam.DoFn.TimerParam(DUE)
    ) -> None:
        self.keep(element, rows, due)

    @on_timer(DUE)
    def order(
        self, tag: str = beam.DoFn.DynamicTimerTagParam, rows: Any = _ROWS, at: Any = _AT
    ) -> Iterator[pa.RecordBatch]:
        """A tick is whole."""
        for _, log in self.take(tag, rows, at):
            yield log


class _WriteStep(beam.DoFn):
    def __init__(self, folder: str) -> None:
        self._folder = folder
        self._written = Metrics.counter("lockstep", "rows_logged")

    def process(self, step: pa.RecordBatch) -> Iterator[bytes]:
        """A step is a segment: written again, it is the same file."""
        day = day_of(step.column(TICK)[0].as_py())
        name = f"segment-{step.column(STEP)[0].as_py():012d}.arrows"
        write_file(join(self._folder, "log", f"date={day}", name), segment_bytes(step))
        self._written.inc(step.num_rows)
        yield from ()


class _WriteDeadMessages(beam.DoFn):
    def __init__(self, folder: str, topic: str | None, endpoint: str | None) -> None:
        self._folder, self._topic, self._endpoint = folder, topic, endpoint
        self._publisher: TopicPublisher | None = None

    def setup(self) -> None:
        """Connects."""
        if self._topic is not None:
            self._publisher = TopicPublisher(self._topic, self._endpoint, _PATIENCE_S)

    def process(self, batch: pa.RecordBatch) -> Iterator[bytes]:
        """The folder first, then the topic."""
        dead = dead_messages(batch)
        lines = b"".join(dead_line(one, self._publisher is not None) for one in dead)
        day = dt.datetime.fromtimestamp(batch.column(ARRIVED_US)[0].as_py() / 1e6, dt.UTC).date()
        name = xxhash.xxh3_128_hexdigest(lines)
        write_file(join(self._folder, "dead_letters", f"date={day}", f"{name}.jsonl"), lines)
        if self._publisher is not None:
            publish_dead(self._publisher, dead)
        yield from ()

    def teardown(self) -> None:
        """Disconnects."""
        if self._publisher is not None:
            self._publisher.close()
            self._publisher = None


def write_file(path: str, data: bytes) -> None:
    """Writes a file whole; on a local disk its folder is made, for its owner alone."""
    if is_local(path):
        os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
    replace_file(path, data, shared=True)
