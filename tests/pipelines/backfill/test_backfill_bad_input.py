"""A backfill that is killed, refused or given odd input: nothing is half done, days are whole."""

import datetime as dt
import os
import random
import signal
import subprocess
import sys
import textwrap
import time

import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from backfill_world import CONFIG, START, make_events, tree_bytes

from configs.errors import BusyError, InputError
from configs.loader import load
from pipelines.backfill import BackfillRequest, make_backfill_plan
from pipelines.layout import Days, Layout, locked
from transforms.catalog import CATALOG


def read(root):
    return pl.read_parquet(str(root / "features" / "**" / "*.parquet"), hive_partitioning=True)


def test_two_runs_at_once_the_second_refuses(write, run, tmp_path):
    source = write(make_events(10))
    with locked(Layout(tmp_path / "out")), pytest.raises(BusyError, match="in use by another run"):
        run(source)


def test_an_output_within_its_input_is_refused_before_anything_is_put_there(write, run, tmp_path):
    source = write(make_events(10))
    for out in ("input", "input/out"):
        with pytest.raises(InputError, match="choose an --out apart from it"):
            run(source, out=out)
    assert os.listdir(source) == ["events.jsonl"]


def published(out):
    """Days that have a marker."""
    return sorted(path.stem for path in (out / "days").glob("*.json"))


def write_days(folder, events):
    """One Parquet file a day: their statistics say which days they may hold."""
    folder.mkdir()
    frame = pd.DataFrame(events)
    frame["at"] = pd.to_datetime(frame["at"], format="ISO8601")
    for day, part in frame.groupby(frame["at"].dt.date):
        part.to_parquet(folder / f"{day}.parquet")
    return str(folder)


SCRIPT = """
import sys
from pathlib import Path
from configs.loader import load
from pipelines.backfill import BackfillRequest, backfill
from pipelines.backfill import plan
from pipelines.layout import Days
from transforms.catalog import CATALOG

plan.CHUNK_EVENTS = 200  # several chunks, so that a kill can fall between two
if __name__ == "__main__":
    spec = load(sys.argv[1], CATALOG)
    print("ready", flush=True)
    backfill(BackfillRequest(spec, sys.argv[2], Path(sys.argv[3]),
                             Days.parse("2026-03-01..2026-03-12"), workers=int(sys.argv[4])))
"""


@pytest.mark.slow
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_a_killed_run_resumes_and_ends_with_the_same_bytes(run, tmp_path, how, monkeypatch):
    config, script = tmp_path / "tiny.yaml", tmp_path / "script.py"
    config.write_text(CONFIG)
    script.write_text(textwrap.dedent(SCRIPT))
    source = write_days(tmp_path / "by-day", make_events(1200, days=12))
    days = "2026-03-01..2026-03-12"
    request = BackfillRequest(load(config, CATALOG), source, tmp_path / "out", Days.parse(days))
    with monkeypatch.context() as patch:
        patch.setattr("pipelines.backfill.plan.CHUNK_EVENTS", 200)
        assert len(make_backfill_plan(request).chunks) > 3, "or no kill can fall between two"
    run(source, days, out="whole")
    out, rng = tmp_path / "killed", random.Random(3)
    command = [sys.executable, str(script), str(config), source, str(out), "1"]
    environment = {**os.environ, "PYTHONPATH": os.getcwd()}
    kills = 0
    for attempt in range(6):
        before = published(out)
        process = subprocess.Popen(
            command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        )
        process.stdout.readline()
        # The first kills fall before anything is published, the others somewhere after it.
        while attempt > 1 and process.poll() is None and published(out) == before:
            time.sleep(0.01)
        try:
            process.wait(timeout=None if attempt == 5 else rng.random())
        except subprocess.TimeoutExpired:
            process.send_signal(how)
            kills += 1
        if process.wait() == 0:
            break
        for day in published(out):
            assert list((out / "features" / f"date={day}").glob("part-*.parquet"))
    assert process.returncode == 0 and kills > 2
    assert tree_bytes(tmp_path / "whole") == tree_bytes(out)


def test_a_full_disk_leaves_nothing_half_written(write, tmp_path):
    """A file-size limit stands in for the disk: writes fail in the middle, as on a full one."""
    config, script = tmp_path / "tiny.yaml", tmp_path / "script.py"
    config.write_text(CONFIG)
    limit = "import resource\nresource.setrlimit(resource.RLIMIT_FSIZE, (20000, 20000))\n"
    guard = "import signal\nsignal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
    body = textwrap.dedent(SCRIPT).replace(
        '    print("ready"',
        f'    {limit.replace(chr(10), "; ")}{guard.replace(chr(10), "; ")}pass\n    print("ready"',
    )
    script.write_text(body)
    source = write(make_events(3000, days=12))
    out = tmp_path / "full"
    done = subprocess.run(
        [sys.executable, str(script), str(config), source, str(out), "1"],
        env={**os.environ, "PYTHONPATH": os.getcwd()},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode != 0
    assert "disk is full" in done.stderr
    published = {path.stem for path in (out / "days").glob("*.json")}
    assert all((out / "features" / f"date={day}").is_dir() for day in published)
    assert not (out / ".work").exists()


def test_empty_input_one_event_and_a_day_without_events(write, run, tmp_path):
    with pytest.raises(InputError, match="shows no event up to 2026-03-03"):
        run(write([]), out="empty")
    report = run(write([]), out="empty", allow_empty_days=True)
    assert report.empty == ("2026-03-01", "2026-03-02", "2026-03-03")
    assert (report.events, len(report.days)) == (0, 3)
    assert len(read(tmp_path / "empty")) == 0
    one = [{"id": "a", "at": "2026-03-03T00:00:00Z", "kind": "post", "who": "x"}]
    report = run(write(one, folder="one"), out="one-out")
    assert report.events == 1
    assert report.empty == ("2026-03-01", "2026-03-02")
    assert len(read(tmp_path / "one-out")) == 1


def test_all_events_at_the_same_time(write, run, tmp_path):
    events = [
        {"id": f"e{i:04d}", "at": START.isoformat(), "kind": "post", "who": "x", "amount": 1}
        for i in range(500)
    ]
    random.Random(2).shuffle(events)
    run(write(events), "2026-03-01")
    frame = read(tmp_path / "out").sort("event_id")
    assert frame["who_posts_1h"].to_list() == list(range(500))


def test_a_clock_in_the_far_future_changes_no_other_day(write, run, tmp_path):
    events = make_events(100)
    outside = run(write(events), out="plain").outside
    far = [{"id": "far", "at": "2090-01-01T00:00:00Z", "kind": "post", "who": "w1"}]
    absurd = [{"id": "absurd", "at": "9999-01-01T00:00:00Z", "kind": "post", "who": "w1"}]
    report = run(write(events + far + absurd, folder="far"), out="far-out")
    assert report.outside == outside + 1 and report.dead == {"bad_time": 1}
    assert read(tmp_path / "plain").equals(read(tmp_path / "far-out"))


@pytest.mark.parametrize("absurd", [-9 * 10**18, 1_768_000_000_000_000_000])
@pytest.mark.parametrize("stamps", [False, True])
def test_one_absurd_time_in_a_parquet_file_is_one_dead_letter(run, tmp_path, absurd, stamps):
    day = int(START.timestamp() * 1e6)
    frame = pd.DataFrame({"id": ["a", "b", "c", "d", "e", "f"], "kind": "post", "who": "x"})
    times = pa.array([day, day + 1, absurd, day + 2, day + 3, day + 4], pa.int64())
    table = pa.Table.from_pandas(frame, preserve_index=False)
    table = table.append_column("at", times.cast(pa.timestamp("us", "UTC")) if stamps else times)
    (tmp_path / "input").mkdir()
    pq.write_table(table, tmp_path / "input" / "a.parquet")
    report = run(str(tmp_path / "input"), "2026-03-01")
    assert report.dead == {"bad_time": 1}
    assert report.events == 5


def test_a_column_full_of_nulls(write, run, tmp_path):
    events = [{**event, "amount": None} for event in make_events(60) if event["kind"] == "post"]
    run(write(events))
    assert read(tmp_path / "out")["amount"].is_nan().all()


@pytest.mark.slow
def test_a_key_with_a_million_events(run, tmp_path):
    count = 1_000_000
    second = dt.timedelta(days=1) / count
    folder = tmp_path / "input"
    folder.mkdir()
    frame = pd.DataFrame(
        {
            "id": [f"e{i:07d}" for i in range(count)],
            "at": pd.date_range(START, periods=count, freq=second),
            "kind": "post",
            "who": "flood",
            "where": "a",
            "amount": 1.0,
        }
    )
    frame.to_parquet(folder / "events.parquet")
    started = time.monotonic()
    report = run(str(folder), "2026-03-01")
    assert report.keys == {"who": 1, "place": 1}
    assert report.state_bytes < 100_000
    assert time.monotonic() - started < 500
    assert read(tmp_path / "out")["who_posts_1d"].max() > 980_000


@pytest.mark.parametrize("unit", ["s", "ms"])
def test_parquet_files_of_no_accepted_time_are_read_and_their_rows_told(write, run, tmp_path, unit):
    """By their statistics they have events of no day, so they were passed over without a word."""
    events = make_events(20)
    source = write(events)
    times = [dt.datetime.fromisoformat(one["at"]) for one in events]
    scale = {"s": 1, "ms": 1000}[unit]
    wrong = [int(at.timestamp()) * scale for at in times]
    table = pa.Table.from_pylist(events).set_column(1, "at", pa.array(wrong))
    pq.write_table(table, tmp_path / "input" / "wrong.parquet")
    with pytest.raises(InputError) as caught:
        run(source)
    assert f"{len(events):,} of {2 * len(events):,} records are dead letters" in str(caught.value)
    assert f"say `events: {{time_unit: {unit}}}`" in str(caught.value)
