"""A streaming job on a Flink of several processes: kills, savepoints, parallelism, new code.

Events have the times at which they are published, as in life, and go on coming meanwhile. Whatever
fails, each is decided once, none is late by it, and parity finds no bit that differs.
"""

import datetime as dt
import os
import random
import shutil
import threading
import time

import pytest
from backfill_world import make_events
from engines import ROOT
from flink_cluster import running_cluster
from limited_world import bundle as limited_bundle
from limited_world import limited
from stream_job_world import (
    SPEC,
    Listener,
    assert_decided_once,
    await_log,
    make_house,
    running_job,
)
from stream_world import publish, set_up_topics

from pipelines.parity import check_ideal, check_served
from pipelines.pubsub_server.server import running_server
from scoring.limits import LIMITED, LIMITS

PIECE, PAUSE_S = 10, 0.5
OPTIONS = ("--tick-ms", "500")


class Producer:
    """Publishes events of now, some twice and out of order, until it is stopped."""

    def __init__(self, endpoint):
        self.events, self._endpoint = [], endpoint
        self._plain = make_events(20_000, days=1)
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self):
        while not self._stopped.wait(PAUSE_S):
            start = len(self.events)
            piece = [dict(one) for one in self._plain[start : start + PIECE]]
            now = dt.datetime.now(dt.UTC)
            for number, event in enumerate(piece):
                event["at"] = (now - dt.timedelta(milliseconds=20 * number)).isoformat()
            publish(self._endpoint, piece, disorder=PIECE, duplicates=0.1, seed=start)
            self.events += piece

    def stop(self):
        """All events that were published."""
        self._stopped.set()
        self._thread.join()
        return self.events


@pytest.fixture
def server():
    """With a subscription whose messages come again soon: order waits for them after a kill."""
    with running_server() as running:
        set_up_topics(running.endpoint, ack_deadline_s=10)
        yield running.endpoint


@pytest.fixture(scope="module", params=["plain", "limited"])
def house(request, tmp_path_factory):
    """With a bundle without limits of actions, or with."""
    folder = tmp_path_factory.mktemp("faults")
    if request.param == "plain":
        return make_house(folder, 300)[0]
    return make_house(folder, 300, lambda store: store / limited_bundle(store, limited()))[0]


def check(house, state, listener, process, events):
    """All events are decided, once and right."""
    scored = [event["id"] for event in events if SPEC.kinds[event["kind"]].scored]
    rows = await_log(state, [event["id"] for event in events], process)
    listener.await_all(scored, process)
    assert_decided_once(listener, rows, scored)
    late = sum(rows.column("lockstep_late").to_pylist())
    bundles = house / "house" / "bundles"
    served, ideal = check_served(state, bundles), check_ideal(state, bundles)
    for report in (served, ideal):
        assert (report.by_cause, report.faults) == ({}, ()), (report, late)
    assert served.events == len(scored) and not late
    withheld = rows.column("withheld").to_pylist().count(LIMITED)
    assert (withheld > 0) == (LIMITS in rows.schema.names), "where there are limits only"
    print(f"{len(events)} events, {len(rows)} logged, {len(scored)} decided, {late} late, "
          f"{withheld} over a limit, {listener.copies - len(scored)} published again")  # fmt: skip


def kill_and_check(cluster, house, server, state, kills, limits=False):
    """Kills worker or task manager at random, each time once the job works again."""
    rng, producer, listener = random.Random(kills), Producer(server), Listener(server)
    with running_job(house, server, state, cluster.flags(2), *OPTIONS) as process:
        await_log(state, ["p000000"], process)
        for number in range(kills):
            cluster.await_checkpoints()
            time.sleep(rng.random() * 2)  # at any moment of a checkpoint
            before, began = cluster.restarted(), time.monotonic()
            victim = rng.choice(["worker", "task manager"]) if number > 1 else (
                "worker", "task manager")[number]  # fmt: skip
            cluster.kill_worker(rng) if victim == "worker" else cluster.kill_task_manager()
            published = [event["id"] for event in list(producer.events)]
            cluster.await_restart(before)
            cluster.await_checkpoints()
            works = time.monotonic() - began
            await_log(state, published, process)
            decided = time.monotonic() - began
            print(f"killed {victim}: checkpoints again after {works:.0f} s, all that had been "
                  f"published is decided after {decided:.0f} s", flush=True)  # fmt: skip
        cluster.await_counted("shards_rebuilt")
        if limits:
            cluster.await_counted("limits_rebuilt")
        check(house, state, listener, process, producer.stop())
    cluster.await_no_job()  # SIGTERM to the command cancels it
    listener.close()


@pytest.mark.soak
@pytest.mark.timeout(1200)
@pytest.mark.parametrize(
    ("house", "limits"), [("plain", False), ("limited", True)], indirect=["house"]
)
def test_killed_twice_it_recovers_by_itself(server, house, limits, tmp_path):
    with running_cluster(tmp_path / "flink") as cluster:
        kill_and_check(cluster, house, server, tmp_path / "state", 2, limits)


@pytest.mark.soak
@pytest.mark.timeout(7200)
@pytest.mark.parametrize("house", ["plain"], indirect=True)
def test_killed_twenty_times_it_recovers_by_itself(server, house, tmp_path):
    with running_cluster(tmp_path / "flink") as cluster:
        kill_and_check(cluster, house, server, tmp_path / "state", 20)


@pytest.mark.soak
@pytest.mark.timeout(1800)
def test_it_goes_on_from_a_savepoint_at_another_parallelism_and_with_new_code(
    server, house, tmp_path
):
    state, code, savepoint = tmp_path / "state", tmp_path / "code", None
    for name in ("configs", "transforms", "scoring", "training", "pipelines"):
        shutil.copytree(ROOT / name, code / name)
    producer, listener = Producer(server), Listener(server)
    with running_cluster(tmp_path / "flink") as cluster:
        for parallelism, release in ((1, None), (2, None), (2, code)):
            if release is not None:
                cluster.start_workers(release)
            flags = cluster.flags(parallelism, savepoint)
            with running_job(house, server, state, flags, *OPTIONS) as process:
                await_log(state, [event["id"] for event in list(producer.events)], process)
                cluster.await_checkpoints()
                if release is None:
                    savepoint = cluster.stop_with_savepoint()
                    continue
                assert {os.readlink(f"/proc/{pid}/cwd") for pid in cluster.workers()} == {str(code)}
                cluster.await_counted("shards_rebuilt")
                check(house, state, listener, process, producer.stop())
    listener.close()
