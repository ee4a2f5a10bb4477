"""Verdicts about accounts, from events to labels, history, report, training and the leak ladder."""

import dataclasses
import datetime as dt
import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import typer
from nightly_world import NIGHT, request, write_events
from subject_world import CONFIG_OF_PEOPLE, events_of_people
from typer.testing import CliRunner

from configs.errors import InputError
from configs.fingerprint import dataset_fingerprint
from configs.loader import loads
from pipelines.backfill import BackfillRequest, backfill, read_features, read_verdicts
from pipelines.commands.labels import describe, register, tell
from pipelines.dataset import load_dataset, load_labels
from pipelines.evaluate import EvaluateRequest, evaluate_bundle
from pipelines.label_history import label_history, subject_history
from pipelines.labels import report_labels
from pipelines.layout import Days, Layout, day_us
from pipelines.leakcheck import _moved
from pipelines.nightly import nightly
from transforms.catalog import CATALOG

DAYS = Days(dt.date(2026, 3, 1), dt.date(2026, 3, 8))
THREE_DAYS = 3 * 86_400_000_000


@pytest.fixture(scope="module")
def spec():
    return loads(CONFIG_OF_PEOPLE, "people.yaml", CATALOG)


@pytest.fixture(scope="module")
def house(tmp_path_factory):
    """A source, and an output folder with a night that was trained."""
    folder = tmp_path_factory.mktemp("people")
    source = write_events(folder / "input", events_of_people())
    return source, folder / "out", nightly(request(source, folder / "out", CONFIG_OF_PEOPLE))


def known_events(out, spec):
    """Scored events and the verdicts about posts and about people, in plain Python."""
    layout = Layout(out)
    events = read_features(layout, layout.published(), ["event_id", "event_time", "who"])
    rows = read_verdicts(layout, layout.published()[-1]).to_pylist()
    rows.sort(key=lambda row: row["event_time"])
    return events.to_pylist(), rows


def by_ban(event, bans):
    """What the latest ban that speaks of an event says."""
    own = [one for one in bans if one["subject_value"] == event["who"]]
    said = None
    for at, one in enumerate(own):
        first = at
        while first and own[first - 1]["positive"] != own[first]["positive"]:
            first -= 1
        if own[first]["event_time"] - THREE_DAYS <= event["event_time"] < one["event_time"]:
            said = one["positive"]
    return said


def test_a_backfill_publishes_them_and_training_reads_them(house, spec):
    _, out, _ = house
    events, rows = known_events(out, spec)
    bans = [one for one in rows if one["subject_column"] == "who"]
    assert len(bans) > 20 and all(one["subject"] is None for one in bans)
    assert {one["subject_column"] for one in rows} == {"who", None}
    judged = {one["subject"]: one["positive"] for one in rows if one["subject"] is not None}
    data = load_dataset(spec, Layout(out), DAYS.start_us, DAYS.end_us, day_us(NIGHT))
    found = dict(zip(data.events["event_id"].to_pylist(), data.labels.tolist(), strict=True))
    by_subject = 0
    for event in events:
        own, said = judged.get(event["event_id"]), by_ban(event, bans)
        if own is not None:
            assert found[event["event_id"]] == own
        elif said is not None:
            assert found[event["event_id"]] == said
            by_subject += 1
    assert int(data.by_subject.sum()) == by_subject > 100
    some = np.arange(0, len(data), 7)
    again = load_labels(
        spec, Layout(out), data.events["event_id"].take(pa.array(some)), data.times[some],
        day_us(NIGHT),
    )  # fmt: skip
    assert again.labels.tolist() == data.labels[some].tolist()


def test_the_report_and_a_persons_history_show_them(house, spec, tmp_path):
    _, out, _ = house
    events, rows = known_events(out, spec)
    bans = [one for one in rows if one["subject_column"] == "who"]
    found = report_labels(spec, out)
    last = {one["subject_value"]: one["positive"] for one in bans}
    [people] = found.subjects
    assert (people.verdicts, people.subjects) == (len(bans), len(last))
    assert (people.positive, people.negative) == (
        sum(last.values()), len(last) - sum(last.values()),
    )  # fmt: skip
    judged = {one["subject"] for one in rows}
    assert found.by_subject == sum(
        by_ban(one, bans) is not None for one in events if one["event_id"] not in judged
    )
    kinds = (found.positive, found.negative, found.matured, found.young, found.early, found.expired)
    assert sum(kinds) + found.suspected == found.events == len(events) and found.suspected > 0

    person = bans[0]["subject_value"]
    (tmp_path / "people.yaml").write_text(CONFIG_OF_PEOPLE)
    app = typer.Typer()
    app.command("other")(lambda: None)
    register(app)
    asked = ["labels", str(tmp_path / "people.yaml"), "--out", str(out)]
    ended = CliRunner().invoke(app, [*asked, "--subject", f"who:{person}", "--json"])
    history = json.loads(ended.stdout)
    assert [one["time_us"] for one in history["about"]] == [
        one["event_time"] for one in bans if one["subject_value"] == person
    ]
    assert history["events"] == sum(one["who"] == person for one in events)
    assert history["by_subject"] > 0
    lines = CliRunner().invoke(app, [*asked, "--subject", f"who:{person}"]).stdout
    assert "Verdicts about it:" in lines and "of its events have their label by these" in lines
    assert f"{people.verdicts} verdicts are about" in CliRunner().invoke(app, asked).stdout

    one = next(
        one for one in events
        if one["event_id"] not in judged and by_ban(one, bans) is not None
    )  # fmt: skip
    told = subject_history(spec, out, "event", one["event_id"])
    assert told.judged[0].reason == "by a verdict about its who"
    assert {said.about for said in told.about} == {"who"}
    assert "about its who" in "\n".join(tell(told)) or told.about
    verdicts, label = label_history(spec, Layout(out), one["event_id"], one["event_time"])
    assert label == told.judged[0].label == int(by_ban(one, bans))
    assert verdicts == told.about
    with pytest.raises(InputError, match="no scored event with that who"):
        subject_history(spec, out, "who", "nobody")


JUDGED_BY = CONFIG_OF_PEOPLE.replace("  text: {", "  judge: {type: string}\n  text: {", 1).replace(
    "maturity: 1d,", "maturity: 1d, source: judge, expires: 11d, precedence: [person],"
)


def test_who_judges_accounts_is_counted_and_named_where_it_stops_or_floods(tmp_path):
    start = dt.datetime(2026, 3, 1, tzinfo=dt.UTC)
    bans = [(1, "w1", "script", False), (9, "w2", "person", False), (9.5, "w2", "script", True)]
    bans += [
        (day + at / 99, f"x{day}{at}", "script", True) for day in range(2, 8) for at in range(9)
    ]
    bans += [(day + at / 99, f"y{day}{at}", "users", True) for day in range(12) for at in range(5)]
    bans += [(12.9 + at / 999, "w3", "users", True) for at in range(60)]
    events = [
        {"id": f"b{number}", "at": (start + dt.timedelta(days=day)).isoformat(), "kind": "ban",
         "named": named, "judge": judge, "bad": bad}
        for number, (day, named, judge, bad) in enumerate(bans)
    ]  # fmt: skip
    events += [
        {"id": f"p{day}{who}", "at": (start + dt.timedelta(days=day)).isoformat(), "kind": "post",
         "who": who} for day in range(13) for who in ("w1", "w2", "w3")
    ]  # fmt: skip
    (tmp_path / "people.yaml").write_text(JUDGED_BY)
    made = loads(JUDGED_BY, "people.yaml", CATALOG)
    source, out = write_events(tmp_path / "input", events), tmp_path / "out"
    backfill(BackfillRequest(made, source, out, Days(start.date(), dt.date(2026, 3, 13))))
    found = report_labels(made, out)
    [people] = found.subjects
    counted = {one.source: (one.verdicts, one.positive, one.reversing) for one in people.sources}
    # Those of the first two days have expired.
    assert counted == {"users": (110, 110, 0), "script": (55, 55, 1), "person": (1, 0, 0)}
    assert people.unknown == people.subjects - 2  # w2 and w3
    assert [(one.source, one.last) for one in found.alarms] == [("script", 0), ("users", 60)]
    assert [(one.one, one.other, one.differ, one.both) for one in found.conflicts] == [
        ("person", "script", 1, 1)
    ]
    lines = "\n".join(describe(found))
    assert "source, of who" in lines and f"({people.unknown:,} of no scored event)" in lines
    assert "person and script judged 1 events or values of who both" in lines
    plain = dataclasses.replace(made, labels=dataclasses.replace(made.labels, subjects=()))
    assert report_labels(plain, out).alarms == ()  # a config that has no such verdicts, any more
    told = subject_history(made, out, "event", "p0w1")
    assert (told.judged[0].label, told.judged[0].reason) == (None, "its verdicts have expired")


def test_a_nightly_report_has_the_flow_of_verdicts_about_accounts(house, spec):
    _, out, _ = house
    _, rows = known_events(out, spec)
    [report] = out.glob("reports/*/report.json")
    [flow] = json.loads(report.read_text())["flow"]["sources"]
    assert flow["verdicts"] == sum(one["event_time"] < day_us(NIGHT) for one in rows)


def test_accounts_are_evaluated_and_known_ones_left_out(house, spec):
    _, out, made = house
    days = Days(NIGHT - dt.timedelta(days=2), NIGHT - dt.timedelta(days=1))
    found = evaluate_bundle(EvaluateRequest(out, made.bundle, days))
    assert found.subjects is not None and found.subjects.abusive > 0


def test_training_as_of_a_night_sees_no_later_ban(house, tmp_path):
    """Whatever becomes known of people later, the bundle is the same; one ban before is another."""
    events = events_of_people()
    later = [one for one in events if one["kind"] != "ban" or one["at"] < NIGHT.isoformat()]
    bans = [
        {"id": f"x{at}", "at": f"{NIGHT}T0{at % 9}:00:00+00:00", "kind": "ban",
         "named": f"w{at}", "bad": at % 2 == 0}
        for at in range(40)
    ]  # fmt: skip
    source = write_events(tmp_path / "later", [*later, *bans])
    changed = nightly(request(source, tmp_path / "a", CONFIG_OF_PEOPLE, promote=False))
    assert changed.bundle == house[2].bundle
    before = bans[9] | {"at": "2026-03-08T23:00:00+00:00", "bad": True, "named": "w20"}
    source = write_events(tmp_path / "before", [*events, before])
    other = nightly(request(source, tmp_path / "b", CONFIG_OF_PEOPLE, promote=False))
    assert other.bundle != house[2].bundle


def test_the_leak_ladder_moves_them_towards_what_they_judge(spec, tmp_path):
    hour = 3_600_000_000
    rows = [
        {"id": "p1", "at": 10 * hour, "kind": "post", "who": "ann"},
        {"id": "p2", "at": 20 * hour, "kind": "post", "who": "ann"},
        {"id": "b1", "at": 30 * hour, "kind": "ban", "named": "ann", "bad": True},
        {"id": "b2", "at": 15 * hour, "kind": "ban", "named": "ann", "bad": True},
        {"id": "b3", "at": 40 * hour, "kind": "ban", "named": "bob", "bad": True},
        {"id": "v1", "at": 30 * hour, "kind": "verdict", "subject": "p1", "bad": True},
    ]
    names = ("id", "at", "kind", "who", "named", "subject", "bad")
    (tmp_path / "input").mkdir()
    table = pa.table({name: [row.get(name) for row in rows] for name in names})
    pq.write_table(table, tmp_path / "input" / "a.parquet")
    (tmp_path / "moved").mkdir()
    _, folder = _moved(spec, str(tmp_path / "input"), 0.5, tmp_path / "moved")
    at = pq.read_table(f"{folder}/0.parquet")["at"].to_pylist()
    assert at[:2] == [10 * hour, 20 * hour]
    # Nobody can judge a person sooner than a microsecond after what that one did last.
    assert at[2:] == [25 * hour + 1, round(12.5 * hour) + 1, 40 * hour, 20 * hour]


def test_a_config_without_them_has_the_fingerprint_that_it_had(spec):
    from backfill_world import CONFIG

    assert dataset_fingerprint(loads(CONFIG, "tiny.yaml", CATALOG)) == "8236f897614bf2b8"
    assert dataset_fingerprint(spec) != "8236f897614bf2b8"
