"""Helpers of tests of the streaming job: a real `lockstep stream --runner …`, and what it did."""

import contextlib
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pyarrow as pa
from stream_world import DECISIONS, HEARD, NIGHT, SUBSCRIPTION

from pipelines.parity import check_ideal, check_served
from pipelines.pubsub.client import Puller, PullSettings
from pipelines.streaming.journal import read_steps

ROOT = Path(__file__).parents[1]
CODE = "from pipelines.commands import main; main()"
WAIT_S = 400


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
        rows = pa.Table.from_batches([step.batch for step in read_steps(state)]) if (
            list((state / "log").glob("date=*/*.arrows"))
        ) else None  # fmt: skip
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


def assert_clean(state, folder):
    """Parity over the log, as served and ideal: no difference at all."""
    bundles = folder / "house" / "bundles"
    for report in (check_served(state, bundles), check_ideal(state, bundles)):
        assert report.events > 100
        assert (report.by_cause, report.faults) == ({}, ()), report
