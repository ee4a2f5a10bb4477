"""Both servers, each in its own process: ours, and Google's emulator where its jar and Java are."""

from __future__ import annotations

import contextlib
import glob
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator

import pytest

from pipelines.pubsub.server import running_server

JARS = (
    "/usr/lib/google-cloud-sdk/platform/pubsub-emulator/lib/cloud-pubsub-emulator-*-all.jar",
    "~/google-cloud-sdk/platform/pubsub-emulator/lib/cloud-pubsub-emulator-*-all.jar",
)
START_S = 60.0


@pytest.fixture(scope="session")
def lockstep_server() -> Iterator[str]:
    with running_server() as server:
        yield server.endpoint


@pytest.fixture(scope="session")
def google_emulator() -> Iterator[str]:
    command = emulator_command()
    if command is None:
        pytest.skip(
            "Google's Pub/Sub emulator is not here: install Java and the Cloud SDK's emulator, or "
            "name its jar in PUBSUB_EMULATOR_JAR"
        )
    with running_emulator(command) as endpoint:
        yield endpoint


@pytest.fixture(params=["lockstep", "google"])
def endpoint(request: pytest.FixtureRequest) -> str:
    name = "lockstep_server" if request.param == "lockstep" else "google_emulator"
    found = request.getfixturevalue(name)
    assert isinstance(found, str)
    return found


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
