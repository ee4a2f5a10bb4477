"""A night end to end, and what a bad night leaves behind: nothing."""

import datetime as dt
import errno
import json
from pathlib import Path

import pytest
from backfill_world import CONFIG, make_events, tree_bytes
from engines import HANG_UP, running_flink, running_prism
from nightly_world import LATER, NIGHT, copy_of, request, write_events

from configs.errors import BusyError, ConfigError, EvidenceError, InputError
from pipelines.evaluate import EvaluateRequest, evaluate_bundle
from pipelines.layout import Days, Layout, locked
from pipelines.nightly import nightly
from scoring.store import Store
from training.report import NightlyReport


def test_a_night_trains_promotes_and_tells(night_house):
    _, out, outcome = night_house
    assert Store(out / "bundles").serving() == outcome.bundle
    assert outcome.report.outcome == "promoted"
    assert outcome.report.metrics.auc > 0.8
    page = Path(outcome.page).read_text()
    assert outcome.bundle in page
    report = json.loads((Path(outcome.page).parent / "report.json").read_text())
    assert report["gate"]["passed"] is True


def test_a_promotion_is_kept_with_the_gates_answers_and_shown_on_the_next_page(
    night_house, later_run
):
    (first,) = Store(night_house[1] / "bundles").changes()
    assert first.serving == night_house[2].bundle and first.before == ""
    assert first.how == f"nightly run as of {NIGHT}"
    rules = night_house[2].report.gate.rules
    assert len(rules) == 4 and first.because == "; ".join(rule.words for rule in rules)
    _, out, later = later_run
    assert [one.serving for one in later.report.changes] == [first.serving, later.bundle]
    page = (out / f"reports/{LATER}/report.html").read_text()
    assert "What was made to serve, and why" in page and first.how in page


def test_two_nights_on_the_same_input_make_the_same_bundle(night_house, tmp_path):
    source, _, outcome = night_house
    again = nightly(request(source, tmp_path / "out"))
    assert again.bundle == outcome.bundle
    assert again.report.metrics == outcome.report.metrics


@pytest.fixture(scope="module")
def later_run(night_house, tmp_path_factory):
    """Source and a copy of the folder, in which a second run was promoted."""
    source, out = copy_of(night_house, tmp_path_factory.mktemp("later"))
    return source, out, nightly(request(source, out, night=LATER))


def test_a_later_night_is_judged_beside_the_serving_bundle(night_house, later_run, tmp_path):
    outcome, later = night_house[2], later_run[2]
    _, out = copy_of(later_run, tmp_path)
    assert later.report.serving is not None
    assert later.report.serving_fingerprint == outcome.bundle
    store = Store(out / "bundles")
    assert store.serving() == later.bundle
    assert store.rollback() == outcome.bundle


@pytest.mark.filterwarnings(HANG_UP)
@pytest.mark.parametrize("engine", ["prism", pytest.param("flink", marks=pytest.mark.soak)])
@pytest.mark.slow
def test_another_runner_makes_and_measures_the_same(engine, night_house, later_run, tmp_path):
    """Features, analysis, comparison with what serves; then `evaluate` of both bundles."""
    source, out = copy_of(night_house, tmp_path)
    _, expected_out, expected = later_run
    started = running_prism(tmp_path / "log") if engine == "prism" else running_flink(tmp_path)
    with started as flags:
        later = nightly(request(source, out, night=LATER, flags=flags))
        measured = [
            evaluate_bundle(EvaluateRequest(out, one.bundle, Days.parse("2026-03-08"), flags=flags))
            for one in (night_house[2], later)
        ]
    assert later.bundle == expected.bundle
    assert later.report.metrics == expected.report.metrics
    assert later.report.serving == expected.report.serving
    for kind in ("days", "features", "verdicts", "state", "sources"):
        assert tree_bytes(out / kind) == tree_bytes(expected_out / kind)
    for one in measured:
        again = evaluate_bundle(EvaluateRequest(expected_out, one.bundle, Days.parse("2026-03-08")))
        assert one.to_builtins() == again.to_builtins() and one.scores.equals(again.scores)
    first, second = (one.scores.column("raw") for one in measured)
    assert not first.equals(second)
    assert not [path.name for path in out.iterdir() if path.name.startswith(".score-")]


def test_a_bundle_is_evaluated_on_later_days(night_house):
    _, out, outcome = night_house
    nights = Days.parse("2026-03-08")
    found = evaluate_bundle(EvaluateRequest(out, outcome.bundle, nights))
    assert found.metrics.labelled > 0
    assert found.metrics.auc > 0.8
    early = EvaluateRequest(out, outcome.bundle, nights, dt.date(2026, 3, 8))
    with pytest.raises(EvidenceError, match="has a label before 2026-03-08"):
        evaluate_bundle(early)


def test_with_a_full_disk_there_is_no_page_and_no_promotion(night_house, tmp_path, monkeypatch):
    source, out = copy_of(night_house, tmp_path)
    before = Store(out / "bundles").serving()

    def full(path, data):
        raise OSError(errno.ENOSPC, "No space left on device", str(path))

    monkeypatch.setattr("pipelines.nightly.page.replace_file", full)
    with pytest.raises(InputError, match="the disk is full"):
        nightly(request(source, out, night=LATER))
    assert Store(out / "bundles").serving() == before
    assert not (out / f"reports/{LATER}/report.html").exists()


def test_a_promotion_that_fails_is_told_as_failed(night_house, tmp_path, monkeypatch):
    source, out = copy_of(night_house, tmp_path)
    before = Store(out / "bundles").serving()

    def full(path, text):
        raise OSError(errno.ENOSPC, "No space left on device", str(path))

    monkeypatch.setattr("scoring.store.replace_file", full)
    with pytest.raises(InputError, match="the disk is full"):
        nightly(request(source, out, night=LATER))
    assert Store(out / "bundles").serving() == before
    report = NightlyReport.from_json((out / f"reports/{LATER}/report.json").read_bytes())
    assert report.outcome == "failed" and "the disk is full" in report.summary


def test_labels_that_are_not_ripe_when_training_ends_are_refused(night_house, tmp_path):
    source, _, _ = night_house
    young = CONFIG.replace("maturity: 1d", "maturity: 2d")
    with pytest.raises(ConfigError, match=r"set training\.delay to 2d"):
        nightly(request(source, tmp_path / "out", young))


def test_labels_of_one_class_are_refused(tmp_path):
    events = [{**e, "bad": False} if "bad" in e else e for e in make_events(800, days=9)]
    source = write_events(tmp_path / "input", events)
    with pytest.raises(EvidenceError, match="0 positives"):
        nightly(request(source, tmp_path / "out"))
    assert Store(tmp_path / "out" / "bundles").serving() is None


def test_a_span_without_events_is_refused(tmp_path):
    source = write_events(tmp_path / "input", make_events(50, days=1))
    with pytest.raises(InputError, match=r"shows no event after 2026-03-0[12], and 2026-03-01"):
        nightly(request(source, tmp_path / "out"))
    assert not (tmp_path / "out" / "days").exists()
    with pytest.raises(EvidenceError, match="no scored event"):
        nightly(request(source, tmp_path / "out", allow_empty_days=True))


def test_a_vocabulary_of_one(tmp_path):
    events = [{**e, "where": "a"} if e["kind"] == "post" else e for e in make_events(1500, days=9)]
    source = write_events(tmp_path / "input", events)
    assert nightly(request(source, tmp_path / "out")).report.outcome == "promoted"


def test_a_second_night_at_the_same_time_is_refused(night_house):
    source, out, _ = night_house
    with locked(Layout(out)), pytest.raises(BusyError):
        nightly(request(source, out))


def test_empty_input_is_refused_and_leaves_no_day(tmp_path):
    source = write_events(tmp_path / "input", [])
    with pytest.raises(InputError, match="shows no event"):
        nightly(request(source, tmp_path / "out"))
    assert Layout(tmp_path / "out").published() == []


def test_an_output_within_its_input_is_refused_before_anything_is_put_there(tmp_path):
    """Not even the page of a run that failed: the next run would take it for events."""
    source = write_events(tmp_path / "input", [])
    with pytest.raises(InputError, match="choose an --out apart from it"):
        nightly(request(source, tmp_path / "input" / "out"))
    assert [path.name for path in (tmp_path / "input").iterdir()] == ["events.jsonl"]


def test_one_event_is_too_little_evidence(tmp_path):
    (event,) = [one for one in make_events(3000, days=10) if one["id"] == "p000001"]
    event = event | {"at": "2026-03-08T23:00:00Z"}
    source = write_events(tmp_path / "input", [event])
    with pytest.raises(EvidenceError, match="no scored event"):
        nightly(request(source, tmp_path / "out"))
    report = json.loads((tmp_path / "out" / "reports" / str(NIGHT) / "report.json").read_text())
    assert report["outcome"] == "failed" and "no scored event" in report["summary"]


def test_a_column_full_of_nulls_stops_no_night(tmp_path):
    events = [{**e, "amount": None} if "amount" in e else e for e in make_events(1500, days=9)]
    source = write_events(tmp_path / "input", events)
    assert nightly(request(source, tmp_path / "out")).report.outcome == "promoted"


def test_a_config_without_training_is_refused(night_house, tmp_path):
    source, _, _ = night_house
    bare = "\n".join(line for line in CONFIG.splitlines() if not line.startswith("training:"))
    with pytest.raises(ConfigError, match="no training"):
        nightly(request(source, tmp_path / "out", bare))
