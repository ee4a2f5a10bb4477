"""Dead letters: one line each by day, kept for so long, and the message as it was on the topic."""

import base64
import datetime as dt
import json
import stat

import pytest

from pipelines.pubsub.client import RawMessage
from pipelines.pubsub.micro_batch import DeadMessage
from pipelines.pubsub.protocol import MAX_ATTRIBUTES, MAX_BYTES
from pipelines.pubsub_server.checks import check_messages
from pipelines.pubsub_server.messages import Outgoing
from pipelines.streaming import dead_letters as module
from pipelines.streaming.dead_letters import DeadLetters, dead_attributes
from transforms.dead_letter import DeadLetter, Reason, Stage

DAY = dt.date(2026, 3, 8)


def dead(data=b"{", attributes=None, column="at", number=7):
    letter = DeadLetter(Stage.DECODE, Reason.NOT_JSON, "subscription", 0, column, "expected JSON")
    return DeadMessage(letter, RawMessage("ack", f"m{number}", 0, data, attributes or {}))


class Topic:
    def __init__(self):
        self.sent = []

    def publish(self, data, attributes=None):
        check_messages([Outgoing(d, a) for d, a in zip(data, attributes, strict=True)])
        self.sent += zip(data, attributes, strict=True)
        return []


def lines(root, day=DAY):
    text = (root / "dead_letters" / f"date={day}.jsonl").read_text()
    return [json.loads(line) for line in text.splitlines()]


@pytest.fixture
def made(tmp_path):
    days = [DAY]

    def make(topic=None, keep_days=30):
        return DeadLetters(tmp_path, topic, keep_days, lambda: days[-1])

    make.days = days
    return make


def test_a_line_says_why_and_without_a_topic_it_keeps_the_record(made, tmp_path):
    made().write([dead(b"\xff{", {"from": "x"}), dead(b"", {"only": "me"}, None, 8)])
    first, second = lines(tmp_path)
    assert first == {
        "stage": "decode",
        "reason": "not_json",
        "column": "at",
        "detail": "expected JSON",
        "message_id": "m7",
        "payload": base64.b64encode(b"\xff{").decode(),
        "attributes": {"from": "x"},
    }
    assert second["payload"] == "" and second["attributes"] == {"only": "me"}


def test_with_a_topic_the_record_is_there_and_not_in_the_folder(made, tmp_path):
    topic = Topic()
    letters = made(topic)
    letters.write([dead(b"secret")])
    letters.publish([dead(b"secret", {"from": "x"})])
    assert "payload" not in lines(tmp_path)[0] and "attributes" not in lines(tmp_path)[0]
    assert topic.sent == [
        (
            b"secret",
            {
                "from": "x",
                "lockstep_stage": "decode",
                "lockstep_reason": "not_json",
                "lockstep_column": "at",
                "lockstep_message_id": "m7",
            },
        )
    ]


def test_a_message_of_attributes_only_can_be_published(made):
    topic = Topic()
    made(topic).publish([dead(b"", {"a": "b"}), dead(b"", {}, None)])
    assert [data for data, _ in topic.sent] == [b"", b""]
    assert all(attributes["lockstep_reason"] == "not_json" for _, attributes in topic.sent)


def test_attributes_stay_within_what_pubsub_takes(made):
    many = {f"k{n}": "v" for n in range(MAX_ATTRIBUTES)} | {"googclient_x": "1"}
    found = dead_attributes(dead(attributes=many | {"lockstep_reason": "of before"}))
    assert len(found) == MAX_ATTRIBUTES
    assert found["lockstep_reason"] == "not_json"
    assert int(found["lockstep_left_out"]) == MAX_ATTRIBUTES - (MAX_ATTRIBUTES - 5)
    assert not any(name.startswith("goog") for name in found)
    topic = Topic()
    made(topic).publish([dead(attributes=many)])
    assert len(topic.sent) == 1


def test_what_is_too_large_for_the_topic_stays_in_the_folder(made, tmp_path):
    topic = Topic()
    letters, large = made(topic), dead(b"x" * (MAX_BYTES - 100))
    letters.write([large, dead()])
    letters.publish([large, dead()])
    assert [data for data, _ in topic.sent] == [b"{"]
    first, second = lines(tmp_path)
    assert len(first["payload"]) > MAX_BYTES and "payload" not in second


def test_files_are_by_day_for_their_owner_alone_and_go_after_a_while(made, tmp_path):
    letters = made(keep_days=3)
    for ahead in range(5):
        made.days.append(DAY + dt.timedelta(days=ahead))
        letters.write([dead(number=ahead)])
        letters.write([dead(number=ahead)])
    names = sorted(path.name for path in (tmp_path / "dead_letters").iterdir())
    assert names == [f"date=2026-03-{day}.jsonl" for day in ("10", "11", "12")]
    assert len(lines(tmp_path, dt.date(2026, 3, 12))) == 2
    for path in (tmp_path / "dead_letters").iterdir():
        assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_write_that_fails_in_the_middle_leaves_no_torn_line(made, tmp_path, monkeypatch):
    letters, write = made(), module.os.write
    letters.write([dead()])

    def partly(handle, data):
        if len(data) > 50:
            return write(handle, data[:50])
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(module.os, "write", partly)
        with pytest.raises(OSError, match="No space"):
            letters.write([dead(), dead()])
    letters.write([dead(number=9)])
    assert [line["message_id"] for line in lines(tmp_path)] == ["m7", "m9"]


def test_lines_are_flushed_before_it_returns(made, monkeypatch):
    flushed = []
    monkeypatch.setattr(module.os, "fsync", lambda handle: flushed.append(handle))
    made().write([dead()])
    assert flushed
