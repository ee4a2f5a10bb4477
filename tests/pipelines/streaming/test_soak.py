"""Two million events through one scorer: memory, threads, files and temporary space stay flat.

`LOCKSTEP_SOAK_EVENTS` sets another number of events, for a look while developing.
"""

import dataclasses
import datetime as dt
import itertools
import json
import multiprocessing
import os
import signal
import threading
from pathlib import Path

import numpy as np
import pytest
from stream_world import EVENTS, HEARD, NIGHT, request, serve

from pipelines.pubsub.client import Puller, PullSettings
from pipelines.pubsub.publisher import TopicPublisher
from pipelines.streaming.service import ServiceSettings

COUNT = int(os.environ.get("LOCKSTEP_SOAK_EVENTS", "2000000"))
DAYS = 30  # of event time: keys' windows, ids and log days come and go
BLOCK, UNDECIDED, SAMPLES = 1000, 20_000, 200
KIB = 1024


def payloads():
    """Events at a steady pace: a thousand people, two of five who are loud."""
    begin = dt.datetime.combine(NIGHT, dt.time(), dt.UTC) + dt.timedelta(days=1)
    step = dt.timedelta(days=DAYS) / COUNT
    for number in range(COUNT):
        who = number * 7919 % 1000 if number % 5 < 3 else number % 5
        yield json.dumps(
            {
                "id": f"p{number}",
                "at": (begin + number * step).isoformat(),
                "kind": "post",
                "who": f"w{who}",
                "where": "abc"[number % 3],
                "amount": number % 977 / 10,
                "text": "win money now" if number % 11 == 0 else "see you at noon",
            }
        ).encode()


@dataclasses.dataclass(frozen=True)
class Sample:
    """What a process holds: KiB of memory, threads, open files, bytes of temporary space."""

    memory: int
    threads: int
    files: int
    temporary: int

    @classmethod
    def of(cls, pid, temporary):
        status = dict(
            line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines()
        )
        return cls(
            int(status["VmRSS"].split()[0]),
            int(status["Threads"]),
            len(os.listdir(f"/proc/{pid}/fd")),
            sum(path.stat().st_size for path in temporary.rglob("*") if path.is_file()),
        )


@pytest.mark.soak
@pytest.mark.timeout(3600)
def test_two_million_events_in_flat_memory(stream_house, server, tmp_path, monkeypatch, capsys):
    folder, _, _ = stream_house
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    monkeypatch.setenv("TMPDIR", str(temporary))
    asked = request(
        folder,
        server,
        tmp_path / "state",
        from_night=None,
        # remembered for less than a lease, so that the table of ids is warm soon; none is lost here
        settings=ServiceSettings(snapshot_steps=200, keep_log_days=60 / 86_400, remember_s=5.0),
    )
    source = dataclasses.replace(asked.source, batch_events=1000, end_after_idle_s=None)
    asked = dataclasses.replace(asked, source=source)
    process = multiprocessing.get_context("spawn").Process(target=serve, args=(asked,))
    process.start()
    seen = np.zeros(COUNT, np.uint8)
    room, over = threading.Semaphore(UNDECIDED // BLOCK), threading.Event()

    def produce():
        made = payloads()
        with TopicPublisher(EVENTS, server) as publisher:
            while (block := list(itertools.islice(made, BLOCK))) and not over.is_set():
                room.acquire()
                publisher.publish(block)

    producer = threading.Thread(target=produce)
    producer.start()
    samples, heard, freed = [], 0, 0
    puller = Puller(PullSettings(HEARD, server, 100_000, 1 << 28, 60))
    try:
        while heard < COUNT:
            batch = puller.take(5000, 120.0)
            assert batch, f"nothing more after {heard:,} decisions"
            for message in batch:
                number = int(json.loads(message.data)["event_id"][1:])
                heard += not seen[number]
                seen[number] = 1
            puller.acknowledge([message.ack_id for message in batch])
            while freed < heard // BLOCK:
                room.release()
                freed += 1
            if heard * SAMPLES // COUNT > len(samples):
                samples.append(Sample.of(process.pid, temporary))
        os.kill(process.pid, signal.SIGTERM)
        process.join(120)
        assert process.exitcode == 0
    finally:
        over.set()
        room.release()
        process.kill()
        producer.join()
        puller.close()
    assert not list(temporary.rglob("*.*")), "temporary files stayed behind"
    warm, last = (
        samples[len(samples) * 2 // 5 : len(samples) * 3 // 5],
        samples[-len(samples) // 5 :],
    )
    with capsys.disabled():
        for name in ("memory", "threads", "files", "temporary"):
            print(f"\n{name}: {[getattr(one, name) for one in samples[:: len(samples) // 20]]}")
    for name, slack in (("memory", 32 * KIB), ("threads", 2), ("files", 4), ("temporary", 0)):
        before = max(getattr(one, name) for one in warm)
        after = max(getattr(one, name) for one in last)
        assert after <= before + slack, f"{name} grew from {before:,} to {after:,}"
