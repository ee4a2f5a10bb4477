"""The process around the service: where it listens, how it ends, what it lacks."""

from __future__ import annotations

import subprocess
import sys

import grpc
import pytest

from configs.errors import InputError
from pipelines.pubsub.protocol import raw
from pipelines.pubsub_server.server import loopback, running_server


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.0.0.1", "example.org", ""])
def test_other_networks_are_refused(host: str) -> None:
    with pytest.raises(InputError, match="this machine only"):
        loopback(host)


@pytest.mark.parametrize("host", ["127.0.0.1", "127.9.9.9", "::1"])
def test_loopback_is_accepted(host: str) -> None:
    assert loopback(host) == host


def test_the_command_refuses_other_networks_with_its_exit_code() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "pipelines.pubsub_server.server", "--host", "0.0.0.0"],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 4
    assert "127.0.0.1" in done.stderr


def test_a_taken_port_is_said(lockstep_server: str) -> None:
    port = int(lockstep_server.rsplit(":", 1)[1])
    with pytest.raises(InputError, match="port taken"), running_server(port):
        pass


def test_it_ends_with_its_parent() -> None:
    with running_server() as server:
        assert server.process.stdin is not None
        server.process.stdin.close()
        assert server.process.wait(30) == 0


@pytest.mark.parametrize(
    "settings",
    [
        {"filter": 'attributes.kind = "x"'}, {"enable_exactly_once_delivery": True},
        {"enable_message_ordering": True}, {"retry_policy": {}},
        {"dead_letter_policy": {"dead_letter_topic": "projects/p/topics/dead"}},
    ],
)  # fmt: skip
def test_what_it_lacks_is_refused_not_ignored(
    lockstep_server: str, settings: dict[str, object]
) -> None:
    subscription = raw("Subscription")
    with grpc.insecure_channel(lockstep_server) as channel:
        create = channel.unary_unary(
            "/google.pubsub.v1.Subscriber/CreateSubscription",
            subscription.SerializeToString,
            subscription.FromString,
        )
        with pytest.raises(grpc.RpcError) as refused:
            create(
                subscription(
                    name="projects/p/subscriptions/sub", topic="projects/p/topics/top", **settings
                )
            )
    assert refused.value.code() is grpc.StatusCode.UNIMPLEMENTED
