"""The metrics endpoint: off unless asked for, on loopback, every figure, and nobody's name."""

import contextlib
import dataclasses
import itertools
import socket
import threading
import time
import urllib.error
import urllib.request

import pytest
from prometheus_client.parser import text_string_to_metric_families
from stream_world import EVENTS, after_night, publish, request

from configs.errors import InputError
from pipelines.pubsub.publisher import TopicPublisher
from pipelines.streaming.health import Health
from pipelines.streaming.metrics import MetricsServer
from pipelines.streaming.run import StreamRequest, stream


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def scrape(port):
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as answer:
        return answer.read().decode()


def lingering(asked):
    """Stays long enough after the last event for its figures to be read."""
    source = dataclasses.replace(asked.source, end_after_idle_s=6.0)
    return dataclasses.replace(asked, source=source)


def values(text):
    """Sample name and labels -> value."""
    return {
        (sample.name, *sorted(sample.labels.values())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


class Reader:
    connected = True


class Signals:
    asked = False


def health(clock=time.monotonic):
    return Health(Signals(), clock)


def asked(port, path):
    """Status and text of an answer."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=5) as answer:
            return answer.status, answer.read().decode().strip()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode().strip()


def test_they_tell_whether_a_scorer_is_alive_and_ready():
    now, port = [100.0], free_port()
    told = health(lambda: now[0])
    with MetricsServer(port, told):
        assert asked(port, "/livez") == (200, "alive")
        assert asked(port, "/readyz") == (503, "starting: the state is read back")
        now[0] += 3600  # a start may take long
        assert asked(port, "/livez") == (200, "alive")
        reader = Reader()
        told.begin(reader)
        assert asked(port, "/readyz") == (200, "ready")
        reader.connected = False
        assert asked(port, "/readyz") == (503, "the subscription does not answer")
        reader.connected = True
        now[0] += 20
        assert asked(port, "/readyz") == (503, "held up for 20 s: see the log")
        assert asked(port, "/livez") == (200, "alive")
        now[0] += 600
        assert asked(port, "/livez") == (503, "the loop has stood still for 620 s")
        told.turn()
        assert asked(port, "/livez") == (200, "alive")
        told._stopping.asked = True
        assert asked(port, "/readyz") == (503, "stopping")
        assert scrape(port) == ""


def test_they_are_off_unless_asked_for():
    assert StreamRequest.__dataclass_fields__["metrics_port"].default is None


@pytest.mark.slow
def test_every_figure_of_a_run_is_told(stream_house, server, tmp_path):
    folder, events, made = stream_house
    live, port, seen, readiness = after_night(events), free_port(), [], []
    with TopicPublisher(EVENTS, server) as publisher:
        publisher.publish([b"\xff", b"{"])
    publish(server, live, disorder=1, duplicates=0.1)
    over = threading.Event()

    def watch():
        while not over.wait(0.1):
            try:
                readiness.append(asked(port, "/readyz")[1])
                seen.append(scrape(port))
            except OSError:
                time.sleep(0.1)

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        report = stream(lingering(request(folder, server, tmp_path / "state", metrics_port=port)))
    finally:
        over.set()
        watcher.join()
    told = [one for one, _ in itertools.groupby(readiness)]
    assert "ready" in told, told
    found = values(seen[-1])
    counts = report.counts
    posts = [event for event in live if event["kind"] == "post"]
    assert found["lockstep_events_total",] == counts.events == len(live)
    assert found["lockstep_decisions_total",] == len(posts)
    assert found["lockstep_duplicates_total",] == counts.duplicates > 0
    assert found["lockstep_late_total",] == counts.late
    by_action = {name[1]: n for name, n in found.items() if name[0] == "lockstep_actions_total"}
    assert sum(by_action.values()) == len(posts)
    dead = {name[1]: n for name, n in found.items() if name[0] == "lockstep_dead_letters_total"}
    assert dead == {"not_utf8": 1, "not_json": 1}
    for name in ("buffer_events", "unacknowledged", "watermark_lag_seconds", "next_step"):
        assert (f"lockstep_{name}",) in found
    for stage in ("decode", "score", "log", "publish"):
        assert found["lockstep_stage_seconds_sum", stage] > 0
        steps = found["lockstep_stage_seconds_count", stage]
        assert found["lockstep_stage_seconds_bucket", "+Inf", stage] == steps > 0
    assert found["lockstep_decision_seconds_count",] == len(posts)
    assert found["lockstep_decision_seconds_bucket", "+Inf"] == len(posts)
    for name in ("forced", "refused_bundles", "before_start", "swaps"):
        assert found[f"lockstep_{name}_total",] == 0
    assert all(found["lockstep_keys", entity] > 0 for entity in made_entities(found))
    assert all(found["lockstep_state_bytes", entity] > 0 for entity in made_entities(found))
    assert found["lockstep_bundle", made.bundle] == 1
    assert found["lockstep_bundle_age_seconds",] > 0
    people = {event["who"] for event in live if event.get("who")}
    texts = {event["text"] for event in live if event.get("text")}
    for text in seen:
        assert not any(f'"{one}"' in text for one in people | texts)


def made_entities(found):
    return [name[1] for name in found if name[0] == "lockstep_keys"]


def other_addresses():
    """This machine's addresses that are not loopback's, as far as it knows them."""
    try:
        found = {info[4][0] for info in socket.getaddrinfo(socket.gethostname(), None)}
    except OSError:
        return []
    return [one for one in found if not one.startswith("127.") and one != "::1"]


@pytest.mark.slow
def test_only_this_machine_can_ask(stream_house, server, tmp_path):
    folder, port, answers, reached = stream_house[0], free_port(), [], []

    def ask():
        end = time.monotonic() + 60
        while not answers and time.monotonic() < end:
            try:
                answers.append(scrape(port))
            except OSError:
                time.sleep(0.1)
        for one in other_addresses():
            with contextlib.suppress(OSError):
                socket.create_connection((one, port), 1).close()
                reached.append(one)

    asker = threading.Thread(target=ask)
    asker.start()
    publish(server, after_night(stream_house[1])[:200], disorder=1)
    stream(lingering(request(folder, server, tmp_path / "state", metrics_port=port)))
    asker.join()
    assert answers
    assert not reached
    socket.create_server(("127.0.0.1", port)).close()  # it is let go with the scorer


def test_a_port_that_is_no_port_is_an_error(tmp_path):
    for port in (70_000, -1):
        with pytest.raises(InputError, match="--metrics-port"), MetricsServer(port, health()):
            pass
