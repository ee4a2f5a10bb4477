"""A reader of an engine without Beam, network or waiting: batches, cuts, acks and the watermark."""

from __future__ import annotations

import dataclasses
import json
import time

import pytest

from configs.loader import loads
from pipelines.pubsub.admin import ensure_subscription, ensure_topic
from pipelines.pubsub.client import RawMessage
from pipelines.pubsub.intake import Clocks
from pipelines.pubsub.read import decode_messages
from pipelines.pubsub.session import ReaderSettings, Session, times_spec
from pipelines.pubsub.source import Note, NoteCoder, Sessions, _Pull
from transforms.catalog import CATALOG
from transforms.decode import decode_json
from transforms.ticks import fold_ticks

S = 1_000_000
BOUND = 5 * S
SUBSCRIPTION = "projects/p/subscriptions/sub"
SETTINGS = ReaderSettings(
    SUBSCRIPTION, disorder_us=BOUND, idle_after_us=S, ahead_us=60 * S, batch_events=4,
    latency_s=1.0, idle_s=0.5, drained_s=10.0, lease_s=30,
)  # fmt: skip
SPEC = loads(
    """
lockstep: 1
name: session
events: {time_unit: s}
columns: {who: {type: string}, text: {type: string}}
kinds: {k: {scored: true, required: [who]}}
entities: {who: {key: {k: [who]}, windows: [1d], aggregates: {n: {op: count, of: k}}}}
""",
    "session.yaml",
    CATALOG,
)
START_S = 1_700_000_000


@dataclasses.dataclass
class Script:
    """A client that gives what it is told to, and moves the clock when it has nothing."""

    now_us: int = START_S * S
    connected: bool = True
    throttled: bool = False
    closed: bool = False
    waiting: list[RawMessage] = dataclasses.field(default_factory=list)
    acked: list[str] = dataclasses.field(default_factory=list)
    forgotten: list[str] = dataclasses.field(default_factory=list)

    def send(self, name: str, seconds: float | None = None, ack: str = "", **more: str) -> None:
        event = {"event_id": name, "event_time": seconds, "kind": "k", "who": "a", **more}
        data = b"no JSON" if seconds is None else json.dumps(event).encode()
        self.waiting.append(RawMessage(ack or f"ack-{name}", name, self.now_us, data))

    def take(self, most: int, timeout_s: float) -> list[RawMessage]:
        if not self.waiting:
            self.now_us += max(1, int(timeout_s * S))
        some, self.waiting = self.waiting[:most], self.waiting[most:]
        return some

    def acknowledge(self, ack_ids):
        self.acked += ack_ids

    def forget(self, ack_ids):
        self.forgotten += ack_ids

    def close(self) -> bool:
        self.closed = True
        return True

    def clocks(self) -> Clocks:
        return Clocks(lambda: self.now_us, lambda: self.now_us / S)


@pytest.fixture
def script():
    return Script()


@pytest.fixture
def session(script):
    return Session(SPEC, SETTINGS, script, script.clocks())


def report(session, *cuts):
    """A checkpoint is complete: the engine reports bundles that have ended, here (cut, turn)."""
    for cut, turn in cuts:
        session.finish(cut, turn)


def settle(session):
    """Two checkpoints more, each with a bundle that gave nothing out."""
    for _ in range(2):
        report(session, (session.cut(), session.turn))


def test_acks_wait_until_a_checkpoint_covers_them(script, session):
    for number in range(6):
        script.send(f"m{number}", START_S)
    assert session.read().batch.num_rows == 4
    first = session.cut(), session.turn
    report(session, first)  # perhaps it ended after the checkpoint was taken
    assert session.read().batch.num_rows == 2
    second = session.cut(), session.turn
    report(session, first, second)
    assert script.acked == []
    third = session.cut(), session.turn
    report(session, third)
    assert sorted(script.acked) == [f"ack-m{n}" for n in range(4)]
    report(session, (session.cut(), session.turn))
    assert sorted(script.acked) == [f"ack-m{n}" for n in range(6)]
    assert session.outstanding == 0


def test_bundles_that_are_reported_together_vouch_for_none_of_themselves(script, session):
    cuts = []
    for number in range(5):
        script.send(f"m{number}", START_S)
        session.read()
        cuts.append((session.cut(), session.turn))
    report(session, *cuts)
    report(session, *cuts)
    assert script.acked == []
    settle(session)
    assert len(script.acked) == 5


def test_what_is_not_cut_is_acknowledged_by_nothing(script, session):
    settle(session)
    script.send("m", START_S)
    session.read()
    report(session, (99, 99))
    assert script.acked == []
    report(session, (session.cut(), session.turn))
    settle(session)
    assert script.acked == ["ack-m"]


def test_a_message_that_comes_again_is_given_out_once_and_its_newest_delivery_acknowledged(
    script, session
):
    script.send("m", START_S)
    session.read()
    script.send("m", START_S, ack="later")
    assert session.read() is None
    assert script.forgotten == ["ack-m"]
    report(session, (session.cut(), session.turn))
    settle(session)
    assert script.acked == ["later"]


def test_late_is_what_comes_before_the_watermark_of_its_batch(script, session):
    assert session.watermark_us is None
    script.send("a", START_S)
    read = session.read()
    assert (read.watermark_us, session.watermark_us) == (None, START_S * S - BOUND)
    script.send("b", START_S - 7)
    script.send("c", START_S - 2)
    read = session.read()
    events, dead = decode_messages(SPEC, read.batch, SUBSCRIPTION, SETTINGS.ahead_us)
    _, late = fold_ticks(events.column("event_time").to_numpy(), read.watermark_us, S)
    assert (late.tolist(), dead) == ([True, False], None)


def test_an_idle_reader_does_not_hold_the_watermark(script, session):
    script.send("a", START_S - 3600)  # a backlog, of which the others get the rest
    session.read()
    at = session.watermark_us
    assert at == (START_S - 3600) * S - BOUND
    for _ in range(10):  # up to the clock less the bound, once nothing comes for `drained_s`
        assert session.read() is None
    assert at < session.watermark_us < script.now_us - 3000 * S
    for _ in range(20):
        session.read()
    assert session.watermark_us == script.now_us - BOUND


def test_a_reader_that_never_saw_a_message_follows_the_clock_too(script, session):
    for _ in range(30):
        session.read()
    assert session.watermark_us == script.now_us - BOUND


@pytest.mark.parametrize("state", [{"connected": False}, {"throttled": True}])
def test_silence_that_says_nothing_moves_nothing(state, script, session):
    script.send("a", START_S - 3600)
    session.read()
    at = session.watermark_us
    for name, value in state.items():
        setattr(script, name, value)
    for _ in range(60):
        session.read()
    assert session.watermark_us == at


def test_after_a_reader_that_is_gone_order_waits_for_what_it_held(script):
    before_us = (START_S - 60) * S
    grace_until_us = script.now_us + 35 * S
    session = Session(SPEC, SETTINGS, script, script.clocks(), before_us, grace_until_us)
    script.send("new", START_S)
    assert session.read().watermark_us == before_us
    assert session.watermark_us == before_us
    script.now_us += 36 * S
    script.send("newer", START_S + 36)
    session.read()
    assert session.watermark_us == (START_S + 36) * S - BOUND


def test_a_clock_that_is_fast_makes_nobody_late_and_a_poison_record_passes(script, session):
    script.send("fast", START_S + 30)
    script.send("absurd", START_S + 3600)
    script.send("poison")
    read = session.read()
    assert read.batch.num_rows == 3
    assert session.watermark_us <= script.now_us - BOUND
    events, dead = decode_messages(SPEC, read.batch, SUBSCRIPTION, SETTINGS.ahead_us)
    assert events.column("event_id").to_pylist() == ["fast"]
    assert dead.column("reason").to_pylist() == ["not_json", "bad_time"]
    assert dead.column("record")[0].as_py() == b"no JSON"
    assert dead.column("message_id").to_pylist() == ["poison", "absurd"]


def test_times_are_those_of_the_whole_decoding():
    records = [
        json.dumps({"event_id": "a", "event_time": START_S, "kind": "k", "who": "x"}).encode(),
        json.dumps({"event_id": "b", "event_time": "2026-03-01T00:00:00Z", "kind": "k"}).encode(),
        json.dumps({"event_id": "c", "event_time": START_S, "kind": "unknown"}).encode(),
        b"[]",
    ]
    made = decode_json(times_spec(SPEC), records, SUBSCRIPTION)
    whole = decode_json(SPEC, records[:1], SUBSCRIPTION)
    assert made.positions.tolist() == [0, 1]
    assert made.batch.column("event_time")[0] == whole.batch.column("event_time")[0]


def test_a_session_goes_on_from_bundle_to_bundle_and_ends_when_the_job_goes_back(script):
    sessions, begun = Sessions(), []

    def begin(note):
        begun.append(note)
        return Session(SPEC, SETTINGS, script if not begun[1:] else Script(), script.clocks())

    name, session = sessions.go_on(None, begin)
    script.send("m", START_S)
    session.read()
    through = session.cut()
    note = Note(name, session.turn, session.watermark_us)
    assert sessions.go_on(note, begin) == (name, session)
    sessions.finish(name, through, session.turn)
    settle(session)
    note = Note(name, session.turn, session.watermark_us)
    assert script.acked == ["ack-m"]
    script.send("n", START_S)
    session.read()
    session.cut()
    other, fresh = sessions.go_on(note, begin)  # of a checkpoint before "n"
    assert other != name and fresh is not session and script.closed
    assert begun == [None, note]
    sessions.finish(name, 2, 9)  # of a bundle of the attempt that failed
    assert script.acked == ["ack-m"]


def test_a_reader_that_gave_nothing_out_since_the_checkpoint_waits_for_what_another_one_held(
    script,
):
    """Its worker lives on; the messages of one that was killed come to it when their leases end."""
    sessions, again = Sessions(), Script()

    def begin(note):
        if note is None:
            return Session(SPEC, SETTINGS, script, script.clocks())
        grace_us = again.now_us + 60 * S
        return Session(SPEC, SETTINGS, again, again.clocks(), note.watermark_us, grace_us)

    name, session = sessions.go_on(None, begin)
    script.send("m", START_S)
    session.read()
    session.cut()
    note = Note(name, session.turn, session.watermark_us)  # the checkpoint
    assert session.read() is None
    session.cut()  # a bundle that gave nothing out
    _, fresh = sessions.go_on(note, begin)
    assert fresh is not session and script.closed
    again.send("newer", START_S + 20)
    fresh.read()
    again.send("held by the other", START_S - 1)
    watermark_us = fresh.read().watermark_us
    assert watermark_us <= (START_S - 1) * S  # it is not late


def test_a_session_that_was_forgotten_is_begun_anew(script):
    sessions = Sessions()
    name, session = sessions.go_on(None, lambda note: Session(SPEC, SETTINGS, script))
    session.close()
    other, fresh = sessions.go_on(
        Note(name, 0, None), lambda note: Session(SPEC, SETTINGS, Script())
    )
    assert other != name and not fresh.closed


def test_a_note_of_another_release_is_refused_by_name():
    with pytest.raises(ValueError, match=r"expected b'LSREAD\\x01'; go on from a savepoint"):
        NoteCoder().decode(b"LSREAD\x02")


@pytest.mark.parametrize(("deadline_s", "lease_s", "waits_s"), [(60, 10, 65), (10, 30, 35)])
def test_a_reader_that_begins_again_waits_for_the_longest_lease_of_the_one_before(
    lockstep_server, deadline_s, lease_s, waits_s
):
    """A message is leased for the subscription's own deadline until it is extended."""
    name = f"{SUBSCRIPTION}-{deadline_s}"
    ensure_topic("projects/p/topics/session", lockstep_server)
    ensure_subscription(
        name, "projects/p/topics/session", lockstep_server, ack_deadline_s=deadline_s
    )
    settings = ReaderSettings(name, lockstep_server, lease_s=lease_s)
    before_us = time.time_ns() // 1000
    session = _Pull(SPEC, settings)._begin(Note("gone", 3, 7))
    after_us = time.time_ns() // 1000
    session.close()
    assert session.watermark_us == 7
    assert before_us <= session._watermark._until_us - waits_s * S <= after_us
