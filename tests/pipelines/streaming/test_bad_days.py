"""Signals, a full disk, a folder that cannot be written, a hanging server: clear, and no loss."""

import contextlib
import os
import resource
import signal
import subprocess
import sys
import time

import pytest
from stream_world import (
    DECISIONS,
    NIGHT,
    SUBSCRIPTION,
    after_night,
    backfilled,
    hear,
    logged,
    publish,
    set_up_topics,
)

from pipelines.parity import check_served
from pipelines.pubsub.server import running_server

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


@pytest.fixture
def running():
    """A server whose process a test may hold up."""
    with running_server() as server:
        set_up_topics(server.endpoint)
        yield server


def start(folder, endpoint, state, *more):
    command = [
        *(sys.executable, "-c", "from pipelines.commands import main; main()", "stream"),
        *("--bundles", str(folder / "house" / "bundles"), "--batch-events", "50"),
        *("--subscription", SUBSCRIPTION, "--decisions", DECISIONS, "--endpoint", endpoint),
        *("--state", str(state), "--quiet", *more),
    ]
    environment = {**os.environ, "PYTHONPATH": os.getcwd()}
    return subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)


def warm(folder):
    return ("--out", str(folder / "house"), "--from-night", str(NIGHT))


def until(what, process, seconds=90):
    end = time.monotonic() + seconds
    while not what():
        assert process.poll() is None, process.stderr.read()
        assert time.monotonic() < end, "it did not come"
        time.sleep(0.05)


def cursor(state):
    try:
        return int((state / "cursor").read_text())
    except (FileNotFoundError, ValueError):
        return -1


LEASE_S = 60  # after a sudden end the server hands out again what was leased, no sooner


def check(folder, events, endpoint, state, tiny_spec, idle_s=4):
    """A last scorer decides what is left; then every post was decided once, as a backfill would."""
    last = start(folder, endpoint, state, "--idle-exit", str(idle_s))
    assert last.wait(200) == 0, last.stderr.read()
    posts = {event["id"] for event in events if event["kind"] == "post"}
    decisions = hear(endpoint)
    assert {one["event_id"] for one in decisions} == posts
    online, offline = logged(state, tiny_spec), backfilled(folder, tiny_spec)
    assert online.keys() == posts
    if not any(row["lockstep_late"] for _, _, row in online.values()):
        assert all(online[event][:2] == offline[event] for event in online)
    check_served(state, folder / "house" / "bundles").require()
    return decisions


def test_sigterm_drains_and_exits_0(stream_house, running, tiny_spec, tmp_path):
    folder, events, _ = stream_house
    live, state = after_night(events), tmp_path / "state"
    publish(running.endpoint, live, disorder=1)
    process = start(folder, running.endpoint, state, *warm(folder))
    until(lambda: cursor(state) >= 0, process)
    process.send_signal(signal.SIGTERM)
    assert process.wait(60) == 0, process.stderr.read()
    at_end = cursor(state)
    assert list((state / "snapshots").glob(f"step-{at_end + 1:012d}")), "it ends with a snapshot"
    decisions = check(folder, live, running.endpoint, state, tiny_spec)
    assert len(decisions) == len({one["decision_id"] for one in decisions})


def test_a_second_sigterm_stops_at_once_and_loses_nothing(
    stream_house, running, tiny_spec, tmp_path
):
    folder, events, _ = stream_house
    live, state = after_night(events), tmp_path / "state"
    half = len(live) // 2
    publish(running.endpoint, live[:half], disorder=1)
    process = start(folder, running.endpoint, state, *warm(folder))
    until(lambda: cursor(state) >= 0, process)
    running.process.send_signal(signal.SIGSTOP)  # nothing can be published: there is no drain
    try:
        process.send_signal(signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(2)
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
        code = process.wait(30)
    finally:
        running.process.send_signal(signal.SIGCONT)
    assert code in (0, 128 + signal.SIGTERM), process.stderr.read()
    publish(running.endpoint, live[half:], disorder=1)
    check(folder, live, running.endpoint, state, tiny_spec, LEASE_S + 10)


def test_a_full_disk_holds_it_up_and_room_lets_it_go_on(stream_house, running, tiny_spec, tmp_path):
    folder, events, _ = stream_house
    live, state = after_night(events), tmp_path / "state"
    half = len(live) // 2
    publish(running.endpoint, live[:half], disorder=1)
    process = start(folder, running.endpoint, state, *warm(folder))
    until(lambda: cursor(state) >= 0, process)
    [*_, segment] = sorted((state / "log").rglob("*.arrows"))
    full = segment.stat().st_size
    resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (full, resource.RLIM_INFINITY))
    publish(running.endpoint, live[half:], disorder=1)
    time.sleep(3)
    before = cursor(state)
    time.sleep(2)
    assert cursor(state) == before, "nothing is decided that cannot be logged"
    assert process.poll() is None
    unlimited = (resource.RLIM_INFINITY, resource.RLIM_INFINITY)
    resource.prlimit(process.pid, resource.RLIMIT_FSIZE, unlimited)
    until(lambda: cursor(state) > before, process)
    process.send_signal(signal.SIGTERM)
    assert process.wait(60) == 0
    said = process.stderr.read()
    assert "cannot be written" in said
    assert "free space" in said
    check(folder, live, running.endpoint, state, tiny_spec)


def test_a_server_that_hangs_is_waited_for(stream_house, running, tiny_spec, tmp_path):
    folder, events, _ = stream_house
    live, state = after_night(events), tmp_path / "state"
    half = len(live) // 2
    publish(running.endpoint, live[:half], disorder=1)
    process = start(folder, running.endpoint, state, *warm(folder))
    until(lambda: cursor(state) >= 0, process)
    running.process.send_signal(signal.SIGSTOP)
    time.sleep(8)
    running.process.send_signal(signal.SIGCONT)
    publish(running.endpoint, live[half:], disorder=1)
    before = cursor(state)
    until(lambda: cursor(state) > before, process)
    process.send_signal(signal.SIGTERM)
    assert process.wait(60) == 0, process.stderr.read()
    check(folder, live, running.endpoint, state, tiny_spec)


def test_a_folder_that_cannot_be_written_is_named(stream_house, running, tmp_path):
    folder, _, _ = stream_house
    (tmp_path / "file").write_text("")
    process = start(folder, running.endpoint, tmp_path / "file" / "state")
    assert process.wait(90) == 4
    said = process.stderr.read()
    assert str(tmp_path / "file" / "state") in said
    assert "Traceback" not in said


def test_a_subscription_that_is_not_there_is_named(stream_house, running, tmp_path):
    folder, _, _ = stream_house
    process = start(
        folder,
        running.endpoint,
        tmp_path / "state",
        "--subscription",
        "projects/p/subscriptions/no",
    )
    assert process.wait(120) == 4
    said = process.stderr.read()
    assert "projects/p/subscriptions/no" in said
    assert "Traceback" not in said
