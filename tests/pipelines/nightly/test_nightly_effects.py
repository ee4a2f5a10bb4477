"""What a run says of its actions and of what changed, against what can be counted elsewhere."""

import dataclasses
import datetime as dt
import json

import polars as pl
import pytest
import typer
from backfill_world import CONFIG, make_events
from nightly_world import LATER, NIGHT, copy_of, request, write_events
from typer.testing import CliRunner

from configs.loader import loads
from pipelines.campaigns import make_campaign_snapshot, read_campaigns
from pipelines.commands import add_verb
from pipelines.commands.evaluate import harm_words
from pipelines.evaluate import EvaluateRequest, evaluate_bundle
from pipelines.layout import Days, day_of, day_us
from pipelines.nightly import nightly
from pipelines.report import report_nights
from pipelines.shard_files import SnapshotRequest
from training.report import RunChange, render
from transforms.catalog import CATALOG

SOURCES = (
    CONFIG.replace("  bad: {type: boolean}\n", "  bad: {type: boolean}\n  by: {type: string}\n")
    .replace("maturity: 1d}", "maturity: 1d, source: by}")
    .replace("early_stopping: 5}", "early_stopping: 5, refit: false}")
    + "evaluation: {group: who, recipients: amount}\n"
    # Abuse alone has such amounts, so its accounts are the campaign.
    + "campaigns: {account: who, of: post, delay: 0s, links: {text: {columns: clean, "
    + 'where: "amount > 10", weight: 2, most_accounts: 99}}}\n'
)
OTHERWISE = SOURCES.replace("rounds: 20", "rounds: 9").replace(
    "block: {min_precision: 0.8}", "block: {min_precision: 0.75}, look: {min_precision: 0.4}"
)


def events_of_many_accounts():
    """The usual stream, of accounts enough for evidence, with all abuse judged in time."""
    events = make_events(4500, days=10)
    judged = {one["subject"] for one in events if one["kind"] == "verdict"}
    for at, one in enumerate(events[:]):
        if one["kind"] == "verdict":
            one["by"] = "bot" if at % 3 else "person"
        elif one["text"] == "win money now":
            one["who"] = f"b{at % 60}"
            if one["id"] not in judged:
                known = dt.datetime.fromisoformat(one["at"]) + dt.timedelta(hours=at % 9 + 0.5)
                events.append(
                    {"id": f"later{at}", "at": known.isoformat(), "kind": "verdict",
                     "subject": one["id"], "bad": True, "by": "person"}
                )  # fmt: skip
        else:
            one["who"] = f"w{at % 300}"
    return events


@pytest.fixture(scope="module")
def nights(tmp_path_factory):
    """The outcomes of two nights, the second with campaigns and another config; and the folder."""
    folder = tmp_path_factory.mktemp("effects")
    events = events_of_many_accounts()
    source, out = write_events(folder / "input", events), folder / "out"
    first = nightly(request(source, out, SOURCES))
    spec = loads(OTHERWISE, "tiny.yaml", CATALOG)
    moment = dt.datetime(2026, 3, 10, tzinfo=dt.UTC)
    make_campaign_snapshot(SnapshotRequest(spec, source, out, LATER, moment))
    return first, nightly(request(source, out, OTHERWISE, night=LATER)), out


@pytest.fixture(scope="module")
def measured(nights):
    """The second night's bundle on the gate slice, by the path of `lockstep evaluate`."""
    _, later, out = nights
    (gate,) = [one for one in later.report.slices if one.name == "gate"]
    days = Days(day_of(gate.start_us), day_of(gate.end_us - 1))
    return evaluate_bundle(EvaluateRequest(out, later.bundle, days, as_of=LATER))


def test_accounts_are_as_evaluate_measures_them(nights, measured):
    found = nights[1].report.accounts
    assert found == measured.subjects
    assert found.abusive > 0 and [one.action for one in found.until] == ["block", "look"]


def test_reasons_are_of_all_events_that_get_an_action(nights, measured):
    counts = dict(pl.from_arrow(measured.scores)["action"].value_counts().iter_rows())
    found = nights[1].report.reasons
    assert found and {one.action: one.flagged for one in found}.items() <= counts.items()
    for one in found:
        assert one.explained == one.flagged
        assert one.reasons[0].events <= one.explained
        assert one.reasons[0].added > 0.0
        events = [reason.events for reason in one.reasons]
        assert events == sorted(events, reverse=True) and min(events) > 0


def test_harm_of_campaigns_is_what_their_events_say(nights, measured):
    _, later, out = nights
    (made,) = [one for one in later.report.harm if (one.unit, one.action) == ("campaign", "block")]
    events = pl.from_arrow(read_campaigns(out, LATER, "events")).select("event_id", "campaign")
    amounts = pl.read_parquet(f"{out}/features/*/*.parquet", columns=["event_id", "amount"])
    rows = pl.from_arrow(measured.scores).join(events, "event_id", how="inner")
    rows = rows.join(amounts, "event_id", how="left", maintain_order="left").sort("event_time")
    bad = rows.filter(pl.col("campaign").is_in(rows.filter(pl.col("label") == 1)["campaign"]))
    harmful = (pl.col("label") == 1) | ~pl.col("judged")
    flagged = (
        bad.filter(pl.col("action") == "block")
        .group_by("campaign")
        .agg(pl.col("event_time").min().alias("acted"))
    )
    before = bad.join(flagged, "campaign", how="left").filter(
        harmful & (pl.col("acted").is_null() | (pl.col("event_time") < pl.col("acted")))
    )
    assert (made.units, made.met) == (bad["campaign"].n_unique(), len(flagged)) == (1, 1)
    assert made.events == len(bad.filter(harmful)) > made.events_before == len(before)
    assert made.people == pytest.approx(bad.filter(harmful)["amount"].sum(), rel=1e-5)
    assert made.people_before == pytest.approx(before["amount"].sum(), rel=1e-5)
    start = bad.filter(harmful)["event_time"].min()
    assert made.median_us == max(0, flagged["acted"][0] - start)


def test_evaluate_shows_the_harm_of_the_page(nights, measured):
    """On the same events, from the same function; as text and as JSON."""
    _, later, out = nights
    assert measured.harm == later.report.harm and measured.harm_fault == ""
    days = measured.days.replace(" to ", "..")
    asked = ["evaluate", "--out", str(out), "--days", days, "--as-of", str(LATER),
             "--bundle", later.bundle, "--quiet"]  # fmt: skip
    app = typer.Typer()
    for verb in ("evaluate", "validate"):  # one verb alone would be the whole command
        add_verb(app, verb)
    said = CliRunner().invoke(app, asked)
    assert said.exit_code == 0, said.output
    for one in measured.harm:
        assert harm_words(one) in said.output
    made = json.loads(CliRunner().invoke(app, [*asked, "--json"]).stdout)["bundles"][0]["harm"]
    assert [(one["unit"], one["people_before"]) for one in made] == [
        (one.unit, one.people_before) for one in measured.harm
    ]
    assert made[0]["spared"] == measured.harm[0].spared


def test_without_a_snapshot_harm_is_of_accounts(nights):
    first, later, _ = nights
    assert {one.unit for one in first.report.harm} == {"account"}
    assert {one.unit for one in later.report.harm} == {"campaign", "account"}


def test_a_damaged_snapshot_of_campaigns_is_a_note_and_fails_nothing(nights, tmp_path):
    source, copy = copy_of((str(nights[2].parent / "input"), nights[2], None), tmp_path)
    for path in (copy / "campaigns").glob("*/events-*"):
        path.write_bytes(b"nothing")
    made = nightly(request(source, copy, OTHERWISE, night=LATER, promote=False))
    assert any(note.startswith("Campaigns are left out of this page") for note in made.report.notes)
    assert {one.unit for one in made.report.harm} == {"account"}


def test_the_flow_is_of_all_verdicts_that_were_known(nights):
    _, later, out = nights
    flow = later.report.flow
    known = pl.read_parquet(f"{out}/verdicts/*/*.parquet").filter(
        pl.col("event_time") < day_us(LATER)
    )
    counted = dict(known["source"].value_counts().iter_rows())
    assert {one.source: one.verdicts for one in flow.sources} == counted
    assert flow.days[-1] == day_us(LATER) - 86_400_000_000
    last = known.filter(pl.col("event_time") >= flow.days[-1])
    assert sum(one.by_day[-1] for one in flow.sources) == len(last) > 0
    for one in flow.sources:
        assert 0 < one.median_us < one.late_us <= 10 * 3_600_000_000, "within ten hours"


def test_rows_are_counted_by_stage(nights):
    first = nights[0].report
    rows = {one.stage: one.rows for one in first.stages}
    (span,) = [one for one in first.slices if one.name == "span"]
    scored = span.positives + span.negatives + span.unlabelled
    assert rows["backfill"] == first.rows > 0
    assert rows["read"] == rows["transform"] == rows["train"] == scored
    assert 0 < rows["analyse"] < scored and rows["gate"] is None


def test_what_changed_is_said_and_nothing_else(nights):
    first, later = nights[0].report, nights[1].report
    assert first.changed == () and first.changed_since is None
    assert later.changed_since == day_us(NIGHT)
    found = {(one.of, one.name): (one.before, one.now) for one in later.changed}
    assert {name: pair for name, pair in found.items() if name[0] in ("setting", "input")} == {
        ("setting", "training.rounds"): ("20", "9"),
        ("setting", "policy.actions.block.min_precision"): ("0.8", "0.75"),
        ("setting", "policy.actions.look.min_precision"): ("", "0.4"),
    }
    assert not any(of == "software" for of, _ in found)
    assert found["model", "new model"] == (first.bundle_fingerprint, later.bundle_fingerprint)
    figures = (first.metrics.average_precision, later.metrics.average_precision)
    assert found["figure", "average precision"] == tuple(f"{one:.3f}" for one in figures)
    assert found["threshold", "look"][0] == ""
    page = render(later)
    assert "training.rounds" in page and 'id="harm"' in page and 'id="accounts"' in page


def test_of_a_range_it_is_what_changed_since_the_first_night_that_measured(nights, tmp_path):
    _, out = copy_of(("", nights[2], None), tmp_path)
    later, last = nights[1].report, LATER + dt.timedelta(1)
    same = dataclasses.replace(later, as_of_us=day_us(last))
    failed = dataclasses.replace(later, as_of_us=day_us(NIGHT - dt.timedelta(1)), metrics=None)
    for night, report in ((last, same), (NIGHT - dt.timedelta(1), failed)):
        (out / "reports" / str(night)).mkdir()
        (out / "reports" / str(night) / "report.json").write_bytes(report.to_json())
    found = report_nights(out, NIGHT - dt.timedelta(1), last)
    assert found.changed_since == day_us(NIGHT)
    assert RunChange("setting", "training.rounds", "20", "9") in found.changed
    near = report_nights(out, LATER, last)
    assert near.changed_since == day_us(LATER)
    assert {one.of for one in near.changed} == {"threshold", "figure"}
    assert all(one.before == one.now for one in near.changed)
    assert report_nights(out, last, last).changed == later.changed, "as its run wrote it"
