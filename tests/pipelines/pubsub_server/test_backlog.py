"""One subscription's rules, with the time handed in: no server, no waiting."""

from __future__ import annotations

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.pubsub_server.backlog import Backlog, Outlet
from pipelines.pubsub_server.messages import (
    Code,
    Message,
    RefusedError,
    SubscriptionConfig,
)

S = 1_000_000
START = 1_700_000_000 * S
CONFIG = SubscriptionConfig("projects/p/subscriptions/sub", "projects/p/topics/top")
MANY = 1 << 20


def message(serial: int, publish_us: int = START) -> Message:
    return Message(serial, str(serial), publish_us, b"m%d" % serial)


def backlog(config: SubscriptionConfig = CONFIG) -> Backlog:
    return Backlog(config)


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
    assert again.message.serial == 1


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


@given(ACTIONS, st.booleans())
def test_nothing_is_lost(actions: list[tuple[str, int]], retain: bool) -> None:
    """Whatever a subscriber does, every message that it did not acknowledge comes in the end."""
    log = backlog(dataclasses.replace(CONFIG, retain_acked=retain))
    now, added, acked, held = START, 0, set(), {}
    for action, n in actions:
        if action == "add":
            log.add(message(added))
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
    assert len(log) == 0
    assert retain or log.bytes == 0
