"""Latency of `lockstep serve` as its callers see it: `python -m benchmarks.serve`.

Server and scorer are processes of their own, the caller is this one: it asks one event a request
at a steady rate, whether answers come or not, and a latency counts from when the request was due.
The target is a p99 of at most 20 ms at 500 a second. "none": no scorer runs; "beside": the same
events are published to one as they are asked about.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import grpc
import numpy as np

from benchmarks import warm_state
from benchmarks.streaming import DECISIONS, EVENTS, HEARD, SUBSCRIPTION, scorer
from benchmarks.world import chat, messages, simulated, stamp, trained
from pipelines.pubsub.admin import ensure_subscription, ensure_topic
from pipelines.pubsub.publisher import TopicPublisher
from pipelines.pubsub_server.server import running_server
from pipelines.serve import decide_pb2
from pipelines.serve.client import METHOD

_WARM_S = 5.0  # at the start, left out


def main(given: Sequence[str] = ()) -> None:
    """Runs the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=60, help="of each run")
    parser.add_argument("--rates", type=int, nargs="+", default=[100, 500], help="requests/s")
    parser.add_argument("--keys", type=int, default=1_000_000, help="with state, at the start")
    parser.add_argument("--folder", help="keep bundle and input there, for the next time")
    arguments = parser.parse_args(given)
    if arguments.seconds <= _WARM_S:
        parser.error(f"--seconds: longer than {_WARM_S:g}, which are left out")
    root = Path(arguments.folder or tempfile.mkdtemp(prefix="lockstep-bench-"))
    root.mkdir(parents=True, exist_ok=True)
    try:
        bundles = trained(root)
        most = int(max(arguments.rates) * arguments.seconds)
        payloads = messages(simulated(root, max(2 * most, 1000), 2), most)
        print("| scorer | requests/s | answers | p50 | p99 | p99.9 | most | CPU/answer | other |")
        print("|---|---|---|---|---|---|---|---|---|")
        for beside in (False, True):
            for rate in arguments.rates:
                state = root / "state"
                shutil.rmtree(state, ignore_errors=True)
                hour_ago = time.time_ns() // 1000 - 3_600_000_000
                warm_state.write_snapshot(chat(), state, arguments.keys, hour_ago)
                chosen = payloads[: int(rate * arguments.seconds)]
                print(_run(bundles, state, chosen, rate, beside), flush=True)
                shutil.rmtree(state)
    finally:
        if not arguments.folder:
            shutil.rmtree(root, ignore_errors=True)


def _run(bundles: Path, state: Path, payloads: list[bytes], rate: int, beside: bool) -> str:
    with contextlib.ExitStack() as opened:
        endpoint = opened.enter_context(_scorer(bundles, state)) if beside else None
        address, process = opened.enter_context(_server(bundles, state))
        before = _cpu_s(process.pid)
        waits, codes = _ask(address, endpoint, payloads, rate)
        cpu_s = _cpu_s(process.pid) - before
    cells = [*np.percentile(waits, [50, 99, 99.9]), waits.max()]
    other = ", ".join(f"{code} {count}" for code, count in codes.items() if code != "OK") or "none"
    return (
        f"| {'beside' if beside else 'none'} | {rate:,} | {codes['OK']:,} | "
        + " | ".join(f"{one:.0f} ms" for one in cells)
        + f" | {cpu_s / max(1, codes['OK']) * 1e3:.1f} ms | {other} |"
    )


@contextlib.contextmanager
def _scorer(bundles: Path, state: Path) -> Iterator[str]:
    with running_server() as server:
        for name, topic in ((SUBSCRIPTION, EVENTS), (HEARD, DECISIONS)):
            ensure_topic(topic, server.endpoint)
            ensure_subscription(name, topic, endpoint=server.endpoint)
        process = scorer(bundles, server.endpoint, state)
        try:
            yield server.endpoint
        finally:
            process.kill()
            process.wait()


@contextlib.contextmanager
def _server(bundles: Path, state: Path) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [
        *(sys.executable, "-c", "from pipelines.commands import main; main()", "serve", "--quiet"),
        *("--state", str(state), "--bundles", str(bundles), "--port", str(port)),
        *("--stale-seconds", "1e9"),
    ]
    process = subprocess.Popen(command)
    address = f"127.0.0.1:{port}"
    try:
        with grpc.insecure_channel(address) as channel:
            grpc.channel_ready_future(channel).result(300)
            while True:
                if process.poll() is not None:
                    raise SystemExit(f"the server ended with exit code {process.returncode}")
                if _is_ready(channel):
                    break
                time.sleep(0.5)
        yield address, process
    finally:
        process.kill()
        process.wait()


def _is_ready(channel: grpc.Channel) -> bool:
    """An event that is none is refused as such once the state is there."""
    try:
        _call(channel)(decide_pb2.DecideRequest(events=[b"{"]), timeout=5)
    except grpc.RpcError as error:
        return bool(error.code() is grpc.StatusCode.INVALID_ARGUMENT)
    return True


def _call(channel: grpc.Channel) -> grpc.UnaryUnaryMultiCallable:
    return channel.unary_unary(
        METHOD,
        request_serializer=decide_pb2.DecideRequest.SerializeToString,
        response_deserializer=decide_pb2.DecideResponse.FromString,
    )


def _ask(
    address: str, endpoint: str | None, payloads: list[bytes], rate: int
) -> tuple[np.ndarray, Counter[str]]:
    """Milliseconds from when each request was due to its answer, and the status codes."""
    spec, waits, codes, lock = chat(), [], Counter[str](), threading.Lock()
    left = threading.Semaphore(0)

    def answered(future: grpc.Future, due_s: float, counted: bool) -> None:
        took_s = time.perf_counter() - due_s
        with lock:
            if counted:
                codes[future.code().name] += 1
                waits.append(took_s * 1e3)
        left.release()

    publisher = TopicPublisher(EVENTS, endpoint) if endpoint else None
    with grpc.insecure_channel(address) as channel:
        call, began_s = _call(channel), time.perf_counter()
        held: list[bytes] = []
        for number, payload in enumerate(payloads):
            due_s = began_s + number / rate
            time.sleep(max(0.0, due_s - time.perf_counter()))
            event = json.loads(payload)
            event[spec.events.id] = f"ask-{number}"
            event[spec.events.time] = stamp(time.time_ns() // 1000)
            data = json.dumps(event).encode()
            future = call.future(decide_pb2.DecideRequest(events=[data]), timeout=5)
            counted = due_s - began_s >= _WARM_S
            future.add_done_callback(
                lambda done, due_s=due_s, counted=counted: answered(done, due_s, counted)
            )
            held.append(data)
            if publisher is not None and len(held) * 50 >= rate:
                threading.Thread(target=publisher.publish, args=(held,), daemon=True).start()
                held = []
        for _ in payloads:
            left.acquire()
    return np.array(waits), codes


def _cpu_s(pid: int) -> float:
    """User and system time of a process."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


if __name__ == "__main__":
    main(sys.argv[1:])
