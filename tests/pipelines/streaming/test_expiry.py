"""A scorer frees the state of silent keys, and what it has freed is freed in a replay too."""

import shutil

import numpy as np
from explorer_world import World
from fold_world import SPEC, S, batch

from pipelines.streaming.journal import Journal, list_snapshots
from pipelines.streaming.restore import restore
from scoring.engine import Engine, Resident, expired_before

DAY = 86_400


def test_silent_keys_are_freed_at_a_snapshot_and_in_a_replay(tmp_path):
    early = [("silent", n, "a", 1.0, "p") for n in range(3)]
    later = [("loud", 3 * DAY + n, "a", 1.0, "p") for n in range(12)]
    late = [("silent", 3, "a", 1.0, "p")]  # by three days
    world = World(tmp_path, early + later + late)
    for place in range(len(early + later)):
        world.arrive([place])
        world.take(5)
    state = world.service.engine.resident.states["k"]
    assert len(state) == 1, "the silent key is gone, its retention of two days is over"
    world.arrive([15])
    world.take(5)
    assert len(state) == 2
    logged = list(Journal(tmp_path).steps())
    assert any(expired_before(step.batch) is not None for step in logged)
    last = logged[-1].batch.to_pylist()[-1]
    assert (last["event_id"], last["sequence"]) == ("e00015", [0]), "it began anew"
    world.service._snapshot.join()
    for _, newer in list_snapshots(tmp_path)[1:]:
        shutil.rmtree(newer)  # so that the log is replayed over the expiry
    replayed = restore(SPEC, Journal(tmp_path)).resident
    assert replayed.states["k"].to_table().equals(state.to_table())
    assert replayed.position == world.service.engine.resident.position


def test_a_log_without_the_mark_says_that_nothing_was_freed():
    rows = batch([("x", 0, "a", 1.0, "p")])
    assert expired_before(rows) is None


def test_the_id_of_an_event_later_than_the_horizon_outlives_the_next_growth():
    """Its message may come again, perhaps a second after it was folded."""
    engine = Engine(SPEC, Resident.empty(SPEC), None)
    hours = SPEC.events.dedup_us // (3600 * S) + 2
    rows = [("x", hours * 3600, "a", 1.0, "p"), ("y", 0, "a", 1.0, "p")]
    events, late = batch(rows), np.array([False, True])
    for place in range(2):
        assert engine.step(events.slice(place, 1), late[place : place + 1]).duplicates == 0
    recent = engine.resident.recent
    recent.prune(hours * 3600 * S)
    assert engine.step(events.slice(1), late[1:]).duplicates == 1
    recent.prune(2 * hours * 3600 * S)
    assert len(recent) == 0
