"""Parity with all families on, while snapshots and bundles are swapped and what runs is killed.

The command runs over a real subscription: embedded, as a job on Prism, and on a Flink cluster whose
worker and task manager are killed.
"""

import contextlib
import os
import signal

import pytest
from engines import prism_binary
from families_world import DAYS, copy_world, known_from, make_world
from flink_cluster import running_cluster
from stream_job_world import Listener, assert_decided_once, await_log, running_job
from stream_world import publish

from pipelines.parity import check_ideal, check_served
from scoring.engine import BUNDLE
from scoring.parity.compare import LATE, VERSION
from scoring.parity.compare import SNAPSHOT as LATE_SNAPSHOT
from scoring.store import Store
from transforms.inputs import numeric_names
from transforms.ticks import SNAPSHOT

PIECE = 20


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    return make_world(tmp_path_factory.mktemp("families"))


class Run:
    """A world that is streamed: events are published up to a moment, and all that are, decided."""

    def __init__(self, world, folder, endpoint):
        self.world, self.folder, self.endpoint = world, folder, endpoint
        self.state, self.bundles = folder / "state", folder / "house" / "bundles"
        self.at, self.process, self.rows = 0, None, None

    def start(self, stack, flags, *options):
        """The command, until the stack ends."""
        self.process = stack.enter_context(
            running_job(self.folder, self.endpoint, self.state, flags, *options)
        )

    def publish(self, count):
        """The next events."""
        publish(self.endpoint, self.world.events[self.at : self.at + count], 1, duplicates=0.1)
        self.at += count

    def await_all(self):
        """Until all that were published are logged."""
        ids = [one["event_id"] for one in self.world.events[: self.at]]
        self.rows = await_log(self.state, ids, self.process)

    def until(self, moment):
        """Publishes the events before a moment."""
        self.publish(sum(one["event_time"] < moment for one in self.world.events[self.at :]))
        self.await_all()

    def swap(self, snapshots, bundle):
        """Publishes piece after piece until so many snapshots were seen and the bundle serves."""
        Store(self.bundles).promote(bundle)
        while True:
            assert self.at + PIECE < len(self.world.events), "a swap did not take effect"
            self.publish(PIECE)
            self.await_all()
            seen = set(self.rows.column(SNAPSHOT).to_pylist()) - {None}
            if len(seen) == snapshots and bundle in self.rows.column(BUNDLE).to_pylist():
                return


def stream_all(run, show, restart=lambda: None):
    """All events, two snapshots that are published meanwhile, and two swaps of the bundle."""
    first, second = run.world.bundles
    run.until(known_from(DAYS[1]))
    show(DAYS[1])
    run.swap(2, second)
    restart()
    run.until(known_from(DAYS[2]))
    show(DAYS[2])
    run.swap(3, first)
    restart()
    run.publish(len(run.world.events) - run.at)
    run.await_all()


def check(run, listener, may_differ):
    """Every event is decided once and right, by every bundle and snapshot in turn."""
    scored = [
        one["event_id"]
        for one in run.world.events
        if run.world.spec.kinds[one["kind"]].scored
    ]  # fmt: skip
    listener.await_all(scored, run.process)
    assert_decided_once(listener, run.rows, scored)
    served, ideal = check_served(run.state, run.bundles), check_ideal(run.state, run.bundles)
    assert (served.by_cause, served.faults) == ({}, ()), served
    assert served.events == ideal.events == len(scored)
    # The ideal side scores all by the bundle that serves last: inputs do not differ by that.
    assert set(ideal.by_cause) <= {VERSION, *may_differ}, ideal
    assert not set(ideal.features_of.get(VERSION, ())) & set(numeric_names(run.world.spec))
    ideal.require()


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_scorer_that_is_killed_between_swaps(server, world, tmp_path):
    folder, show = copy_world(world, tmp_path)
    run, listener = Run(world, folder, server), Listener(server)
    with contextlib.ExitStack() as stack:
        run.start(stack, ())

        def restart():
            os.kill(run.process.pid, signal.SIGKILL)
            run.process.wait()
            run.start(stack, ())

        stream_all(run, show, restart)
        check(run, listener, {LATE_SNAPSHOT})
    listener.close()


@pytest.mark.soak
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("engine", ["prism", "flink"])
def test_a_job_of_an_engine(engine, server, world, tmp_path):
    folder, show = copy_world(world, tmp_path)
    run, listener = Run(world, folder, server), Listener(server)
    options = ("--tick-ms", "2000", "--latency-ms", "500")
    with contextlib.ExitStack() as stack:
        if engine == "prism":
            flags, kills = ("--runner=PrismRunner", f"--prism_location={prism_binary()}"), []
        else:
            cluster = stack.enter_context(running_cluster(tmp_path / "flink"))
            flags, kills = cluster.flags(2), [cluster.kill_worker, cluster.kill_task_manager]
        run.start(stack, flags, *options)

        def restart():
            if kills:
                cluster.await_checkpoints()
                before = cluster.restarted()
                kills.pop(0)()
                cluster.await_restart(before)

        stream_all(run, show, restart)
        check(run, listener, {LATE, LATE_SNAPSHOT})
    listener.close()
