"""The scorer's half of `benchmarks.parity`: the stream through Pub/Sub, then `lockstep parity`.

Messages are sent in order of time, but overtaken by others within half of the disorder bound, and
some of them twice. The client, the protocol and the scorer's process are those of life; the server
is `pipelines.pubsub_server`, in a process of its own, on loopback.
"""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path

import msgspec
import numpy as np
import pyarrow.parquet as pq

from benchmarks.streaming import DECISIONS, EVENTS, HEARD, SUBSCRIPTION, scorer, wait
from configs.schema import Spec
from pipelines.publish import PublishSettings, publish
from pipelines.pubsub.admin import ensure_subscription, ensure_topic
from pipelines.pubsub.client import Puller, PullSettings
from pipelines.pubsub.publisher import TopicPublisher
from pipelines.pubsub_server.server import running_server

_COLUMNS = ["edge", "src", "dst", "time"]
_AHEAD = 400_000  # messages that are sent and not decided: the server holds them in memory
_DUPLICATES = 0.001
_IDLE_EXIT_S = 30


def check_scorer(root: Path, spec: Spec, bundles: Path, source: Path) -> bool:
    """Whether every connection was decided once, and what was served is what is computed offline.

    Args:
      root: scratch folder.
      spec: of the connections.
      bundles: the store that the scorer serves from.
      source: Parquet file of the connections.
    """
    table = pq.read_table(source, columns=_COLUMNS).sort_by(
        [("time", "ascending"), ("edge", "ascending")]
    )
    pq.write_table(table, root / "in-order.parquet")
    state, began = root / "state", time.monotonic()
    with running_server() as server:
        for name, topic in ((SUBSCRIPTION, EVENTS), (HEARD, DECISIONS)):
            ensure_topic(topic, server.endpoint)
            ensure_subscription(name, topic, endpoint=server.endpoint)
        more = ("--batch-events", "4000", "--idle-exit", str(_IDLE_EXIT_S))
        # Two months pass in minutes: what a slow machine let come again would be past `dedup`.
        more += ("--lease-seconds", "600")
        process = scorer(bundles, server.endpoint, state, *more)
        try:
            heard = _Decisions(server.endpoint)
            sent = _send(root / "in-order.parquet", spec, server.endpoint, heard, process)
            wait(process)
            decided = heard.close()
        finally:
            process.kill()
    seconds = time.monotonic() - began
    print(f"scorer: {sent:,} messages sent, {decided:,} of {table.num_rows:,} connections decided, "
          f"{seconds:.0f} s", flush=True)  # fmt: skip
    return _parity(state, bundles, root / "in-order.parquet") and decided == table.num_rows


def _send(
    source: Path, spec: Spec, endpoint: str, heard: _Decisions, process: subprocess.Popen[bytes]
) -> int:
    """Publishes the file, no further ahead of the scorer than memory allows."""
    sent = 0
    settings = PublishSettings(
        shuffle_s=spec.events.disorder_us / 2e6, duplicates=_DUPLICATES, seed=1
    )
    with TopicPublisher(EVENTS, endpoint) as publisher:

        def send(payloads: Sequence[bytes]) -> None:
            nonlocal sent
            while sent - len(heard) > _AHEAD:
                if process.poll() is not None:
                    raise SystemExit(f"the scorer ended with exit code {process.returncode}")
                time.sleep(0.05)
            publisher.publish(payloads)
            sent += len(payloads)

        return publish(str(source), spec, send, settings)


def _parity(state: Path, bundles: Path, archive: Path) -> bool:
    """Prints what `lockstep parity` finds, each mode in a process of its own; whether both pass."""
    command = [sys.executable, "-c", "from pipelines.commands import main; main()", "parity"]
    command += ["--state", str(state), "--bundles", str(bundles)]
    codes = []
    for mode in (["--mode", "served"], ["--mode", "ideal", "--archive", str(archive)]):
        began = time.monotonic()
        codes.append(subprocess.run([*command, *mode], check=False).returncode)
        print(f"  {time.monotonic() - began:.0f} s", flush=True)
    return not any(codes)


class _Decisions:
    """Counts the decisions of distinct events while they come."""

    def __init__(self, endpoint: str) -> None:
        self._puller = Puller(PullSettings(HEARD, endpoint, 100_000, 1 << 28, 60))
        self._seen = np.zeros(1 << 20, np.bool_)
        self._count, self._ended = 0, threading.Event()
        self._thread = threading.Thread(target=self._listen, daemon=True)
        self._thread.start()

    def __len__(self) -> int:
        return self._count

    def close(self) -> int:
        """Ends when nothing comes any more; how many distinct events were decided."""
        self._ended.set()
        self._thread.join()
        self._puller.close()
        return self._count

    def _listen(self) -> None:
        decode = msgspec.json.Decoder(_Decision).decode
        while (batch := self._puller.take(20_000, 2.0)) or not self._ended.is_set():
            edges = [int(decode(one.data).event_id.partition(":")[2]) for one in batch]
            self._puller.acknowledge([one.ack_id for one in batch])
            if edges and max(edges) >= len(self._seen):
                more = np.zeros(max(edges) + len(self._seen), np.bool_)
                more[: len(self._seen)] = self._seen
                self._seen = more
            self._seen[edges] = True
            self._count = int(np.count_nonzero(self._seen))


class _Decision(msgspec.Struct):
    event_id: str
