"""Signals, a full disk, a folder that cannot be written, a hanging server: clear, and no loss."""

import os
import resource
import signal
import socket
import subprocess
import sys
import time

import pyarrow as pa
import pytest
from stream_world import (
    DECISIONS,
    EVENTS,
    NIGHT,
    SUBSCRIPTION,
    after_night,
    backfilled,
    hear,
    logged,
    publish,
    set_up_topics,
)

from pipelines.parity import check_ideal, check_served
from pipelines.pubsub.admin import ensure_subscription, ensure_topic
from pipelines.pubsub.client import Puller, PullSettings
from pipelines.pubsub.publisher import TopicPublisher
from pipelines.pubsub_server.server import running_server

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


LEASE_S = 10  # after a sudden end the server hands out again what was leased, no sooner


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
        *("--state", str(state), "--quiet", "--lease-seconds", str(LEASE_S), *more),
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


def said_until(words, process):
    """What a scorer says on stderr, up to the line with these words."""
    said = ""
    while words not in said:
        line = process.stderr.readline()
        assert line, f"it ended before it said {words!r}: {said}"
        said += line
    return said


def cursor(state):
    try:
        return int((state / "cursor").read_text())
    except (FileNotFoundError, ValueError):
        return -1


def check(folder, events, endpoint, state, tiny_spec, idle_s=4, may_be_late=False):
    """A last scorer decides what is left; then every post was decided once, as a backfill would.

    Where a scorer was ended in the middle, what was leased to it comes again only when later events
    are folded, and may be late: bits may differ from the first late event on, and parity tells
    why. Elsewhere nothing is late, and every bit is the backfill's.
    """
    last = start(folder, endpoint, state, "--idle-exit", str(idle_s))
    assert last.wait(200) == 0, last.stderr.read()
    posts = {event["id"] for event in events if event["kind"] == "post"}
    decisions = hear(endpoint)
    assert {one["event_id"] for one in decisions} == posts
    online, offline = logged(state, tiny_spec), backfilled(folder, tiny_spec)
    assert online.keys() == posts
    times = {event["id"]: event["at"] for event in events}
    late = {event for event, (_, _, row) in online.items() if row["lockstep_late"]}
    assert may_be_late or not late
    first = min((times[event] for event in late), default="9999")
    assert all(online[event][:2] == offline[event] for event in online if times[event] < first)
    bundles = folder / "house" / "bundles"
    check_served(state, bundles).require()
    assert set(check_ideal(state, bundles).by_cause) <= ({"late"} if may_be_late else set())
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
        publishes = cursor(state) + 1
        process.send_signal(signal.SIGTERM)
        time.sleep(0.2)
        asked = time.monotonic()
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 128 + signal.SIGTERM
        assert time.monotonic() - asked < 5
    finally:
        running.process.send_signal(signal.SIGCONT)
    assert cursor(state) < publishes + 2, "the server did not answer, so it was in the middle"
    said = process.stderr.read()
    assert "stopped at once" in said
    assert "Traceback" not in said
    publish(running.endpoint, live[half:], disorder=1)
    check(folder, live, running.endpoint, state, tiny_spec, 2 * LEASE_S, may_be_late=True)


@pytest.mark.parametrize("after_s", [0.5, 3.0, 8.0])
def test_a_sigterm_during_the_start_ends_it_at_once_even_without_a_server(
    after_s, stream_house, running, tmp_path
):
    """Wherever it is: imports, bundle, state, or a server that does not answer the seek."""
    folder, _, _ = stream_house
    running.process.send_signal(signal.SIGSTOP)
    try:
        process = start(folder, running.endpoint, tmp_path / "state", *warm(folder), "--seek")
        time.sleep(after_s)
        asked = time.monotonic()
        process.send_signal(signal.SIGTERM)
        assert process.wait(25) in (-signal.SIGTERM, 128 + signal.SIGTERM)
        assert time.monotonic() - asked < 20  # one import of seconds is not interrupted
        assert "Traceback" not in process.stderr.read()
    finally:
        running.process.send_signal(signal.SIGCONT)


def test_a_full_disk_holds_it_up_and_room_lets_it_go_on(stream_house, running, tiny_spec, tmp_path):
    folder, events, _ = stream_house
    live, state = after_night(events), tmp_path / "state"
    half = len(live) // 2
    publish(running.endpoint, live[:half], disorder=1)
    process = start(folder, running.endpoint, state, *warm(folder))
    until(lambda: cursor(state) >= 0, process)
    [*_, segment] = sorted((state / "log").rglob("*.arrows"))
    # Room for the head of a new segment and no step, whatever has been logged by now: what a full
    # disk refuses is tried again in a new segment.
    full = pa.ipc.open_stream(segment.read_bytes()).schema.serialize().size + 8
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


def test_a_folder_that_stops_being_writable_holds_it_up(stream_house, running, tiny_spec, tmp_path):
    """Its cursor cannot be replaced: root, which runs these tests, may write read-only folders."""
    folder, events, _ = stream_house
    live, state = after_night(events), tmp_path / "state"
    half = len(live) // 2
    publish(running.endpoint, live[:half], disorder=1)
    process = start(folder, running.endpoint, state, *warm(folder))
    until(lambda: cursor(state) >= 0, process)
    (state / ".cursor").mkdir()
    publish(running.endpoint, live[half:], disorder=1)
    told = said_until("cannot be written", process)
    before = cursor(state)
    time.sleep(2)
    assert cursor(state) == before, "nothing goes on that is not noted as published"
    assert process.poll() is None
    (state / ".cursor").rmdir()
    until(lambda: cursor(state) > before, process)
    process.send_signal(signal.SIGTERM)
    assert process.wait(60) == 0
    said = told + process.stderr.read()
    assert f"the cursor in {state} cannot be written" in said
    assert "Nothing goes on" in said
    check(folder, live, running.endpoint, state, tiny_spec)


def test_a_server_that_dies_and_comes_back_on_its_port(stream_house, tiny_spec, tmp_path):
    """The loopback server forgets its messages; the scorer goes on with what comes then."""
    folder, events, _ = stream_house
    live, state = after_night(events), tmp_path / "state"
    half = len(live) // 2
    with running_server() as first:
        set_up_topics(first.endpoint)
        publish(first.endpoint, live[:half], disorder=1)
        process = start(folder, first.endpoint, state, *warm(folder))
        until(lambda: cursor(state) >= 0, process)
        assert hear(first.endpoint)
        first.process.kill()
        first.process.wait()
    time.sleep(2)
    assert process.poll() is None
    with running_server(int(first.endpoint.rpartition(":")[2])) as second:
        set_up_topics(second.endpoint)
        publish(second.endpoint, live, disorder=1)  # as a publisher does that had no answer
        before = cursor(state)
        until(lambda: cursor(state) > before + 3, process)
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0, process.stderr.read()
        last = start(folder, second.endpoint, state, "--idle-exit", "4")
        assert last.wait(200) == 0, last.stderr.read()
    online, offline = logged(state, tiny_spec), backfilled(folder, tiny_spec)
    assert online.keys() == {event["id"] for event in live if event["kind"] == "post"}
    assert not any(row["lockstep_late"] for _, _, row in online.values())
    assert all(online[event][:2] == offline[event] for event in online)
    check_served(state, folder / "house" / "bundles").require()


def test_a_port_that_is_taken_is_named_before_anything_starts(stream_house, tmp_path):
    folder, _, _ = stream_house
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        process = start(
            folder, "127.0.0.1:1", tmp_path / "state", *warm(folder), "--metrics-port", port
        )
        assert process.wait(90) == 4
    said = process.stderr.read()
    assert f"127.0.0.1:{port}" in said and "--metrics-port" in said
    assert "Traceback" not in said
    assert not (tmp_path / "state").exists()


def test_a_message_of_attributes_only_goes_to_the_dead_letter_topic(
    stream_house, running, tiny_spec, tmp_path
):
    folder, events, _ = stream_house
    live, state = after_night(events), tmp_path / "state"
    topic, heard = "projects/p/topics/dead", "projects/p/subscriptions/dead"
    ensure_topic(topic, running.endpoint)
    ensure_subscription(heard, topic, endpoint=running.endpoint)
    with TopicPublisher(EVENTS, running.endpoint) as publisher:
        (empty,) = publisher.publish([b""], [{"from": "a health check"}])
        (broken,) = publisher.publish([b"{"], [{"from": "a client"}])
    publish(running.endpoint, live, disorder=1)
    process = start(
        folder, running.endpoint, state, *warm(folder), "--dead-letters", topic, "--idle-exit", "4"
    )
    assert process.wait(200) == 0, process.stderr.read()
    puller, found = Puller(PullSettings(heard, running.endpoint)), {}
    try:
        while some := puller.take(10, 3.0):
            found |= {one.attributes["lockstep_message_id"]: one for one in some}
    finally:
        puller.close()
    assert {i: (m.data, m.attributes["from"]) for i, m in found.items()} == {
        empty: (b"", "a health check"),
        broken: (b"{", "a client"),
    }
    assert found[broken].attributes["lockstep_reason"] == "not_json"
    check(folder, live, running.endpoint, state, tiny_spec)


def test_a_folder_that_cannot_be_written_is_named(stream_house, running, tmp_path):
    folder, _, _ = stream_house
    (tmp_path / "file").write_text("")
    process = start(folder, running.endpoint, tmp_path / "file" / "state")
    assert process.wait(90) == 4
    said = process.stderr.read()
    assert str(tmp_path / "file" / "state") in said
    assert "choose another --state" in said
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
