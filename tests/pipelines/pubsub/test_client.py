"""The puller, against both servers: limits, leases, giving back, and a connection that breaks."""

from __future__ import annotations

import contextlib
import dataclasses
import random
import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

import grpc
import pytest
from google import pubsub_v1
from pubsub_world import ACK_DEADLINE_S, SLACK_S, WAIT_S, Desk, at_once

from configs.errors import InputError
from pipelines.pubsub.admin import ensure_subscription, ensure_topic, seek_to_time
from pipelines.pubsub.client import Puller, PullSettings, RawMessage


@contextlib.contextmanager
def pulling(subscription: str, endpoint: str, **limits: Any) -> Iterator[Puller]:
    settings = PullSettings(subscription, endpoint, lease_s=ACK_DEADLINE_S)
    puller = Puller(dataclasses.replace(settings, **limits), random.Random(1))
    try:
        yield puller
    finally:
        puller.close()


def take(puller: Puller, count: int, within_s: float = WAIT_S) -> list[RawMessage]:
    got: list[RawMessage] = []
    ends = time.monotonic() + within_s
    while len(got) < count and time.monotonic() < ends:
        got += puller.take(count - len(got), 0.2)
    return got


def test_leases_last_while_messages_wait_and_end_with_an_ack(desk: Desk, endpoint: str) -> None:
    topic = desk.topic()
    held, acked = desk.subscription(topic), desk.subscription(topic)
    desk.publish(topic, [b"a", b"b"])

    def holds() -> None:
        with pulling(held, endpoint) as puller:
            assert len(take(puller, 2)) == 2
            assert desk.is_empty(held, ACK_DEADLINE_S + SLACK_S)
            assert puller.outstanding == 2

    def acknowledges() -> None:
        with pulling(acked, endpoint) as puller:
            puller.acknowledge([one.ack_id for one in take(puller, 2)])
            assert puller.outstanding == 0
            assert desk.is_empty(acked, ACK_DEADLINE_S + SLACK_S)

    at_once(holds, acknowledges)


def test_what_is_not_acknowledged_is_given_back_at_the_end(desk: Desk, endpoint: str) -> None:
    topic = desk.topic()
    subscription = desk.subscription(topic)
    desk.publish(topic, [b"a", b"b", b"c"])
    with pulling(subscription, endpoint, lease_s=600) as first:
        one, *_ = take(first, 3)
        first.acknowledge([one.ack_id])
    with pulling(subscription, endpoint, lease_s=600) as second:
        again = take(second, 2)
        assert {m.message_id for m in again}.isdisjoint({one.message_id})
        assert len(again) == 2


def test_reading_stops_at_its_limits_and_goes_on_after(desk: Desk, endpoint: str) -> None:
    topic = desk.topic()
    by_count, by_size = desk.subscription(topic), desk.subscription(topic)
    for _ in range(10):
        desk.publish(topic, [b"x" * 1000] * 10)
        time.sleep(0.05)  # in responses of their own
    for subscription, limits in ((by_count, {"max_messages": 10}), (by_size, {"max_bytes": 5000})):
        with pulling(subscription, endpoint, **limits) as puller:
            got = take(puller, 1)
            while not puller.throttled:
                got += puller.take(100, 0.2)
            time.sleep(0.5)
            stopped = puller.outstanding
            time.sleep(0.5)
            assert puller.outstanding == stopped
            while len(got) < 100:
                puller.acknowledge([one.ack_id for one in got])
                more = take(puller, 1)
                assert more, f"nothing more after {len(got)}"
                got += more
            assert len({one.message_id for one in got}) == 100


class Relay:
    """A TCP relay that can be cut and mended: the network between a client and its server."""

    def __init__(self, endpoint: str) -> None:
        host, port = endpoint.rsplit(":", 1)
        self._target = (host, int(port))
        self._sockets: list[socket.socket] = []
        self._whole = True
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.endpoint = f"127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def cut(self) -> None:
        self._whole = False
        for one in self._sockets:
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()
        self._sockets.clear()

    def mend(self) -> None:
        self._whole = True

    def close(self) -> None:
        self.cut()
        self._listener.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):  # closed
            while True:
                near, _ = self._listener.accept()
                if not self._whole:
                    near.close()
                    continue
                far = socket.create_connection(self._target)
                self._sockets += [near, far]
                for pair in ((near, far), (far, near)):
                    threading.Thread(target=self._copy, args=pair, daemon=True).start()

    def _copy(self, source: socket.socket, target: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                target.sendall(data)


def test_a_broken_connection_is_opened_again_and_nothing_is_lost(
    monkeypatch: pytest.MonkeyPatch, lockstep_server: str, caplog: pytest.LogCaptureFixture
) -> None:
    desk = Desk(monkeypatch, lockstep_server)
    topic = desk.topic()
    subscription = desk.subscription(topic)
    relay = Relay(lockstep_server)
    seen: set[bytes] = set()
    try:
        with pulling(subscription, relay.endpoint) as puller:
            for part in range(3):
                desk.publish(topic, [b"%d-%d" % (part, n) for n in range(20)])
                ends = time.monotonic() + 3 * WAIT_S  # what a broken stream had comes at its lease
                while len(seen) < 20 * (part + 1) and time.monotonic() < ends:
                    for one in puller.take(100, 0.2):
                        seen.add(one.data)
                        puller.acknowledge([one.ack_id])
                assert len(seen) == 20 * (part + 1)
                relay.cut()
                time.sleep(1.0)
                assert not puller.connected
                relay.mend()
    finally:
        relay.close()
        desk.close()
    told = [record.message for record in caplog.records if "pulling" in record.message]
    assert any("(attempt 2)" in one for one in told)
    assert subscription in told[0]


def test_a_reclaim_in_a_running_process_doubles_nothing_and_keeps_order(
    monkeypatch: pytest.MonkeyPatch, lockstep_server: str
) -> None:
    """What was acknowledged while the server was away, and what was pulled and not yet taken."""
    desk = Desk(monkeypatch, lockstep_server)
    topic = desk.topic()
    subscription = desk.subscription(topic)
    desk.publish(topic, [b"%d" % n for n in range(900)])
    relay = Relay(lockstep_server)
    try:
        with pulling(subscription, relay.endpoint, reclaim=True, max_messages=500) as puller:
            got = take(puller, 200)
            relay.cut()
            puller.acknowledge([one.ack_id for one in got])
            ends = time.monotonic() + WAIT_S
            while puller.connected and time.monotonic() < ends:
                time.sleep(0.05)
            relay.mend()
            while len(got) < 900 and (more := take(puller, 1, within_s=WAIT_S)):
                puller.acknowledge([one.ack_id for one in more])
                got += more
            assert [int(one.data) for one in got] == list(range(900))
            assert not puller.take(1, 1.0)
            assert puller.doubtful_s > 0
    finally:
        relay.close()
        desk.close()


def test_a_lease_that_ended_unextended_is_read_again_in_order(
    desk: Desk, endpoint: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    topic = desk.topic()
    subscription = desk.subscription(topic)
    desk.publish(topic, [b"%d" % n for n in range(20)])
    moment = 0.0

    def jumps() -> float:
        return real() + moment

    real = time.monotonic
    monkeypatch.setattr("pipelines.pubsub.client.time.monotonic", jumps)
    with pulling(subscription, endpoint, reclaim=True) as puller:
        got = take(puller, 5)
        puller.acknowledge([one.ack_id for one in got])
        moment = 2.0 * ACK_DEADLINE_S  # this process stood still
        ends = real() + WAIT_S
        while "leases of" not in caplog.text and real() < ends:
            time.sleep(0.05)
        while len(got) < 20 and (more := take(puller, 1)):
            puller.acknowledge([one.ack_id for one in more])
            got += more
        assert [int(one.data) for one in got] == list(range(20))
        assert "ended unextended" in caplog.text


def test_a_connection_gets_at_once_what_an_earlier_one_was_given_and_in_order(
    desk: Desk, endpoint: str
) -> None:
    lease_s = 60
    topic = desk.topic()
    subscription = desk.subscription(topic, ack_deadline_seconds=lease_s)
    desk.publish(topic, [b"%d" % n for n in range(30)])
    given = desk.pull(subscription, 30)  # by a process that is killed before it acknowledges all
    desk.acknowledge(subscription, given[:10])
    desk.publish(topic, [b"%d" % n for n in range(30, 40)])
    with pulling(subscription, endpoint, reclaim=True) as puller:
        began = time.monotonic()
        again = take(puller, 30, within_s=lease_s)
        assert time.monotonic() - began < lease_s / 2
        assert [int(one.data) for one in again] == list(range(10, 40))
        assert not puller.unsettled
        puller.acknowledge([one.ack_id for one in again])


def test_where_leases_may_not_be_ended_order_waits_for_them(
    monkeypatch: pytest.MonkeyPatch, lockstep_server: str, caplog: pytest.LogCaptureFixture
) -> None:
    desk = Desk(monkeypatch, lockstep_server)

    class Denied(grpc.RpcError):
        def code(self) -> grpc.StatusCode:
            return grpc.StatusCode.PERMISSION_DENIED

        def details(self) -> str:
            return "no"

    def denies(request: object, **given: object) -> None:
        raise Denied

    topic = desk.topic()
    subscription = desk.subscription(topic)
    desk.publish(topic, [b"a"])
    with monkeypatch.context() as patched:
        transport = "google.pubsub_v1.services.subscriber.transports.SubscriberGrpcTransport"
        patched.setattr(f"{transport}.create_snapshot", property(lambda self: denies))
        with pulling(subscription, lockstep_server, reclaim=True) as puller:
            assert take(puller, 1)
            assert puller.unsettled
    assert f"order waits {ACK_DEADLINE_S + 5} s" in caplog.text
    assert "pubsub.snapshots.create" in caplog.text


def test_what_cannot_be_helped_is_raised(desk: Desk, endpoint: str) -> None:
    missing = desk.name("subscriptions")
    with pulling(missing, endpoint) as puller, pytest.raises(InputError, match="create it"):
        take(puller, 1)


def test_setting_up_twice_is_harmless_and_a_seek_plays_again(desk: Desk, endpoint: str) -> None:
    topic, subscription = desk.name("topics"), desk.name("subscriptions")
    assert ensure_topic(topic, endpoint) and not ensure_topic(topic, endpoint)
    assert ensure_subscription(subscription, topic, endpoint)
    assert not ensure_subscription(subscription, topic, endpoint)
    before_us = time.time_ns() // 1000 - 1_000_000
    desk.publish(topic, [b"again"])
    with pulling(subscription, endpoint) as puller:
        puller.acknowledge([one.ack_id for one in take(puller, 1)])
        time.sleep(1.0)
        seek_to_time(subscription, before_us, endpoint)
        assert [one.data for one in take(puller, 1)] == [b"again"]
    with pytest.raises(InputError, match="create it"):
        seek_to_time(desk.name("subscriptions"), before_us, endpoint)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_fault_of_the_reading_thread_is_not_taken_for_silence(
    desk: Desk, endpoint: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(self: Puller, received: object) -> None:
        raise KeyError("a secret of the payload")

    monkeypatch.setattr(Puller, "_take_in", broken)
    topic = desk.topic()
    subscription = desk.subscription(topic)
    desk.publish(topic, [b"a"])
    with pulling(subscription, endpoint) as puller:
        with pytest.raises(InputError, match=r"fault of Lockstep \(KeyError\)") as raised:
            puller.take(1, WAIT_S)
        assert "secret" not in str(raised.value)


NOBODY = PullSettings("projects/p/subscriptions/s", "127.0.0.1:1")


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_fault_of_the_keeping_thread_is_not_taken_for_silence(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def broken(self: Puller) -> bool:
        raise KeyError("a secret of the payload")

    monkeypatch.setattr(Puller, "_extend", broken)
    puller = Puller(NOBODY)
    try:
        with pytest.raises(InputError, match=r"leases .* fault of Lockstep \(KeyError\)") as raised:
            puller.take(1, WAIT_S)
        assert "secret" not in str(raised.value)
    finally:
        puller.close()


def test_attributes_count_towards_the_limit_of_bytes() -> None:
    puller = Puller(dataclasses.replace(NOBODY, max_bytes=100))
    message = pubsub_v1.types.PubsubMessage(data=b"x", attributes={"key": "v" * 99})
    received = pubsub_v1.types.ReceivedMessage(ack_id="1", message=message)
    raw = pubsub_v1.types.ReceivedMessage.pb(received)
    reading = threading.Thread(target=puller._take_in, args=([raw],), daemon=True)
    reading.start()
    try:
        assert puller.take(1, WAIT_S)
        assert puller.throttled
    finally:
        puller.close()
