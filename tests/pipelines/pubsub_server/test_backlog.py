"""One subscription's rules, with the time handed in: no server, no waiting."""

from __future__ import annotations

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.pubsub_server.backlog import TICK_US, Backlog, Outlet
from pipelines.pubsub_server.messages import (
    Code,
    DeadLetterPolicy,
    Message,
    RefusedError,
    RetryPolicy,
    SubscriptionConfig,
)

S = 1_000_000
START = 1_700_000_000 * S
CONFIG = SubscriptionConfig("projects/p/subscriptions/sub", "projects/p/topics/top")
MANY = 1 << 20


def message(serial: int, key: str = "", publish_us: int = START) -> Message:
    return Message(serial, str(serial), publish_us, b"m%d" % serial, ordering_key=key)


def backlog(config: SubscriptionConfig = CONFIG, dead: list[int] | None = None) -> Backlog:
    def bury(one: Message, attempts: int) -> bool:
        if dead is None:
            return False
        dead.append(one.serial)
        return True

    return Backlog(config, bury)


def serials(deliveries: list[object]) -> list[int]:
    return [one.message.serial for one in deliveries]  # type: ignore[attr-defined]


def pull(log: Backlog, now: int = START, count: int = 100, **limits: object) -> list[object]:
    return list(log.pull(now, count, MANY, **limits))  # type: ignore[arg-type]


def test_a_lease_hides_a_message_until_its_deadline() -> None:
    log = backlog()
    log.add(message(1))
    assert serials(pull(log)) == [1]
    assert serials(pull(log)) == []
    assert not log.expire(START + 10 * S - 1)
    assert log.expire(START + 10 * S)
    (again,) = log.pull(START + 10 * S, 1, MANY)
    assert again.attempt == 2


def test_a_late_ack_counts_until_the_message_is_delivered_again() -> None:
    log = backlog()
    log.add(message(1))
    (first,) = log.pull(START, 1, MANY)
    log.expire(START + 10 * S)
    log.acknowledge([first.ack_id])
    assert serials(pull(log)) == []
    log.add(message(2))
    (second,) = log.pull(START, 1, MANY)
    log.expire(START + 20 * S)
    (third,) = log.pull(START + 20 * S, 1, MANY)
    log.acknowledge([second.ack_id])
    assert len(log) == 1
    log.acknowledge([third.ack_id])
    assert len(log) == 0


def test_an_ack_frees_the_message_at_once() -> None:
    log = backlog()
    for serial in range(100):
        log.add(message(serial))
    log.acknowledge([one.ack_id for one in log.pull(START, 100, MANY)])
    assert (len(log), log.bytes) == (0, 0)
    assert not log.expire(START + 10 * S) or serials(pull(log)) == []


def test_extending_and_giving_back() -> None:
    log = backlog()
    log.add(message(1))
    (held,) = log.pull(START, 1, MANY)
    log.modify_deadline(START, [held.ack_id], 60)
    log.expire(START + 30 * S)
    assert serials(pull(log, START + 30 * S)) == []
    log.modify_deadline(START + 30 * S, [held.ack_id], 0)
    assert serials(pull(log, START + 30 * S)) == [1]


def test_what_is_no_ack_id_is_refused_and_what_was_one_is_not() -> None:
    log = backlog()
    log.acknowledge(["0-17-3"])
    with pytest.raises(RefusedError) as refused:
        log.acknowledge(["whatever"])
    assert refused.value.code is Code.INVALID_ARGUMENT
    with pytest.raises(RefusedError):
        log.modify_deadline(START, [], 601)


def test_limits_of_a_pull_and_of_a_stream() -> None:
    log = backlog()
    for serial in range(10):
        log.add(message(serial))
    assert len(log.pull(START, 3, MANY)) == 3
    assert len(log.pull(START, 10, 1)) == 1  # one is always let through
    outlet = Outlet(max_messages=2)
    first = log.pull(START, 10, MANY, outlet=outlet)
    assert len(first) == 2
    assert log.pull(START, 10, MANY, outlet=outlet) == []
    log.acknowledge([first[0].ack_id])
    assert len(log.pull(START, 10, MANY, outlet=outlet)) == 1
    log.modify_deadline(START, [first[1].ack_id], 0)
    assert (outlet.messages, outlet.bytes) == (1, 2)
    log.release(outlet)
    log.expire(START + 10 * S)
    assert outlet.messages == 1  # no longer kept up
    assert log.pull(START, 10, MANY, outlet=Outlet(max_bytes=3)) != []


def test_the_dead_letter_policy_counts_deliveries() -> None:
    dead: list[int] = []
    policy = DeadLetterPolicy("projects/p/topics/dead", 5)
    log = backlog(dataclasses.replace(CONFIG, dead_letter=policy), dead)
    log.add(message(1))
    for attempt in range(1, 6):
        (one,) = log.pull(START, 1, MANY)
        assert one.attempt == attempt
        log.modify_deadline(START, [one.ack_id], 0)
    assert dead == [1]
    assert (len(log), log.bytes) == (0, 0)


def test_a_dead_letter_without_a_home_goes_on_being_delivered() -> None:
    policy = DeadLetterPolicy("projects/p/topics/dead", 5)
    log = backlog(dataclasses.replace(CONFIG, dead_letter=policy))
    log.add(message(1))
    for _ in range(7):
        (one,) = log.pull(START, 1, MANY)
        log.modify_deadline(START, [one.ack_id], 0)
    assert len(log) == 1


def test_the_retry_policy_doubles_its_delay() -> None:
    log = backlog(dataclasses.replace(CONFIG, retry=RetryPolicy(S, 3 * S)))
    log.add(message(1))
    now = START
    for delay in (1, 2, 3, 3):
        (one,) = log.pull(now, 1, MANY)
        log.modify_deadline(now, [one.ack_id], 0)
        log.expire(now + delay * S - TICK_US)
        assert log.pull(now, 1, MANY) == []
        now += delay * S
        log.expire(now)
    assert serials(pull(log, now)) == [1]


def test_ordering_holds_back_a_key_while_any_of_it_is_out() -> None:
    log = backlog(dataclasses.replace(CONFIG, ordered=True))
    for serial, key in enumerate("aabab"):
        log.add(message(serial, key))
    first = log.pull(START, 1, MANY)
    assert serials(list(first)) == [0]
    assert serials(pull(log)) == [2, 4]
    log.add(message(5, "a"))
    assert pull(log) == []
    log.acknowledge([first[0].ack_id])
    assert serials(pull(log)) == [1, 3, 5]


def test_a_returned_message_brings_back_those_after_it() -> None:
    log = backlog(dataclasses.replace(CONFIG, ordered=True))
    for serial in range(4):
        log.add(message(serial, "a"))
    out = log.pull(START, 4, MANY)
    log.acknowledge([out[0].ack_id])
    log.modify_deadline(START, [out[1].ack_id], 0)
    assert serials(pull(log)) == [1, 2, 3]
    log.expire(START + 10 * S)
    assert serials(pull(log)) == [1, 2, 3]


def test_retention_forgets_in_every_place() -> None:
    log = backlog(dataclasses.replace(CONFIG, retention_us=600 * S, retain_acked=True))
    log.add(message(1))
    log.add(message(2))
    log.acknowledge([log.pull(START, 1, MANY)[0].ack_id])
    assert log.bytes == 4
    log.trim(START + 601 * S)
    assert (len(log), log.bytes) == (0, 0)
    assert pull(log) == []


def test_seek_starts_anew() -> None:
    log = backlog(dataclasses.replace(CONFIG, retain_acked=True))
    for serial in range(4):
        log.add(message(serial, publish_us=START + serial))
    out = log.pull(START, 4, MANY, outlet=(outlet := Outlet()))
    log.acknowledge([one.ack_id for one in out[:2]])
    log.seek([], lambda one: one.publish_us >= START + 1)
    assert outlet.messages == 0
    assert serials(pull(log)) == [1, 2, 3]
    log.acknowledge([out[3].ack_id])
    assert len(log) == 3  # an ack id from before the seek changes nothing


ACTIONS = st.lists(
    st.tuples(
        st.sampled_from(["add", "pull", "ack", "nack", "extend", "wait", "trim"]),
        st.integers(0, 12),
    ),
    max_size=60,
)


@given(ACTIONS, st.booleans(), st.booleans())
def test_nothing_is_lost_and_an_ordered_key_stays_in_order(
    actions: list[tuple[str, int]], ordered: bool, retain: bool
) -> None:
    """Whatever a subscriber does, every message that it did not acknowledge comes in the end."""
    log = backlog(dataclasses.replace(CONFIG, ordered=ordered, retain_acked=retain))
    now, added, acked, held = START, 0, set(), {}
    for action, n in actions:
        if action == "add":
            log.add(message(added, "ab"[n % 2]))
            added += 1
        elif action == "pull":
            for one in log.pull(now, n, MANY):
                held[one.message.serial] = one.ack_id
        elif action == "wait":
            now += n * S
            log.expire(now)
        elif action == "trim":
            log.trim(now)
        elif held:
            serial = sorted(held)[n % len(held)]
            ack_id = held[serial]
            if action == "ack":
                acked.add(serial)
                log.acknowledge([ack_id])
                del held[serial]
            else:
                log.modify_deadline(now, [ack_id], 0 if action == "nack" else 30)
    log.expire(now + 1000 * S)
    rest: list[int] = []
    while more := log.pull(now, 5, MANY):
        rest += serials(list(more))
        log.acknowledge([one.ack_id for one in more])
    left = set(rest)
    assert len(rest) == len(left)
    assert left >= set(range(added)) - acked  # an ack of an outdated id does not count
    if ordered:
        for key in (0, 1):
            mine = [s for s in rest if message_key(actions, s) == key]
            assert mine == sorted(mine)
    assert len(log) == 0
    assert retain or log.bytes == 0


def message_key(actions: list[tuple[str, int]], serial: int) -> int:
    return [n % 2 for action, n in actions if action == "add"][serial]
