"""The disorder buffer: total order, lateness, idleness, clocks that are ahead, and its bound."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from configs.loader import loads
from transforms.catalog import CATALOG
from transforms.decode import event_schema
from transforms.disorder import DisorderBuffer, OrderSettings, Released
from transforms.order import Position, position_of

BOUND = 5
SETTINGS = OrderSettings(bound_us=BOUND, idle_after_us=3, ahead_us=None)
SPEC = loads(
    """
lockstep: 1
name: order
columns: {who: {type: string}, of: {type: string}, bad: {type: boolean}}
kinds: {k: {scored: true}, judged: {}}
entities: {who: {key: {k: [who]}, windows: [1d], aggregates: {n: {op: count, of: k}}}}
labels: {kind: judged, subject: of, positive: "bad == 1"}
""",
    "order.yaml",
    CATALOG,
)


def events(rows: Sequence[tuple[int, str]], kind: str = "k", who: str = "") -> pa.RecordBatch:
    made = [{"event_id": name, "event_time": time, "kind": kind, "who": who} for time, name in rows]
    return pa.RecordBatch.from_pylist(made, event_schema(SPEC))


def position(time: int, name: str) -> Position:
    return position_of(SPEC, events([(time, name)]), 0)


def add(
    buffer: DisorderBuffer, *rows: tuple[int, str], now: int = 0, refs: Sequence[int] = ()
) -> list[int]:
    given_refs = np.asarray(refs or range(len(rows)), np.int64)
    return buffer.add(events(rows), given_refs, now).tolist()


def shown(released: Released | None) -> list[str]:
    """ "9a" for the event a of time 9, "1b!" for a late one."""
    if released is None:
        return []
    rows = zip(
        released.batch.column("event_time").to_pylist(),
        released.batch.column("event_id").to_pylist(),
        released.late.tolist(),
        strict=True,
    )
    return [f"{time}{name}{'!' if late else ''}" for time, name, late in rows]


def take(buffer: DisorderBuffer, limit: int = 100) -> list[str]:
    return shown(buffer.take(limit))


def test_the_timeline_of_the_docstring() -> None:
    buffer = DisorderBuffer(SPEC, SETTINGS)
    given_out = []
    for time in (3, 9, 4, 12, 1):
        add(buffer, (time, "x"))
        given_out.append(take(buffer))
    assert given_out == [[], ["3x"], [], ["4x"], ["1x!"]]
    buffer.flush()
    assert take(buffer) == ["9x", "12x"]


def test_ties_go_by_the_bytes_of_the_id_and_together() -> None:
    buffer = DisorderBuffer(SPEC, SETTINGS)
    add(buffer, (1, "é"), (1, "z"), (6, "m"))
    assert take(buffer) == []  # the watermark is 1: another event at 1 is still in time
    add(buffer, (1, "Z"), (7, "m"))
    assert take(buffer) == ["1Z", "1z", "1é"]


def test_a_tie_is_late_only_where_it_belongs_before_what_went() -> None:
    buffer = DisorderBuffer(SPEC, SETTINGS)
    add(buffer, (1, "m"), (7, "x"))
    assert take(buffer) == ["1m"]
    add(buffer, (1, "n"), (1, "a"))
    assert take(buffer) == ["1a!", "1n"]


def test_a_verdict_waits_for_all_of_its_microsecond() -> None:
    buffer = DisorderBuffer(SPEC, SETTINGS)
    refs = np.arange(1)
    buffer.add(events([(1, "a")], "judged"), refs, 0)
    buffer.add(events([(1, "b")]), refs, 0)
    buffer.add(events([(7, "c")]), refs, 0)
    assert take(buffer) == ["1b", "1a"]
    buffer.add(events([(1, "z")]), refs, 0)
    assert take(buffer) == ["1z!"], "its verdict may have gone"


def test_of_one_id_and_time_the_contents_decide_not_the_arrival() -> None:
    found = []
    for names in (("x", "y"), ("y", "x")):
        buffer = DisorderBuffer(SPEC, SETTINGS)
        for who in names:
            buffer.add(events([(1, "a")], who=who), np.arange(1), 0)
        buffer.flush()
        released = buffer.take(9)
        assert released is not None
        found.append(released.batch.column("who").to_pylist())
    assert found[0] == found[1]


def test_what_an_earlier_process_gave_out_makes_earlier_events_late() -> None:
    buffer = DisorderBuffer(SPEC, SETTINGS, position=position(9, "m"))
    add(buffer, (3, "x"), (9, "a"), (9, "n"), (20, "y"))
    assert take(buffer) == ["3x!", "9a!", "9n"]


def test_idle_time_moves_the_watermark_after_a_while() -> None:
    buffer = DisorderBuffer(SPEC, SETTINGS)
    add(buffer, (100, "a"), now=1000)
    buffer.idle(1000 + 3 + BOUND)
    assert (buffer.watermark_us, take(buffer)) == (100, [])
    buffer.idle(1000 + 3 + BOUND + 1)
    assert take(buffer) == ["100a"]
    buffer.idle(1000 + 1003)
    assert buffer.watermark_us == 100 + 1000 - BOUND


def test_silence_of_a_lost_connection_is_not_idleness() -> None:
    buffer = DisorderBuffer(SPEC, SETTINGS)
    add(buffer, (100, "a"), now=1000)
    buffer.awake(5000)
    buffer.idle(5003)
    assert take(buffer) == []


def test_idle_without_any_event_says_nothing() -> None:
    buffer = DisorderBuffer(SPEC, SETTINGS)
    buffer.idle(10**15)
    assert buffer.watermark_us is None


def test_after_a_pause_nothing_is_late_that_overtook_nobody() -> None:
    buffer = DisorderBuffer(SPEC, SETTINGS)
    add(buffer, (100, "a"), now=1000)
    buffer.idle(9000)
    assert take(buffer) == ["100a"]
    add(buffer, (200, "b"), now=9000)
    assert take(buffer) == ["200b"]


def test_a_clock_that_is_ahead_moves_nothing() -> None:
    buffer = DisorderBuffer(SPEC, OrderSettings(bound_us=BOUND, ahead_us=60))
    assert add(buffer, (1000, "a"), (1061, "b"), (1060, "c"), now=1000) == [1]
    assert (len(buffer), buffer.watermark_us) == (2, 1000 - BOUND), "the clock's"
    assert add(buffer, (9999, "d"), now=1000) == [0]
    assert buffer.watermark_us == 1000 - BOUND


def test_a_message_speaks_for_the_earliest_of_its_events() -> None:
    buffer = DisorderBuffer(SPEC, OrderSettings(bound_us=BOUND, ahead_us=60))
    week = 7 * 86_400
    assert add(buffer, (10, "payment"), (10 + week, "verdict"), refs=[5, 5], now=10) == []
    assert buffer.watermark_us == 10 - BOUND
    add(buffer, (20, "x"), now=20)
    assert take(buffer) == ["10payment"]
    add(buffer, (10 + week + BOUND + 1, "y"), now=10 + week + BOUND + 1)
    released = buffer.take(10)
    assert shown(released) == ["20x", f"{10 + week}verdict"]
    assert released is not None and released.refs.tolist() == [0, 5]


def test_limits_cut_without_reordering() -> None:
    buffer = DisorderBuffer(SPEC, SETTINGS)
    add(buffer, *((time, "x") for time in (4, 2, 3, 1, 90)))
    assert buffer.ready == 4
    assert [take(buffer, 3), take(buffer, 3), take(buffer, 3)] == [["1x", "2x", "3x"], ["4x"], []]
    add(buffer, (2, "y"), (1, "y"), (3, "y"))
    assert [take(buffer, 2), take(buffer, 2)] == [["1y!", "2y!"], ["3y!"]]


def test_a_full_buffer_gives_out_its_earliest_and_says_so() -> None:
    buffer = DisorderBuffer(SPEC, OrderSettings(bound_us=1000, ahead_us=None, capacity=4))
    add(buffer, (3, "x"), (1, "x"), (2, "x"))
    assert not buffer.full and buffer.take(2) is None
    add(buffer, (9, "x"))
    assert buffer.full
    released = buffer.take(2)
    assert shown(released) == ["1x", "2x"]
    assert released is not None and released.forced == 2
    assert buffer.take(2) is None  # it is no longer full
    add(buffer, (1, "y"), (2, "z"))
    assert take(buffer, 9) == ["1y!", "2z"]


def test_many_small_arrivals_are_merged() -> None:
    buffer = DisorderBuffer(SPEC, OrderSettings(bound_us=10**6, ahead_us=None))
    times = np.random.default_rng(0).permutation(2000).tolist()
    for time in times:
        add(buffer, (time, f"{time:04d}"))
    assert len(buffer._held) <= 256
    buffer.flush()
    assert take(buffer, 5000) == [f"{t}{t:04d}" for t in range(2000)]


ARRIVALS = st.lists(
    st.tuples(
        st.lists(st.tuples(st.integers(0, 40), st.sampled_from("abcdé")), max_size=5),
        st.sampled_from(["take", "take few", "idle", "wait", "awake"]),
    ),
    max_size=30,
)


@given(ARRIVALS, st.sampled_from([3, 10, 1000]))
def test_whatever_arrives(steps: list[tuple[list[tuple[int, str]], str]], capacity: int) -> None:
    """All that went in comes out once; what is not late is in total order; the rest was late."""
    settings = OrderSettings(bound_us=BOUND, idle_after_us=3, ahead_us=None, capacity=capacity)
    buffer = DisorderBuffer(SPEC, settings)
    now, serial, watermark = 0, 0, -(10**9)
    sent: list[tuple[int, str]] = []
    out: list[tuple[int, bytes, bool]] = []

    def drain(limit: int) -> None:
        released = buffer.take(limit)
        while released is not None:
            assert 0 < released.batch.num_rows <= limit
            rows = zip(
                released.batch.column("event_time").to_pylist(),
                released.batch.column("event_id").to_pylist(),
                released.late.tolist(),
                strict=True,
            )
            out.extend((time, name.encode(), late) for time, name, late in rows)
            assert [sent[ref] for ref in released.refs] == [
                (time, name.decode()) for time, name, _ in out[-released.batch.num_rows :]
            ]
            released = buffer.take(limit)

    for rows, then in steps:
        refs = range(serial, serial + len(rows))
        add(buffer, *rows, now=now, refs=list(refs))
        serial += len(rows)
        sent += rows
        if then.startswith("take"):
            drain(100 if then == "take" else 2)
            assert not buffer.full
        elif then == "idle":
            buffer.idle(now)
        elif then == "awake":
            buffer.awake(now)
        else:
            now += 4
        if buffer.watermark_us is not None:
            assert buffer.watermark_us >= watermark
            watermark = buffer.watermark_us
    buffer.flush()
    drain(7)
    assert len(buffer) == 0
    assert sorted((t, n.decode()) for t, n, _ in out) == sorted(sent)
    in_order = [(time, name) for time, name, late in out if not late]
    assert in_order == sorted(in_order)


LEASE = 20


@given(
    st.lists(st.tuples(st.integers(0, 100), st.integers(0, BOUND)), max_size=60, unique=True),
    st.integers(0, 100),
    st.booleans(),
    st.integers(1, 9),
)
def test_a_restart_without_an_arrival_log_makes_nothing_late(
    drawn: list[tuple[int, int]], crash: int, reclaimed: bool, limit: int
) -> None:
    """Events in disorder within the bound; what was held at the crash comes again, when it may:
    at once where its leases could be ended, else order waits for them."""
    rows = [(time, f"{time:03d}{n:02d}") for n, (time, _) in enumerate(drawn)]
    arrivals = [(time + delay, place) for place, (time, delay) in enumerate(drawn)]
    settings = OrderSettings(bound_us=BOUND, idle_after_us=3, ahead_us=1000)
    buffer, held = DisorderBuffer(SPEC, settings), {*range(0)}
    out: list[tuple[int, str, bool]] = []
    reached = None
    for now in range(200):
        if now == crash:
            again = now + (0 if reclaimed else LEASE)
            arrivals = [one for one in arrivals if one[1] not in held]
            arrivals += [(again, place) for place in held]
            buffer, held = DisorderBuffer(SPEC, settings, reached), set()
            if not reclaimed:
                buffer.wait_until(now + LEASE + 1)
        came = [place for at, place in arrivals if at == now]
        if came:
            held |= {*came}
            add(buffer, *(rows[place] for place in came), now=now, refs=came)
        else:
            buffer.idle(now)
        while (released := buffer.take(limit)) is not None:
            places = released.refs.tolist()
            held -= {*places}
            out += [(*rows[p], late) for p, late in zip(places, released.late, strict=True)]
            reached = position(*out[-1][:2])
    assert [one[:2] for one in out] == sorted(rows)
    assert not any(late for _, _, late in out)


@given(
    st.lists(st.tuples(st.integers(0, 200), st.integers(0, BOUND)), max_size=60, unique=True),
    st.lists(st.integers(1, 7), min_size=1, max_size=20),
    st.integers(1, 9),
)
def test_disorder_within_the_bound_is_put_right_whatever_the_batches(
    drawn: list[tuple[int, int]], cuts: list[int], limit: int
) -> None:
    """Each event arrives at most the bound after its time: none is late, in any grouping."""
    rows = [(time, f"{time:03d}{n:02d}") for n, (time, _) in enumerate(drawn)]
    arrival = sorted(range(len(rows)), key=lambda n: (drawn[n][0] + drawn[n][1], n))
    buffer = DisorderBuffer(SPEC, SETTINGS)
    out: list[str] = []
    at = 0
    for turn in range(len(rows)):
        size = cuts[turn % len(cuts)]
        add(buffer, *(rows[n] for n in arrival[at : at + size]))
        at += size
        out += take(buffer, limit)
    buffer.flush()
    while more := take(buffer, limit):
        out += more
    assert out == [f"{time}{name}" for time, name in sorted(rows)]
