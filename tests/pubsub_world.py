"""Helpers of the Pub/Sub tests: Google's client at a desk, and Google's emulator as a process."""

from __future__ import annotations

import contextlib
import glob
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest
from google.api_core import exceptions
from google.cloud import pubsub_v1
from google.pubsub_v1 import PublisherClient, types

PROJECT = "projects/contract"
WAIT_S = 10.0
ACK_DEADLINE_S = 10
SLACK_S = 3.0

JARS = (
    "/usr/lib/google-cloud-sdk/platform/pubsub-emulator/lib/cloud-pubsub-emulator-*-all.jar",
    "~/google-cloud-sdk/platform/pubsub-emulator/lib/cloud-pubsub-emulator-*-all.jar",
)
NO_EMULATOR = (
    "Google's Pub/Sub emulator is not here: install Java and the Cloud SDK's emulator, or name its "
    "jar in PUBSUB_EMULATOR_JAR"
)
START_S = 60.0


class Desk:
    """Clients for one server, and fresh names."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, endpoint: str) -> None:
        monkeypatch.setenv("PUBSUB_EMULATOR_HOST", endpoint)
        self.publisher = pubsub_v1.PublisherClient()
        self.subscriber = pubsub_v1.SubscriberClient()

    def close(self) -> None:
        self.publisher.stop()
        self.publisher.transport.close()
        self.subscriber.close()

    def name(self, collection: str) -> str:
        return f"{PROJECT}/{collection}/a{uuid.uuid4().hex}"

    def topic(self, **settings: Any) -> str:
        name = self.name("topics")
        self.publisher.create_topic(request={"name": name, **settings})
        return name

    def subscription(self, topic: str, **settings: Any) -> str:
        name = self.name("subscriptions")
        self.subscriber.create_subscription(
            request={
                "name": name,
                "topic": topic,
                "ack_deadline_seconds": ACK_DEADLINE_S,
                **settings,
            }
        )
        return name

    def publish(self, topic: str, data: Sequence[bytes]) -> list[str]:
        response = PublisherClient.publish(  # one request, not Google's batching
            self.publisher,
            topic=topic,
            messages=[{"data": one} for one in data],
        )
        return list(response.message_ids)

    def pull_once(self, subscription: str, timeout_s: float) -> list[types.ReceivedMessage]:
        try:
            response = self.subscriber.pull(
                subscription=subscription, max_messages=100, timeout=timeout_s, retry=None
            )
        except exceptions.DeadlineExceeded:
            return []
        return list(response.received_messages)

    def pull(self, subscription: str, count: int) -> list[types.ReceivedMessage]:
        """At least so many messages, unless the wait is over."""
        got: list[types.ReceivedMessage] = []
        ends = time.monotonic() + WAIT_S
        while len(got) < count and time.monotonic() < ends:
            got += self.pull_once(subscription, 2.0)
        return got

    def is_empty(self, subscription: str, for_s: float = 1.0) -> bool:
        return not self.pull_once(subscription, for_s)

    def acknowledge(self, subscription: str, received: Sequence[types.ReceivedMessage]) -> None:
        self.subscriber.acknowledge(
            subscription=subscription, ack_ids=[one.ack_id for one in received]
        )

    def modify(
        self, subscription: str, received: Sequence[types.ReceivedMessage], seconds: int
    ) -> None:
        self.subscriber.modify_ack_deadline(
            subscription=subscription,
            ack_ids=[one.ack_id for one in received],
            ack_deadline_seconds=seconds,
        )


def payloads(received: Sequence[types.ReceivedMessage]) -> list[bytes]:
    return [one.message.data for one in received]


def at_once(*scenarios: Callable[[], None]) -> None:
    """Runs scenarios that mostly wait beside each other; the first failure is raised."""
    failures: list[BaseException] = []

    def run(scenario: Callable[[], None]) -> None:
        try:
            scenario()
        except BaseException as failure:
            failures.append(failure)

    threads = [threading.Thread(target=run, args=(one,)) for one in scenarios]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]


def emulator_command() -> list[str] | None:
    java = shutil.which("java")
    named = os.environ.get("PUBSUB_EMULATOR_JAR")
    gcloud = shutil.which("gcloud")
    sdk = [os.path.join(os.path.dirname(os.path.realpath(gcloud)), "..")] if gcloud else []
    patterns = [
        *([named] if named else []),
        *JARS,
        *(f"{root}/platform/pubsub-emulator/lib/cloud-pubsub-emulator-*-all.jar" for root in sdk),
    ]
    jars = [jar for one in patterns for jar in sorted(glob.glob(os.path.expanduser(one)))]
    return [java, "-Xmx512m", "-jar", jars[-1]] if java and jars else None


@contextlib.contextmanager
def running_emulator(command: list[str]) -> Iterator[str]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(
            [*command, "--host=127.0.0.1", f"--port={port}"], stdout=log, stderr=log
        )
        try:
            wait_for_port(port, process)
            yield f"127.0.0.1:{port}"
        finally:
            process.send_signal(signal.SIGKILL)
            process.wait()


def wait_for_port(port: int, process: subprocess.Popen[bytes]) -> None:
    ends = time.monotonic() + START_S
    while time.monotonic() < ends:
        if process.poll() is not None:
            pytest.fail(f"Google's emulator ended at once, exit code {process.returncode}")
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 0.5):
            return
        time.sleep(0.1)
    pytest.fail(f"Google's emulator did not listen within {START_S:.0f} s")
