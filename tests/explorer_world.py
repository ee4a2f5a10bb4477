"""A scorer over a folder without Beam, and a subscription and a topic that are lists.

Intake, arrival log, disorder buffer, engine, journal, snapshots and service are the real ones; the
subscription redelivers what was not acknowledged, the topic keeps every message that was sent, and
a crash drops the process's memory at a chosen moment of an arrival or a step.
"""

import dataclasses
import itertools
from collections import deque
from types import SimpleNamespace

import numpy as np
from fold_world import SPEC, S, batch
from hypothesis import strategies as st

from pipelines.pubsub.client import RawMessage
from pipelines.pubsub.intake import Clocks, Intake
from pipelines.pubsub.settings import SourceSettings
from pipelines.streaming.arrivals import ArrivalLog
from pipelines.streaming.at_arrival import AtArrival
from pipelines.streaming.journal import Journal, save_snapshot
from pipelines.streaming.restore import restore, snapshot_files
from pipelines.streaming.service import Service, ServiceSettings
from scoring.controls import NONE
from scoring.decision import DecisionPolicy, Threshold
from scoring.engine import Engine, Resident
from scoring.scorer import Scored
from transforms.decode import Decoded

BOUND_US = 5 * S
SOURCE = SourceSettings(
    "projects/p/subscriptions/s",
    disorder_us=BOUND_US,
    idle_after_us=S,
    ahead_us=None,
    buffer_events=60,
)
SETTINGS = ServiceSettings(snapshot_steps=4, keep_log_days=1000)
POLICY = SimpleNamespace(threshold_of=lambda number: None)


facts = st.lists(
    st.tuples(
        st.sampled_from(["x", "x", "y", None]),
        st.integers(0, 30) | st.integers(0, 4000),
        st.sampled_from("aab"),
        st.none() | st.integers(-300, 2000).map(lambda n: n / 100),
        st.none() | st.sampled_from("pqrs"),
    ),
    min_size=1,
    max_size=25,
)


class Killed(BaseException):
    """The process ended here."""


class WholeBlock:
    """A model whose score is every bit of the numeric block, so that none can differ unseen."""

    bundle = SimpleNamespace(spec=SPEC, fingerprint="00", policy=POLICY)
    controls = NONE
    hold_out = None
    acts = False

    @property
    def name(self):
        return self.bundle.fingerprint

    def score(self, numeric, rows):
        bits = np.ascontiguousarray(numeric).view(np.uint32).astype(np.uint64)
        score = (bits * np.arange(1, bits.shape[1] + 1, dtype=np.uint64)).sum(1) / 2.0**40
        zeros = np.zeros(len(numeric), np.int8)
        return Scored(numeric, score.astype(np.float32), score, zeros, ("allow",))

    def explain(self, scored, rows, numeric):
        return [() for _ in rows]


class ByBits(WholeBlock):
    """Acts on half of the events, by a bit of the score; counts what it scores."""

    bundle = SimpleNamespace(
        spec=SPEC,
        fingerprint="01",
        policy=DecisionPolicy((Threshold("block", 0.5, 0.5),), "allow"),
    )

    def __init__(self):
        self.scored = 0

    def score(self, numeric, rows):
        self.scored += len(numeric)
        made = super().score(numeric, rows)
        action = (np.floor(made.score * 2**30) % 2).astype(np.int8)
        return dataclasses.replace(made, action=action, names=self.bundle.policy.names)


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


class Subscription:
    """A client that gives what was sent to it, in order, and again what was not acknowledged."""

    connected, throttled, unsettled, closed = True, False, False, False
    doubtful_s = -1.0

    def __init__(self):
        self.waiting, self.leased = [], {}
        self._numbers, self._leases = itertools.count(), itertools.count()

    def send(self, places):
        for place in places:
            self.waiting.append((f"m{next(self._numbers)}", place))

    def redeliver(self):
        """The reader is gone: what it had comes again, the last first."""
        self.waiting = list(self.leased.values())[::-1] + self.waiting
        self.leased = {}

    def take(self, most, timeout_s):
        some, self.waiting = self.waiting[:most], self.waiting[most:]
        given = {f"a{next(self._leases)}": one for one in some}
        self.leased |= given
        return [RawMessage(ack, name, 0, b"%d" % place) for ack, (name, place) in given.items()]

    def acknowledge(self, ack_ids):
        for ack_id in ack_ids:
            self.leased.pop(ack_id, None)

    def forget(self, ack_ids):
        pass

    def close(self):
        pass


class Later:
    """Works behind the loop, but only when they are waited for, or when the schedule says so."""

    def __init__(self):
        self._jobs = deque()

    def put(self, *steps):
        self.settle(3)
        self._jobs.append(deque(steps))

    def settle(self, left=0):
        while len(self._jobs) > left:
            steps = self._jobs[0]
            while steps:
                steps[0]()
                steps.popleft()
            self._jobs.popleft()

    def resume(self):
        pass

    def close(self):
        """A process that ends without a word does nothing more."""


class Log(ArrivalLog):
    """An arrival log that ends the process before or after it writes, if told so."""

    kill = None

    def append(self, messages, clock_us):
        if self.kill == "before arrival log":
            raise Killed
        first = super().append(messages, clock_us)
        if self.kill == "after arrival log":
            raise Killed
        return first


class World:
    """A scorer over a folder, and the subscription that feeds it.

    Args:
      root: the state folder.
      rows: facts (`fold_world.batch`); places in it are what arrives.
      logs: messages are acknowledged from an arrival log; else after their decision.
      at_arrival: events are decided at once, and again where their order makes another of it.
    """

    def __init__(self, root, rows, logs=True, at_arrival=False):
        self.root, self.rows, self.logs, self.at_arrival = root, rows, logs, at_arrival
        self.subscription = Subscription()
        self.topic, self.now_us, self.crashes = Topic(), 0, 0
        self.start()

    def start(self):
        self.journal, self.log = Journal(self.root), Log(self.root, segment_bytes=200)
        self.topic.kill = None
        restored = restore(SPEC, self.journal)
        if restored is None:
            save_snapshot(self.root, -1, snapshot_files(SPEC, Resident.empty(SPEC), -1))
            restored = restore(SPEC, self.journal)
        undone = self.log.recover(restored.done)
        self.first = None
        if self.at_arrival:
            self.works = Later()
            self.first = AtArrival(
                self.root, self.topic.publish, lambda what, write: write(), works=self.works
            )
            self.first.republish()
        engine = Engine(SPEC, restored.resident, ByBits() if self.first else WholeBlock())
        self.service = Service(
            engine, self.journal, restored.next_step, self.topic, settings=SETTINGS,
            arrivals=self.log, done=restored.done, first=self.first,
        )  # fmt: skip
        self.service.republish(restored.unpublished)
        self.intake = Intake(
            SPEC, SOURCE, self.decode, self.subscription,
            Clocks(lambda: self.now_us, lambda: 0.0), restored.resident.position,
            self.log if self.logs else None, self.at_arrival,
        )  # fmt: skip
        self.intake.recover(undone)
        self.subscription.redeliver()
        self.pull()

    def decode(self, payloads):
        places = np.array([int(one) for one in payloads], np.int64)
        return Decoded(batch(self.rows).take(places), np.arange(len(places)), ())

    def arrive(self, places, kill=None):
        self.subscription.send(places)
        self.log.kill = kill
        try:
            self.pull()
        except Killed:
            self.crash()
        self.log.kill = None

    def pull(self):
        while self.subscription.waiting:
            self.intake._pull(0.0)

    def tick(self, seconds):
        self.now_us += seconds * S
        self.intake._pull(0.0)

    def next(self, limit):
        """The next micro-batch of at most so many events, without waiting for the watermark."""
        self.intake.settings = dataclasses.replace(SOURCE, batch_events=limit)
        micro = self.intake._hand_out(force=False)
        self.intake.settings = SOURCE
        return micro

    def take(self, limit, kill=None):
        micro = self.next(limit)
        if micro is None:
            return False
        self.topic.kill, append = kill, self.journal.append
        if kill in ("before log", "after log"):
            self.journal.append = lambda *given: self.die(append, given, kill)
        if kill in ("before look", "after look") and self.first is not None:
            looked = self.first._journal.append
            self.first._journal.append = lambda *given: self.die(looked, given, kill)
        try:
            self.service.process(micro)
        except Killed:
            self.crash()
            return True
        self.topic.kill, self.journal.append = None, append
        if self.first is not None:
            self.first._journal.__dict__.pop("append", None)
        self.intake.finish(micro.sequence)
        return True

    def publish(self, left, kill=None):
        """What was decided at arrival is logged and published, but for the newest looks."""
        if not self.at_arrival:
            return
        self.topic.kill, looked = kill, self.first._journal.append
        if kill in ("before look", "after look"):
            self.first._journal.append = lambda *given: self.die(looked, given, kill)
        try:
            self.works.settle(left)
        except Killed:
            self.crash()
            return
        self.topic.kill = None
        self.first._journal.__dict__.pop("append", None)

    @staticmethod
    def die(append, given, kill):
        if kill in ("after log", "after look"):
            append(*given)
        raise Killed

    def crash(self):
        self.crashes += 1
        thread = self.service._snapshot
        if thread is not None:
            thread.join()
        self.journal.close()
        if self.first is not None:
            self.first.close()
        self.log.close()
        self.start()

    def stop(self):
        """As after SIGTERM: all that may go is decided, the rest is the next process's."""
        self.service.close()
        self.log.close()
        self.start()

    def finish(self):
        self.intake._buffer.flush()
        while self.take(1000):
            pass
        self.service.close()
        self.log.close()
