"""A backfill end to end: the dataset, idempotence, resume, order and workers do not matter."""

import datetime as dt
import os
import random
import signal
import subprocess
import sys
import textwrap
import time

import duckdb
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from backfill_world import CONFIG, START, make_events, tree_bytes

from configs.errors import BundleError, BusyError, InputError, StateError
from configs.loader import load
from pipelines.backfill import BackfillRequest, make_backfill_plan
from pipelines.layout import Days, Layout, locked
from transforms.catalog import CATALOG


def read(root):
    return pl.read_parquet(str(root / "features" / "**" / "*.parquet"), hive_partitioning=True)


def test_features_are_strictly_before_and_by_key(write, run, tmp_path):
    events = [
        {"id": "a", "at": "2026-03-01T10:00:00Z", "kind": "post", "who": "x", "amount": 1.5},
        {"id": "b", "at": "2026-03-01T10:00:10Z", "kind": "post", "who": "x", "amount": 2.25},
        {"id": "c", "at": "2026-03-01T10:00:20Z", "kind": "post", "who": "y", "amount": 9.0},
        {"id": "d", "at": "2026-03-01T10:00:30Z", "kind": "post", "who": "x", "amount": 1.0},
    ]
    report = run(write(events), "2026-03-01")
    frame = read(tmp_path / "out").sort("event_time")
    assert report.events == report.scored == 4
    assert frame["event_id"].to_list() == ["a", "b", "c", "d"]
    assert frame["who_posts_1h"].to_list() == [0, 1, 0, 2]
    assert frame["who_amounts_1d"].to_list() == [0, 1.5, 0, 3.75]
    last = frame["who_seconds_since_last"].fill_nan(None).to_list()
    assert last == [None, 10, None, 20]
    assert np.isnan(frame["place_posts_1h"].to_numpy()).all()  # no event names a place


def test_each_duplicate_is_a_dead_letter_with_its_place(write, run, tmp_path):
    event = {"kind": "post", "who": "x", "amount": 1}
    events = [
        {**event, "id": name, "at": f"2026-03-01T10:00:{second:02d}Z"}
        for second, name in enumerate(["a", "b", "a", "c", "b"])
    ]
    report = run(write(events), "2026-03-01")
    assert (report.events, report.duplicates) == (3, 2)
    [path] = (tmp_path / "out" / "dead_letters").iterdir()
    letters = pq.read_table(path).to_pylist()
    assert [(one["stage"], one["reason"], one["position"]) for one in letters] == [
        ("deduplicate", "duplicate_id", 2),
        ("deduplicate", "duplicate_id", 4),
    ]
    assert all(one["source"].endswith("events.jsonl") for one in letters)
    assert report.dead == {}, "they count as duplicates, not towards max_dead_share"


def test_days_without_a_bundles_scores_are_not_taken_for_days_with_them(
    write, run, tmp_path, stream_house
):
    source, bundle = write(make_events(60, days=1)), stream_house[2].folder
    run(source, "2026-03-01")
    with pytest.raises(InputError, match="holds 2026-03-01 without the scores of bundle"):
        run(source, "2026-03-01", bundle=bundle)
    with pytest.raises(BundleError, match="no bundle"):
        run(source, "2026-03-01", bundle=tmp_path / "nosuch")
    run(source, "2026-03-01", out="scored", bundle=bundle)
    again = run(source, "2026-03-01", out="scored", bundle=bundle)
    assert again.already == ("2026-03-01",)


def test_state_goes_on_over_midnight(write, run, tmp_path):
    events = [
        {"id": "a", "at": "2026-03-01T23:59:00Z", "kind": "post", "who": "x", "amount": 1},
        {"id": "b", "at": "2026-03-02T00:00:30Z", "kind": "post", "who": "x", "amount": 1},
    ]
    source = write(events)
    run(source, "2026-03-01")
    run(source, "2026-03-01..2026-03-02")
    frame = read(tmp_path / "out").sort("event_time")
    assert frame["who_posts_1h"].to_list() == [0, 1]


def test_duckdb_polars_and_pandas_read_the_dataset(write, run, tmp_path, spec):
    run(write(make_events(300)))
    pattern = str(tmp_path / "out" / "features" / "*" / "*.parquet")
    query = f"select count(*), count(distinct date) from '{pattern}'"
    [count] = duckdb.sql(query).fetchall()
    assert count == (300, 3)
    assert len(read(tmp_path / "out")) == 300
    assert len(pd.read_parquet(tmp_path / "out" / "features")) == 300


def test_a_second_run_changes_nothing(write, run, tmp_path):
    source = write(make_events(200))
    run(source)
    before = tree_bytes(tmp_path / "out")
    report = run(source)
    assert report.days == ()
    assert tree_bytes(tmp_path / "out") == before


@pytest.mark.parametrize("workers", [1, 2])
def test_order_files_and_workers_do_not_matter(write, run, tmp_path, workers):
    events = make_events(400)
    run(write(events), out="plain")
    random.Random(1).shuffle(events)
    source = write(events[:150], "one.jsonl", "shuffled")
    write(events[150:], "two.jsonl", "shuffled")
    run(source, out="shuffled-out", workers=workers)
    plain, shuffled = tree_bytes(tmp_path / "plain"), tree_bytes(tmp_path / "shuffled-out")
    # Which files a day was made from is told beside it, and is all that may differ.
    assert {p for p in plain if plain[p] != shuffled.get(p)} == {
        "sources/files.json",
        *(f"sources/2026-03-0{day}.json" for day in (1, 2, 3)),
    }
    assert plain.keys() == shuffled.keys()


def test_how_batches_travel_between_steps_does_not_matter(write, run, tmp_path):
    events = make_events(200)
    source = write([*events, *events[::9]])
    files = run(source, out="files", exchange="files")
    engine = run(source, out="engine", exchange="engine")
    assert tree_bytes(tmp_path / "files") == tree_bytes(tmp_path / "engine")
    assert files.metrics == engine.metrics
    assert files.metrics["duplicate_events"] == files.duplicates > 0
    assert files.metrics["part_rows_written"] == files.scored
    with pytest.raises(InputError, match="expected files or engine"):
        run(source, out="neither", exchange="pigeon")


def test_day_by_day_equals_at_once(write, run, tmp_path):
    source = write(make_events(400))
    run(source, out="once")
    for day in ("2026-03-01", "2026-03-02", "2026-03-03"):
        run(source, day, out="daily")
    assert tree_bytes(tmp_path / "once") == tree_bytes(tmp_path / "daily")


def test_duplicates_are_dropped_counted_and_do_not_count(write, run, tmp_path):
    events = make_events(200)
    run(write(events), out="clean")
    report = run(write(events + events[::7], folder="again"), out="doubled")
    inside = [event for event in events[::7] if event["at"] < "2026-03-04"]
    assert report.duplicates == len(inside)
    clean, doubled = read(tmp_path / "clean"), read(tmp_path / "doubled")
    assert clean.equals(doubled)


def test_a_gap_in_time_is_refused(write, run):
    source = write(make_events(50))
    run(source, "2026-03-01")
    with pytest.raises(InputError, match=r"2026-03-02\.\.2026-03-02 would be missing"):
        run(source, "2026-03-03")


def test_another_spec_is_refused(write, run, spec):
    import dataclasses

    source = write(make_events(50))
    run(source, "2026-03-01")
    with pytest.raises(InputError, match="under another spec"):
        run(source, "2026-03-01", spec=dataclasses.replace(spec, hash_seed=5))


def test_a_forgotten_state_is_named(write, run, tmp_path):
    source = write(make_events(100))
    run(source, "2026-03-01..2026-03-02", keep_states=1)
    import shutil

    shutil.rmtree(tmp_path / "out" / "state")
    with pytest.raises(StateError, match="date=2026-03-02 is gone"):
        run(source, "2026-03-03")


def test_only_new_features_equals_a_whole_run(write, run, tmp_path):
    from configs.loader import loads
    from transforms.catalog import CATALOG

    source = write(make_events(300))
    run(source)
    more = loads(
        CONFIG.replace(
            "      people: {op",
            "      amounts: {op: max, of: post, column: amount, decimals: 2}\n      people: {op",
        ),
        "more.yaml",
        CATALOG,
    )
    plan = make_backfill_plan(
        BackfillRequest(
            spec=more,
            source=source,
            out=tmp_path / "out",
            days=Days.parse("2026-03-01..2026-03-03"),
            only_new_features=True,
        )
    )
    assert plan.computed == ("place",)
    run(source, spec=more, only_new_features=True)
    run(source, spec=more, out="whole")
    assert tree_bytes(tmp_path / "out") == tree_bytes(tmp_path / "whole")


def test_a_changed_ingest_rule_leaves_no_old_features(write, run, tmp_path):
    """A verdict that is known later must not stay visible at the earlier moment."""
    from configs.loader import loads
    from transforms.catalog import CATALOG

    text = CONFIG.replace("events: {id: id, time: at, kind: kind,", INGEST + "events: {").replace(
        "key: {post: [where]}", "key: {post: [where], verdict: [where]}"
    )
    text = text.replace(
        "      people: {op", "      verdicts: {op: count, of: verdict}\n      people: {op"
    )
    early, late = (
        loads(text.replace("DELAY", delay), "i.yaml", CATALOG) for delay in ("1m", "20h")
    )
    posts = [event for event in make_events(300) if event["kind"] == "post"]
    source = write([event | {"bad": number % 9 == 0} for number, event in enumerate(posts)])
    run(source, spec=early)
    before = tree_bytes(tmp_path / "out")
    run(source, spec=late, only_new_features=True)
    run(source, spec=late, out="clean")
    clean = tree_bytes(tmp_path / "clean")
    assert tree_bytes(tmp_path / "out") == clean
    assert before != clean


INGEST = """
ingest:
  - {kind: post, id: id, time: at}
  - {kind: verdict, id: id, time: at, delay: DELAY, subject: {subject: post}}
"""


def test_dead_letters_are_kept_and_bounded(write, run, tmp_path):
    events = make_events(100)
    source = write([*events, {"id": "x", "at": "never", "kind": "post", "who": "w"}])
    report = run(source)
    assert sum(report.dead.values()) == 1
    letters = pl.read_parquet(str(tmp_path / "out" / "dead_letters" / "*.parquet"))
    assert letters["reason"].to_list() == list(report.dead)
    bad = [{"id": f"x{i}", "at": "never", "kind": "post", "who": "w"} for i in range(60)]
    with pytest.raises(InputError, match="are dead letters"):
        run(write(events + bad, folder="bad"), out="bad-out")
    assert not list((tmp_path / "bad-out").glob("days/*"))


def test_two_runs_at_once_the_second_refuses(write, run, tmp_path):
    source = write(make_events(10))
    with locked(Layout(tmp_path / "out")), pytest.raises(BusyError, match="in use by another run"):
        run(source)


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


def test_the_dry_run_tells_and_does_nothing(write, tmp_path, spec):
    request = BackfillRequest(
        spec, write(make_events(50)), tmp_path / "out", Days.parse("2026-03-01..2026-03-03")
    )
    text = "\n".join(make_backfill_plan(request).lines())
    assert "3 days" in text and "no state (cold)" in text and "estimated" in text
    assert not (tmp_path / "out").exists()
