"""Helpers of tests of the streaming job: a real `lockstep stream --runner …`, and what it did."""

import contextlib
import datetime as dt
import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pyarrow as pa
from backfill_world import CONFIG, make_events
from bundle_world import copy_bundle
from engines import prism_binary, running_flink
from stream_world import DECISIONS, HEARD, NIGHT, SUBSCRIPTION

from configs.errors import StateError
from configs.loader import loads
from pipelines.backfill import BackfillRequest, backfill
from pipelines.layout import Days
from pipelines.pubsub.client import Puller, PullSettings
from pipelines.streaming.journal import read_steps
from scoring.store import Store
from transforms.catalog import CATALOG

ROOT = Path(__file__).parents[1]
CODE = "from pipelines.commands import main; main()"
WAIT_S = 400
SPEC = loads(CONFIG, "tiny.yaml", CATALOG)


def make_house(folder, count=1000, bundle=copy_bundle):
    """Ten days of events; the states of the first eight, and a store whose bundle serves.

    Args:
      bundle: puts one into a store, and gives its folder.

    Returns:
      the folder, as `running_job` takes it, and the events in order.
    """
    folder.mkdir(parents=True, exist_ok=True)
    events = sorted(make_events(count, days=10), key=lambda event: (event["at"], event["id"]))
    source, out = folder / "events.jsonl", folder / "house"
    source.write_text("".join(json.dumps(event) + "\n" for event in events))
    backfill(BackfillRequest(SPEC, str(source), out, Days(dt.date(2026, 3, 1), NIGHT)))
    Store(out / "bundles").promote(bundle(out / "bundles").name)
    return folder, events


@contextlib.contextmanager
def engine_flags(name, folder):
    """Flags for "prism", or for a Flink of a parallelism: "flink-2"."""
    if name == "prism":
        yield ("--runner=PrismRunner", f"--prism_location={prism_binary()}")
        return
    with running_flink(folder / "flink", int(name[-1])) as flags:
        yield flags


class Listener:
    """Hears every decision as it is published: event id -> the payloads, each once."""

    def __init__(self, endpoint):
        self.heard, self.copies, self._ended = {}, 0, False
        self._puller = Puller(PullSettings(HEARD, endpoint, 100_000, 1 << 28, 60))
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self):
        import msgspec

        while not self._ended:
            messages = self._puller.take(1000, 0.2)
            for message in messages:
                self.copies += 1
                event = msgspec.json.decode(message.data)["event_id"]
                self.heard.setdefault(event, set()).add(message.data)
            self._puller.acknowledge([message.ack_id for message in messages])

    def await_all(self, ids, process, seconds=WAIT_S):
        """Until all of these are decided, or a while has passed."""
        ends = time.monotonic() + seconds
        while not set(ids) <= self.heard.keys():
            assert process.poll() is None, "the job ended"
            missing = len(set(ids) - self.heard.keys())
            assert time.monotonic() < ends, f"{missing} of {len(ids)} are not decided"
            time.sleep(0.2)

    def close(self):
        self._ended = True
        self._thread.join()
        self._puller.close()


@contextlib.contextmanager
def running_job(folder, endpoint, state, flags, *options):
    """The command as a process; its job is cancelled at the end."""
    command = [
        sys.executable, "-c", CODE, "stream", "--bundles", folder / "house" / "bundles",
        "--subscription", SUBSCRIPTION, "--decisions", DECISIONS, "--state", state,
        "--endpoint", endpoint, "--lease-seconds", "10", *options, *flags,
    ]  # fmt: skip
    log = Path(f"{state}.log")
    with open(log, "ab") as output:
        process = subprocess.Popen(
            list(map(str, command)), cwd=ROOT, stdout=output, stderr=subprocess.STDOUT,
            env=os.environ | {"PYTHONPATH": str(ROOT)}, start_new_session=True,
        )  # fmt: skip
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(60)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def from_night(folder):
    """Options: the night that the house has, and its folder."""
    return "--out", folder / "house", "--from-night", str(NIGHT)


def await_log(state, ids, process, seconds=WAIT_S):
    """Until the log has these; all rows of the log, in the order of the fold."""
    ends = time.monotonic() + seconds
    while True:
        rows, there = None, set()
        # Of two writers one may be ahead for as long as a job that was killed takes to come back.
        with contextlib.suppress(StateError):
            steps = [step.batch for step in read_steps(state)]
            rows = pa.Table.from_batches(steps) if steps else None
            there = set() if rows is None else set(rows.column("event_id").to_pylist())
        if set(ids) <= there:
            return rows
        assert process.poll() is None, "the job ended"
        assert time.monotonic() < ends, f"{len(set(ids) - there)} of {len(ids)} are not logged"
        time.sleep(0.5)


def assert_decided_once(listener, rows, scored):
    """Nothing is lost, nothing decided twice, and the log says what was published."""
    assert listener.heard.keys() >= set(scored)
    assert [event for event, forms in listener.heard.items() if len(forms) > 1] == []
    logged = rows.column("event_id").to_pylist()
    assert len(logged) == len(set(logged)), "logged twice"
    decided = dict(
        zip(rows.column("event_id").to_pylist(), rows.column("decision").to_pylist(), strict=True)
    )
    for event, (form,) in ((one, tuple(forms)) for one, forms in listener.heard.items()):
        assert decided[event] == form
