"""The streaming scorer's pipeline: a subscription in, decisions, a log and dead letters out.

    ReadSubscription ─┬─ events ─ Features ─┬─ rows ─── Decide ─┬─ WriteDecisions
      state of a night ┘         (ticks)    └─ others ─ Decide ─┴─ WriteLog
                      └─ dead letters ───────────────────────────  WriteDeadMessages

Where the bundle has limits of actions, `LimitActions` (`pipelines.streaming.limited`) stands before
decisions and log.

What acts on the world stands behind a shuffle, so that its input is stable
(`transforms.steps.stable`). It never ends by itself: it is cancelled, or stopped with a savepoint.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping

import apache_beam as beam

from configs.schema import Spec
from pipelines.pubsub.read import ReadSubscription
from pipelines.pubsub.session import ReaderSettings
from pipelines.states import ReadStates
from pipelines.streaming.decide import Decide
from pipelines.streaming.limited import LimitActions
from pipelines.streaming.sinks import WriteDeadMessages, WriteDecisions, WriteLog, WriteSteps
from scoring.serving import POLL_SECONDS
from transforms.social.as_of import Sees
from transforms.steps import Features
from transforms.steps.decode import DEAD_LETTERS, EVENTS
from transforms.ticks import TickSettings


@dataclasses.dataclass(frozen=True)
class Job:
    """What a streaming job does.

    Attributes:
      spec: of the bundle that serves when the job is made; events are read by it for as long as the
        job lives.
      reader: the subscription and how it is read.
      bundles: a bundle, or a store whose serving bundle is followed; all workers can read it.
      decisions: topic, full name.
      state: folder of log and dead letters, that all workers can write: a shared disk, or any
        filesystem of Beam's.
      dead_letters: topic for messages that cannot be used; None: the folder only.
      ticks: how event time is cut.
      night: files of the state of a day's end, which the job begins with; None: a cold start.
      first_us: events before this are those of the night, and left out; None: none is.
      native: the engine reads the subscription itself (Dataflow).
      stable: the engine may go back to a checkpoint (`transforms.steps.stable`): all but Prism.
      poll_seconds: how often the store's pointer is looked at.
      sees: snapshots of the social graph; None where the spec reads none.
    """

    spec: Spec
    reader: ReaderSettings
    bundles: str
    decisions: str
    state: str
    dead_letters: str | None = None
    ticks: TickSettings = dataclasses.field(default_factory=TickSettings)
    night: Mapping[str, str] | None = None
    first_us: int | None = None
    native: bool = False
    stable: bool = True
    poll_seconds: float = POLL_SECONDS
    sees: Sees | None = None


def build(root: beam.Pipeline, job: Job) -> None:
    """Applies the steps of a streaming job."""
    spec, endpoint = job.spec, job.reader.endpoint
    read = root | ReadSubscription(spec, job.reader, job.native, job.first_us)
    initial = None
    if job.night is not None:
        initial = root | ReadStates(job.night, spec, tuple(spec.entities), job.state)
    made = read[EVENTS] | Features(spec, initial, ticks=job.ticks, snapshots=job.sees)
    limits = any(action.limit is not None for action in spec.policy.actions)
    decide = functools.partial(
        Decide, spec, job.bundles, poll_seconds=job.poll_seconds, limits=limits
    )
    decided = made.rows | decide() | "Decided" >> beam.Reshuffle()
    others = made.others | "Pass" >> decide(scored=False) | "Passed" >> beam.Reshuffle()
    publish = WriteDecisions(job.decisions, endpoint, job.stable)
    if limits:
        begins_us = None if job.first_us is None else job.first_us + spec.events.dedup_us
        rows = (decided, others) | "Rows" >> beam.Flatten()
        limited = rows | LimitActions(job.ticks, begins_us)
        _ = limited | publish
        _ = limited | WriteSteps(job.state, job.stable)
    else:
        _ = decided | publish
        rows = (decided, others) | "Rows" >> beam.Flatten()
        _ = rows | WriteLog(job.state, job.ticks, job.stable)
    dead = WriteDeadMessages(job.state, job.dead_letters, endpoint, job.stable)
    _ = read[DEAD_LETTERS] | "WriteDeadLetters" >> dead
