"""Limits of actions in a scorer: logged, kept over restarts and swaps, replayed, at arrival too."""

import json
from collections import Counter
from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pytest
from backfill_world import make_events
from limited_world import bundle, limited

from configs.errors import StateError
from pipelines.parity import check_served
from pipelines.parity.first_check import check_firsts
from pipelines.parity.log import find_base
from pipelines.pubsub.micro_batch import MicroBatch
from pipelines.serve.follower import Follower
from pipelines.streaming.at_arrival import AtArrival, read_looks
from pipelines.streaming.journal import Journal, list_snapshots
from pipelines.streaming.metrics import ScorerMetrics
from pipelines.streaming.restore import GIVEN, read_snapshot
from pipelines.streaming.service import Service, ServiceSettings
from pipelines.streaming.start import begin
from scoring.bundle import load_bundle
from scoring.controls import NONE, OFF, Controls, Withheld
from scoring.engine import ACTION, DECISION, Engine, Resident
from scoring.limits import LIMITED, LIMITS
from scoring.scorer import Scorer
from scoring.store import Store
from transforms.catalog import CATALOG
from transforms.decode import decode_json

POSTS = [one for one in make_events(120) if one["kind"] == "post"]
STEP = 9


class World:
    """A scorer over a folder, and its restarts; `at_arrival`: all that comes is looked at first."""

    def __init__(self, root, config=None, at_arrival=False, late=None):
        self.store, self.state = Store(root / "bundles"), root / "state"
        self.at_arrival = at_arrival
        self.late = not at_arrival if late is None else late
        self.serve(bundle(self.store.root, config or limited()))
        self.controls = NONE
        self.published = []
        batch = decode_json(self.spec, [json.dumps(one).encode() for one in POSTS], "test").batch
        self.batch = batch.take(pa.array(np.argsort(batch.column("event_time"), kind="stable")))
        self.service = None
        self.start()

    @property
    def spec(self):
        return self.scorer.bundle.spec

    def serve(self, name):
        self.store.promote(name)
        self.scorer = Scorer(load_bundle(self.store.path(name), CATALOG)).under(NONE)

    def start(self):
        """Anew, from what is on disk: the process before is dropped as it was."""
        journal = Journal(self.state)
        restored = begin(self.spec, journal)
        first = None
        if self.at_arrival:
            first = AtArrival(self.state, lambda data: None, lambda what, write: write())
        self.service = Service(
            Engine(self.spec, restored.resident, self.scorer.under(self.controls)), journal,
            restored.next_step,
            SimpleNamespace(publish=self.published.extend),
            settings=ServiceSettings(snapshot_steps=10**6), first=first,
        )  # fmt: skip

    def give(self, start, end, came=None):
        """A micro-batch; `late`: its first event comes after the others."""
        batch = self.batch.slice(start, end - start)
        count = batch.num_rows
        late = np.zeros(count, bool)
        if count > 1 and self.late:
            batch = batch.take(pa.array([*range(1, count), 0]))
            late[-1] = True
        arrived = (batch if came is None else came,) if self.at_arrival else ()
        self.service.process(
            MicroBatch(start, batch, late, (), np.zeros(count, np.int64), (), None, arrived=arrived)
        )

    def run(self, restarts=(), snapshots=()):
        """All events, step by step."""
        for number, start in enumerate(range(0, self.batch.num_rows, STEP)):
            self.give(start, min(start + STEP, self.batch.num_rows))
            if number in snapshots:
                self.service.begin_snapshot()
                self.service._snapshot.join()
            if number in restarts:
                self.start()
        return self.decisions()

    def decisions(self):
        return [json.loads(one) for one in self.published]

    def close(self):
        self.service.close()


def logged(state):
    steps = Journal(state).steps()
    return [json.loads(one) for step in steps for one in step.batch.column(DECISION).to_pylist()]


@pytest.fixture
def world(tmp_path):
    return World(tmp_path)


def test_actions_over_the_limit_get_weaker_and_say_so(world):
    made = world.run()
    assert len(made) == len(POSTS)
    assert set(Counter(one["action"] for one in made)) == {"allow", "block", "hide"}
    for one in made:
        held = one.get("withheld")
        assert held == (None if one["action"] == "block" else {"action": "block", "by": "limit"})
    assert world.service.counts.withheld == Counter(
        {"limit": sum(one["action"] != "block" for one in made)}
    )
    collected = ScorerMetrics(world.service, None).collect()
    [sample] = next(one for one in collected if one.name == "lockstep_withheld").samples
    assert sample.labels == {"by": "limit"} and sample.value > 10
    world.close()
    report = check_served(world.state, world.store.root)
    assert report.clean and report.events == len(POSTS)


@pytest.mark.parametrize("restarts", [range(0, 14), (3, 9)])
def test_a_killed_scorer_decides_as_one_that_ran_on(tmp_path, restarts):
    expected = World(tmp_path / "whole").run()
    other = World(tmp_path / "killed")
    assert other.run(restarts=restarts, snapshots=(2, 7)) == expected
    assert list_snapshots(other.state)
    other.close()
    assert check_served(other.state, other.store.root).clean


def test_a_snapshot_has_what_was_given_and_an_older_one_has_nothing(world):
    world.run()
    given = world.service.engine.resident.given
    world.close()
    _, folder = list_snapshots(world.state)[-1]
    assert len(given) and read_snapshot(world.spec, folder).given == given
    (folder / GIVEN).unlink()
    with pytest.raises(StateError, match=r"given-actions\.arrow is gone"):
        read_snapshot(world.spec, folder)


def test_a_config_without_limits_logs_and_keeps_nothing_of_them(tmp_path):
    world = World(tmp_path, limited("block: {min_precision: 0.9}", "hide: {min_precision: 0.8}"))
    made = world.run()
    world.close()
    assert {one["action"] for one in made} == {"block"}
    _, folder = list_snapshots(world.state)[-1]
    assert not (folder / GIVEN).exists()
    assert all(LIMITS not in step.batch.schema.names for step in Journal(world.state).steps())


def test_parity_finds_an_action_that_was_given_against_the_limit(world, monkeypatch):
    with monkeypatch.context() as fault:
        fault.setattr("scoring.limits.Given.is_used_up", lambda *given: False)
        assert {one["action"] for one in world.run()} == {"block"}
    world.close()
    report = check_served(world.state, world.store.root)
    assert not report.clean and sum(report.by_cause.values()) > 10


def test_a_swap_keeps_counts_where_limits_are_equal(tmp_path):
    """And a restart, which sees the log alone, agrees with what ran on."""
    worlds = [World(tmp_path / "runs"), World(tmp_path / "starts")]
    others = (
        limited(hide="hide: {min_precision: 0.7, limit: {per: where, count: 1, in: 12h}}"),
        limited(hide="hide: {min_precision: 0.8, limit: {per: who, count: 1, in: 6h}}"),
        limited(block="block: {min_precision: 0.9}"),
        limited(),
    )
    kept = []
    for world in worlds:
        world.give(0, 30)
        for number, config in enumerate(others):
            before = world.service.engine.resident.given.copy()
            world.serve(bundle(world.store.root, config))
            if world is worlds[0]:
                world.service.engine.swap(world.scorer)
            else:
                world.start()
            world.give(30 + number * 20, 30 + number * 20)  # nothing comes, so nothing is dropped
            assert world.service.engine.resident.given == before
            world.give(30 + number * 20, 31 + number * 20)
            kept.append(len(world.service.engine.resident.given) >= len(before))
            world.give(31 + number * 20, 50 + number * 20)
    assert kept == [True, False, False, True] * 2
    assert worlds[0].decisions() == worlds[1].decisions()
    for world in worlds:
        world.close()
        assert check_served(world.state, world.store.root).clean


def test_at_arrival_the_first_look_reads_and_the_order_decides(tmp_path):
    world = World(tmp_path, at_arrival=True)
    world.run()
    firsts = [
        json.loads(one) for step in read_looks(world.state)
        for one in step.batch.column(DECISION).to_pylist()
    ]  # fmt: skip
    ordered = world.decisions()
    assert {one["action"] for one in firsts} >= {"block", "hide"}
    assert ordered and {one["revision"] for one in ordered} == {1}
    assert {one["action"] for one in ordered} <= {"hide", "allow"}
    assert {one["withheld"]["action"] for one in ordered} == {"block"}, "what is due, not left of"
    given = [one for step in Journal(world.state).steps() for one in step.batch[ACTION].to_pylist()]
    world.close()
    assert given == [one["action"] for one in World(tmp_path / "ordered", late=False).run()]
    report = check_served(world.state, world.store.root)
    assert report.clean and report.events == 2 * len(POSTS)


def test_a_first_decision_that_a_restart_reads_from_its_log_is_revised_alike(tmp_path):
    """Of what was held back by a limit when it came, and may not be when its turn comes."""
    made = []
    for kills in (False, True):
        world = World(tmp_path / str(kills), at_arrival=True)
        world.controls = Controls(off=("block",))
        world.start()
        rows = world.batch.num_rows
        world.give(0, 60)
        for start in range(60, rows, STEP):
            came = world.batch.slice(start, min(3 * STEP, rows - start))
            world.give(start, min(start + STEP, rows), came)
            if kills:
                world.service._first.settle()
                world.start()
        made.append(world.decisions())
        held = {one["withheld"]["by"] for one in logged_in_order(world.state)}
        assert held == {OFF, LIMITED}
        scorer = world.scorer.under(world.controls)
        firsts = check_firsts(
            world.state, world.spec, find_base(world.state, None), lambda name, s=scorer: s
        )
        assert not firsts.differences and not firsts.wrong_revisions
    assert made[0] == made[1]


def logged_in_order(state):
    """Decisions of the log that were sent, and what was held back of each."""
    found = []
    for step in Journal(state).steps():
        for one, by in zip(step.batch[DECISION].to_pylist(), step.batch["withheld"].to_pylist(),
                           strict=True):  # fmt: skip
            found.append(json.loads(one) if one is not None else {"withheld": {"by": by}})
    return [one for one in found if one.get("withheld", {}).get("by")]


def test_what_chance_lets_through_does_not_count_and_its_chance_stays(tmp_path):
    config = limited(hold_out="hold_out: {share: 0.4, salt: a}, ")
    world = World(tmp_path, config)
    made = world.run()
    by = Counter((one["action"], one.get("withheld", {}).get("by")) for one in made)
    assert set(by) == {
        ("block", None), ("hide", LIMITED), ("allow", LIMITED), ("allow", "hold-out"),
    }  # fmt: skip
    assert {one["propensity"] for one in made} == {0.4}
    world.close()
    assert check_served(world.state, world.store.root).clean


def test_a_follower_answers_by_what_was_given(tmp_path, monkeypatch):
    monkeypatch.setattr(Follower, "_late", lambda self: False)  # nothing else makes it fold
    world = World(tmp_path)
    world.give(0, 30)
    follower = Follower(world.state, world.scorer)
    for start in range(30, world.batch.num_rows, STEP):
        world.give(start, min(start + STEP, world.batch.num_rows))
    follower.poll(0.0, 1e9)  # what was given is not waited for
    assert follower.engine.resident.given == world.service.engine.resident.given
    newest = max(POSTS, key=lambda one: one["at"])
    used_up = next(
        one["event_id"] for one in reversed(world.decisions()) if one["action"] != "block"
    )
    who = next(one["who"] for one in POSTS if one["id"] == used_up)
    asked = [newest | {"id": "new-1", "who": who}, newest | {"id": "new-2", "who": "nobody"}]
    events = decode_json(world.spec, [json.dumps(one).encode() for one in asked], "test").batch
    for _ in range(2):  # an answer counts nothing
        scored = follower.ask(events).scored
        assert scored.actions().to_pylist()[1] == "block"
        assert scored.actions().to_pylist()[0] != "block"
        assert scored.withheld[0] == Withheld("block", LIMITED)
    world.close()


def test_a_scorer_that_does_not_act_shows_what_is_due(world):
    """A shadow's, an evaluation's, a backfill's."""
    alone = Engine(world.spec, Resident.empty(world.spec), Scorer(world.scorer.bundle))
    outcome = alone.step(world.batch, np.zeros(world.batch.num_rows, bool))
    assert set(outcome.scored.actions().to_pylist()) == {"block"}
    assert outcome.limits is None and not len(alone.resident.given)
