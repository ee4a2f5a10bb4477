"""Killed at random moments, a scorer loses and doubles nothing, and makes nothing late."""

import dataclasses
import multiprocessing
import random
import signal
import time

import pytest
from stream_world import after_night, backfilled, hear, logged, publish, request, serve

from pipelines.parity import check_ideal, check_served
from pipelines.pubsub.settings import Ack
from pipelines.streaming.service import ServiceSettings

# A process that has imported what a scorer needs, and forks one in a moment: kills then come while
# it starts, replays, folds, logs, publishes and writes snapshots, not while it imports.
FORKS = multiprocessing.get_context("forkserver")
FORKS.set_forkserver_preload(["stream_world", "scoring.scorer", "tensorflow", "xgboost"])

LONGEST_LIFE_S = 4.0
PATIENCE_S = 120.0  # for a scorer to log something, on a busy machine
PIECE = 8
AHEAD = 3  # shares of the events that wait at the server: a backlog


def start(asked):
    process = FORKS.Process(target=serve, args=(asked,))
    process.start()
    return process


def kill_and_check(stream_house, endpoint, tiny_spec, state, kills, ack=Ack.ARRIVED):
    """Starts and kills a scorer on a backlog, lets the last one finish, and counts.

    Half of the scorers are killed at any moment, the others once they have logged something.
    """
    folder, events, _ = stream_house
    live, rng = after_night(events), random.Random(kills)
    shares = [round(len(live) * n / (kills + AHEAD)) for n in range(kills + AHEAD + 1)]

    def produce(first, last):
        some = live[shares[first] : shares[last]]
        publish(endpoint, some, disorder=1, duplicates=0.1, seed=first)

    asked = request(folder, endpoint, state, settings=ServiceSettings(snapshot_steps=3))
    source = dataclasses.replace(
        asked.source, batch_events=PIECE, lease_s=10, ack=ack, end_after_idle_s=None
    )  # those that are killed do not end by themselves, however long there is nothing to do
    asked = dataclasses.replace(asked, source=source)
    decided_by = set()
    produce(0, AHEAD)
    for number in range(kills):
        process = start(asked)
        produce(number + AHEAD, number + AHEAD + 1)
        if number % 2:  # while it works, however long it took to start
            wait_for_more(state, process)
        process.join(rng.random() * (1.0 if number % 2 else LONGEST_LIFE_S))
        assert process.exitcode is None, "it ended by itself"
        process.kill()
        process.join()
        assert process.exitcode == -signal.SIGKILL
        decided_by.add(steps_logged(state))
        if list((state / "snapshots").glob("step-0*")):
            asked = dataclasses.replace(asked, from_night=None)
    assert len(decided_by) > kills // 4, "too few of the killed scorers had got anywhere"
    source = dataclasses.replace(asked.source, end_after_idle_s=6)
    process = start(dataclasses.replace(asked, source=source))
    process.join(300)
    assert process.exitcode == 0
    decided = {}
    for one in hear(endpoint):
        before = decided.setdefault(one["decision_id"], one)
        assert before == one, "a decision that came again was another one"
    posts = {event["id"] for event in live if event["kind"] == "post"}
    assert len(decided) == len(posts)
    assert {one["event_id"] for one in decided.values()} == posts
    online, offline = logged(state, tiny_spec), backfilled(folder, tiny_spec)
    assert online.keys() == posts
    late = [event for event, (_, _, row) in online.items() if row["lockstep_late"]]
    assert not late, f"{len(late)} of {len(online)} are late by a kill"
    assert all(online[event][:2] == offline[event] for event in online)
    check_served(state, folder / "house" / "bundles").require()
    ideal = check_ideal(state, folder / "house" / "bundles", str(folder / "input"))
    ideal.require()
    assert ideal.differing == 0


def wait_for_more(state, process):
    """Until the log is longer than it is now, or for so long that nothing may be left to log."""
    before, ends = steps_logged(state), time.monotonic() + PATIENCE_S
    while steps_logged(state) == before and process.is_alive() and time.monotonic() < ends:
        time.sleep(0.02)


def steps_logged(state):
    """How far the scorers have got: bytes of log."""
    return sum(path.stat().st_size for path in (state / "log").rglob("*.arrows"))


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_kill_9_loses_nothing_doubles_nothing_and_makes_nothing_late(
    stream_house, either_server, tiny_spec, tmp_path
):
    kill_and_check(stream_house, either_server, tiny_spec, tmp_path / "state", kills=12)


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_neither_does_it_without_an_arrival_log(stream_house, server, tiny_spec, tmp_path):
    kill_and_check(stream_house, server, tiny_spec, tmp_path / "state", 4, Ack.DECIDED)


@pytest.mark.soak
@pytest.mark.timeout(7200)
def test_kill_9_a_hundred_times(stream_house, either_server, tiny_spec, tmp_path):
    kill_and_check(stream_house, either_server, tiny_spec, tmp_path / "state", kills=100)
