"""The intake with an arrival log: what is acknowledged when, and what a restart takes in."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import pytest
from intake_world import SETTINGS, SPEC, S, Script, decode, ids

from pipelines.pubsub.client import RawMessage
from pipelines.pubsub.intake import Clocks, Intake, Logged


@dataclasses.dataclass
class Log:
    """An arrival log that is a list; or a disk that fails."""

    script: Script
    logged: list[Logged] = dataclasses.field(default_factory=list)
    fails: bool = False

    def append(self, messages: Sequence[RawMessage], clock_us: int) -> int:
        if self.fails:
            raise OSError(5, "Input/output error")
        first = sum(len(one.messages) for one in self.logged)
        assert not {one.ack_id for one in messages} & {*self.script.acked}, "acknowledged before"
        kept = [dataclasses.replace(one, ack_id="") for one in messages]
        self.logged.append(Logged(first, clock_us, kept))
        return first


def logging_intake(script: Script, log: Log) -> Intake:
    clocks = Clocks(lambda: script.now_us, lambda: script.now_us / S)
    return Intake(SPEC, SETTINGS, decode, script, clocks, arrivals=log)


def test_with_an_arrival_log_a_message_is_acknowledged_when_it_is_there() -> None:
    script = Script()
    log = Log(script)
    reader = logging_intake(script, log)
    script.send("m1", [["a", 1]])
    script.send("m2", [["b", 2], ["c", 90]])
    script.send("bad", b"not json")
    batch = reader.next()
    assert batch is not None and batch.arrivals == (2,), "the dead one, nothing else is complete"
    assert script.acked == ["ack-m1", "ack-m2", "ack-bad"]
    script.send("m1", [["a", 1]], ack="again")
    script.send("m3", [["d", 50]])
    batch = reader.next()
    assert batch is not None and (ids(batch), batch.arrivals) == (["a", "b"], (0,))
    assert script.acked[3:] == ["again", "ack-m3"], "what came again is logged already"
    assert [len(one.messages) for one in log.logged] == [3, 1]
    reader.finish(batch.sequence)
    assert reader.unfinished == 2


def test_what_cannot_be_logged_is_not_acknowledged() -> None:
    script = Script()
    reader = logging_intake(script, Log(script, fails=True))
    script.send("m1", [["a", 1]])
    with pytest.raises(OSError, match="Input/output error"):
        reader.next()
    assert script.acked == []


def test_a_restart_takes_in_what_was_logged_and_the_pause_moves_nothing() -> None:
    """What is held stays held until later events come, however long the scorer was away."""
    script = Script()
    log = Log(script)
    reader = logging_intake(script, log)
    for name, second in (("m1", 100), ("m2", 101), ("m3", 107)):
        script.send(name, [[name, second]])
    before = reader.next()
    assert ids(before) == ["m1", "m2"]
    script.now_us += 3600 * S
    again = logging_intake(script, Log(script))
    again.recover([Logged(2, log.logged[0].clock_us, log.logged[0].messages[2:])])
    assert again.watermark_us == 102 * S, "as it was"
    script.send("m4", [["m4", 106]])
    script.send("m5", [["m5", 120]])
    batch = again.next()
    assert ids(batch) == ["m4", "m3"]
    assert batch is not None and not batch.late.any()
    assert script.acked[3:] == ["ack-m4", "ack-m5"]


def test_after_ten_minutes_of_silence_a_burst_is_decided_in_order() -> None:
    """Live event times; what is published later arrives up to four seconds before its turn."""
    script = Script(now_us=1_000 * S)
    reader = logging_intake(script, Log(script))
    script.send("m0", [["before", 1_000]])
    for _ in range(700):
        reader.next()
    assert script.now_us >= 1_600 * S
    now, late, got = script.now_us // S, [], []
    order = sorted(range(200), key=lambda n: n + 37 * (n % 100) % 100)
    for n in order:
        script.send(f"b{n}", [[f"b{n:03d}", now - 4 + n // 50]])
    for _ in range(30):
        batch = reader.next()
        got += ids(batch)
        late += [] if batch is None else batch.late.tolist()
    assert got == [f"b{n:03d}" for n in range(200)]
    assert not any(late)
