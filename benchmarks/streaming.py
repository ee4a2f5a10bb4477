"""Speed of the streaming scorer over the real protocol, and its neighbours, in one run.

The server and the scorer are processes of their own, as they are in life. Rates are those of the
middle 90 % of the decisions, by the publish times that the server stamped; latency is that time
less the event's, which the producer stamped when it published.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from benchmarks import scoring_path, warm_state
from benchmarks.world import START, chat, messages, second_night, simulated, stamp, trained
from configs.schema import Spec
from pipelines.layout import day_us
from pipelines.pubsub.admin import ensure_subscription, ensure_topic
from pipelines.pubsub.client import Puller, PullSettings
from pipelines.pubsub.publisher import TopicPublisher
from pipelines.pubsub_server.server import running_server
from pipelines.streaming.journal import list_snapshots
from scoring.store import Store

EVENTS, SUBSCRIPTION = "projects/bench/topics/events", "projects/bench/subscriptions/scorer"
BARE = "projects/bench/subscriptions/bare"
DECISIONS, HEARD = "projects/bench/topics/decisions", "projects/bench/subscriptions/heard"

Floats = npt.NDArray[np.float64]


def main(given: Sequence[str] = ()) -> None:
    """Runs the benchmarks."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, default=300_000, help="end to end")
    parser.add_argument("--seconds", type=float, default=180, help="of the latency run")
    parser.add_argument("--rate", type=int, default=1000, help="events a second of that run")
    parser.add_argument("--keys", type=int, default=1_000_000, help="with state, at the start")
    arguments = parser.parse_args(given)
    if arguments.seconds * 1e6 <= chat().events.disorder_us:
        parser.error("--seconds: the latency run must last longer than the disorder bound")
    root = Path(tempfile.mkdtemp(prefix="lockstep-bench-"))
    try:
        _run(root, arguments)
    finally:
        shutil.rmtree(root, ignore_errors=True)


def _run(root: Path, arguments: argparse.Namespace) -> None:
    bundles = trained(root)
    payloads = messages(simulated(root, max(2 * arguments.events, 1000), 2), arguments.events)
    print("\n## The streaming scorer\n")
    print("### Scoring path alone, one core\n")
    scoring_path.report(bundles, payloads)
    print("\n### Names of campaigns in decisions\n")
    scoring_path.report_campaigns(payloads)
    print("\n### End to end over Pub/Sub, the server in its own process\n")
    _end_to_end(bundles, root, payloads)
    print(f"\n### Latency at {arguments.rate:,} events/s\n")
    _latency(bundles, root, payloads, arguments)
    print("\n### An attacker floods one key\n")
    scoring_path.report_flood(bundles, payloads)
    print("\n### Start-up\n")
    _start_up(bundles, root, payloads[0], arguments.keys)


def run_backlog(bundles: Path, state: Path, payloads: list[bytes], *more: str) -> float:
    """Events a second of a scorer that finds them all waiting; `more` are options of it."""
    with _topics() as endpoint:
        return len(payloads) / _seconds(bundles, state, endpoint, payloads, *more)


def _seconds(bundles: Path, state: Path, endpoint: str, payloads: list[bytes], *more: str) -> float:
    _publish(endpoint, payloads)
    wait(scorer(bundles, endpoint, state, "--idle-exit", "5", *more))
    begin, end = np.percentile(_heard(endpoint).published, [5, 95])  # the last wait for silence
    return float(end - begin) / 0.9e6


def _end_to_end(bundles: Path, root: Path, payloads: list[bytes]) -> None:
    with _topics() as endpoint:
        seconds = _seconds(bundles, root / "state", endpoint, payloads)
        pulled, bare_seconds = _pull_and_ack(endpoint)
    print("| what | events | seconds | events/s |\n|---|---|---|---|")
    for name, count, took in (
        ("pull, decode, fold, score, log, publish, acknowledge", len(payloads), seconds),
        ("bare pull and acknowledge of the client, by itself", pulled, bare_seconds),
    ):
        print(f"| {name} | {count:,} | {took:.1f} | {count / took:,.0f} |", flush=True)


def _latency(
    bundles: Path, root: Path, payloads: list[bytes], arguments: argparse.Namespace
) -> None:
    """A steady rate over warm state, long enough for snapshots, new pipelines and a swap."""
    spec, state, store = chat(), root / "live", Store(bundles)
    bound_ms = spec.events.disorder_us / 1e3
    hour_ago = time.time_ns() // 1000 - 3_600_000_000  # younger than any retention
    keys = warm_state.write_snapshot(spec, state, arguments.keys, hour_ago)
    first, second = store.serving(), second_night(root)
    with _topics() as endpoint:
        process = scorer(bundles, endpoint, state, "--idle-exit", "15")
        _publish(endpoint, [payloads[0]])  # it is up when it has decided something
        _until(lambda: bool((state / "cursor").exists()), process)
        swap = threading.Timer(arguments.seconds / 2, store.promote, [second])
        swap.start()
        _publish_live(spec, endpoint, payloads, arguments.rate, arguments.seconds)
        swap.join()
        wait(process)
        heard = _heard(endpoint)
    published, events = heard.published, heard.events
    live = events > events.min()  # the first one was sent before, with its old time
    # The producer's last events wait for nothing but silence; they are left out.
    live &= events < events.max() - spec.events.disorder_us
    beyond = (published[live] - events[live]) / 1e3 - bound_ms
    swapped = {first, second} <= heard.bundles
    print(
        f"Decision time less event time, less the disorder bound of {bound_ms / 1e3:g} s; "
        f"{len(beyond):,} decisions in {arguments.seconds:g} s over state of {keys:,} keys; a "
        f"bundle {'was' if swapped else 'was NOT'} swapped in meanwhile; snapshots kept: "
        f"{len(list_snapshots(state))}.\n"
    )
    print("| p50 | p95 | p99 | p99.9 | most |\n|---|---|---|---|---|")
    cells = [*np.percentile(beyond, [50, 95, 99, 99.9]), beyond.max()]
    print("| " + " | ".join(f"{value:.0f} ms" for value in cells) + " |", flush=True)


def _publish_live(
    spec: Spec, endpoint: str, payloads: list[bytes], rate: int, seconds: float
) -> None:
    """Publishes at a rate, a tick of 20 ms at a time; event times are when they are sent."""
    plain = [json.loads(payload) for payload in payloads[: int(rate * seconds)]]
    events = spec.events
    with TopicPublisher(EVENTS, endpoint) as publisher:
        began, sent = time.time(), 0
        while sent < len(plain):
            due = min(len(plain), int((time.time() - began) * rate))
            if due > sent:
                now = stamp(time.time_ns() // 1000)
                for number, event in enumerate(plain[sent:due], sent):
                    event[events.time], event[events.id] = now, f"live-{number}"
                publisher.publish([json.dumps(event).encode() for event in plain[sent:due]])
                sent = due
            time.sleep(0.02)


def _start_up(bundles: Path, root: Path, payload: bytes, keys: int) -> None:
    before = day_us(START) - 3_600_000_000
    held = warm_state.write_snapshot(chat(), root / "warm", keys, before)
    with _topics() as endpoint:
        _publish(endpoint, [payload])
        began = time.time()
        process = scorer(bundles, endpoint, root / "warm", "--idle-exit", "3")
        wait(process)
        published = _heard(endpoint).published
    print("| state | from start to first decision |\n|---|---|")
    print(f"| {held:,} keys | {published.min() / 1e6 - began:.1f} s |")


@contextlib.contextmanager
def _topics() -> Iterator[str]:
    with running_server() as server:
        ensure_topic(EVENTS, server.endpoint)
        ensure_topic(DECISIONS, server.endpoint)
        for name, topic in ((SUBSCRIPTION, EVENTS), (BARE, EVENTS), (HEARD, DECISIONS)):
            ensure_subscription(name, topic, endpoint=server.endpoint)
        yield server.endpoint


def _publish(endpoint: str, payloads: list[bytes]) -> None:
    with TopicPublisher(EVENTS, endpoint) as publisher:
        for start in range(0, len(payloads), 5000):
            publisher.publish(payloads[start : start + 5000])


def scorer(bundles: Path, endpoint: str, state: Path, *more: str) -> subprocess.Popen[bytes]:
    """A scorer in a process of its own, from `SUBSCRIPTION` to `DECISIONS`."""
    command = [sys.executable, "-c", "from pipelines.commands import main; main()", "stream"]
    command += ["--bundles", str(bundles), "--subscription", SUBSCRIPTION]
    command += ["--decisions", DECISIONS, "--endpoint", endpoint, "--state", str(state), "--quiet"]
    paths = os.pathsep.join([os.getcwd(), *filter(None, [os.environ.get("PYTHONPATH")])])
    return subprocess.Popen(
        [*command, *more], stdout=subprocess.DEVNULL, env={**os.environ, "PYTHONPATH": paths}
    )


def _until(ready: Callable[[], bool], process: subprocess.Popen[bytes]) -> None:
    while not ready():
        if process.poll() is not None:
            raise SystemExit(f"the scorer ended with exit code {process.returncode}")
        time.sleep(0.1)


def wait(process: subprocess.Popen[bytes]) -> None:
    """Waits for a scorer's end, which has to be a good one."""
    if process.wait() != 0:
        raise SystemExit(f"the scorer ended with exit code {process.returncode}")


@dataclasses.dataclass(frozen=True)
class _Heard:
    """All decisions: publish and event times, microseconds `[n]`, and which bundles decided."""

    published: Floats
    events: Floats
    bundles: set[str]


def _heard(endpoint: str) -> _Heard:
    published, decisions = [], []
    puller = Puller(PullSettings(HEARD, endpoint, 100_000, 1 << 28, 60))
    try:
        while batch := puller.take(20_000, 2.0):
            published += [message.publish_us for message in batch]
            decisions += [json.loads(message.data) for message in batch]
            puller.acknowledge([message.ack_id for message in batch])
    finally:
        puller.close()
    times = np.array([one["event_time"] for one in decisions], np.float64)
    return _Heard(np.array(published, np.float64), times, {one["bundle"] for one in decisions})


def _pull_and_ack(endpoint: str) -> tuple[int, float]:
    count, began, ended = 0, time.monotonic(), time.monotonic()
    puller = Puller(PullSettings(BARE, endpoint, 100_000, 1 << 28, 60))
    try:
        while batch := puller.take(1000, 2.0):
            puller.acknowledge([message.ack_id for message in batch])
            count, ended = count + len(batch), time.monotonic()
    finally:
        puller.close()
    return count, ended - began


if __name__ == "__main__":
    main(sys.argv[1:])
