"""SIGKILL of a backfill with worker processes: they end, write nothing more, and publish nothing.

Nobody writes to an output folder without its lock. The kernel ends the workers of a launcher that
was killed; and where it cannot, what they still write is named by no marker.
"""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest
from backfill_world import CONFIG, make_events, tree_bytes

from pipelines.backfill import read_features
from pipelines.backfill import run as backfill
from pipelines.layout import Layout

DAYS = "2026-03-01..2026-03-06"
pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the kernel's part is Linux's")

LAUNCHER = """
from pipelines.backfill import plan
from pipelines.commands import main

plan.CHUNK_EVENTS = 600  # several chunks, so that a kill can fall after a day was published
main()
"""
STOPPED = """
import signal, threading
from pipelines import writers

write, writing = writers.write_by_content, threading.Lock()

def stop_and_write(out, folder, *rest):
    with writing:
        if folder.startswith("features/"):
            # To this thread: the process's signal may go to another one, and this one write on.
            signal.pthread_kill(threading.get_ident(), signal.SIGSTOP)
        return write(out, folder, *rest)

writers.write_by_content = stop_and_write
"""
WITHOUT_KERNEL = f"""{STOPPED}
from pipelines import beam_worker

beam_worker.end_with = lambda parent: signal.signal(signal.SIGINT, signal.SIG_IGN)
serve = beam_worker._serve

def serve_and_write(lines):
    try:
        serve(lines)  # until it sees that the launcher is gone, perhaps before the file is written
    finally:
        writing.acquire()

beam_worker._serve = serve_and_write
"""
MOMENTS = {
    "started": lambda out, session: session,
    "forked": lambda out, session: len(session) > 2,
    "attempt": lambda out, session: any(out.glob(".work/attempt-*")),
    "batches": lambda out, session: any(out.glob(".work/attempt-*/scratch/*")),
    "features": lambda out, session: any(out.glob("features/*/part-*")),
    "written": lambda out, session: any(out.glob(".work/attempt-*/manifest.jsonl")),
    "published": lambda out, session: any(out.glob("days/*.json")),
}


@pytest.fixture
def launch(tmp_path):
    """Starts the command with two workers, in a session of its own; nothing of it is left."""
    started = []

    def begin(source, before=""):
        (tmp_path / "tiny.yaml").write_text(CONFIG)
        words = ["backfill", tmp_path / "tiny.yaml", "--input", source, "--out", tmp_path / "out",
                 "--days", DAYS, "--workers", 2, "--json"]  # fmt: skip
        launcher = subprocess.Popen(
            [sys.executable, "-c", before + LAUNCHER, *map(str, words)],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={**os.environ, "PYTHONPATH": os.getcwd()},
            start_new_session=True,
        )
        started.append(launcher)
        return launcher

    yield begin
    for launcher in started:
        for process in session_of(launcher):
            os.kill(process, signal.SIGKILL)
        launcher.wait()
        launcher.stdout.close()


def session_of(launcher):
    """Processes of the launcher's session that have not ended: number -> state."""
    found = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, _, _, session = path.read_text().rsplit(")", 1)[1].split()[:4]
        except (FileNotFoundError, ProcessLookupError):
            continue
        if int(session) == launcher.pid and state not in "ZX":
            found[int(path.parent.name)] = state
    return found


def until(condition, seconds=120, every=0.005):
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < deadline, f"not within {seconds} s"
        time.sleep(every)
    return found


def write_days(folder, events):
    """One Parquet file a day: their statistics say which days they may hold."""
    folder.mkdir(exist_ok=True)
    frame = pd.DataFrame(events)
    frame["at"] = pd.to_datetime(frame["at"], format="ISO8601")
    for day, part in frame.groupby(frame["at"].dt.date):
        part.to_parquet(folder / f"{day}.parquet")
    return str(folder)


def looks(root):
    """Name, size and time of the last change of all that is there."""
    return {path: (path.stat().st_size, path.stat().st_mtime_ns) for path in root.rglob("*")}


@pytest.mark.parametrize(
    "moment",
    [
        pytest.param(one, marks=[] if one in ("features", "published") else pytest.mark.slow)
        for one in MOMENTS
    ],
)
def test_workers_end_with_their_run_and_nothing_is_written_afterwards(
    launch, run, tmp_path, moment
):
    source, out = write_days(tmp_path / "in", make_events(2000, days=6)), tmp_path / "out"
    launcher = launch(source)
    until(lambda: MOMENTS[moment](out, session_of(launcher)))
    assert launcher.poll() is None, "it is to be killed in the middle"
    launcher.kill()
    launcher.wait()
    until(lambda: not session_of(launcher))
    assert launcher.stdout.read() == b"", "nobody holds it open"
    after = looks(out) if out.exists() else {}
    time.sleep(0.5)
    assert (looks(out) if out.exists() else {}) == after
    run(source, DAYS)
    run(source, DAYS, out="whole")
    assert tree_bytes(out) == tree_bytes(tmp_path / "whole")


def test_a_worker_that_is_stopped_while_it_writes_ends_too(launch, tmp_path):
    """It cannot see that its launcher is gone: the kernel ends it."""
    launcher = launch(write_days(tmp_path / "in", make_events(400, days=6)), STOPPED)
    until(lambda: "T" in session_of(launcher).values())
    launcher.kill()
    launcher.wait()
    until(lambda: not session_of(launcher))
    assert not any((tmp_path / "out").glob("features/*/part-*"))


@pytest.mark.parametrize("when", ["before it publishes", "when it has ended"])
def test_what_a_dead_run_s_workers_still_write_is_not_published(
    launch, run, tmp_path, monkeypatch, when
):
    """Stopped, they outlive their launcher; they go on while, or after, the next run's work."""
    source, out = write_days(tmp_path / "in", make_events(2000, days=6)), tmp_path / "out"
    launcher = launch(source, WITHOUT_KERNEL)
    until(lambda: "T" in session_of(launcher).values())
    launcher.kill()
    launcher.wait()
    held = session_of(launcher)
    assert "T" in held.values(), "the kernel has ended them"
    write_days(tmp_path / "in", make_events(1500, days=6, seed=8))

    def go_on():
        before = looks(out)

        def ended():
            for process in session_of(launcher):  # each write stops it anew
                os.kill(process, signal.SIGCONT)
            return not session_of(launcher)

        until(ended)
        left = [path for path in looks(out).keys() - before.keys() if path.is_file()]
        assert any(out / "features" in path.parents for path in left), "they were to write some"
        return left

    publish, left = backfill.publish_days, []
    if when == "before it publishes":

        def publish_days(*arguments):
            left.extend(go_on() if not left else [])
            publish(*arguments)

        monkeypatch.setattr(backfill, "publish_days", publish_days)
    report = run(source, DAYS)
    left.extend(go_on() if not left else [])
    run(source, DAYS, out="whole")
    columns, days = ["event_id", "amount", "who_amounts_1d"], Layout(out).published()
    made, whole = (
        read_features(Layout(tmp_path / one), days, columns).to_pandas() for one in ("out", "whole")
    )
    assert len(days) == 6 and report.scored == len(made) == 1500 and made.equals(whole)
    run(source, DAYS)  # it removes what no marker names
    assert not any(path.exists() for path in left)
    assert tree_bytes(out) == tree_bytes(tmp_path / "whole")
