"""Experiments end to end: what is shared, what a failure costs, what a second run does."""

import datetime as dt
import json
import os
from pathlib import Path

import pytest
import typer
from backfill_world import CONFIG, make_events
from nightly_world import request as night_request
from nightly_world import write_events
from typer.testing import CliRunner

from configs.errors import EvidenceError
from configs.experiment import loads_experiment
from configs.fingerprint import dataset_fingerprint
from pipelines.backfill import BackfillRequest, backfill
from pipelines.commands import add_verb
from pipelines.experiment import ExperimentRequest, run_experiment
from pipelines.layout import DAY_US, FEATURES, Days, Layout
from pipelines.nightly import nightly
from scoring.bundle import load_bundle
from scoring.store import Store
from training.experiment import ExperimentResult
from transforms.catalog import CATALOG

BASE = CONFIG + "evaluation: {group: who}\n"
FILE = """experiment: 1
name: mine
config: tiny.yaml
as_of: [2026-03-08, 2026-03-09]
over: events
challengers:
  blind:
    change: {inputs: {text: null, numeric: [], exclude: [who_amounts_1h, who_amounts_1d]}}
  often:
    change: {entities: {who: {aggregates: {often: {op: count, of: post, windows: [6h]}}}}}
  hopeless:
    change: {training: {span: 30d}}
"""
NOW = dt.datetime(2026, 3, 12, tzinfo=dt.UTC)
DAYS = Days.parse("2026-03-01..2026-03-10")


@pytest.fixture(scope="module")
def house(tmp_path_factory):
    """A source, an output folder with the champion's days, a first run of the experiment."""
    folder = tmp_path_factory.mktemp("experiment")
    (folder / "tiny.yaml").write_text(BASE)
    (folder / "mine.yaml").write_text(FILE)
    source = write_events(folder / "input", make_events(3000, days=10))
    spec = experiment(folder).champion.spec
    backfill(BackfillRequest(spec, source, folder / "out", DAYS))
    return folder, source, run_experiment(asked(folder, source)).result


def experiment(folder: Path, text: str = FILE):
    return loads_experiment(text, "mine.yaml", folder, CATALOG)


def asked(folder: Path, source: str, text: str = FILE):
    return ExperimentRequest(experiment(folder, text), source, folder / "out", NOW)


def test_a_challenger_that_sees_less_is_worse_and_one_that_fails_loses_no_other(house):
    _, _, result = house
    blind, often, hopeless = result.challengers
    assert result.over == "events" and not result.thin and "independent" in result.notes[0]
    assert result.units == sum(one.events for one in result.tests) > 200
    assert [one.as_of for one in result.tests] == ["2026-03-08", "2026-03-09"]
    assert blind.conclusion == "worse" and blind.differences[0].high < 0
    assert often.conclusion == "no difference shown"
    assert often.differences[0].challenger == pytest.approx(often.figures["average_precision"])
    assert hopeless.error == "EvidenceError" and "shorter training.span" in hopeless.message
    assert result.failed == (hopeless,)
    assert all(len(one.nights) == 2 for one in (result.champion, blind, often))


def test_the_champion_is_the_model_that_a_nightly_run_of_that_day_makes(house, tmp_path):
    folder, source, result = house
    made = nightly(night_request(source, tmp_path / "out", BASE, dt.date(2026, 3, 8)))
    assert result.champion.nights[0].bundle == made.bundle
    assert not (folder / "out" / "bundles").exists(), "nothing of an experiment serves"


def test_only_the_features_that_are_missing_are_made_and_they_are_those_of_a_whole_run(
    house, tmp_path
):
    folder, source, result = house
    main, made = Layout(folder / "out"), folder / "out" / "experiments" / "features"
    champion, _, often, _ = experiment(folder).contenders
    assert [one.name for one in made.iterdir()] == [dataset_fingerprint(often.spec)]
    assert result.challengers[0].features == "those of champion"
    own = Layout(made / dataset_fingerprint(often.spec))
    backfill(BackfillRequest(often.spec, source, tmp_path / "whole", DAYS))
    whole, day = Layout(tmp_path / "whole"), dt.date(2026, 3, 9)
    parts = [Path(one.files(day, FEATURES)[0]) for one in (own, whole)]
    assert parts[0].name == parts[1].name and parts[0].read_bytes() == parts[1].read_bytes()
    there, shared = main.state(dt.date(2026, 3, 10)), own.state(dt.date(2026, 3, 10))
    place = [name for name in there if name.startswith("place")]
    assert place and all(os.path.samefile(there[name], shared[name]) for name in place)
    who = [name for name in there if name.startswith("who-")]
    assert who and not any(there[name] == shared[name] for name in who)
    assert main.read_marker(day)["spec"] == dataset_fingerprint(champion.spec)


def test_a_second_run_trains_nothing_and_finds_the_same_and_few_accounts_conclude_nothing(
    house, monkeypatch
):
    folder, source, result = house

    def trains(*_):
        raise AssertionError("it was trained already")

    monkeypatch.setattr("pipelines.experiment.models.fit_sample", trains)
    again = run_experiment(asked(folder, source)).result
    assert all(one.reused for one in again.champion.nights)
    assert again.challengers[1].differences == result.challengers[1].differences
    assert again.champion.figures == result.champion.figures
    accounts = FILE.replace("over: events", "over: accounts")
    drawn = run_experiment(asked(folder, source, accounts)).result
    assert drawn.units == 40 and drawn.thin.startswith("5 with abuse and 40 with other events")
    assert "Too little evidence" in drawn.summary and drawn.notes == ()


def test_another_challenger_is_the_only_one_that_is_trained(house, monkeypatch):
    from pipelines.experiment import models

    folder, source, _ = house
    trained, real = [], models.fit_sample

    def noted(spec, *rest):
        trained.append(spec.training.rounds)
        return real(spec, *rest)

    monkeypatch.setattr(models, "fit_sample", noted)
    text = FILE[: FILE.index("  hopeless")] + "  short: {change: {training: {rounds: 7}}}\n"
    result = run_experiment(asked(folder, source, text.replace("mine", "other"))).result
    assert trained == [7, 7] and not result.failed
    folders = {path.name for path in (folder / "out" / "experiments").iterdir()}
    assert {"mine", "other"} <= folders


def test_a_challenger_may_differ_by_what_it_makes_of_young_events(house):
    """It alone is trained, on other events than the champion; both are tested on the same."""
    folder, source, result = house
    text = FILE[: FILE.index("  blind")].replace("mine", "young")
    text += "  late: {change: {training: {delayed_feedback: corrected}}}\n"
    made = run_experiment(asked(folder, source, text)).result
    (late,) = made.challengers
    assert not made.failed and late.features == "those of champion"
    assert made.champion.figures == result.champion.figures and made.tests == result.tests
    assert late.differences[0].low < late.differences[0].high
    store = Store(folder / "out" / "experiments" / "bundles")
    for night, own in zip(made.champion.nights, late.nights, strict=True):
        before, after = (load_bundle(store.path(one.bundle)).provenance for one in (night, own))
        assert "delayed_feedback" not in before
        assert after["delayed_feedback"]["strategy"] == "corrected"
        assert after["delayed_feedback"]["events"] > after["delayed_feedback"]["positives"] > 0
        assert after["trained_until_us"] == before["trained_until_us"] + DAY_US
    again = run_experiment(asked(folder, source, text)).result.challengers[0]
    assert all(one.reused for one in again.nights) and again.differences == late.differences


def test_the_command_prints_a_table_and_its_exit_code_says_that_one_failed(house):
    folder, source, _ = house
    words = ["experiment", "run", str(folder / "mine.yaml"), "--input", source]
    words += ["--out", str(folder / "out")]
    ended = invoke([*words, "--quiet"])
    assert ended.exit_code == 11
    assert "blind" in ended.stdout and "worse" in ended.stdout and "failed" in ended.stdout
    assert "blind is worse" in ended.stdout
    ended = invoke([*words, "--json"])
    assert ended.exit_code == 11
    found = json.loads(ended.stdout)
    assert [one["name"] for one in found["challengers"]] == ["blind", "often", "hopeless"]
    first = found["challengers"][0]["differences"][0]
    assert first["conclusion"] == "worse" and first["difference"] < 0
    assert found["challengers"][2]["error"] == "EvidenceError"
    page = Path(found.pop("page"))
    kept = ExperimentResult.from_json((page.parent / "experiment.json").read_bytes())
    assert kept.challengers[0].differences[0].metric == "average_precision"
    assert "blind is worse" in page.read_text()
    assert (page.parent / "often.yaml").read_text() == experiment(folder).challengers[1].text


def invoke(words):
    app = typer.Typer()
    add_verb(app, "experiment")
    app.command("other")(lambda: None)
    return CliRunner().invoke(app, words, env={"COLUMNS": "160"})


def test_a_champion_without_evidence_ends_the_experiment(house):
    folder, source, _ = house
    early = FILE.replace("[2026-03-08, 2026-03-09]", "2026-03-02")
    with pytest.raises(EvidenceError, match="begins at 2026-03-01"):
        run_experiment(asked(folder, source, early))


def test_an_interrupted_run_goes_on_where_it_was(house, monkeypatch, tmp_path):
    from pipelines.experiment import models

    _, source, result = house
    (tmp_path / "tiny.yaml").write_text(BASE)
    real, trained = models.fit_sample, []

    def ends_after_one(spec, *rest):
        if trained:
            raise KeyboardInterrupt
        trained.append(spec)
        return real(spec, *rest)

    text = FILE[: FILE.index("  often")]
    monkeypatch.setattr(models, "fit_sample", ends_after_one)
    with pytest.raises(KeyboardInterrupt):
        run_experiment(asked(tmp_path, source, text))
    monkeypatch.setattr(models, "fit_sample", real)
    again = run_experiment(asked(tmp_path, source, text)).result
    assert [one.reused for one in again.champion.nights] == [True, False]
    assert again.champion.figures == result.champion.figures
