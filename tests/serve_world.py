"""Helpers of tests of `lockstep serve`: a real one, and questions to it."""

import contextlib
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from pipelines.serve import decide_pb2
from pipelines.serve.client import METHOD
from pipelines.serve.server import SERVICE

ROOT = Path(__file__).parents[1]


@contextlib.contextmanager
def serving(state, bundles, *options):
    """The command as a process, once it is serving: its two ports and a channel to it."""
    port, metrics = free_port(), free_port()
    command = [
        *(sys.executable, "-c", "from pipelines.commands import main; main()", "serve"),
        *("--state", str(state), "--bundles", str(bundles), "--stale-seconds", "3600"),
        *("--port", str(port), "--metrics-port", str(metrics), *options),
    ]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, cwd=ROOT)
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        try:
            grpc.channel_ready_future(channel).result(300)
            while standing(channel) != health_pb2.HealthCheckResponse.SERVING:
                assert process.poll() is None, process.stderr.read()
                time.sleep(0.1)
            yield port, metrics, channel
            process.send_signal(signal.SIGTERM)
            assert process.wait(120) == 0
            assert "stopping" in process.stderr.read()
        finally:
            process.kill()


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def standing(channel):
    return (
        health_pb2_grpc.HealthStub(channel)
        .Check(health_pb2.HealthCheckRequest(service=SERVICE))
        .status
    )


def asked(channel, *events, timeout=60):
    call = channel.unary_unary(
        METHOD,
        request_serializer=decide_pb2.DecideRequest.SerializeToString,
        response_deserializer=decide_pb2.DecideResponse.FromString,
    )
    return call(decide_pb2.DecideRequest(events=events), timeout=timeout)
