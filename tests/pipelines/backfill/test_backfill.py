"""A backfill end to end: the dataset, idempotence, resume, order and workers do not matter."""

import random
import re
from pathlib import Path

import duckdb
import numpy as np
import pandas as pd
import polars as pl
import pyarrow.parquet as pq
import pytest
from backfill_world import CONFIG, make_events, tree_bytes

from configs.errors import BundleError, InputError, StateError
from pipelines.backfill import BackfillRequest, make_backfill_plan
from pipelines.layout import Days
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
    left = tmp_path / "out" / "features" / "date=2026-03-01" / "part-0000-left.parquet"
    pl.DataFrame({"event_id": ["by a dead attempt"]}).write_parquet(left)
    [shown] = re.findall(r"```sql\n(.*?)```", Path("docs/commands.md").read_text(), re.DOTALL)
    days = duckdb.connect().execute(shown.replace("out/", f"{tmp_path}/out/")).fetchall()
    assert (len(days), sum(rows for _, rows in days)) == (3, 300)


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
    assert files.metrics.counters["duplicate_events"] == files.duplicates > 0
    assert files.metrics.counters["features_rows_written"] == files.scored
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


def test_the_dry_run_tells_and_does_nothing(write, tmp_path, spec):
    request = BackfillRequest(
        spec, write(make_events(50)), tmp_path / "out", Days.parse("2026-03-01..2026-03-03")
    )
    text = "\n".join(make_backfill_plan(request).lines())
    assert "3 days" in text and "no state (cold)" in text and "estimated" in text
    assert not (tmp_path / "out").exists()
