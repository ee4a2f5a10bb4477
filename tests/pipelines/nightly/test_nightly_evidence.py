"""What a run shows beside its metrics, end to end: the second run knows the first."""

import dataclasses
import datetime as dt
import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from backfill_world import CONFIG, make_events
from nightly_world import LATER, NIGHT, copy_of, request, write_events

from configs.errors import InputError
from pipelines.evaluate import EvaluateRequest, evaluate_bundle
from pipelines.layout import Days, Layout, day_us
from pipelines.nightly import nightly
from pipelines.nightly.early import first_expected
from pipelines.nightly.evidence import past_reports
from pipelines.report import report_nights
from training.report import NightlyReport


@pytest.fixture(scope="module")
def second(night_house, tmp_path_factory):
    """The outcome of a second run over a copy of the first one's output, and that folder."""
    source, out = copy_of(night_house, tmp_path_factory.mktemp("second"))
    return nightly(request(source, out, night=LATER)), out


def test_labels_are_told_by_verdict_and_by_age(second):
    outcome, out = second
    events = pl.read_parquet(f"{out}/features/*/*.parquet", columns=["event_id", "event_time"])
    verdicts = pl.read_parquet(f"{out}/verdicts/*/*.parquet")
    known = verdicts.filter(pl.col("event_time") < day_us(LATER))
    gate = next(one for one in outcome.report.slices if one.name == "gate")
    inside = events.filter(
        pl.col("event_time") >= gate.start_us, pl.col("event_time") < gate.end_us
    )
    judged = inside.join(known, left_on="event_id", right_on="subject", how="inner")
    assert gate.judged == judged.filter(~pl.col("positive"))["event_id"].n_unique()
    assert 0 < gate.judged < gate.negatives
    counted = outcome.report.verdicts
    assert counted.events == counted.positive + counted.negative > 0
    assert (counted.to_positive, counted.to_negative) == (0, 0), "this world reverses nothing"


def test_the_worst_false_positives_are_the_highest_negatives(second):
    outcome, _ = second
    wrong = outcome.report.wrong
    assert len(wrong) == 10
    assert all(one.event_id.startswith("p") for one in wrong)
    scores = [one.score for one in wrong]
    assert scores == sorted(scores, reverse=True)
    assert len({one.event_id for one in wrong}) == 10
    gate = next(one for one in outcome.report.slices if one.name == "gate")
    assert all(gate.start_us <= one.time_us < gate.end_us for one in wrong)


def test_inputs_are_compared_with_the_run_before(second, night_house):
    first, later = night_house[2].report, second[0].report
    assert first.drifts == () and first.drift_since is None
    assert later.drift_since == day_us(NIGHT)
    assert {one.name for one in later.drifts} == {one.name for one in first.inputs}
    before = {one.name: one for one in first.inputs}
    now = {one.name: one for one in later.inputs}
    for one in later.drifts:
        assert (one.nulls_before, one.nulls) == (before[one.name].nulls, now[one.name].nulls)
    assert before["where"].values, "a category that is not private keeps its values"
    assert np.isclose(before["where"].nulls, 0.25, atol=0.1), "a quarter of the places is null"
    assert "win money" not in json.dumps([one.values for one in first.inputs])


def test_the_trend_has_the_runs_before(second, night_house):
    (before,) = second[0].report.past
    first = night_house[2]
    assert (before.as_of_us, before.outcome) == (day_us(NIGHT), "promoted")
    assert before.bundle == first.bundle
    assert before.average_precision == first.report.metrics.average_precision
    assert night_house[2].report.past == ()


def test_a_report_that_cannot_be_read_is_left_out_of_the_trend(night_house, tmp_path):
    _, out = copy_of(night_house, tmp_path)
    (out / "reports" / "2026-03-05").mkdir()
    (out / "reports" / "2026-03-05" / "report.json").write_text('{"name": 7}')
    assert [one.as_of_us for one in past_reports(Layout(out), day_us(LATER))] == [day_us(NIGHT)]


def test_only_the_newest_nights_are_looked_back_on(night_house, tmp_path):
    _, out = copy_of(night_house, tmp_path)
    for back in range(40, 0, -1):
        night = NIGHT - dt.timedelta(back)
        made = dataclasses.replace(night_house[2].report, as_of_us=day_us(night))
        (out / "reports" / str(night)).mkdir()
        (out / "reports" / str(night) / "report.json").write_bytes(made.to_json())
    layout = Layout(out)
    found = past_reports(layout, day_us(LATER))
    assert len(found) == 30 and found[-1].as_of_us == day_us(NIGHT)
    first = NIGHT - dt.timedelta(40)
    assert len(past_reports(layout, day_us(LATER), first)) == 41
    shown = report_nights(out)
    assert len(shown.past) == 14
    assert report_nights(out, first, NIGHT).past[0].as_of_us == day_us(first)


def test_the_page_says_how_to_go_back_and_that_nothing_new_was_read(second, night_house):
    outcome, out = second
    first = night_house[2].bundle
    back = outcome.report.commands[0]
    assert back.name == f"let {first} serve again"
    assert back.value == f"lockstep bundle rollback --out {out}"
    assert not any("rollback" in one.value for one in night_house[2].report.commands)
    again = nightly(request(night_house[0], out, night=LATER, promote=False))
    page = Path(again.page).read_text()
    assert "This run read nothing new: an earlier run had published all days" in page
    assert f"lockstep bundle promote {again.bundle} --out {out}" in page
    report = NightlyReport.from_json((Path(again.page).parent / "report.json").read_bytes())
    assert [one.as_of_us for one in report.past] == [day_us(NIGHT)], "not itself"


def test_actions_that_never_fire_are_told(second, night_house):
    for outcome in (second[0], night_house[2]):
        silent = [one for one in outcome.report.thresholds if one.value is None]
        told = [note for note in outcome.report.notes if note.startswith("With the new model ")]
        assert told == [
            f"With the new model the action {one.action} never fires: {one.reason}."
            for one in silent
        ]
        assert set(told) <= set(outcome.warnings)


def test_windows_that_are_not_full_are_told(night_house, tmp_path):
    cold = "Cold start: the output directory begins on 2026-03-01"
    assert not any(cold in note for note in night_house[2].report.notes)
    source, out = night_house[0], tmp_path / "out"
    config = request(source, out).config.replace("span: 4d", "span: 7d")
    outcome = nightly(request(source, out, config))
    assert any(f"{cold}, and the longest window is 1d" in note for note in outcome.report.notes)


def test_verdicts_that_are_earlier_than_their_events_are_told_and_give_no_label(tmp_path):
    events = make_events(2000, days=10)
    posts = [one for one in events if one["kind"] == "post" and "2026-03-06" in one["at"]][:7]
    early = [
        {"id": f"e{one['id']}", "at": "2026-03-05T23:00:00Z", "kind": "verdict",
         "subject": one["id"], "bad": True}
        for one in posts
    ]  # fmt: skip
    source, out = write_events(tmp_path / "input", [*events, *early]), tmp_path / "out"
    told = "7 events have a verdict with an earlier time than their own"
    outcome = nightly(request(source, out))
    assert any(told in note for note in outcome.report.notes)
    assert told in Path(outcome.page).read_text()
    assert any(told in one for one in outcome.warnings)
    days = Days.parse("2026-03-06..2026-03-07")
    made = evaluate_bundle(EvaluateRequest(out, "serving", days))
    assert made.early == 7 == made.to_builtins()["early"]
    scores = pl.from_arrow(made.scores).filter(pl.col("event_id").is_in([p["id"] for p in posts]))
    assert scores["label"].null_count() == len(scores) == 7


def test_days_whose_labels_are_young_are_foretold_and_shown_beside_what_turned_out(
    second, night_house
):
    first, later = night_house[2].report, second[0].report
    gate = next(one for one in later.slices if one.name == "gate")
    known = [day for day in later.early if not day.young]
    young = [day for day in later.early if day.young]
    # The gate's days have labels: the same figures as the metrics have.
    assert sum(day.expected.events for day in known) == gate.positives + gate.negatives
    assert [day.day_us for day in known] == [gate.start_us]
    for made in known[0].turned_out:
        at = next(one for one in later.metrics.at if one.action == made.action)
        assert made.flagged == at.flagged
        assert (made.precision or 0.0) == pytest.approx(at.precision or 0.0)
        assert made.recall == pytest.approx(at.recall)
    assert known[0].auc == pytest.approx(later.metrics.auc, abs=1e-3)
    # The days behind it do not, all of them are there, and they are foretold.
    assert [day.day_us for day in young] == list(range(gate.end_us, day_us(LATER), 86_400_000_000))
    assert young and all(day.then is None and day.expected.events > 0 for day in young)
    # What is the gate's day now was young a night ago, and foretold by that night's model.
    before = next(day for day in first.early if day.day_us == gate.start_us)
    assert before.young and not before.turned_out
    assert known[0].then == before.expected
    page = Path(second[0].page).read_text()
    assert "Before labels mature" in page and "to come" in page


def test_then_is_what_the_run_that_first_saw_a_day_expected(night_house):
    report = night_house[2].report
    young = next(day for day in report.early if day.young)
    otherwise = dataclasses.replace(young, expected=dataclasses.replace(young.expected, abuse=7.5))
    # A matured day is no forecast, even where no action may fire and so nothing turned out.
    matured = dataclasses.replace(young, day_us=0, young=False)
    made = [dataclasses.replace(report, early=early) for early in ((young, matured), (otherwise,))]
    assert first_expected(made) == {young.day_us: young.expected}
    assert first_expected(made[::-1]) == {young.day_us: otherwise.expected}


def test_a_night_without_a_delay_has_no_young_days(night_house, tmp_path):
    source, out = copy_of(night_house, tmp_path)
    config = CONFIG.replace("delay: 1d", "delay: 0s").replace(", maturity: 1d", "")
    outcome = nightly(request(source, out, config))
    gate = next(one for one in outcome.report.slices if one.name == "gate")
    assert gate.end_us == day_us(NIGHT)
    (day,) = outcome.report.early
    assert day.day_us == gate.start_us and not day.young
    assert day.then is None and ">to come<" not in Path(outcome.page).read_text()


def test_verdicts_that_expired_do_not_stand_on_the_page(night_house, tmp_path):
    source, out = copy_of(night_house, tmp_path)
    config = CONFIG.replace("maturity: 1d", "maturity: 1d, expires: 3d")
    report = nightly(request(source, out, config, night=LATER)).report
    before = night_house[2].report.verdicts
    parts = [one for one in report.slices if one.name in ("fit", "validation", "gate")]
    assert report.verdicts.positive == sum(one.positives for one in parts) < before.positive


def test_a_serving_model_of_other_inputs_is_named_and_not_asked_to_be_measured(
    night_house, tmp_path
):
    """`lockstep evaluate` refuses it on these days, so nothing says to do that."""
    source, out = copy_of(night_house, tmp_path)
    other = CONFIG.replace("{op: count, of: post}", '{op: count, of: post, where: "amount > 1"}')
    made = nightly(request(source, out, other, LATER, only_new_features=True, promote=False))
    words = " ".join(Path(made.page).read_text().split())
    assert "The serving model cannot be measured on these events: that one reads " in words
    assert "Nothing serves" not in words
    measure = next(one.value for one in made.report.commands if "evaluate" in one.value)
    assert made.bundle in measure and night_house[2].bundle not in measure
    rule = made.report.gate.rules[-1].words
    assert "of the serving one only on days that are backfilled under that one's own" in rule
    with pytest.raises(InputError, match="cannot be measured on 2026-03-09"):
        evaluate_bundle(EvaluateRequest(out, "serving", Days.parse("2026-03-09..2026-03-09")))
