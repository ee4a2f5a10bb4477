"""Days are not published before their events, and events that come after are told."""

import json

import pandas as pd
import pytest
from backfill_world import make_events, tree_bytes

from configs.errors import InputError
from pipelines.layout import Layout, parse_day


def event(name, at):
    return {"id": name, "at": at, "kind": "post", "who": "x", "amount": 1.0}


def parquet(tmp_path, name, events, folder="input"):
    target = tmp_path / folder
    target.mkdir(exist_ok=True)
    frame = pd.DataFrame(events)
    frame["at"] = pd.to_datetime(frame["at"], format="ISO8601")
    frame.to_parquet(target / name)
    return str(target)


FIRST = [event("a", "2026-03-01T10:00:00Z"), event("b", "2026-03-02T10:00:00Z")]


@pytest.mark.parametrize("kind", ["jsonl", "parquet"])
def test_days_after_the_newest_event_are_refused_and_nothing_is_published(
    write, run, tmp_path, kind
):
    source = write(FIRST) if kind == "jsonl" else parquet(tmp_path, "a.parquet", FIRST)
    with pytest.raises(InputError, match=r"no event after 2026-03-02.*--allow-empty-days"):
        run(source, "2026-03-01..2026-06-30")
    assert not (tmp_path / "out" / "days").exists()
    report = run(source, "2026-03-01..2026-03-03", allow_empty_days=True)
    assert report.empty == ("2026-03-03",)


def test_a_far_future_event_does_not_hide_that_the_last_days_are_empty(write, run):
    with pytest.raises(InputError, match="no event after 2026-03-02"):
        run(write([*FIRST, event("z", "2090-01-01T00:00:00Z")]), "2026-03-01..2026-03-05")


def test_an_empty_day_in_the_middle_is_made_and_named(write, run):
    report = run(write([FIRST[0], event("c", "2026-03-03T10:00:00Z")]))
    assert report.empty == ("2026-03-02",)
    assert len(report.days) == 3


@pytest.mark.parametrize("kind", ["jsonl", "parquet"])
def test_events_that_come_after_their_day_was_published_are_told(write, run, tmp_path, kind):
    def add(name, events):
        if kind == "jsonl":
            return write(events, f"{name}.jsonl")
        return parquet(tmp_path, f"{name}.parquet", events)

    run(add("one", FIRST), "2026-03-01..2026-03-02")
    before = tree_bytes(tmp_path / "out")
    source = add("two", [event("late", "2026-03-01T12:00:00Z"), event("c", "2026-03-03T10:00:00Z")])
    report = run(source)
    (warning,) = [line for line in report.warnings if line.startswith("2026-03-01")]
    assert f"two.{kind}" in warning
    assert str(Layout(tmp_path / "out").marker(parse_day("2026-03-01"))) in warning
    after = tree_bytes(tmp_path / "out")
    assert all(after[path] == data for path, data in before.items()), "told, not changed"
    for marker in (tmp_path / "out" / "days").glob("*.json"):
        marker.unlink()
    report = run(source)
    assert (report.events, report.warnings) == (4, ())


def test_a_file_that_grows_by_new_days_is_no_reason_to_warn(write, run):
    run(write(FIRST), "2026-03-01..2026-03-02")
    report = run(write([*FIRST, event("c", "2026-03-03T10:00:00Z")]))
    assert report.days == ("2026-03-03",)
    assert report.warnings == ()


def test_a_day_tells_the_files_that_it_was_made_from(write, run, tmp_path):
    write(FIRST[:1], "one.jsonl")
    source = write([FIRST[1], event("b", "2026-03-02T10:00:00Z")], "two.jsonl")
    run(source, "2026-03-01..2026-03-02")
    record = json.loads((tmp_path / "out" / "sources" / "2026-03-02.json").read_text())
    path = tmp_path / "input" / "two.jsonl"
    assert record == {str(path): {"bytes": path.stat().st_size, "events": 2}}


def test_a_run_over_published_days_warns_without_reading(run, tmp_path):
    source = parquet(tmp_path, "one.parquet", FIRST)
    run(source, "2026-03-01..2026-03-02")
    assert run(source, "2026-03-01..2026-03-02").warnings == ()
    parquet(tmp_path, "two.parquet", [event("late", "2026-03-02T12:00:00Z")])
    report = run(source, "2026-03-01..2026-03-02")
    assert report.days == ()
    assert [line[:10] for line in report.warnings] == ["2026-03-02"]


@pytest.mark.parametrize(
    ("name", "value"), [("workers", 0), ("keep_states", 0), ("keep_states", -1)]
)
def test_numbers_that_make_no_sense_are_refused(write, run, name, value):
    with pytest.raises(InputError, match=f"--{name.replace('_', '-')} {value}"):
        run(write(make_events(20)), **{name: value})
