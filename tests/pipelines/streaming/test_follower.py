"""`lockstep serve`: the scorer's decisions at arrival, bit for bit, from another process's view."""

import fcntl
import itertools
import os
import threading

import msgspec
import pytest
from explorer_world import ByBits, World, facts
from fold_world import SPEC, batch
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from pipelines.pubsub.leases import LONGEST_LEASE_S
from pipelines.serve import follower as follower_module
from pipelines.serve.follower import Follower, scorer_runs
from pipelines.serve.tail import DivergedError
from pipelines.streaming.decisions import encode_decisions
from pipelines.streaming.journal import list_segments
from pipelines.streaming.service import ServiceSettings
from scoring.locks import LOCK, exclusive


def follow(world):
    return Follower(world.root, ByBits(), world.decode)


def answer(follower, events):
    """Decisions as a client gets them."""
    outcome = follower.ask(events)
    return encode_decisions(SPEC, outcome, follower.engine.scorer, [0] * events.num_rows)


@settings(max_examples=12, phases=[Phase.explicit, Phase.generate])
@given(st.data(), facts)
def test_an_answer_is_what_the_scorer_decides_at_arrival(tmp_path_factory, data, rows):
    """Asked just before it arrives, whatever was folded, waits, came twice, or was restarted."""
    world = World(tmp_path_factory.mktemp("state"), rows, at_arrival=True)
    events, follower, clock = batch(rows), follow(world), itertools.count()
    order = data.draw(st.permutations(range(len(rows))))
    for place in order:
        if data.draw(st.integers(0, 9)) == 0:
            world.crash()
        if data.draw(st.integers(0, 9)) == 0:
            follower = follow(world)
        if data.draw(st.booleans()):
            world.tick(data.draw(st.integers(0, 20)))
        while world.take(data.draw(st.integers(1, 5))) and data.draw(st.booleans()):
            pass
        follower.poll(float(next(clock)), fold_s=data.draw(st.sampled_from([0.0, 3.0])))
        told = answer(follower, events.slice(place, 1))
        sent = len(world.topic.sent)
        world.arrive([place])
        world.take(1)
        world.publish(0)
        first = [
            one for one in world.topic.sent[sent:] if msgspec.json.decode(one)["revision"] == 0
        ]
        assert told == first
        if data.draw(st.integers(0, 5)) == 0:
            world.arrive([place])
    world.finish()
    follower.poll(1e9, fold_s=0.0)
    assert not len(follower.waiting) and follower.steps == world.service.next_step
    for entity, state in world.service.engine.resident.states.items():
        assert follower.engine.resident.states[entity].to_table().equals(state.to_table())


def test_damage_in_the_segment_that_is_written_is_not_taken_for_a_step_under_way(tmp_path):
    rows = [("x", second, "a", 1.0, None) for second in range(40)]
    world = World(tmp_path, rows, at_arrival=True)
    follower = follow(world)
    for place in range(40):
        world.arrive([place])
        world.take(1)
        if place == 20:
            [(_, path)] = list_segments(tmp_path)
            size = path.stat().st_size
    data = bytearray(path.read_bytes())
    data[size + 4 : size + 8] = b"\xff" * 4  # where a step begins: its length
    path.write_bytes(data[: size + 200])
    follower.poll(1.0)
    path.write_bytes(data[: size + 300])
    follower.poll(2.0)  # what is not whole may be under way
    path.write_bytes(data)
    with pytest.raises(DivergedError, match="is damaged at byte"):
        follower.poll(3.0)


def test_ids_are_known_for_as_long_as_any_scorer_knows_them(tmp_path):
    assert ServiceSettings.for_lease(LONGEST_LEASE_S).remember_s <= follower_module._REMEMBER_S


def test_after_a_fold_that_failed_half_way_nothing_is_answered(tmp_path, monkeypatch):
    rows = [("x", second, "a", 1.0, None) for second in range(6)]
    world = World(tmp_path, rows, at_arrival=True)
    follower = follow(world)
    world.arrive(range(6))
    world.finish()

    def fails(*_, **__):
        raise MemoryError

    with monkeypatch.context() as patched:
        patched.setattr(follower._folds, "step", fails)
        with pytest.raises(MemoryError):
            follower.poll(1e9, fold_s=0.0)
    with pytest.raises(DivergedError, match="could not be folded"):
        follower.ask(batch(rows))
    with pytest.raises(DivergedError, match="could not be folded"):
        follower.poll(2e9)
    again = follow(world)
    again.poll(1e9, fold_s=0.0)
    assert again.steps == world.service.next_step


def test_a_scorer_that_starts_while_somebody_looks_whether_one_runs_is_not_told_that_one_does(
    tmp_path,
):
    (tmp_path / LOCK).touch()
    assert not scorer_runs(tmp_path)
    with (tmp_path / LOCK).open() as looks:
        fcntl.flock(looks, fcntl.LOCK_SH)
        gone = threading.Timer(0.1, fcntl.flock, (looks, fcntl.LOCK_UN))
        gone.start()
        with exclusive(tmp_path, wait=False):
            assert scorer_runs(tmp_path)
        gone.join()


def test_a_folder_that_nobody_holds_names_nobody(tmp_path):
    with exclusive(tmp_path):
        assert (tmp_path / LOCK).read_text() == f"{os.getpid()}\n"
    assert (tmp_path / LOCK).read_bytes() == b""
