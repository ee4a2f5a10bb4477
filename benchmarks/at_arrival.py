"""Decisions at arrival: latency from publish to first decision, and how many are revised.

`python -m benchmarks.at_arrival`. Server and scorer are processes of their own. An event's time is
up to `disorder` seconds before its publish, drawn evenly, and a little less than the disorder bound
at most; a decision's time is the server's stamp of its publish. Midway another bundle is promoted.
"""

from __future__ import annotations

import argparse
import json
import random
import shutil
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from benchmarks import warm_state
from benchmarks.streaming import DECISIONS, EVENTS, HEARD, SUBSCRIPTION, scorer, wait
from benchmarks.world import chat, messages, second_night, simulated, stamp, trained
from pipelines.collector import collect_briefly
from pipelines.pubsub.admin import ensure_subscription, ensure_topic
from pipelines.pubsub.client import Puller, PullSettings
from pipelines.pubsub.publisher import TopicPublisher
from pipelines.pubsub_server.server import running_server
from scoring.store import Store

_WARM_S = 5.0  # at the start, left out
_MARGIN_S = 0.3  # below the disorder bound


def main(given: Sequence[str] = ()) -> None:
    """Runs the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=60, help="of each run")
    parser.add_argument("--rates", type=int, nargs="+", default=[10, 1000], help="events a second")
    parser.add_argument("--disorder", type=float, nargs="+", default=[0.1, 1.0, 5.0])
    parser.add_argument("--keys", type=int, default=1_000_000, help="with state, at the start")
    arguments = parser.parse_args(given)
    if arguments.seconds <= _WARM_S:
        parser.error(f"--seconds: longer than {_WARM_S:g}, which are left out")
    root = Path(tempfile.mkdtemp(prefix="lockstep-bench-"))
    try:
        most = int(max(arguments.rates) * arguments.seconds)
        bundles = trained(root)
        nights = [str(Store(bundles).serving()), second_night(root)]
        payloads = messages(simulated(root, max(2 * most, 1000), 2), most)
        collect_briefly()  # a publisher that stands still for 0.3 s is not the scorer's latency
        print("| events/s | disorder | decided | bundles | p50 | p99 | p99.9 | most | revised |")
        print("|---|---|---|---|---|---|---|---|---|")
        for rate in arguments.rates:
            for disorder_s in arguments.disorder:
                state = root / f"state-{rate}-{disorder_s}"
                hour_ago = time.time_ns() // 1000 - 3_600_000_000
                warm_state.write_snapshot(chat(), state, arguments.keys, hour_ago)
                chosen = payloads[: int(rate * arguments.seconds)]
                nights.reverse()
                made = run_live(bundles, state, chosen, rate, disorder_s, swap_to=nights[0])
                waits, revised, decided_by = made
                cells = [*np.percentile(waits, [50, 99, 99.9]), waits.max()]
                print(
                    f"| {rate:,} | {disorder_s:g} s | {len(waits):,} | {decided_by} | "
                    + " | ".join(f"{one:.0f} ms" for one in cells)
                    + f" | {revised / len(waits):.3%} |",
                    flush=True,
                )
                shutil.rmtree(state)
    finally:
        shutil.rmtree(root, ignore_errors=True)


def run_live(
    bundles: Path,
    state: Path,
    payloads: list[bytes],
    rate: int,
    disorder_s: float,
    *more: str,
    swap_to: str = "",
) -> tuple[np.ndarray, int, int]:
    """Milliseconds from publish to first decision; how many were revised; by how many bundles.

    Args:
      more: options of the scorer.
      swap_to: a bundle that is promoted midway; "": none is.
    """
    swap = threading.Timer(len(payloads) / rate / 2, Store(bundles).promote, [swap_to])
    with running_server() as server:
        for name, topic in ((SUBSCRIPTION, EVENTS), (HEARD, DECISIONS)):
            ensure_topic(topic, server.endpoint)
            ensure_subscription(name, topic, endpoint=server.endpoint)
        options = ("--decide", "at_arrival", "--idle-exit", "15", *more)
        process = scorer(bundles, server.endpoint, state, *options)
        try:
            _send(server.endpoint, payloads[:1], rate, 0.0, "warm")
            while not (state / "cursor").exists():
                if process.poll() is not None:
                    raise SystemExit(f"the scorer ended with exit code {process.returncode}")
                time.sleep(0.1)
            if swap_to:
                swap.start()
            sent = _send(server.endpoint, payloads, rate, disorder_s, "live")
            wait(process)
        finally:
            swap.cancel()
            process.kill()
        first, revised, decided_by = _heard(server.endpoint)
    begun = min(sent.values()) + _WARM_S * 1e6
    waits = [first[one] - at for one, at in sent.items() if one in first and at >= begun]
    return np.array(waits) / 1e3, revised, decided_by


def _send(
    endpoint: str, payloads: list[bytes], rate: int, disorder_s: float, name: str
) -> dict[str, float]:
    """Publishes at a rate, 20 ms at a time; when each was published, microseconds UTC."""
    events, rng = chat().events, random.Random(rate)
    most_s = min(disorder_s, events.disorder_us / 1e6 - _MARGIN_S)
    sent: dict[str, float] = {}
    plain = [json.loads(payload) for payload in payloads]
    began, number = time.time(), 0
    with TopicPublisher(EVENTS, endpoint) as publisher:
        while number < len(payloads):
            due = min(len(payloads), max(1, int((time.time() - began) * rate)))
            data, now_us = [], time.time_ns() // 1000
            for index, event in enumerate(plain[number:due], number):
                event[events.id] = f"{name}-{index}"
                event[events.time] = stamp(now_us - int(rng.random() * most_s * 1e6))
                data.append(json.dumps(event).encode())
            now_us = time.time_ns() // 1000
            sent |= {event[events.id]: now_us for event in plain[number:due]}
            if data:
                publisher.publish(data)
            number = due
            time.sleep(0.02)
    return sent


def _heard(endpoint: str) -> tuple[dict[str, float], int, int]:
    """When first decisions were published, by event; how many were revised; by how many bundles."""
    first, revised, decided_by = {}, 0, set()
    puller = Puller(PullSettings(HEARD, endpoint, 100_000, 1 << 28, 60))
    try:
        while batch := puller.take(20_000, 2.0):
            for message in batch:
                decision = json.loads(message.data)
                event = decision["event_id"].rpartition(":")[2]
                decided_by.add(decision["bundle"])
                if decision["revision"]:
                    revised += 1
                else:
                    first[event] = message.publish_us
            puller.acknowledge([message.ack_id for message in batch])
    finally:
        puller.close()
    return first, revised, len(decided_by)


if __name__ == "__main__":
    main(sys.argv[1:])
