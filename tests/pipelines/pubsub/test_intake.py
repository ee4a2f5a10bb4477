"""The intake without Beam, network or waiting: what is handed out, and when it is acknowledged."""

from __future__ import annotations

import dataclasses

from hypothesis import given
from hypothesis import strategies as st
from intake_world import SETTINGS, S, Script, ids, intake

from pipelines.pubsub.intake import Intake
from transforms.dead_letter import Reason, Stage


def test_events_come_in_order_and_are_acknowledged_when_finished() -> None:
    script = Script()
    reader = intake(script)
    script.send("m1", [["b", 2]])
    script.send("m2", [["a", 1]])
    script.send("m3", [["z", 20]])
    batch = reader.next()
    assert ids(batch) == ["a", "b"]
    assert batch is not None and batch.message_ids == ("m2", "m1")
    assert batch.publish_us.tolist() == [1000 * S, 1000 * S]
    assert script.acked == []
    reader.finish(batch.sequence)
    assert sorted(script.acked) == ["ack-m1", "ack-m2"]
    assert (reader.held, reader.unfinished) == (1, 1)


def test_a_message_of_several_events_waits_for_the_last_of_them() -> None:
    script = Script()
    reader = intake(script)
    script.send("m1", [["payment", 1], ["verdict", 100]])
    script.send("m2", [["x", 20]])
    first = reader.next()
    assert ids(first) == ["payment"]
    reader.finish(0)
    assert script.acked == []
    script.send("m3", [["y", 200]])
    second = reader.next()
    assert ids(second) == ["x", "verdict"]
    reader.finish(1)
    assert sorted(script.acked) == ["ack-m1", "ack-m2"]


def test_a_dead_message_goes_at_once_and_is_acknowledged_with_its_batch() -> None:
    script = Script()
    reader = intake(script)
    script.send("good", [["a", 1]])
    script.send("bad", b"not json")
    batch = reader.next()
    assert batch is not None and ids(batch) == []
    assert [(one.letter.reason, one.message.message_id) for one in batch.dead] == [
        (Reason.NOT_JSON, "bad")
    ]
    reader.finish(batch.sequence)
    assert script.acked == ["ack-bad"]


def test_a_message_without_events_is_acknowledged_too() -> None:
    script = Script()
    reader = intake(script)
    script.send("nothing", [])
    batch = reader.next()
    assert batch is not None and batch.dead == ()
    reader.finish(batch.sequence)
    assert script.acked == ["ack-nothing"]


def test_a_message_from_the_future_is_dead() -> None:
    script = Script()
    reader = intake(script, dataclasses.replace(SETTINGS, ahead_us=60 * S))
    script.send("m1", [["a", 1060]])
    script.send("m2", [["b", 1061], ["c", 5]])
    script.send("m3", [["d", 1061], ["e", 1062]])
    batch = reader.next()
    assert batch is not None
    assert [one.message.message_id for one in batch.dead] == ["m3"]
    letter = batch.dead[0].letter
    assert (letter.stage, letter.reason) == (Stage.READ, Reason.BAD_TIME)
    assert reader.watermark_us == 995 * S, "the clock's, not that of the fast sender"


def test_one_fast_clock_makes_nobody_late() -> None:
    script = Script()
    reader = intake(script, dataclasses.replace(SETTINGS, ahead_us=60 * S))
    late: list[bool] = []
    for second in range(20):
        script.now_us += S
        if second == 3:
            script.send("fast", [["fast", 1_000 + second + 59]])
        script.send(f"m{second}", [[f"e{second}", 1_000 + second - 2 * (second % 2)]])
        batch = reader.next()
        late += [] if batch is None else batch.late.tolist()
    assert len(late) > 10
    assert not any(late)


def test_nothing_comes_and_the_read_says_so_after_a_while() -> None:
    script = Script()
    reader = intake(script)
    before = script.now_us
    assert reader.next() is None
    assert script.now_us - before >= SETTINGS.idle_s * S


def test_an_idle_subscription_lets_the_last_events_go() -> None:
    script = Script()
    reader = intake(script)
    script.send("m1", [["a", 1]])
    started = script.now_us
    batch = None
    for _ in range(20):
        batch = batch or reader.next()
    assert ids(batch) == ["a"]
    waited = (script.now_us - started) / S
    assert 5.2 < waited < 20


def test_a_lost_connection_is_not_idleness() -> None:
    script = Script()
    reader = intake(script)
    script.send("m1", [["a", 1]])
    reader.next()
    script.connected = False
    assert [reader.next() for _ in range(20)] == [None] * 20
    script.connected = True
    assert any(reader.next() for _ in range(20))


def test_a_message_that_comes_again_while_held_is_taken_once() -> None:
    script = Script()
    reader = intake(script)
    script.send("m1", [["a", 1]])
    script.send("m1", [["a", 1]], ack="newer")
    script.send("m2", [["b", 20]])
    batch = reader.next()
    assert ids(batch) == ["a"]
    assert batch is not None and batch.redelivered == 1
    script.send("m1", [["a", 1]], ack="newest")
    reader.next()
    reader.finish(batch.sequence)
    assert script.acked == ["newest"]
    assert script.forgotten == ["ack-m1", "newer"]


def test_what_was_not_finished_is_handed_out_again_as_it_was() -> None:
    script = Script()
    reader = intake(script, dataclasses.replace(SETTINGS, batch_events=1))
    for n in range(4):
        script.send(f"m{n}", [[str(n), n]])
    script.send("m9", [["z", 30]])
    batches = [reader.next() for _ in range(3)]
    reader.finish(0)
    reader.rewind()
    again = [reader.next() for _ in range(3)]
    assert again[:2] == batches[1:]
    assert ids(again[2]) == ["3"]
    reader.finish(reader.last_sequence)
    assert script.acked == ["ack-m0", "ack-m1", "ack-m2", "ack-m3"]


def test_stopping_gives_nothing_more_and_flushing_gives_all() -> None:
    script = Script()
    reader = intake(script)
    script.send("m1", [["a", 1]])
    assert reader.next() is None
    reader.stop()
    assert reader.ended and reader.next() is None
    other_script = Script()
    other = intake(other_script)
    other_script.send("m1", [["a", 1]])
    other.next()
    other.stop(flush=True)
    assert not other.ended
    assert ids(other.next()) == ["a"]
    assert other.ended


def test_it_ends_after_an_idle_time_if_asked_to() -> None:
    script = Script()
    reader = intake(script, dataclasses.replace(SETTINGS, end_after_idle_s=3))
    script.send("m1", [["a", 1]])
    got: list[str] = []
    for _ in range(20):
        got += ids(reader.next())
    assert got == ["a"] and reader.ended


def test_a_full_client_gets_room_by_force_only_if_nothing_else_would_make_it() -> None:
    script = Script()
    reader = intake(script)
    script.send("m1", [["a", 1]])
    script.send("m2", [["b", 2]])
    assert reader.next() is None
    script.throttled = True
    batch = reader.next()
    assert ids(batch) == ["a", "b"]
    assert batch is not None and batch.forced == 2


def test_a_full_client_is_read_out_before_anything_is_forced() -> None:
    """What it holds may belong before what is here."""
    script = Script(throttled=True)
    reader = intake(script, dataclasses.replace(SETTINGS, batch_events=2))
    for second in (9, 8, 7, 6, 5, 4):
        script.send(f"m{second}", [[str(second), second]])
    batches = [reader.next() for _ in range(3)]
    assert [ids(batch) for batch in batches] == [["4", "5"], [], []]
    reader.finish(0)  # only now may more of them be forced out
    assert ids(reader.next()) == ["6", "7"]


def test_at_arrival_what_comes_is_told_before_what_is_to_be_folded() -> None:
    """One event each 60 ms, six seconds later than the one before: each lets that one go."""
    script = Script()
    reader = intake(script, at_arrival=True)
    told: list[tuple[list[str], list[str]]] = []  # what came, what is to be folded
    for number in range(12):
        script.send(f"m{number}", [[f"e{number}", 6 * number]])
        script.now_us += 60_000  # nobody was there to take it
        batch = reader.next()
        assert batch is not None
        (came,) = batch.arrived
        told.append((came.column("event_id").to_pylist(), ids(batch)))
    assert [came for came, _ in told] == [[f"e{number}"] for number in range(12)]
    folds = [len(fold) for _, fold in told if fold]
    assert folds == [4, 5], "more and more comes: with what came, a quarter of a second apart"
    before, batch = script.now_us, reader.next()
    assert batch is not None and (batch.arrived, ids(batch)) == ((), ["e9", "e10"])
    assert script.now_us - before < 1_000, "at once, since nothing had come"


def test_bad_records_and_copies_hold_nobody_up() -> None:
    script = Script()
    reader = intake(script)
    script.send("m1", [["a", 1]])
    started, got = script.now_us, []
    for number in range(2000):
        script.now_us += S // 100
        script.send(f"bad{number}", b"not json")
        script.send("m1", [["a", 1]], ack=f"again{number}")
        batch = reader.next()
        got += ids(batch)
        reader.finish(reader.last_sequence)
        if got:
            break
    assert got == ["a"]
    assert (script.now_us - started) / S < 7


def test_a_reader_that_was_away_does_not_take_its_own_silence_for_the_subscriptions() -> None:
    script = Script()
    reader = intake(script)
    script.send("m1", [["a", 100]])
    assert reader.next() is None
    script.now_us += 300 * S  # a publish that was tried again and again
    assert reader.next() is None
    assert reader.watermark_us is not None and reader.watermark_us < 100 * S
    script.send("m2", [["b", 99]])
    batches = [reader.next() for _ in range(20)]
    assert [one for batch in batches for one in ids(batch)] == ["b", "a"]


def test_order_waits_while_what_was_leased_may_still_come() -> None:
    script = Script(unsettled=True)
    reader = intake(script)
    begin, got = script.now_us, []
    while len(got) < 2:
        seconds = (script.now_us - begin) // S
        script.unsettled = seconds < 11
        script.send(f"m{seconds}", [[f"n{seconds:02d}", 100 + seconds]])
        if 8 <= seconds < 10:  # the lease of an earlier connection ends
            script.send(f"held{seconds}", [[f"held{seconds}", 90 + seconds]])
        script.now_us += S // 2
        batch = reader.next()
        assert batch is None or not batch.late.any()
        got += ids(batch)
        assert not got or script.now_us - begin >= 11 * S
    assert got[0].startswith("held") and "n00" in got


@given(st.data())
def test_every_message_is_acknowledged_once_and_only_after_its_batch(data: st.DataObject) -> None:
    """Whatever arrives, fails and comes again."""
    script = Script()
    reader = intake(script, dataclasses.replace(SETTINGS, batch_events=3, idle_s=0.1))
    sent = data.draw(st.lists(st.lists(st.integers(0, 60), max_size=3), max_size=15))
    finished: set[str] = set()
    expected: list[str] = []
    for number, times in enumerate(sent):
        script.send(f"m{number}", [[f"{number}-{i}", t] for i, t in enumerate(times)])
        expected += [f"{number}-{i}" for i in range(len(times))]
        if data.draw(st.booleans()):
            step(reader, script, finished, data.draw(st.booleans()))
    reader.stop(flush=True)
    script.waiting, left = [], {one.message_id for one in script.waiting}
    while not reader.ended or reader._out:
        step(reader, script, finished, data.draw(st.booleans()) or reader.ended)
    assert sorted(finished) == sorted(
        name for name in expected if f"m{name.split('-')[0]}" not in left
    )
    assert sorted(script.acked) == sorted(
        f"ack-m{n}" for n in range(len(sent)) if f"m{n}" not in left
    )
    assert reader.unfinished == 0


def step(reader: Intake, script: Script, finished: set[str], works: bool) -> None:
    batch = reader.next()
    if not works:
        reader.rewind()
        return
    if batch is not None:
        finished.update(ids(batch))
    before = set(script.acked)
    reader.finish(reader.last_sequence if batch is None else batch.sequence)
    for ack_id in set(script.acked) - before:
        number = ack_id.removeprefix("ack-m")
        assert all(name.split("-")[0] != number for name in ids_held(reader))


def ids_held(reader: Intake) -> list[str]:
    chunks = reader._buffer._held + ([reader._buffer._ready] if reader._buffer._ready else [])
    return [name for c in chunks for name in c.batch.column("event_id").to_pylist()[c.start :]]
