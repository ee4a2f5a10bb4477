"""What a backfill leaves and tells: equal types on every day, first dead letters, kept states."""

import datetime as dt
import shutil

import duckdb
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from backfill_world import CONFIG, make_events

from configs.errors import InputError, StateError
from configs.loader import loads
from pipelines.backfill import BackfillRequest, make_backfill_plan, read_verdicts
from pipelines.backfill.build import Chunk
from pipelines.backfill.publish import Attempt, read_attempt
from pipelines.backfill.run import require_whole
from pipelines.layout import Days, Layout
from pipelines.streaming.restore import from_night
from transforms.catalog import CATALOG
from transforms.steps import RECENT_IDS


def test_days_without_scored_events_have_the_types_of_other_days(write, run, stream_house):
    events = make_events(60, days=2)
    source = write([one for one in events if one["at"] > "2026-03-02" or one["kind"] == "verdict"])
    report = run(source, "2026-03-01..2026-03-02", bundle=stream_house[2].folder)
    assert report.scored > 0
    one, other = map(pq.read_schema, sorted((report.out / "features").glob("date=*/*.parquet")))
    assert one.equals(other)
    assert one.field("action").type == pa.string()
    glob = f"{report.out}/features/*/*.parquet"
    assert duckdb.sql(f"select count(action) from '{glob}'").fetchall() == [(report.scored,)]
    assert pl.read_parquet(glob)["action"].drop_nulls().len() == report.scored
    assert pd.read_parquet(report.out / "features")["action"].count() == report.scored


def test_a_run_that_fails_shows_the_first_dead_letters_and_nothing_of_the_records(write, run):
    bad = [{"id": f"x{i}", "at": "secret-1", "kind": "post", "who": "w"} for i in range(60)]
    bad += [
        {
            "id": f"y{i}",
            "at": "2026-03-01T10:00:00Z",
            "kind": "post",
            "who": "w",
            "amount": "secret-2",
        }
        for i in range(9)
    ]
    bad.append({"id": "z", "at": "1998-03-01T10:00:00Z", "kind": "post", "who": "w"})
    with pytest.raises(InputError, match="are dead letters") as refusal:
        run(write([*make_events(20), *bad]))
    _, *lines = str(refusal.value).splitlines()
    first = len(make_events(20))
    assert len(lines) == 3, "one of each reason, column and expectation"
    assert (
        f"record {first + 69}: bad_time, column event_time: expected a time from events.e"
        in (lines[2])
    )
    assert f"events.jsonl, record {first}: bad_time, column event_time: expected " in lines[0]
    assert f"events.jsonl, record {first + 60}: wrong_type, column amount: expected " in lines[1]
    assert "secret" not in str(refusal.value)


def test_a_column_that_nothing_has_is_told_once_every_kind_has_come(write, run):
    events = [{name: of[name] for name in of if name != "amount"} for of in make_events(40, days=2)]
    posts = [event for event in events if event["kind"] == "post"]
    told = run(write(events), "2026-03-01..2026-03-02").warnings
    assert [line for line in told if "has the column amount: it is null in every event" in line]
    quiet = run(write(posts, folder="posts"), "2026-03-01..2026-03-02", "quiet").warnings
    assert not [line for line in quiet if "nothing that was read" in line], "verdicts come later"


def test_the_plan_and_the_report_tell_from_which_nights_a_scorer_can_start(
    write, run, spec, tmp_path
):
    source = write(make_events(100))
    asked = BackfillRequest(
        spec, source, tmp_path / "out", Days.parse("2026-03-01..2026-03-03"), keep_states=2
    )
    plan = make_backfill_plan(asked)
    assert plan.to_builtins()["states"] == ["2026-03-02", "2026-03-03"]
    words = "\n".join(plan.lines())
    assert "keeps the state at the end of 2026-03-02..2026-03-03 (2 day(s))" in words
    assert "give a larger --keep-states, or backfill up to that day into another --out" in words
    report = run(source, keep_states=2)
    there = sorted(path.name[5:] for path in (tmp_path / "out" / "state").iterdir())
    assert list(report.states) == there == ["2026-03-02", "2026-03-03"]
    again = make_backfill_plan(asked)
    assert again.to_builtins()["states"] == there, "nothing to do, and they stay"
    assert from_night(spec, tmp_path / "out", dt.date(2026, 3, 2)).position is not None
    with pytest.raises(StateError, match="backfill up to that day into another --out"):
        from_night(spec, tmp_path / "out", dt.date(2026, 3, 1))


def test_who_judged_is_kept_where_the_config_says_so_and_earlier_days_do_not_tell(
    write, run, tmp_path
):
    events = [
        one | ({"by": "moderator"} if one["kind"] == "verdict" else {})
        for one in make_events(300, days=2)
    ]
    source = write(events)
    judged = CONFIG.replace("labels: {", "labels: {source: by, ").replace(
        "  bad: {type: boolean}\n", "  bad: {type: boolean}\n  by: {type: string}\n"
    )
    report = run(source, "2026-03-01..2026-03-02", spec=loads(judged, "tiny.yaml", CATALOG))
    verdicts = read_verdicts(Layout(report.out), dt.date(2026, 3, 2))
    assert verdicts["source"].to_pylist() == ["moderator"] * report.verdicts
    plain = run(source, "2026-03-01", out="plain")
    layout = Layout(plain.out)
    assert "source" not in read_verdicts(layout, dt.date(2026, 3, 1)).column_names
    for folder in ("verdicts", "days"):  # as a day that was made under the config of before
        shutil.copytree(plain.out / folder, report.out / folder, dirs_exist_ok=True)
    both = read_verdicts(Layout(report.out), dt.date(2026, 3, 2))
    assert 0 < both["source"].null_count < len(both) == report.verdicts


DAY = dt.date(2026, 3, 1)


def attempt_of(spec, **changes):
    """What an attempt that wrote all of a day has."""
    groups = (*spec.entities, RECENT_IDS)
    states = [{"group": group, "shard": n} for group in groups for n in range(spec.shards)]
    whole = {"parts": {DAY: [{"rows": 5}]}, "verdicts": {DAY: {"rows": 2}}, "states": {DAY: states}}
    return Attempt(**(whole | changes), dead_letters={}, kinds={}, splits=[])


def chunk_of(spec):
    return Chunk(
        spec, (DAY,), splits=(), computed=tuple(spec.entities), before=None, kept=(DAY,),
        attempt="", out="",
    )  # fmt: skip


@pytest.mark.parametrize("counters", [{}, {"scored_events": 5, "duplicate_events": 1}])
def test_a_whole_attempt_is_taken(counters, tiny_spec):
    require_whole(attempt_of(tiny_spec), chunk_of(tiny_spec), counters)


@pytest.mark.parametrize(
    ("changes", "counters", "words"),
    [
        ({"parts": {}}, {}, "12 of 12 states, 0 parts and its verdicts"),
        ({"verdicts": {}}, {}, "12 of 12 states, 1 parts and no verdicts"),
        ({"states": {}}, {}, "0 of 12 states, 1 parts and its verdicts"),
        ({}, {"scored_events": 6, "duplicate_events": 1}, "6 events were to be scored, and 5 rows"),
    ],
)
def test_an_attempt_that_lacks_something_is_refused(changes, counters, words, tiny_spec):
    with pytest.raises(RuntimeError, match=words):
        require_whole(attempt_of(tiny_spec, **changes), chunk_of(tiny_spec), counters)


def test_nothing_is_published_of_what_a_runner_lost(write, run, tmp_path, monkeypatch):
    def with_a_state_less(folder):
        made = read_attempt(folder)
        made.states[DAY].pop()
        return made

    monkeypatch.setattr("pipelines.backfill.run.read_attempt", with_a_state_less)
    with pytest.raises(RuntimeError, match=r"11 of 12 states.*Its runner has lost elements"):
        run(write(make_events(60, days=1)), str(DAY))
    out = tmp_path / "out"
    assert not Layout(out).published() and not list(out.rglob("*.parquet"))
