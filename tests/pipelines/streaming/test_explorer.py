"""Schedules of arrivals, batch cuts, ticks, crashes and restarts, against the naive oracle.

The driver without Beam (`explorer_world`).
"""

import dataclasses
import itertools
import shutil
import tempfile
from pathlib import Path

import msgspec
import numpy as np
import pytest
from explorer_world import ByBits, World, facts
from fold_world import SPEC, S, oracle
from hypothesis import Phase, event, given, settings
from hypothesis import strategies as st

from pipelines.parity.first_check import check_firsts
from pipelines.parity.log import find_base
from pipelines.streaming import journal as journal_module
from pipelines.streaming.arrivals import ArrivalLog, Done
from pipelines.streaming.at_arrival import read_looks
from pipelines.streaming.journal import Journal
from pipelines.streaming.restore import restore
from pipelines.streaming.service import Service
from scoring.decision import decision_id
from scoring.engine import ACTION, NUMERIC, SCORED, Engine
from transforms.duplicates import RecentIds
from transforms.inputs import numeric_names
from transforms.ticks import LATE
from transforms.velocity import ShardState

SCORER = ByBits()


def check(world):
    """Nothing lost, nothing folded or decided twice, every bit as the whole history says.

    Returns:
      The rows that were late.
    """
    steps = [step.batch for step in Journal(world.root).steps()]
    order = [int(one[1:]) for step in steps for one in step.column("event_id").to_pylist()]
    late = [flag for step in steps for flag in step.column(LATE).to_pylist()]
    assert sorted(order) == list(range(len(world.rows))), "lost, or folded twice"
    expected = oracle([world.rows[place] for place in order])
    found = scored_blocks(steps, world.rows)
    np.testing.assert_array_equal(found, expected)
    frontier = (-1, False, 0)
    for place, was_late in zip(order, late, strict=True):
        here = position(world.rows, place)
        assert was_late == (here < frontier), "what belongs before another is late, nothing else"
        frontier = frontier if was_late else here
    if not any(late):
        assert order == sorted(order, key=lambda one: position(world.rows, one))
    decided, revised = {}, {}
    for message in world.topic.sent:
        one = msgspec.json.decode(message)
        of = revised if one.get("revision") else decided
        assert of.setdefault(one["decision_id"], message) == message
    posts = [place for place, row in enumerate(world.rows) if row[2] == "a"]
    assert decided.keys() == {decision_id(SPEC.name, f"e{place:05d}") for place in posts}
    if world.at_arrival:
        check_first_decisions(world, steps, decided, revised)
    done = restore(SPEC, Journal(world.root)).done
    assert not (world.logs and ArrivalLog(world.root).recover(done)), "not all that came is done"
    return {place for place, was_late in zip(order, late, strict=True) if was_late}


def check_first_decisions(world, steps, decided, revised):
    """One for each event, as its replay makes it, and a revision where the order says otherwise."""
    firsts = check_firsts(world.root, SPEC, find_base(world.root), lambda bundle: SCORER)
    assert not firsts.differences and not firsts.wrong_revisions
    looks = [one.batch.column("event_id").to_pylist() for one in read_looks(world.root)]
    assert sorted(itertools.chain(*looks)) == [f"e{n:05d}" for n in range(len(world.rows))]
    assert sum(map(len, firsts.times)) == len(decided)
    final = [row for step in steps for row in step.select(["decision", ACTION]).to_pylist()]
    assert sum(row["decision"] is not None for row in final) == len(revised)
    sent = [msgspec.json.decode(one)["action"] for one in (decided | revised).values()]
    assert sorted(sent) == sorted(row[ACTION] for row in final if row[ACTION] is not None)


def position(rows, place):
    """Where a row stands in the total order: scored events before the others of their time."""
    return round(rows[place][1] * S), rows[place][2] != "a", place


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


FIND = [Phase.explicit, Phase.generate]  # finding is enough there, the smallest case is not asked

moments = st.sampled_from(
    [
        *(None, None, "before log", "after log", "before publish", "after publish"),
        *("before look", "after look"),
    ]
)


arrivals = st.sampled_from([None, None, None, "before arrival log", "after arrival log"])


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
        actions.append(("arrive", order[:size], draw(arrivals)))
        order = order[size:]
        actions += draw(
            st.lists(
                st.tuples(st.just("take"), st.integers(1, 8), moments)
                | st.tuples(st.just("tick"), st.integers(0, 9))
                | st.tuples(st.just("publish"), st.integers(0, 2), moments)
                | st.tuples(st.just("stop"))
                | st.tuples(st.just("crash")),
                max_size=3,
            )
        )
    actions += [("arrive", [place]) for place in twice]
    return rows, actions, draw(st.booleans()), draw(st.booleans())


def explore(rows, actions, logs, at_arrival=False):
    late = run(rows, actions, logs, at_arrival)
    if logs:
        calm = [one[:2] for one in actions if one[0] not in ("stop", "crash")]
        assert late <= run(rows, calm, logs, at_arrival), "late by a kill"


def run(rows, actions, logs, at_arrival=False):
    """Does what a schedule says, and checks it; which rows were late."""
    root = Path(tempfile.mkdtemp(prefix="lockstep-explorer-"))
    try:
        world = World(root, rows, logs, at_arrival)
        for name, *given_values in actions:
            getattr(world, name)(*given_values)
        world.finish()
        event(f"crashes: {min(world.crashes, 3)}")
        return check(world)
    finally:
        shutil.rmtree(root)


@pytest.fixture(autouse=True)
def no_flush_to_disk(monkeypatch):
    """The machine does not lose power here, and a thousand flushes take a minute."""
    monkeypatch.setattr(journal_module.os, "fsync", lambda handle: None)
    monkeypatch.setattr(journal_module.os, "fdatasync", lambda handle: None)


@pytest.mark.slow
@settings(max_examples=500, deadline=None)
@given(schedules())
def test_no_schedule_loses_doubles_or_changes_anything(schedule):
    explore(*schedule)


@pytest.mark.soak
@pytest.mark.timeout(3600)
@settings(max_examples=15_000, deadline=None)
@given(schedules())
def test_no_schedule_of_many_does(schedule):
    explore(*schedule)


def test_who_decides_in_order_again_writes_no_revisions(tmp_path):
    world = World(tmp_path, [("x", n, "a", 1.0, "p") for n in range(8)], at_arrival=True)
    world.arrive([0, 1, 2, 3])
    assert world.take(2)
    world.first.looks = False
    world.arrive([4, 5, 6, 7])
    world.intake._buffer.flush()
    while world.take(2):
        pass
    world.finish()
    first, later = [], []
    for message in world.topic.sent:
        one = msgspec.json.decode(message)
        (first if one["event_id"] < "e00004" else later).append(one.get("revision"))
    assert first.count(0) == 4 and set(first) <= {0, 1}
    assert later == [None] * 4


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
    def search(schedule):
        explore(*schedule)

    try:
        search()
    except Exception:
        return True
    return False


def forgets_the_frontier(monkeypatch):
    step = Engine.step

    def forgetful(self, *given, **more):
        outcome = step(self, *given, **more)
        self.resident = dataclasses.replace(self.resident, position=None)
        return outcome

    monkeypatch.setattr(Engine, "step", forgetful)


def folds_duplicates(monkeypatch):
    take = RecentIds.take
    monkeypatch.setattr(
        RecentIds, "take", lambda self, one, two, time, kind=None: take(self, one, two, time) | True
    )


def ties_in_order_of_arrival(monkeypatch):
    monkeypatch.setattr(
        "transforms.disorder.order_events",
        lambda spec, batch: np.argsort(batch.column("event_time").to_numpy(), kind="stable"),
    )


def a_restart_forgets_state(monkeypatch):
    monkeypatch.setattr(
        ShardState, "from_table", classmethod(lambda cls, table, plan: ShardState.empty(plan))
    )


def a_restart_reads_no_arrival_log(monkeypatch):
    recover = ArrivalLog.recover
    monkeypatch.setattr(ArrivalLog, "recover", lambda self, done: recover(self, done) and [])


def decided_arrivals_are_not_noted(monkeypatch):
    monkeypatch.setattr(Done, "add", lambda self, numbers: None)


def acknowledges_before_the_log(monkeypatch):
    def process(self, micro):
        self._step += 1

    monkeypatch.setattr(Service, "process", process)


@pytest.mark.slow
@pytest.mark.parametrize(
    "plant",
    [forgets_the_frontier, folds_duplicates, ties_in_order_of_arrival, a_restart_forgets_state,
     a_restart_reads_no_arrival_log, decided_arrivals_are_not_noted, acknowledges_before_the_log],
)  # fmt: skip
def test_the_explorer_finds_planted_faults(plant, monkeypatch):
    plant(monkeypatch)
    assert found_by_the_explorer()
