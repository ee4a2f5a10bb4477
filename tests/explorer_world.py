"""A scorer over a folder without Beam, and a subscription and a topic that are lists.

Disorder buffer, engine, journal, snapshots and service are the real ones; the subscription
redelivers what was not acknowledged, the topic keeps every message that was sent, and a crash drops
the process's memory at a chosen moment of a step.
"""

from types import SimpleNamespace

import numpy as np
from fold_world import SPEC, S, batch

from pipelines.pubsub.intake import MicroBatch
from pipelines.streaming.journal import Journal, save_snapshot
from pipelines.streaming.restore import restore, snapshot_files
from pipelines.streaming.service import Service, ServiceSettings
from scoring.engine import Engine, Resident
from scoring.scorer import Scored
from transforms.disorder import DisorderBuffer, OrderSettings

BOUND_US = 5 * S
ORDER = OrderSettings(bound_us=BOUND_US, idle_after_us=S, ahead_us=None, capacity=60)
SETTINGS = ServiceSettings(snapshot_steps=4, keep_log_days=1000)
POLICY = SimpleNamespace(threshold_of=lambda number: None)


class Killed(BaseException):
    """The process ended here."""


class WholeBlock:
    """A model whose score is every bit of the numeric block, so that none can differ unseen."""

    bundle = SimpleNamespace(spec=SPEC, fingerprint="00", policy=POLICY)

    def score(self, numeric, rows):
        bits = np.ascontiguousarray(numeric).view(np.uint32).astype(np.uint64)
        score = (bits * np.arange(1, bits.shape[1] + 1, dtype=np.uint64)).sum(1) / 2.0**40
        zeros = np.zeros(len(numeric), np.int8)
        return Scored(numeric, score.astype(np.float32), score, zeros, ("allow",))

    def explain(self, scored, rows, numeric):
        return []


class Topic:
    """Keeps what was published; ends the process before or after a publish, if told so."""

    def __init__(self):
        self.sent, self.kill = [], None

    def publish(self, data):
        if self.kill == "before publish":
            raise Killed
        self.sent += data
        if self.kill == "after publish":
            raise Killed
        return []


class World:
    """A scorer over a folder, and the subscription that feeds it."""

    def __init__(self, root, rows):
        self.root, self.rows = root, rows
        self.unacked, self.waiting = [], []  # deliveries: places in `rows`
        self.topic, self.now_us, self.crashes = Topic(), 0, 0
        self.start()

    def start(self):
        self.journal = Journal(self.root)
        self.topic.kill = None
        restored = restore(SPEC, self.journal)
        if restored is None:
            save_snapshot(self.root, -1, snapshot_files(SPEC, Resident.empty(SPEC), -1))
            restored = restore(SPEC, self.journal)
        engine = Engine(SPEC, restored.resident, WholeBlock())
        self.buffer = DisorderBuffer(SPEC, ORDER, restored.resident.frontier)
        self.service = Service(
            engine, self.journal, restored.next_step, self.topic, settings=SETTINGS
        )
        self.service.republish(restored.unpublished)
        self.sequence = 0

    def arrive(self, places):
        self.unacked += places
        refs = np.array(places, np.int64)
        self.buffer.add(batch(self.rows).take(refs), refs, self.now_us)

    def tick(self, seconds):
        self.now_us += seconds * S
        self.buffer.idle(self.now_us)

    def take(self, limit, kill=None):
        released = self.buffer.take(limit)
        if released is None:
            return False
        self.topic.kill, append = kill, self.journal.append
        if kill in ("before log", "after log"):
            self.journal.append = lambda *given: self.die(append, given, kill)
        micro = MicroBatch(
            self.sequence, released.batch, released.late, (), np.empty(0, np.int64), (),
            released.watermark_us,
        )  # fmt: skip
        try:
            self.service.process(micro)
        except Killed:
            self.crash()
            return True
        self.topic.kill, self.journal.append = None, append
        self.sequence += 1
        for place in released.refs.tolist():
            self.unacked.remove(place)
        return True

    @staticmethod
    def die(append, given, kill):
        if kill == "after log":
            append(*given)
        raise Killed

    def crash(self):
        self.crashes += 1
        thread = self.service._snapshot
        if thread is not None:
            thread.join()
        self.journal.close()
        again, self.unacked = self.unacked[::-1], []
        self.start()
        if again:
            self.arrive(again)

    def stop(self):
        """As after SIGTERM: all that may go is decided, the rest goes back to the subscription."""
        self.service.close()
        again, self.unacked = self.unacked, []
        self.start()
        if again:
            self.arrive(again)

    def finish(self):
        self.buffer.flush()
        while self.take(1000):
            pass
        self.service.close()
