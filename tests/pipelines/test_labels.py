"""What is known of the labels: against a count in plain Python, and in lines."""

import dataclasses
import datetime as dt
import json

import pyarrow as pa
import pytest
import typer
from backfill_world import CONFIG
from typer.testing import CliRunner

from configs.errors import InputError
from pipelines.backfill import read_features, read_verdicts
from pipelines.commands.labels import register, tell
from pipelines.label_history import subject_history
from pipelines.labels import report_labels
from pipelines.layout import Layout, day_of, day_us
from training.label_counts import count_conflicts


@pytest.fixture(scope="module")
def out(night_house):
    return night_house[1]


@pytest.mark.parametrize("days_less", [0, 3])
def test_it_is_what_a_count_of_the_published_days_gives(out, tiny_spec, days_less):
    layout = Layout(out)
    published = layout.published()
    as_of = published[-1] + dt.timedelta(days=1 - days_less)
    moment, days = day_us(as_of), [day for day in published if day < as_of]
    events = read_features(layout, days, ["event_id", "event_time"]).to_pylist()
    times = {row["event_id"]: row["event_time"] for row in events}
    stands, first = {}, {}
    for row in sorted(
        read_verdicts(layout, days[-1]).to_pylist(), key=lambda row: row["event_time"]
    ):
        if row["event_time"] < moment and row["positive"] is not None:
            stands[row["subject"]] = row["positive"]
            first.setdefault(row["subject"], row["event_time"])
    found = report_labels(tiny_spec, out, as_of)
    assert found.other == ()
    assert found.events == len(times)
    assert found.positive == sum(stands.get(event) is True for event in times)
    assert found.negative == sum(stands.get(event) is False for event in times)
    old = moment - tiny_spec.labels.maturity_us
    unjudged = [time for event, time in times.items() if event not in stands]
    assert found.matured == sum(time <= old for time in unjudged) > 0
    assert found.young == sum(time > old for time in unjudged) > 0
    assert found.early == 0
    assert found.unknown_subjects == len(
        {row["subject"] for row in read_verdicts(layout, days[-1]).to_pylist()}
        - times.keys()
        - {None}
    )
    delays = sorted(first[event] - times[event] for event in times if event in first)
    assert found.curve.events == len(delays) > 100
    assert found.curve.delays.tolist() == sorted(set(delays))


def test_the_command_tells_it_and_one_events_history(out, tmp_path):
    from backfill_world import CONFIG

    (tmp_path / "tiny.yaml").write_text(CONFIG)
    app = typer.Typer()
    app.command("other")(lambda: None)
    register(app)

    def told(*more):
        asked = ["labels", str(tmp_path / "tiny.yaml"), "--out", str(out), *more]
        ended = CliRunner().invoke(app, asked)
        assert ended.exit_code == 0, ended.output
        return ended.stdout

    plain = json.loads(told("--json"))
    lines = told()
    assert f"scored events{plain['events']:>33,}" in lines
    assert "labels.maturity is 1d" in lines
    layout = Layout(out)
    times = dict(zip(*(column.to_pylist() for column in read_features(
        layout, layout.published(), ["event_id", "event_time"]).columns), strict=True))  # fmt: skip
    row = next(row for row in read_verdicts(layout, layout.published()[-1]).to_pylist()
               if row["positive"] and day_of(times[row["subject"]]) < day_of(row["event_time"])
               )  # fmt: skip
    assert "  abuse, " in told("--event", row["subject"])
    history = json.loads(told("--event", row["subject"], "--json"))
    [own] = history["judged"]
    assert row["event_time"] in [one["time_us"] for one in own["verdicts"]]
    assert (own["label"], own["reason"]) == (1, "by verdict")
    before = day_of(row["event_time"])
    earlier = json.loads(told("--event", row["subject"], "--json", "--as-of", str(before)))
    assert earlier["judged"][0]["verdicts"] == []


def test_days_of_another_config_are_named(out, tmp_path):
    app = typer.Typer()
    register(app)
    (tmp_path / "other.yaml").write_text(CONFIG.replace("subject: subject, ", "subject: where, "))
    words = ["labels", str(tmp_path / "other.yaml"), "--out", str(out)]
    said = CliRunner().invoke(app, words)
    assert said.exit_code == 0 and "were made under another config than 'tiny'" in said.stderr
    published = [str(day) for day in Layout(out).published()]
    assert json.loads(CliRunner().invoke(app, [*words, "--json"]).stdout)["other"] == published
    layout = Layout(out)
    one = read_features(layout, layout.published(), ["event_id"])["event_id"][0].as_py()
    words += ["--event", one]
    said = CliRunner().invoke(app, words)
    assert said.exit_code == 0 and "were made under another config than 'tiny'" in said.stderr
    assert json.loads(CliRunner().invoke(app, [*words, "--json"]).stdout)["other"] == published


def test_a_subjects_history_is_that_of_all_its_events(out, tiny_spec):
    layout = Layout(out)
    days = layout.published()
    events = read_features(layout, days, ["event_id", "event_time", "where"]).to_pylist()
    verdicts = read_verdicts(layout, days[-1]).to_pylist()
    place = next(row["where"] for row in events if row["event_id"] == verdicts[0]["subject"])
    own = {row["event_id"] for row in events if row["where"] == place}
    found = subject_history(tiny_spec, out, "where", place)
    assert found.events == len(own) == found.positive + found.negative + found.unlabelled
    told = [(one.event, said.time_us) for one in found.judged for said in one.verdicts]
    assert sorted(told) == sorted(
        (row["subject"], row["event_time"]) for row in verdicts if row["subject"] in own
    )
    times = [one.time_us for one in found.judged]
    assert times == sorted(times)
    assert tell(found)[0].startswith(f"As known before {days[-1] + dt.timedelta(days=1)}: ")


def test_a_history_names_what_reversed_and_what_expired(out, tiny_spec):
    layout = Layout(out)
    last = day_us(layout.published()[-1] + dt.timedelta(days=1))
    newest = max(
        row["event_time"] for row in read_verdicts(layout, layout.published()[-1]).to_pylist()
    )
    labels = dataclasses.replace(tiny_spec.labels, expires_us=last - newest)
    spec = dataclasses.replace(tiny_spec, labels=labels)
    row = read_verdicts(layout, layout.published()[0]).to_pylist()[0]
    [own] = subject_history(spec, out, "event", row["subject"]).judged
    assert own.label is None and own.reason == "its verdicts have expired"
    assert all(one.expired for one in own.verdicts)
    assert "expired" in "\n".join(tell(subject_history(spec, out, "event", row["subject"])))
    report = report_labels(spec, out)
    assert report.expired > 0
    # What stands, and who disagrees, is said of verdicts that still count.
    stands = report.verdicts
    assert (stands.positive, stands.negative) == (report.positive, report.negative)
    assert stands.verdicts == stands.events == 1


def test_subjects_that_cannot_be_looked_up_are_refused(out, tiny_spec):
    for kind, value, words in (
        ("event", "none", "no scored event of that id"),
        ("who", "somebody", "expected event:ID, or one of where"),
        ("where", "nowhere", "no scored event with that where"),
    ):
        with pytest.raises(InputError, match=words) as refused:
            subject_history(tiny_spec, out, kind, value)
        assert "nowhere" not in str(refused.value) and "somebody" not in str(refused.value)


def test_moments_and_ids_that_are_not_there_are_named(out, tiny_spec):
    with pytest.raises(InputError, match="--as-of"):
        report_labels(tiny_spec, out, dt.date(2031, 1, 1))
    with pytest.raises(InputError, match="--as-of"):
        report_labels(tiny_spec, out, dt.date(2011, 1, 1))


def test_sources_conflict_by_their_last_words():
    rows = [
        ("a", True, "bot"), ("a", False, "person"), ("b", True, "bot"), ("b", True, "person"),
        ("c", True, "bot"), ("c", False, "bot"), ("c", False, "person"), ("d", True, None),
        ("a", False, None),
    ]  # fmt: skip
    table = pa.table({
        "event_id": [str(at) for at in range(len(rows))],
        "event_time": list(range(len(rows))),
        "subject": [row[0] for row in rows],
        "positive": [row[1] for row in rows],
        "source": [row[2] for row in rows],
    })  # fmt: skip
    found = {(one.one, one.other): (one.differ, one.both) for one in count_conflicts(table, 99)}
    assert found == {
        ("bot", "person"): (1, 3),
        ("(none)", "bot"): (1, 1),
        ("(none)", "person"): (0, 1),
    }
    assert count_conflicts(table, 1) == ()
