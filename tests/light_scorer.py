"""A scorer whose model takes no time to load, over a real server: it starts in a moment, so that a
test can kill a hundred of them. Everything but the bundle is what `lockstep stream` runs."""

import functools
import json
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
from explorer_world import ByBits, WholeBlock
from fold_world import SPEC, S, batch
from stream_world import DECISIONS, SUBSCRIPTION

from pipelines.pubsub.client import Puller
from pipelines.pubsub.intake import Intake
from pipelines.pubsub.publisher import TopicPublisher
from pipelines.pubsub.settings import Ack, DecideAt, SourceSettings
from pipelines.streaming.arrivals import KeptArrivals
from pipelines.streaming.at_arrival import AtArrival
from pipelines.streaming.disk import retry_until_written
from pipelines.streaming.journal import Journal, save_snapshot
from pipelines.streaming.loop import run_loop
from pipelines.streaming.restore import restore, snapshot_files
from pipelines.streaming.service import Service, ServiceSettings
from pipelines.streaming.stopping import Stopping
from scoring.engine import Engine, Resident
from transforms.decode import Decoded

BOUND_S = 5
READY = "ready-at"
"""In the state folder: when a scorer was ready, seconds since 1970, and its next step."""


def fact(number, times):
    """The row of an event: key, seconds, kind, amount, label (`fold_world.batch`)."""
    return ("xyz"[number % 3], times[number], "aab"[number % 3], number % 7 / 2, "pq"[number % 2])


def decode(payloads):
    """A payload is [number, seconds]."""
    given = [json.loads(one) for one in payloads]
    rows = [fact(number, {number: seconds}) for number, seconds in given]
    ids = [f"e{number:05d}" for number, _ in given]
    made = batch(rows)
    at = made.schema.get_field_index("event_id")
    return Decoded(
        made.set_column(at, "event_id", pa.array(ids, pa.string())), np.arange(len(given)), ()
    )


def serve(
    root,
    endpoint,
    ack=Ack.ARRIVED,
    idle_exit_s=None,
    ahead_us=None,
    batch_events=20,
    decide=DecideAt.IN_ORDER,
):
    """Runs until it is killed, told to stop, or nothing came for so long."""
    root = Path(root)
    source = SourceSettings(
        SUBSCRIPTION, endpoint, BOUND_S * S, ahead_us=ahead_us, batch_events=batch_events,
        idle_s=0.2, lease_s=10, ack=ack, end_after_idle_s=idle_exit_s, decide=decide,
    )  # fmt: skip
    with Stopping() as stopping:
        journal = Journal(root)
        if restore(SPEC, journal) is None:
            save_snapshot(root, -1, snapshot_files(SPEC, Resident.empty(SPEC), -1))
        restored = restore(SPEC, journal)
        kept = KeptArrivals(root, stopping)
        undone = kept.log.recover(restored.done)
        topic = TopicPublisher(DECISIONS, endpoint)
        first = None
        if decide is DecideAt.AT_ARRIVAL:
            write = functools.partial(retry_until_written, root, stopping=stopping)
            first = AtArrival(root, topic.publish, write)
            first.republish()
        service = Service(
            Engine(SPEC, restored.resident, ByBits() if first else WholeBlock()),
            journal, restored.next_step, topic,
            settings=ServiceSettings(snapshot_steps=7), stopping=stopping,
            arrivals=kept.log, done=restored.done, first=first,
        )  # fmt: skip
        service.republish(restored.unpublished)
        intake = Intake(
            SPEC, source, decode, Puller(source.pull()),
            position=restored.resident.position, arrivals=kept if ack is Ack.ARRIVED else None,
            at_arrival=service.decides_at_arrival,
        )  # fmt: skip
        intake.recover(undone)
        stopping.draining(intake.stop)
        (root / READY).write_text(f"{time.time()} {restored.next_step}")
        run_loop(intake, service.process)
        intake.close()
        service.close()
