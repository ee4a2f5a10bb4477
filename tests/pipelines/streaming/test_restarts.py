"""Restarts over both servers: nothing lost, doubled, late or waited for.

A light scorer (`light_scorer`) is killed while it reads a backlog; what it decided is compared with
the oracle of the fold over all events in total order.
"""

import contextlib
import json
import multiprocessing
import os
import random
import signal
import threading
import time

import numpy as np
import pytest
from explorer_world import ByBits
from fold_world import SPEC, S, oracle
from light_scorer import BOUND_S, READY, fact, serve
from stream_world import EVENTS, hear

from pipelines.parity.first_check import check_firsts
from pipelines.parity.log import find_base
from pipelines.pubsub.publisher import TopicPublisher
from pipelines.pubsub.settings import Ack, DecideAt
from pipelines.streaming.at_arrival import read_looks
from pipelines.streaming.journal import Journal
from scoring.decision import decision_id
from scoring.engine import ACTION, NUMERIC, SCORED
from transforms.inputs import numeric_names
from transforms.ticks import LATE

FORKS = multiprocessing.get_context("forkserver")
FORKS.set_forkserver_preload(["light_scorer"])

PATIENCE_S = 200.0  # for something to be decided, on a busy machine
SCORER = ByBits()
EACH = 40  # events that come during a life


def start(root, endpoint, **more):
    process = FORKS.Process(target=serve, args=(str(root), endpoint), kwargs=more)
    process.start()
    return process


def times_of(count, rng):
    """Event times of a backlog: ten a second."""
    return [n / 10 + rng.random() / 20 for n in range(count)]


def publish(endpoint, numbers, times, rng):
    """In disorder of less than the bound, a tenth of them twice."""
    order = sorted(numbers, key=lambda n: times[n] + rng.random() * (BOUND_S - 1))
    payloads = [json.dumps([n, times[n]]).encode() for n in order]
    again = [one for one in payloads if rng.random() < 0.1]
    with TopicPublisher(EVENTS, endpoint) as publisher:
        publisher.publish(payloads + again)


def steps_of(root):
    with contextlib.suppress(FileNotFoundError):
        return int((root / "cursor").read_text())
    return -1


def ready(root):
    """When the last scorer was ready, and its first step; or in an eternity."""
    with contextlib.suppress(FileNotFoundError, ValueError):
        moment, step = (root / READY).read_text().split()
        return float(moment), int(step)
    return float("inf"), 1 << 60


def decides(root):
    """Whether the last scorer has published what it decided itself."""
    return steps_of(root) >= ready(root)[1]


def until(what, process, patience_s=PATIENCE_S):
    ends = time.monotonic() + patience_s
    while not what() and process.is_alive() and time.monotonic() < ends:
        time.sleep(0.01)
    return what()


def kill_over_and_over(root, endpoint, kills, ack=Ack.ARRIVED, decide=DecideAt.IN_ORDER):
    """Kills scorers at random moments; how long each took from ready to its first decision."""
    rng = random.Random(kills)
    times = times_of((kills + 4) * EACH, rng)
    publish(endpoint, range(4 * EACH), times, rng)
    resumed = []
    for number in range(4, kills + 4):
        (root / READY).unlink(missing_ok=True)
        process = start(root, endpoint, ack=ack, decide=decide)
        publish(endpoint, range(number * EACH, (number + 1) * EACH), times, rng)
        if number % 2:
            process.join(rng.random() * 3)
        else:
            assert until(lambda: decides(root), process), "nothing was decided"
            resumed.append(time.time() - ready(root)[0])
            process.join(rng.random() * 0.5)
        assert process.exitcode is None, "it ended by itself"
        process.kill()
        process.join()
        assert process.exitcode == -signal.SIGKILL
    last = start(root, endpoint, ack=ack, decide=decide, idle_exit_s=6.0)
    last.join(300)
    assert last.exitcode == 0
    check(root, endpoint, times)
    return resumed


def check(root, endpoint, times):
    """Every event once, in total order, none late, each bit as the whole history says."""
    steps = [step.batch for step in Journal(root).steps()]
    order = [int(one[1:]) for step in steps for one in step.column("event_id").to_pylist()]
    late = sum(flag for step in steps for flag in step.column(LATE).to_pylist())
    assert sorted(order) == list(range(len(times))), "lost, or folded twice"
    assert not late, f"{late} of {len(order)} are late by a restart"
    assert [times[n] for n in order] == sorted(times)
    chosen = [row for step in steps for row in step.select([NUMERIC, SCORED]).to_pylist()]
    found = np.array([row[NUMERIC] for row in chosen if row[SCORED]], np.float32)
    rows = [fact(n, times) for n in order]
    np.testing.assert_array_equal(found.reshape(-1, len(numeric_names(SPEC))), oracle(rows))
    decided, revised = {}, {}
    for one in hear(endpoint):
        of = revised if one.get("revision") else decided
        assert of.setdefault(one["decision_id"], one) == one
    posts = [n for n, row in enumerate(rows) if fact(n, times)[2] == "a"]
    assert decided.keys() == {decision_id(SPEC.name, f"e{n:05d}") for n in posts}
    actions = {one["event_id"]: one["action"] for one in (decided | revised).values()}
    final = [row for step in steps for row in step.select(["event_id", ACTION]).to_pylist()]
    assert actions == {row["event_id"]: row[ACTION] for row in final if row[ACTION] is not None}
    return revised


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_kills_on_a_backlog_lose_double_and_delay_nothing(either_server, tmp_path):
    kill_over_and_over(tmp_path, either_server, 12, Ack.DECIDED)


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_nor_do_they_where_events_are_decided_at_arrival(either_server, tmp_path):
    """Each event has one first decision, and a revision where the order makes another of it."""
    kill_over_and_over(tmp_path, either_server, 12, Ack.ARRIVED, DecideAt.AT_ARRIVAL)
    firsts = check_firsts(tmp_path, SPEC, find_base(tmp_path), lambda bundle: SCORER)
    assert not firsts.differences and not firsts.wrong_revisions
    events = [
        one for step in read_looks(tmp_path) for one in step.batch.column("event_id").to_pylist()
    ]
    assert len(events) == len(set(events)), "decided twice at arrival"
    assert sum(map(len, firsts.times)) == sum(firsts.versions.values()) > 0


@pytest.mark.soak
@pytest.mark.timeout(7200)
def test_a_hundred_kills_on_a_backlog(either_server, tmp_path, capsys):
    resumed = kill_over_and_over(tmp_path, either_server, 100)
    with capsys.disabled():
        print(
            f"\nfrom ready to a decision: median {np.median(resumed):.2f} s, most "
            f"{max(resumed):.2f} s"
        )
    assert max(resumed) < 2.0


def publish_live(endpoint, rate, seconds, numbers, times, stop=None):
    """Publishes at a rate with the clock's time as the event's, each up to half a second late."""
    rng = random.Random(rate)
    with TopicPublisher(EVENTS, endpoint) as publisher:
        ends = time.time() + seconds
        while time.time() < ends:
            number = len(times)
            times.append(round(time.time() - rng.random() / 2, 6))
            publisher.publish([json.dumps([number, times[number]]).encode()])
            numbers.append(number)
            time.sleep(1 / rate)


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_restart_at_twenty_events_a_second_is_no_pause(number, either_server, tmp_path):
    """Decisions come the bound after their events, and not much more, through a restart."""
    times, sent = [], []
    process = start(tmp_path, either_server, ahead_us=10 * S)
    producer = threading.Thread(target=publish_live, args=(either_server, 20, 25, sent, times))
    producer.start()
    assert until(lambda: steps_of(tmp_path) > 10, process)
    os.kill(process.pid, number)
    process.join(30)
    (tmp_path / READY).unlink()
    again = start(tmp_path, either_server, ahead_us=10 * S, idle_exit_s=8.0)
    assert until(lambda: decides(tmp_path), again)
    paused = time.time() - ready(tmp_path)[0]
    producer.join()
    again.join(120)
    assert again.exitcode == 0
    check(tmp_path, either_server, times)
    assert paused < 2.0, "seconds from ready to a decision"
