"""A Pub/Sub server for this machine alone: `python -m pipelines.pubsub_server.server --port 0`.

What enters: a port on loopback; 0 asks for a free one. What leaves: one line on standard output
with the address, for `PUBSUB_EMULATOR_HOST`, and service until SIGTERM or SIGINT. Messages are in
memory and gone when it ends. There is no authentication, so it refuses any other network.

`running_server()` runs it in a process of its own, for the demo and for tests.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import dataclasses
import ipaddress
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import grpc

from configs.errors import InputError, LockstepError
from pipelines.collector import collect_briefly
from pipelines.pubsub_server.broker import Broker
from pipelines.pubsub_server.service import PubSubService

_HELLO = "lockstep pubsub: listening on "
_REQUEST_BYTES = 20_000_000  # a publish of 10 MB, and what is around it
_GRACE_S = 1.0
_START_S = 60.0


def main() -> None:
    """The command line of the module."""
    parser = argparse.ArgumentParser(description="Pub/Sub on loopback, in memory.")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8085)
    parser.add_argument("--max-bytes", type=int, default=4 << 30)
    parser.add_argument(
        "--with-parent", action="store_true", help="end when standard input is closed"
    )
    given = parser.parse_args()
    try:
        serve(given.host, given.port, given.max_bytes, given.with_parent)
    except LockstepError as error:
        print(f"lockstep: {error}", file=sys.stderr)
        sys.exit(error.exit_code)


def serve(
    host: str = "127.0.0.1", port: int = 8085, max_bytes: int = 4 << 30, with_parent: bool = False
) -> None:
    """Serves until SIGTERM or SIGINT; prints the address when it is ready.

    Args:
      host: a loopback address or "localhost".
      port: 0 for a free one.
      max_bytes: of messages; a publish beyond it is refused until there is room.
      with_parent: ends as well when standard input is closed.

    Raises:
      InputError: the address is not loopback's, or is taken.
    """
    collect_briefly()  # it keeps messages
    asyncio.run(_serve(loopback(host), port, max_bytes, with_parent))


def loopback(host: str) -> str:
    """The host, if only this machine can reach it.

    >>> loopback("localhost")
    '127.0.0.1'

    Raises:
      InputError: it is another address, or a name.
    """
    if host == "localhost":
        return "127.0.0.1"
    try:
        local = ipaddress.ip_address(host).is_loopback
    except ValueError:
        local = False
    if not local:
        raise InputError(
            f"the Pub/Sub server was asked to listen on {host}; it has no authentication and "
            "serves this machine only: use 127.0.0.1, or Google Cloud for other machines"
        )
    return host


@dataclasses.dataclass(frozen=True)
class RunningServer:
    """A server in its own process.

    Attributes:
      endpoint: "127.0.0.1:PORT", for `PUBSUB_EMULATOR_HOST`.
    """

    endpoint: str
    process: subprocess.Popen[str]


@contextlib.contextmanager
def running_server(port: int = 0, max_bytes: int = 4 << 30) -> Iterator[RunningServer]:
    """A server in its own process for as long as the context lasts, or this process lives.

    Raises:
      InputError: it did not start; its own message is on standard error.
    """
    root = str(Path(__file__).resolve().parents[2])
    paths = [root, *filter(None, [os.environ.get("PYTHONPATH")])]
    arguments = ["--port", str(port), "--max-bytes", str(max_bytes), "--with-parent"]
    process = subprocess.Popen(
        [sys.executable, "-m", "pipelines.pubsub_server.server", *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
        start_new_session=True,  # a Ctrl-C of the terminal is for the stream, which drains first
    )
    try:
        line = process.stdout.readline() if process.stdout is not None else ""
        if not line.startswith(_HELLO):
            raise InputError(
                f"the Pub/Sub server did not start on port {port} (exit code {process.wait()}); "
                "is the port taken?"
            )
        yield RunningServer(line.removeprefix(_HELLO).strip(), process)
    finally:
        process.terminate()
        try:
            process.wait(_START_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                pipe.close()


async def _serve(host: str, port: int, max_bytes: int, with_parent: bool) -> None:
    service = PubSubService()
    service.serve(Broker(lambda: time.time_ns() // 1000, service.on_waiting, max_bytes))
    server = grpc.aio.server(
        options=[
            ("grpc.so_reuseport", 0),  # a second server on a port must fail, not share it
            ("grpc.max_receive_message_length", _REQUEST_BYTES),
            ("grpc.max_send_message_length", -1),
        ]
    )
    server.add_generic_rpc_handlers(service.handlers())
    shown = f"[{host}]" if ":" in host else host
    try:
        bound = server.add_insecure_port(f"{shown}:{port}")
    except RuntimeError as error:
        raise InputError(
            f"cannot listen on {shown}:{port}; is another server there? Choose another --port, "
            "or 0 for a free one"
        ) from error
    await server.start()
    stopped = _stop_event(with_parent)
    timekeeper = asyncio.ensure_future(service.keep_time())
    print(f"{_HELLO}{shown}:{bound}", flush=True)
    await stopped.wait()
    timekeeper.cancel()
    await server.stop(_GRACE_S)


def _stop_event(with_parent: bool) -> asyncio.Event:
    loop, stopped = asyncio.get_running_loop(), asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopped.set)
    if with_parent:
        loop.add_reader(sys.stdin.fileno(), stopped.set)  # readable at its end
    return stopped


if __name__ == "__main__":
    main()
