"""Days are not published before their events, and events that come after are told."""

import dataclasses
import json
import re
import shutil

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from backfill_world import make_events, tree_bytes

from configs.errors import InputError
from configs.schema import Column, ColumnType
from pipelines.backfill import input_manifest, publish
from pipelines.layout import Layout, parse_day
from pipelines.sources import parquet as parquet_files


def event(name, at):
    return {"id": name, "at": at, "kind": "post", "who": "x", "amount": 1.0}


def parquet(tmp_path, name, events, folder="input"):
    target = tmp_path / folder
    target.mkdir(exist_ok=True)
    frame = pd.DataFrame(events)
    frame["at"] = pd.to_datetime(frame["at"], format="ISO8601")
    for column in ("where", "subject", "bad", "text"):  # else the run says that they lack
        frame[column] = None
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
    del before["sources/files.json"]  # which also has the new file now
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
    assert list(record) == [str(path)]
    assert record[str(path)]["bytes"] == path.stat().st_size
    assert record[str(path)]["events"] == 2
    assert [kinds["events"] for kinds in record[str(path)]["kinds"].values()] == [2, 0]
    shutil.copy(path, path.with_name("copy.jsonl"))
    (warning,) = run(source, "2026-03-01..2026-03-02").warnings
    assert "copy.jsonl came, with the same events" in warning
    assert "duplicates, which change no feature" in warning


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


def edit(events, **changes):
    return [{**one, **changes} if one["id"] == "a" else one for one in events]


def rewrite(tmp_path, write, kind, name, events):
    if kind == "jsonl":
        return write(events, f"{name}.jsonl")
    return parquet(tmp_path, f"{name}.parquet", events)


LATER = [event("c", "2026-03-03T10:00:00Z")]
KINDS = pytest.mark.parametrize("kind", ["jsonl", "parquet"])


@KINDS
@pytest.mark.parametrize("days", ["2026-03-01..2026-03-02", "2026-03-01..2026-03-03"])
def test_a_file_that_is_rewritten_with_the_same_count_is_told(write, run, tmp_path, kind, days):
    """Whether the run has days to make, and reads the file for them, or not."""
    rewrite(tmp_path, write, kind, "one", FIRST)
    source = rewrite(tmp_path, write, kind, "two", LATER)
    run(source, "2026-03-01..2026-03-02")
    rewrite(tmp_path, write, kind, "one", edit(FIRST, amount=2.0))
    for _ in range(2):  # it stays wrong, so it is told again
        (warning,) = run(source, days).warnings
        assert warning.startswith("2026-03-01 was made from other contents of ")
        assert f"one.{kind} than there are now" in warning
        assert "To make it anew, remove" in warning


@KINDS
def test_new_features_are_not_put_beside_those_of_other_contents(write, run, tmp_path, kind, spec):
    rewrite(tmp_path, write, kind, "one", FIRST[:1])
    source = rewrite(tmp_path, write, kind, "two", FIRST[1:])
    run(source, "2026-03-01")
    rewrite(tmp_path, write, kind, "one", edit(FIRST[:1], amount=2.0))
    assert len(run(source, "2026-03-02").warnings) == 1
    entity = spec.entities["who"]
    fewer = dataclasses.replace(
        spec, entities={**spec.entities, "who": dataclasses.replace(
            entity, aggregates=entity.aggregates[:2]
        )}
    )  # fmt: skip
    before = tree_bytes(tmp_path / "out" / "features")
    with pytest.raises(InputError, match=r"the input of 2026-03-01 is not what .*one\."):
        run(source, "2026-03-01..2026-03-02", only_new_features=True, spec=fewer)
    assert tree_bytes(tmp_path / "out" / "features") == before
    rewrite(tmp_path, write, kind, "one", FIRST[:1])
    run(source, "2026-03-01..2026-03-02", only_new_features=True, spec=fewer)


def test_a_column_that_the_config_names_by_now_is_no_change(write, run, spec):
    source = write([{**one, "more": 5} for one in FIRST])
    run(source, "2026-03-01..2026-03-02")
    entity = spec.entities["who"]
    wider = dataclasses.replace(
        spec,
        columns={**spec.columns, "more": Column("more", ColumnType.INTEGER)},
        entities={**spec.entities, "who": dataclasses.replace(
            entity, aggregates=entity.aggregates[:2]
        )},
    )  # fmt: skip
    report = run(source, "2026-03-01..2026-03-02", only_new_features=True, spec=wider)
    assert len(report.days) == 2


@KINDS
def test_a_file_that_is_gone_is_told_once(write, run, tmp_path, kind):
    rewrite(tmp_path, write, kind, "one", FIRST)
    source = rewrite(tmp_path, write, kind, "two", LATER)
    run(source, "2026-03-01..2026-03-02")
    (tmp_path / "input" / f"one.{kind}").unlink()
    (warning,) = run(source).warnings
    assert warning.startswith("2026-03-01 and 1 more day(s) up to 2026-03-02 were made from ")
    assert f"one.{kind}, which the input holds no longer" in warning


def test_files_that_the_pattern_does_not_ask_for_are_not_gone(write, run, tmp_path):
    write(FIRST, "one.jsonl")
    source = write(LATER, "two.jsonl")
    run(f"{source}/one.jsonl", "2026-03-01..2026-03-02")
    assert run(f"{source}/two.jsonl", "2026-03-03").warnings == ()


def test_files_that_are_put_together_are_no_change(write, run, tmp_path):
    write(FIRST[:1], "one.jsonl")
    source = write(FIRST[1:], "two.jsonl")
    run(source, "2026-03-01..2026-03-02")
    for name in ("one", "two"):
        (tmp_path / "input" / f"{name}.jsonl").unlink()
    write(FIRST, "both.jsonl")
    assert run(source, "2026-03-01..2026-03-02").warnings == ()


@KINDS
def test_a_late_file_is_named_beside_files_that_were_moved(write, run, tmp_path, kind):
    """Renamed, put together and cut: none of them is late, changed or gone."""
    many = [event(f"m{i}", f"2026-03-01T0{i}:00:00Z") for i in range(6)]
    rewrite(tmp_path, write, kind, "one", FIRST)
    for name, part in (("x", many[:2]), ("y", many[2:4]), ("z", many[4:])):
        source = rewrite(tmp_path, write, kind, name, part)
    run(source, "2026-03-01..2026-03-02")
    for old, new in (("one", "0"), ("x", "w")):
        path = tmp_path / "input" / f"{old}.{kind}"
        path.rename(path.with_stem(new))
    for name in ("y", "z"):
        (tmp_path / "input" / f"{name}.{kind}").unlink()
    rewrite(tmp_path, write, kind, "both", many[2:])
    assert run(source, "2026-03-01..2026-03-02").warnings == ()
    rewrite(tmp_path, write, kind, "late", [event("late", "2026-03-01T11:00:00Z")])
    (warning,) = run(source, "2026-03-01..2026-03-02").warnings
    assert warning.startswith("2026-03-01 was published before ")
    assert f"/late.{kind} came; those events are in no feature" in warning
    assert warning.count(f".{kind}") == 1


def test_a_folder_of_input_may_be_moved(write, run, tmp_path):
    """Also where the pattern asks for the new folder only; what is new in there is late."""
    for name, events in (("a", FIRST[:1]), ("b", FIRST[1:])):
        source = write(events, f"{name}.jsonl")
    run(source, "2026-03-01..2026-03-02")
    moved = shutil.move(tmp_path / "input", tmp_path / "archive")
    assert run(str(moved), "2026-03-01..2026-03-02").warnings == ()
    late = json.dumps(event("late", "2026-03-01T11:00:00Z"))
    (tmp_path / "archive" / "late.jsonl").write_text(late + "\n")
    (warning,) = run(str(moved), "2026-03-01..2026-03-02").warnings
    assert "/late.jsonl came; those events are in no feature" in warning
    assert warning.count(".jsonl") == 1


def test_a_moved_file_does_not_hide_one_that_is_gone_or_changed(write, run, tmp_path):
    for name in ("a", "b", "c"):
        source = write([event(name, "2026-03-01T10:00:00Z")], f"{name}.jsonl")
    run(source, "2026-03-01..2026-03-01")
    (tmp_path / "input" / "a.jsonl").rename(tmp_path / "input" / "d.jsonl")
    (tmp_path / "input" / "b.jsonl").unlink()
    write([event("c", "2026-03-01T10:00:01Z")], "c.jsonl")
    changed, removed = run(source, "2026-03-01..2026-03-01").warnings
    assert "made from other contents of " in changed and "/c.jsonl than there are now" in changed
    assert "/b.jsonl, which the input holds no longer" in removed
    assert "a.jsonl" not in changed + removed and "d.jsonl" not in changed + removed


def test_a_late_file_of_lines_is_told_although_nothing_is_to_do(write, run):
    source = write(FIRST, "one.jsonl")
    run(source, "2026-03-01..2026-03-02")
    write(LATER, "later.jsonl")
    report = run(source, "2026-03-01..2026-03-02")
    assert (report.days, report.warnings) == ((), ())
    write([event("late", "2026-03-01T11:00:00Z")], "late.jsonl")
    report = run(source, "2026-03-01..2026-03-02")
    assert report.days == ()
    (warning,) = report.warnings
    assert warning.startswith("2026-03-01 was published before ")
    assert "late.jsonl came; those events are in no feature" in warning


def test_what_did_not_change_is_not_read_again(write, run, tmp_path, monkeypatch):
    write(LATER, "later.jsonl")
    source = parquet(tmp_path, "one.parquet", FIRST)
    run(source, "2026-03-01..2026-03-02")

    def refuse(split, spec):
        raise AssertionError(split.path)

    monkeypatch.setattr(input_manifest, "read_split", refuse)
    assert run(source, "2026-03-01..2026-03-02").warnings == ()


def test_several_splits_of_one_file_are_no_reason_to_warn(run, tmp_path, monkeypatch):
    """Time-ordered, so that a day is in one split, or in two."""
    monkeypatch.setattr(parquet_files, "_SPLIT_ROWS", 20)
    start = pd.Timestamp("2026-03-01T00:00:00Z")
    events = [event(f"e{i:03}", start + pd.Timedelta(hours=i / 2)) for i in range(144)]
    (tmp_path / "input").mkdir()
    path = tmp_path / "input" / "a.parquet"
    lacking = {"where": None, "subject": None, "bad": None, "text": None}
    pd.DataFrame(events).assign(**lacking).to_parquet(path, row_group_size=10)
    for days in ("2026-03-01..2026-03-02", "2026-03-03", "2026-03-01..2026-03-03"):
        assert run(str(path), days).warnings == ()
    record = json.loads((tmp_path / "out" / "sources" / "2026-03-02.json").read_text())
    assert record[str(path)]["events"] == 48


def test_a_late_file_that_cannot_be_read_is_named(write, run, tmp_path):
    source = write(FIRST)
    run(source, "2026-03-01..2026-03-02")
    (tmp_path / "input" / "half.jsonl.gz").write_bytes(b"\x1f\x8b")
    (warning,) = run(source, "2026-03-01..2026-03-02").warnings
    assert "half.jsonl.gz cannot be read" in warning


def test_a_file_that_gives_nothing_is_named(write, run, tmp_path):
    """Without a line, without a row group, and with nothing but dead letters."""
    write([], "a.jsonl")
    write([{"id": "x"}], "b.jsonl")
    with pq.ParquetWriter(tmp_path / "input" / "c.parquet", pa.schema({"id": pa.string()})):
        pass
    good = [event(f"e{hour}", f"2026-03-01T1{hour}:00:00Z") for hour in range(8)]
    (warning,) = run(write(good), "2026-03-01").warnings
    assert re.match(r"\S*a\.jsonl, \S*b\.jsonl and \S*c\.parquet gave no event", warning)


def test_every_file_that_gives_nothing_is_named(write, run):
    for one in range(12):
        write([], f"empty{one:02}.jsonl")
    (warning,) = run(write(FIRST), "2026-03-01..2026-03-02").warnings
    for one in range(10):
        assert f"/empty{one:02}.jsonl" in warning
    assert warning.count("empty") == 10 and "empty09.jsonl and 2 more gave no event" in warning


def test_a_day_costs_its_own_files_and_no_others(tmp_path, run, monkeypatch):
    """A file a day: what is put together, and what is compared later, grows with the days."""
    days = 20
    for day in range(1, days + 1):
        at = f"2026-03-{day:02}T10:00:00Z"
        source = parquet(tmp_path, f"{day:02}.parquet", [event(f"e{day}", at)])
    added, fingerprints = [], []
    add, fingerprint = input_manifest.add_kinds, publish.dataset_fingerprint
    monkeypatch.setattr(input_manifest, "add_kinds", lambda p: added.append(1) or add(p))
    monkeypatch.setattr(
        publish, "dataset_fingerprint", lambda spec: fingerprints.append(1) or fingerprint(spec)
    )
    first = run(source, f"2026-03-01..2026-03-{days}")
    assert (len(first.days), len(added), len(fingerprints)) == (days, days, 1)
    added.clear()
    assert run(source, f"2026-03-01..2026-03-{days}").warnings == ()
    assert len(added) == 3 * days  # of each day: its file now, what was, and what is
