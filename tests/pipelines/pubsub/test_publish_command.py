"""`lockstep publish`: a file's events on both servers, with disorder, doubles and a rate."""

import json
from collections import Counter

import pytest
from backfill_world import CONFIG, make_events

from configs.loader import loads
from pipelines import publish as module
from pipelines.commands import main
from pipelines.publish import PublishSettings, publish
from pipelines.pubsub.client import Puller, PullSettings
from transforms.catalog import CATALOG


@pytest.fixture
def source(tmp_path):
    (tmp_path / "tiny.yaml").write_text(CONFIG)
    events = sorted(make_events(200), key=lambda event: event["at"])
    (tmp_path / "events.jsonl").write_text("".join(json.dumps(e) + "\n" for e in events))
    return tmp_path, events


def test_the_command_creates_and_publishes(source, desk, endpoint, monkeypatch, capsys):
    folder, events = source
    topic, subscription = desk.name("topics"), desk.name("subscriptions")
    asked = ["publish", str(folder / "tiny.yaml"), "--input", str(folder / "events.jsonl")]
    asked += ["--topic", topic, "--endpoint", endpoint, "--create", "--subscription", subscription]
    asked += ["--shuffle", "7200", "--duplicates", "0.3", "--late", "0.1", "--quiet"]
    monkeypatch.setattr("sys.argv", ["lockstep", *asked])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 0
    sent = int(capsys.readouterr().out.split()[0])
    puller = Puller(PullSettings(subscription, endpoint))
    got = []
    while len(got) < sent and (some := puller.take(1000, 10.0)):
        got += [json.loads(one.data)["id"] for one in some]
        puller.acknowledge([one.ack_id for one in some])
    puller.close()
    copies = Counter(got)
    assert copies.keys() == {event["id"] for event in events}
    assert set(copies.values()) == {1, 2}
    assert list(dict.fromkeys(got)) != [event["id"] for event in events]


def ended_with(monkeypatch, *arguments):
    monkeypatch.setattr("sys.argv", ["lockstep", "publish", *arguments])
    with pytest.raises(SystemExit) as ended:
        main()
    return ended.value.code


def test_the_command_publishes_simulated_events(desk, endpoint, monkeypatch, capsys):
    topic, subscription = desk.name("topics"), desk.name("subscriptions")
    asked = ["chat", "--simulate", "1k", "--days", "1", "--start", "2026-04-01", "--seed", "5"]
    asked += ["--topic", topic, "--endpoint", endpoint, "--create", "--quiet"]
    assert ended_with(monkeypatch, *asked, "--subscription", subscription) == 0
    sent = int(capsys.readouterr().out.split()[0].replace(",", ""))
    puller, got = Puller(PullSettings(subscription, endpoint)), 0
    while got < sent and (some := puller.take(1000, 10.0)):
        got += len(some)
        puller.acknowledge([one.ack_id for one in some])
    puller.close()
    assert got == sent > 700


@pytest.mark.parametrize("more", [[], ["--input", "a", "--simulate", "10"]])
def test_the_command_wants_one_source(monkeypatch, capsys, more):
    assert ended_with(monkeypatch, "chat", "--topic", "projects/p/topics/t", *more) == 2
    assert "either --input or --simulate" in capsys.readouterr().err


@pytest.mark.parametrize("topic", ["events", "projects/p/topic/events", "projects/p/topics/e"])
def test_a_malformed_name_is_named_without_a_server(monkeypatch, capsys, topic):
    monkeypatch.delenv("PUBSUB_EMULATOR_HOST", raising=False)
    assert ended_with(monkeypatch, "chat", "--topic", topic, "--simulate", "10") == 4
    assert f"{topic!r} is no topic name; expected projects/PROJECT/" in capsys.readouterr().err


def test_a_malformed_subscription_is_named_too(monkeypatch, capsys):
    monkeypatch.delenv("PUBSUB_EMULATOR_HOST", raising=False)
    more = ("--topic", "projects/p/topics/events", "--subscription", "all", "--simulate", "10")
    assert ended_with(monkeypatch, "chat", *more) == 4
    assert "'all' is no subscription name; expected projects/" in capsys.readouterr().err


class Clock:
    """Time that passes only by sleeping."""

    def __init__(self):
        self.now = 0.0

    def monotonic(self):
        return self.now

    def sleep(self, seconds):
        self.now += seconds


@pytest.mark.parametrize("rate", [7.0, 100.0, 5000.0])
def test_a_rate_is_kept(source, monkeypatch, rate):
    folder, events = source
    clock = Clock()
    monkeypatch.setattr(module, "time", clock)
    sent = []

    def send(batch):
        sent.extend(batch)
        assert len(batch) <= max(1.0, rate / 20)
        clock.now += 0.5 * len(batch) / rate  # the server takes its time, and that is made good

    spec = loads(CONFIG, "tiny.yaml", CATALOG)
    publish(str(folder / "events.jsonl"), spec, send, PublishSettings(rate=rate))
    assert len(sent) == len(events)
    assert clock.now == pytest.approx(len(events) / rate)
