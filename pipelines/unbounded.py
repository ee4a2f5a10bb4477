"""The Beam source of the embedded stream: an intake's micro-batches, acknowledged when committed.

What enters: an `Intake`, which outlives pipelines. What leaves: a `PCollection` of `MicroBatch`.
One micro-batch is one bundle: Beam finalises the bundle after everything downstream of it has run,
and only then are its messages acknowledged.

Beam's in-process runner is not made to run for ever (DESIGN section 5): it keeps every bundle's
metrics, and polls a reader that has nothing without a pause. So a read waits inside `advance`, and
a pipeline ends after `generation_bundles`; `run_generations` starts the next one, on the same
intake. A bundle that fails ends its pipeline. What is after that is the caller's to decide, who
alone knows what the failure left behind; if it is to go on, the next pipeline gets the same
micro-batches again, those that were not acknowledged.
"""

from __future__ import annotations

import dataclasses
import itertools
import weakref
from collections.abc import Callable, Iterable

import apache_beam as beam
from apache_beam import coders
from apache_beam.io.unbounded_source import (
    CheckpointMark,
    ReadFromUnboundedSource,
    UnboundedReader,
    UnboundedSource,
)
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.runners.portability.fn_api_runner import FnApiRunner
from apache_beam.utils.timestamp import MAX_TIMESTAMP, MIN_TIMESTAMP, Timestamp

from configs.errors import InputError
from pipelines.order import Frontier
from pipelines.pubsub.client import Puller
from pipelines.pubsub.intake import Decode, Intake, MicroBatch
from pipelines.pubsub.settings import Before, SourceSettings

__all__ = [
    "Intake",
    "MicroBatch",
    "PubSubSource",
    "ReadMicroBatches",
    "SourceSettings",
    "open_intake",
    "run_generations",
]

# Intakes of this process by number: a source is pickled and copied, sockets and buffers are not.
_INTAKES: weakref.WeakValueDictionary[int, Intake] = weakref.WeakValueDictionary()


def open_intake(
    settings: SourceSettings,
    decode: Decode,
    first_sequence: int = 0,
    frontier: Frontier | None = None,
    before: Before = Before.NONE,
) -> Intake:
    """Connects to the subscription; close the intake at the end.

    Args:
      settings: of the source.
      decode: payloads to events.
      first_sequence: number of the first micro-batch.
      frontier: what was folded last, in order; earlier events are late.
      before: how the process that folded it ended.

    Raises:
      InputError: there are no credentials. A subscription that cannot be read raises on reading.
    """
    puller = Puller(settings.pull())
    return Intake(
        settings,
        decode,
        puller,
        first_sequence=first_sequence,
        frontier=frontier,
        before=before,
    )


class ReadMicroBatches(beam.PTransform):
    """Micro-batches of an intake, one per bundle, for one generation."""

    def __init__(self, intake: Intake) -> None:
        super().__init__()
        self._intake = intake

    def expand(self, begin: beam.pvalue.PBegin) -> beam.PCollection[MicroBatch]:
        """See the class."""
        intake = self._intake
        _INTAKES[intake.number] = intake
        # The reader itself waits, so no pause is needed before the next bundle.
        return begin | ReadFromUnboundedSource(
            PubSubSource(intake.number, intake.settings.generation_bundles),
            poll_interval=0,
            max_records_per_bundle=1,
        )


def run_generations(
    intake: Intake,
    build: Callable[[beam.PCollection[MicroBatch]], object],
    on_failure: Callable[[Exception], bool] | None = None,
) -> int:
    """Runs pipelines over the intake, one after the other, until it has ended.

    Args:
      intake: what is read.
      build: adds what comes after the read, in one fused stage (no GroupByKey, no Reshuffle:
        acks would come before the work is done).
      on_failure: told of a pipeline's failure; true: go on, and what was not finished is handed
        out again; false: end, and it is given back. It may raise. None: the failure is raised.

    Returns:
      How many pipelines ran.

    Raises:
      InputError: the subscription cannot be read.
      Exception: whatever failed, where there is no `on_failure`, or what that raises.
    """
    for generation in itertools.count(1):
        intake.rewind()
        pipeline = beam.Pipeline(runner=FnApiRunner(), options=PipelineOptions([]))
        build(pipeline | "Read" >> ReadMicroBatches(intake))
        try:
            pipeline.run().wait_until_finish()
        except Exception as failure:  # Beam raises some as they are, others as a RuntimeError
            if intake.failure is not None:
                raise intake.failure from None
            if on_failure is None:
                raise
            if not on_failure(failure):
                return generation
        else:
            if intake.ended:
                return generation
    return 0


@dataclasses.dataclass(frozen=True)
class Mark(CheckpointMark):
    """How far a reader got: all micro-batches of an intake up to a sequence number."""

    intake: int
    through: int

    def finalize_checkpoint(self) -> None:
        """Acknowledges; twice is as good as once."""
        intake = _INTAKES.get(self.intake)
        if intake is not None:
            intake.finish(self.through)


class MarkCoder(coders.Coder):
    """Two integers, as text; the form is fixed."""

    def encode(self, value: Mark) -> bytes:
        """Bytes of a mark."""
        return b"%d:%d" % (value.intake, value.through)

    def decode(self, encoded: bytes) -> Mark:
        """The reverse of `encode`."""
        intake, through = encoded.split(b":")
        return Mark(int(intake), int(through))

    def is_deterministic(self) -> bool:
        """Equal marks are equal bytes."""
        return True


@dataclasses.dataclass(frozen=True)
class PubSubSource(UnboundedSource):
    """An intake of this process, by number; `bundles`: after so many, the pipeline ends."""

    intake: int
    bundles: int

    def split(self, desired_num_splits: int, options: object = None) -> Iterable[PubSubSource]:
        """Total order needs one reader."""
        return [self]

    def create_reader(
        self, options: object, checkpoint_mark: CheckpointMark | None
    ) -> PubSubReader:
        """A reader; where it starts is the intake's to know."""
        intake = _INTAKES.get(self.intake)
        if intake is None:
            raise InputError(
                "the Pub/Sub source was moved to another process; run it with FnApiRunner in the "
                "process that opened the intake"
            )
        return PubSubReader(intake, self.bundles)

    def get_checkpoint_mark_coder(self) -> coders.Coder:
        """See `MarkCoder`."""
        return MarkCoder()


class PubSubReader(UnboundedReader):
    """Reads an intake; its end is the end of a generation, or of the stream."""

    def __init__(self, intake: Intake, bundles: int) -> None:
        self._intake = intake
        self._left = bundles
        self._current: MicroBatch | None = None
        self._through = -1
        self._ended = False

    def start(self) -> bool:
        """As `advance`."""
        return self.advance()

    def advance(self) -> bool:
        """Waits for a micro-batch, within the latency budget; false: there is none now."""
        self._ended = self._left <= 0 or self._intake.ended
        try:
            self._current = None if self._ended else self._intake.next()
        except InputError as failure:
            self._intake.failure = failure  # Beam would hand on its text only
            raise
        except Exception as failure:  # what was just pulled is in no micro-batch, nor given back
            self._intake.failure = InputError(
                f"{self._intake.settings.subscription}: what arrived could not be taken in "
                f"({type(failure).__name__}); none of it was acknowledged: start the scorer again, "
                "and it comes again"
            )
            raise self._intake.failure from None
        if self._current is not None:
            self._through = self._current.sequence
        return self._current is not None

    def get_current(self) -> MicroBatch:
        """The micro-batch."""
        if self._current is None:
            raise RuntimeError("there is no current micro-batch; advance() returned false")
        return self._current

    def get_current_timestamp(self) -> Timestamp:
        """The watermark: a micro-batch belongs to the moment when its order was certain."""
        return self._watermark()

    def get_watermark(self) -> Timestamp:
        """Event time; the end of time when this generation is over."""
        return MAX_TIMESTAMP if self._ended else self._watermark()

    def get_checkpoint_mark(self) -> Mark:
        """What this bundle completes; called once per bundle."""
        self._left -= 1
        return Mark(self._intake.number, self._through)

    def _watermark(self) -> Timestamp:
        watermark = self._intake.watermark_us
        return MIN_TIMESTAMP if watermark is None else Timestamp(micros=watermark)
