"""Reading a subscription on Flink and Prism: timers that pull, acks that wait for a checkpoint.

Each reader is a key. Its timer fires again and again: it reads what has come, gives it out, notes
how far it is, and sets itself anew, holding the watermark. What it gave out is acknowledged when
the engine has committed the Beam bundle (on Flink: two checkpoints later; `Session.finish`).

Why not Beam's `UnboundedSource`: on Flink each of its bundles leaves a state of its own name in
every later checkpoint, 7 KB each, without end (beam issue 27648), and its watermark moves by whole
seconds. A key's timer is one entry, and moves by milliseconds.

Sessions live in this process, by name, and a reader's note says which is its own. A note of a
process that is gone begins a new session, which waits with the watermark until what the old one
held can have come again. A note older than its session says that the job went back to an earlier
checkpoint: the session is ended, and all it held comes again. So is one that gave nothing out since
then: what another reader held, whose process is gone, may come again here, and order waits for it.
"""

from __future__ import annotations

import dataclasses
import logging
import struct
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from typing import Any

import apache_beam as beam
import pyarrow as pa
from apache_beam import coders
from apache_beam.io.restriction_trackers import OffsetRange, OffsetRestrictionTracker
from apache_beam.io.watermark_estimators import ManualWatermarkEstimator
from apache_beam.transforms import userstate
from apache_beam.transforms.timeutil import TimeDomain
from apache_beam.transforms.window import TimestampedValue
from apache_beam.utils.timestamp import MIN_TIMESTAMP, Duration, Timestamp

from configs.schema import Spec
from pipelines.pubsub.admin import ack_deadline_s
from pipelines.pubsub.client import Puller
from pipelines.pubsub.intake import Clocks
from pipelines.pubsub.session import ReaderSettings, ReadMessages, Session, raw_batch
from transforms.batches import ShardKey
from transforms.steps.timers import HOLD, Timers

_LOGGER = logging.getLogger(__name__)
_FORMAT = b"LSREAD\x01"
_NUMBERS = struct.Struct(">qq")
_NOWHERE = -(1 << 63)
_FAR = Timestamp.from_rfc3339("2261-01-01T00:00:00Z")  # beyond `events.latest` of any config
_STAYS_S = 86_400
_REST_S = 0.01  # between two Beam bundles of a reader: Flink moves the watermark then
_SESSION, _CUT, _TURN = b"lockstep.session", b"lockstep.cut", b"lockstep.turn"

Begin = Callable[["Note | None"], Session]


@dataclasses.dataclass(frozen=True)
class Note:
    """How far a reader is.

    Attributes:
      session: its session's name.
      turn: how often the session was cut by then.
      watermark_us: its watermark; None: none yet.
    """

    session: str
    turn: int
    watermark_us: int | None


class NoteCoder(coders.Coder):
    """Notes: version, turn, watermark, name.

    >>> NoteCoder().decode(NoteCoder().encode(Note("a", 3, None)))
    Note(session='a', turn=3, watermark_us=None)
    """

    def encode(self, value: Note) -> bytes:
        """Bytes."""
        watermark = _NOWHERE if value.watermark_us is None else value.watermark_us
        return _FORMAT + _NUMBERS.pack(value.turn, watermark) + value.session.encode()

    def decode(self, encoded: bytes) -> Note:
        """The reverse.

        Raises:
          ValueError: of a release whose format this one does not read.
        """
        if encoded[: len(_FORMAT)] != _FORMAT:
            raise ValueError(
                f"a reader's note begins with {encoded[: len(_FORMAT)]!r}, expected {_FORMAT!r}; "
                "go on from a savepoint with the release that made it, or start the job anew"
            )
        turn, watermark = _NUMBERS.unpack_from(encoded, len(_FORMAT))
        name = encoded[len(_FORMAT) + _NUMBERS.size :].decode()
        return Note(name, turn, None if watermark == _NOWHERE else watermark)

    def is_deterministic(self) -> bool:
        """Yes."""
        return True


class Sessions:
    """The open sessions of a process, by name."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._open: dict[str, Session] = {}

    def go_on(self, note: Note | None, begin: Begin) -> tuple[str, Session]:
        """The session of a note; a new one where it is gone, or was further than the note is."""
        with self._lock:
            session = self._open.get(note.session) if note is not None else None
            if note is not None and session is not None:
                if session.turn == note.turn and not session.closed:
                    return note.session, session
                del self._open[note.session]
        if session is not None and not session.closed:
            _LOGGER.warning(
                "the job went back to an earlier checkpoint; unacknowledged messages of %s come "
                "again",
                session.settings.subscription,
            )
            session.close()
        name, session = uuid.uuid4().hex, begin(note)
        with self._lock:
            self._open = {n: one for n, one in self._open.items() if not one.closed}
            self._open[name] = session
        return name, session

    def finish(self, name: str, through: int, turn: int) -> None:
        """The engine reports a Beam bundle of the session (`Session.finish`).

        Where its process is gone, the messages come again, and are known by their ids.
        """
        session = self._open.get(name)
        if session is not None:
            session.finish(through, turn)


SESSIONS = Sessions()


@dataclasses.dataclass(eq=False)
class PullSubscription(beam.PTransform):
    """A subscription to batches of raw messages, as `Decode` takes them; never ends.

    A batch's timestamp is the watermark that its reader had before it came (`transforms.ticks`).

    Args:
      spec: of the events.
      settings: how it is read.
    """

    spec: Spec
    settings: ReaderSettings

    def expand(self, root: beam.pvalue.PBegin) -> beam.PCollection[pa.RecordBatch]:
        """Applies it."""
        pulled = (
            root
            | "Once" >> beam.Create([self.settings.readers], reshuffle=False).with_output_types(int)
            | "Readers" >> beam.ParDo(_Readers()).with_output_types(tuple[ShardKey, bytes])
            | "Pull"
            >> beam.ParDo(_Pull(self.spec, self.settings)).with_output_types(pa.RecordBatch)
        )
        pulled.is_bounded = False  # its timer never ends, of which Beam knows nothing
        return pulled | "Acknowledge" >> beam.ParDo(_Acknowledge()).with_output_types(
            pa.RecordBatch
        )


class _Endless(beam.transforms.core.RestrictionProvider):
    """A range that no reader comes to the end of."""

    def initial_restriction(self, element: int) -> OffsetRange:
        return OffsetRange(0, 1 << 40)

    def create_tracker(self, restriction: OffsetRange) -> OffsetRestrictionTracker:
        return OffsetRestrictionTracker(restriction)

    def restriction_size(self, element: int, restriction: OffsetRange) -> int:
        return 1

    def truncate(self, element: int, restriction: OffsetRange) -> None:
        """A drained job reads no more."""


_TRACKER = beam.DoFn.RestrictionParam(_Endless())
_ESTIMATOR = beam.DoFn.WatermarkEstimatorParam(ManualWatermarkEstimator.default_provider())


class _Readers(beam.DoFn):
    """The keys of the readers, once; and then stays, with a watermark that never gets to the end.

    Where all input of a step has come to the end of time, Flink holds its windows for expired and
    its timers for late, and fires them no more.
    """

    @beam.DoFn.unbounded_per_element()
    def process(
        self,
        element: int,
        tracker: Any = _TRACKER,
        estimator: Any = _ESTIMATOR,
    ) -> Iterator[Any]:
        """See the class."""
        at = tracker.current_restriction().start
        if not tracker.try_claim(at):
            return
        for number in range(element if at == 0 else 0):
            yield TimestampedValue((ShardKey("reader", number), b""), MIN_TIMESTAMP)
        if at == 0:
            estimator.set_watermark(_FAR)
        tracker.defer_remainder(Duration(seconds=_STAYS_S))


class _Pull(beam.DoFn):
    NOTE = userstate.ReadModifyWriteStateSpec("note", NoteCoder())
    AGAIN = userstate.TimerSpec("again", TimeDomain.REAL_TIME)
    _NOTE, _AGAIN = beam.DoFn.StateParam(NOTE), beam.DoFn.TimerParam(AGAIN)

    def __init__(self, spec: Spec, settings: ReaderSettings) -> None:
        self._spec, self._settings = spec, settings
        self._timers = Timers()

    def start_bundle(self) -> None:
        """No timer is set yet."""
        self._timers.start_bundle()

    def process(
        self,
        element: tuple[ShardKey, bytes],
        again: Any = _AGAIN,
        finalizer: Any = beam.DoFn.BundleFinalizerParam,
    ) -> None:
        """Begins a reader.

        Prism looks for a finalizer at the first step of a stage only, and then wants one of every
        bundle; what is acknowledged is `_Acknowledge`'s.
        """
        finalizer.register(_nothing)
        hold_at(again, None)
        self._timers.set(again, Timestamp(time.time()))

    @userstate.on_timer(AGAIN)
    def pull(
        self,
        tag: str = beam.DoFn.DynamicTimerTagParam,
        note: Any = _NOTE,
        again: Any = _AGAIN,
    ) -> Iterator[Any]:
        """Reads for as long as a bundle may last."""
        if tag == HOLD:
            return
        name, session = SESSIONS.go_on(note.read(), self._begin)
        ends = time.monotonic() + self._settings.bundle_s
        while True:
            read = session.read() or ReadMessages(raw_batch([], [], [], 0), session.watermark_us)
            cut = {_SESSION: name, _CUT: str(session.cut()), _TURN: str(session.turn)}
            batch = read.batch.replace_schema_metadata(cut)
            yield TimestampedValue(batch, timestamp_of(read.watermark_us))
            if not batch.num_rows or time.monotonic() >= ends:
                break
        note.write(Note(name, session.turn, session.watermark_us))
        hold_at(again, session.watermark_us)
        self._timers.set(again, Timestamp(time.time() + _REST_S))

    def _begin(self, note: Note | None) -> Session:
        clocks, settings = Clocks(), self._settings
        grace_us = before_us = None
        if note is not None:
            deadline_s = ack_deadline_s(settings.subscription, settings.endpoint)
            grace_us = settings.grace_until_us(clocks.wall_us(), deadline_s)
            before_us = note.watermark_us
        puller = Puller(settings.pull())
        return Session(self._spec, settings, puller, clocks, before_us, grace_us)


class _Acknowledge(beam.DoFn):
    """Acknowledges what a batch holds once the bundle that it passed in is committed.

    Not in `_Pull`, since a timer's method is given no finalizer; it is fused with it, so it runs
    in the process of the session.
    """

    def process(
        self, batch: pa.RecordBatch, finalizer: Any = beam.DoFn.BundleFinalizerParam
    ) -> Iterator[pa.RecordBatch]:
        metadata = batch.schema.metadata
        name, through, turn = metadata[_SESSION].decode(), metadata[_CUT], metadata[_TURN]
        finalizer.register(lambda: SESSIONS.finish(name, int(through), int(turn)))
        if batch.num_rows:
            yield batch.replace_schema_metadata(None)


def _nothing() -> None:
    """Nothing was given out."""


def timestamp_of(time_us: int | None) -> Timestamp:
    """Of Beam; its earliest where there is none."""
    return MIN_TIMESTAMP if time_us is None else Timestamp(micros=time_us // 1000 * 1000)


def hold_at(timer: Any, watermark_us: int | None) -> None:
    """Has a processing-time timer, once it is set, hold the watermark until it fires.

    Beam's model and its Java SDK have it (`withOutputTimestamp`); in the Python SDK a timer of
    processing time holds at the time of what set it, which is kept in `_input_timestamp`.

    Raises:
      RuntimeError: a Beam whose timers are made otherwise.
    """
    if not hasattr(timer, "_input_timestamp"):
        raise RuntimeError(
            f"apache-beam {beam.version.__version__} makes timers otherwise than 2.77 does; "
            "install the version of requirements.lock"
        )
    timer._input_timestamp = timestamp_of(watermark_us)
