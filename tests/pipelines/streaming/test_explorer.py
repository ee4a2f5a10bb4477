"""Schedules of arrivals, batch cuts, ticks, crashes and restarts, against the naive oracle.

The driver without Beam: disorder buffer, engine, journal, snapshots and service are the real ones;
the subscription and the topic are lists here, which redeliver what was not acknowledged and keep
every message that was sent. A crash drops the process's memory at a chosen moment of a step.
"""

import dataclasses
import shutil
import tempfile
from pathlib import Path
from types import SimpleNamespace

import msgspec
import numpy as np
import pytest
from fold_world import SPEC, S, batch, oracle
from hypothesis import Phase, event, given, settings
from hypothesis import strategies as st

from pipelines.order import DisorderBuffer, OrderSettings
from pipelines.pubsub.intake import MicroBatch
from pipelines.streaming import journal as journal_module
from pipelines.streaming.engine import LATE, NUMERIC, SCORED, Engine, Resident
from pipelines.streaming.journal import Journal, save_snapshot
from pipelines.streaming.restore import restore, snapshot_files
from pipelines.streaming.service import Service, ServiceSettings
from scoring.decision import decision_id
from scoring.scorer import Scored
from transforms.duplicates import RecentIds
from transforms.inputs import numeric_names
from transforms.velocity import ShardState

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
        self.buffer = DisorderBuffer(ORDER, restored.resident.frontier)
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


def check(world):
    """Nothing lost, nothing folded or decided twice, every bit as the whole history says."""
    steps = [step.batch for step in Journal(world.root).steps()]
    order = [int(one[1:]) for step in steps for one in step.column("event_id").to_pylist()]
    late = [flag for step in steps for flag in step.column(LATE).to_pylist()]
    assert sorted(order) == list(range(len(world.rows))), "lost, or folded twice"
    expected = oracle([world.rows[place] for place in order])
    found = scored_blocks(steps, world.rows)
    np.testing.assert_array_equal(found, expected)
    frontier = (-1, "")
    for place, was_late in zip(order, late, strict=True):
        here = (round(world.rows[place][1] * S), f"e{place:05d}")
        assert was_late or here > frontier, "all but late events are in total order"
        frontier = frontier if was_late else here
    if not any(late):
        assert order == sorted(order, key=lambda one: (round(world.rows[one][1] * S), one))
    decided = {}
    for message in world.topic.sent:
        one = msgspec.json.decode(message)
        assert decided.setdefault(one["decision_id"], message) == message
    posts = [place for place, row in enumerate(world.rows) if row[2] == "a"]
    assert decided.keys() == {decision_id(SPEC.name, f"e{place:05d}") for place in posts}


def scored_blocks(steps, rows):
    """Numeric blocks of scored events that have a key, in fold order."""
    found = []
    for step in steps:
        chosen = step.select(["event_id", NUMERIC, SCORED]).to_pylist()
        found += [
            np.array(row[NUMERIC], np.float32)
            for row in chosen
            if row[SCORED] and rows[int(row["event_id"][1:])][0] is not None
        ]
    return np.array(found, np.float32).reshape(-1, len(numeric_names(SPEC)))


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
FIND = [Phase.explicit, Phase.generate]  # finding is enough there, the smallest case is not asked

moments = st.sampled_from(
    [None, None, "before log", "after log", "before publish", "after publish"]
)


@st.composite
def schedules(draw):
    """Facts, and what happens to them: every fact arrives at least once, some of them again."""
    rows = draw(facts)
    near = draw(st.booleans())  # within the disorder bound, or in any order
    order = list(range(len(rows)))
    if near:
        rows.sort(key=lambda row: row[1])
        jitter = draw(st.lists(st.integers(0, 4), min_size=len(rows), max_size=len(rows)))
        order.sort(key=lambda place: rows[place][1] + jitter[place])
    else:
        order = draw(st.permutations(order))
    twice = draw(st.lists(st.sampled_from(order), max_size=4))
    actions = []
    while order:
        size = draw(st.integers(1, 6))
        actions.append(("arrive", order[:size]))
        order = order[size:]
        actions += draw(
            st.lists(
                st.tuples(st.just("take"), st.integers(1, 8), moments)
                | st.tuples(st.just("tick"), st.integers(0, 9))
                | st.tuples(st.just("stop"))
                | st.tuples(st.just("crash")),
                max_size=3,
            )
        )
    actions += [("arrive", [place]) for place in twice]
    return rows, actions


def explore(rows, actions):
    root = Path(tempfile.mkdtemp(prefix="lockstep-explorer-"))
    try:
        world = World(root, rows)
        for name, *given_values in actions:
            getattr(world, name)(*given_values)
        world.finish()
        event(f"crashes: {min(world.crashes, 3)}")
        check(world)
    finally:
        shutil.rmtree(root)


@pytest.fixture(autouse=True)
def no_flush_to_disk(monkeypatch):
    """The machine does not lose power here, and a thousand flushes take a minute."""
    monkeypatch.setattr(journal_module.os, "fsync", lambda handle: None)


@pytest.mark.slow
@settings(max_examples=1000, deadline=None)
@given(schedules())
def test_no_schedule_loses_doubles_or_changes_anything(schedule):
    explore(*schedule)


@pytest.mark.soak
@pytest.mark.timeout(3600)
@settings(max_examples=30_000, deadline=None)
@given(schedules())
def test_no_schedule_of_many_does(schedule):
    explore(*schedule)


def found_by_the_explorer():
    """Whether some schedule fails."""

    @settings(
        max_examples=4000,
        deadline=None,
        database=None,
        derandomize=True,
        phases=FIND,
        report_multiple_bugs=False,
    )
    @given(schedules())
    def run(schedule):
        explore(*schedule)

    try:
        run()
    except Exception:
        return True
    return False


def forgets_the_frontier(monkeypatch):
    step = Engine.step

    def forgetful(self, *given, **more):
        outcome = step(self, *given, **more)
        self.resident = dataclasses.replace(self.resident, frontier=None)
        return outcome

    monkeypatch.setattr(Engine, "step", forgetful)


def folds_duplicates(monkeypatch):
    take = RecentIds.take
    monkeypatch.setattr(
        RecentIds, "take", lambda self, one, two, time: take(self, one, two, time) | True
    )


def ties_in_order_of_arrival(monkeypatch):
    monkeypatch.setattr("pipelines.order._SORT_KEYS", [("event_time", "ascending")])


def a_restart_forgets_state(monkeypatch):
    monkeypatch.setattr(
        ShardState, "from_table", classmethod(lambda cls, table, plan: ShardState.empty(plan))
    )


def acknowledges_before_the_log(monkeypatch):
    def process(self, micro):
        self._step += 1

    monkeypatch.setattr(Service, "process", process)


@pytest.mark.slow
@pytest.mark.parametrize(
    "plant",
    [forgets_the_frontier, folds_duplicates, ties_in_order_of_arrival, a_restart_forgets_state,
     acknowledges_before_the_log],
)  # fmt: skip
def test_the_explorer_finds_planted_faults(plant, monkeypatch):
    plant(monkeypatch)
    assert found_by_the_explorer()
