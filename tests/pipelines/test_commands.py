"""What the commands print, for people and for machines, and what they say on standard error."""

import json
import subprocess
import sys

import polars as pl
import pytest
import typer
from backfill_world import CONFIG, make_events
from typer.testing import CliRunner

from configs.errors import BundleError, ConfigError, EvidenceError, GateError, InputError
from pipelines.commands import add_verb, run_app
from pipelines.commands.validate import validate

FIRES = CONFIG.replace("block: {min_precision: 0.8}", "block: {min_precision: 0.3, per_day: 5000}")


@pytest.fixture(scope="module")
def house(tmp_path_factory):
    """A config, its input, and an output folder whose night of the ninth serves."""
    folder = tmp_path_factory.mktemp("commands")
    (folder / "tiny.yaml").write_text(FIRES)
    (folder / "input").mkdir()
    events = make_events(2500, days=10)
    lines = "".join(json.dumps(event) + "\n" for event in events)
    (folder / "input" / "events.jsonl").write_text(lines)
    words = ["nightly", folder / "tiny.yaml", "--input", folder / "input", "--out", folder / "out"]
    done = run(*words, "--as-of", "2026-03-09", "--since", "2026-03-01", "--json")
    assert json.loads(done.stdout)["outcome"] == "promoted"
    return folder


def run(*words, columns=140):
    """The result, on a terminal of so many columns; an error of ours comes through."""
    app = typer.Typer()
    for verb in ("backfill", "bundle", "evaluate", "features", "nightly", "validate"):
        add_verb(app, verb)
    done = CliRunner().invoke(app, list(map(str, words)), env={"COLUMNS": str(columns)})
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    assert done.exit_code == 0, done.output
    return done


def test_a_pattern_that_the_shell_took_is_told_of(capsys):
    def wrong_usage():
        raise typer.BadParameter("Got unexpected extra arguments (a b)")

    assert run_app(wrong_usage, as_json=True) == 2
    assert "needs quotes" in json.loads(capsys.readouterr().out)["message"]


def test_validate(house):
    text = run("validate", house / "tiny.yaml").stdout
    assert "fine. tiny, fingerprint" in text
    facts = json.loads(run("validate", house / "tiny.yaml", "--json").stdout)
    assert facts["entities"] == ["who", "place"]
    assert facts["fingerprint"] in text


def test_features(house):
    infos = json.loads(run("features", house / "tiny.yaml", "--json").stdout)["features"]
    assert "who_posts_1h" in {info["name"] for info in infos}
    text = run("features", house / "tiny.yaml").stdout
    assert all(info["name"] in text for info in infos)


def test_validate_says_of_a_world_that_it_is_one(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text("# all of it made up\nworld: 1\nname: mine\n")
    assert "mine is a world for `lockstep simulate --world`" in run("validate", path).stdout
    facts = json.loads(run("validate", path, "--json").stdout)
    assert facts == {"config": str(path), "name": "mine", "world": True}
    path.write_text("world: 1\npeople: {acounts: 3}\n")
    with pytest.raises(ConfigError, match="did you mean 'accounts'"):
        validate(str(path))


def test_validate_tells_mistakes_to_machines(tmp_path, capsys):
    config = tmp_path / "broken.yaml"
    config.write_text(CONFIG.replace("of: post, column: amount", "of: post, colum: amount", 1))
    assert run_app(lambda: validate(str(config), as_json=True), as_json=True) == 3
    shown = capsys.readouterr()
    found = json.loads(shown.out)
    assert (found["error"], found["exit_code"]) == ("ConfigError", 3)
    line = next(i for i, one in enumerate(config.read_text().splitlines(), 1) if "colum:" in one)
    assert {one["line"] for one in found["mistakes"]} == {line}
    assert any("did you mean 'column'?" in one["hint"] for one in found["mistakes"])
    assert all(one["message"] in shown.err for one in found["mistakes"])


def _raise(error):
    raise error


@pytest.mark.parametrize(
    ("end", "code", "name"),
    [
        (GateError("AUC .4 is below .5"), 8, "GateError"),
        (InputError(":100: and [red]"), 4, "InputError"),
        (typer.BadParameter("--days: expected a day"), 2, "UsageError"),
        (SystemExit(130), 130, "Interrupted"),
        (SystemExit(143), 143, "Terminated"),
        (ZeroDivisionError(), 1, "ZeroDivisionError"),
    ],
)
def test_every_end_without_a_result_is_an_object_for_machines(end, code, name, capsys):
    assert run_app(lambda: _raise(end), as_json=True) == code
    shown = capsys.readouterr()
    found = json.loads(shown.out)
    assert (found["error"], found["exit_code"]) == (name, code)
    assert found["message"] != "see standard error"
    if isinstance(end, (GateError, InputError)):
        assert found["message"] == str(end)
        assert shown.err == f"lockstep: {end}\n"


def test_an_end_with_nothing_to_print_is_an_object_too(capsys):
    assert run_app(lambda: None, as_json=True) == 0
    assert json.loads(capsys.readouterr().out) == {"exit_code": 0}


def test_a_result_stays_alone_and_people_get_no_object(capsys):
    def differs():
        print("{}")
        raise GateError("after the report")

    assert run_app(differs, as_json=True) == 8
    assert capsys.readouterr().out == "{}\n"
    assert run_app(lambda: _raise(GateError("x")), as_json=False) == 8
    assert capsys.readouterr().out == ""


def test_usage_and_refusals_as_the_shell_sees_them(tmp_path):
    config = tmp_path / "[red]x:100:smile:.yaml"
    config.write_text("lockstep: 1\ncolumns: {a: {type: strng}}\nkinds: {m: {scored: true}}\n")
    for words, code in (
        (["validate", str(config), "--json"], 3),
        (["validate", str(config), "--jsn", "--json"], 2),
        (["bundle", "show", "serving", "--out", str(tmp_path / "none"), "--json"], 4),
    ):
        done = subprocess.run(
            [sys.executable, "-c", "from pipelines.commands import main; main()", *words],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == json.loads(done.stdout)["exit_code"] == code, done.stderr
        if code == 3:
            assert f"{config}:2:21: type: 'strng' is not known" in done.stderr


def test_backfill(house, tmp_path):
    words = ["backfill", house / "tiny.yaml", "--input", house / "input", "--out", tmp_path / "out",
             "--days", "2026-03-01..2026-03-02"]  # fmt: skip
    plan = json.loads(run(*words, "--dry-run", "--json").stdout)
    assert plan["days"] == ["2026-03-01", "2026-03-02"] and plan["starts_from"] is None
    assert "estimated" in run(*words, "--dry-run").stdout
    assert not (tmp_path / "out").exists()
    report = json.loads(run(*words, "--json").stdout)
    assert report["days"] == plan["days"] and report["scored"] > 0
    assert "nothing to do" in run(*words, "--quiet").stdout


def test_the_nights_plan(house):
    words = ["nightly", house / "tiny.yaml", "--input", house / "input", "--out", house / "out",
             "--as-of", "2026-03-10", "--dry-run"]  # fmt: skip
    plan = json.loads(run(*words, "--json").stdout)
    assert plan["backfill"][0]["days"] == ["2026-03-09"]
    text = run(*words).stdout
    assert 0 < plan["rows"] < 3000 and plan["estimated_seconds"] > 10
    assert f"it trains on about {plan['rows']:,} events" in text
    assert f"is compared with {plan['serving']}" in text and "judges on 2026-03-08 00:00" in text
    assert not (house / "out" / "reports" / "2026-03-10").exists()


def test_a_night_brings_days_up_to_a_changed_config(house, tmp_path):
    changed = tmp_path / "changed.yaml"
    posts, total = "posts: {op: count", "total: {op: sum, column: amount, decimals: 1"
    changed.write_text(total.join(FIRES.rsplit(posts, 1)))
    words = ["nightly", changed, "--input", house / "input", "--out", house / "out", "--as-of",
             "2026-03-10", "--dry-run"]  # fmt: skip
    with pytest.raises(InputError, match="--only-new-features to bring its days up"):
        run(*words)
    plan = json.loads(run(*words, "--only-new-features", "--json").stdout)
    assert plan["backfill"][0]["computed"] == ["place"]


def test_evaluate_marks_what_the_bundle_was_trained_on(house):
    words = ["evaluate", "--out", house / "out", "--quiet", "--days"]
    done = run(*words, "2026-03-06..2026-03-08")
    assert "(trained on)" in done.stdout
    assert "was trained on 2026-03-06..2026-03-07" in done.stderr
    (found,) = json.loads(run(*words, "2026-03-06..2026-03-08", "--json").stdout)["bundles"]
    assert found["trained_on_days"] == "2026-03-06..2026-03-07"
    fresh = run(*words, "2026-03-08", columns=80)  # as many as a terminal has at least
    assert "trained on" not in fresh.stdout + fresh.stderr
    assert "average precision (AP)" in fresh.stdout
    for word in (
        "AUC, 95 % interval",
        "missed",
        "passed",
        "accuracy",
        "MCC",
        "asked 0.3, kept",
        "asked at most 5,000 a",
    ):
        assert word in fresh.stdout, word
    assert "\N{HORIZONTAL ELLIPSIS}" not in fresh.stdout, "no figure is cut"


def test_evaluate_writes_what_it_measured(house, tmp_path):
    words = ["evaluate", "--out", house / "out", "--days", "2026-03-06..2026-03-08", "--quiet",
             "--scores", tmp_path / "scores.parquet", "--json"]  # fmt: skip
    (found,) = json.loads(run(*words).stdout)["bundles"]
    frame = pl.read_parquet(tmp_path / "scores.parquet")
    metrics = found["metrics"]
    assert frame.columns == ["bundle", "event_id", "event_time", "label", "judged", "raw", "score",
                             "action", "split"]  # fmt: skip
    assert len(frame) == metrics["events"] and frame["event_id"].n_unique() == len(frame)
    assert frame["label"].drop_nulls().len() == metrics["labelled"]
    assert frame["label"].sum() == metrics["positives"]
    at = metrics["at"][0]
    known = frame.filter(pl.col("label").is_not_null())
    assert known.filter(action="block").height == at["flagged"]
    assert frame.filter(action="block").height == round(3 * at["daily"]["found"])
    assert known.filter(action="block", label=1).height == at["positives"]
    assert known.filter(pl.col("label") == 1, pl.col("score") < at["value"]).height == at["missed"]
    day = frame["event_time"] // 86_400_000_000 - 20_513
    assert (frame["split"] == "trained").to_list() == (day < 7).to_list()
    judged = frame.filter("judged")
    assert 0 < judged.height < frame.height
    assert frame.filter(~pl.col("judged"), label=1).height == 0, "age alone makes no abuse"
    with pytest.raises(InputError, match="give --scores a file in a folder"):
        run(*words[:6], "--scores", tmp_path / "scores.parquet" / "x", "--json")


def test_too_little_evidence_is_7_and_a_config_that_cannot_train_3(house, tmp_path):
    source = ["--input", house / "input", "--out", tmp_path / "young", "--quiet"]
    with pytest.raises(EvidenceError, match="begins at 2026-03-05") as young:
        run("nightly", house / "tiny.yaml", *source, "--since", "2026-03-05", "--as-of",
            "2026-03-08")  # fmt: skip
    assert young.value.exit_code == 7
    with pytest.raises(EvidenceError, match="nothing to train on"):
        run("nightly", house / "tiny.yaml", *source, "--as-of", "2026-03-04")
    bare = tmp_path / "bare.yaml"
    bare.write_text("".join(one for one in CONFIG.splitlines(True) if "training:" not in one))
    with pytest.raises(ConfigError, match="no training or no labels section"):
        run("nightly", bare, *source, "--as-of", "2026-03-08")


def test_evaluate_refuses_what_nobody_knows_yet(house, tmp_path):
    words = ["evaluate", "--out", house / "out", "--days", "2026-03-08", "--as-of"]
    with pytest.raises(InputError, match="ends at 2026-03-08, so verdicts up to 2026-03-09"):
        run(*words, "2026-03-10")
    (folder,) = (path for path in (house / "out" / "bundles").iterdir() if path.is_dir())
    with pytest.raises(InputError, match="holds no day"):
        run("evaluate", "--bundle", folder, "--out", tmp_path, "--days", "2026-03-08")


def test_rollback_loads_the_bundle_and_makes_nothing_where_there_is_none(house, tmp_path):
    with pytest.raises(InputError, match="typo is no folder"):
        run("bundle", "rollback", "--out", tmp_path / "typo")
    assert not (tmp_path / "typo").exists()
    (tmp_path / "empty").mkdir()
    with pytest.raises(BundleError, match="no bundle served before"):
        run("bundle", "rollback", "--out", tmp_path / "empty")
    assert not list((tmp_path / "empty").iterdir())


def test_kept_is_not_called_promoted(house):
    done = run("nightly", house / "tiny.yaml", "--input", house / "input", "--out", house / "out",
               "--as-of", "2026-03-10", "--no-promote", "--quiet")  # fmt: skip
    assert "is kept; `lockstep bundle promote` makes it serve" in done.stdout
    report = json.loads((house / "out" / "reports" / "2026-03-10" / "report.json").read_text())
    assert report["outcome"] == "kept"


def test_events_before_what_is_accepted_are_told_with_the_setting_that_accepts_them(tmp_path):
    config, source = tmp_path / "c.yaml", tmp_path / "in"
    source.mkdir()
    lines = [
        f'{{"id": "{n}", "t": "1998-03-01T00:00:0{n}", "kind": "m", "who": "a"}}\n'
        for n in range(3)
    ]
    (source / "events.jsonl").write_text("".join(lines))
    text = """lockstep: 1
name: c
events: {id: id, time: t, kind: kind, max_dead_share: 0.0}
columns: {who: {type: string}}
kinds: {m: {scored: true, required: [who]}}
entities: {who: {key: {m: [who]}, windows: [1d], aggregates: {n: {op: count, of: m}}}}
"""
    config.write_text(text)
    days = ["--out", str(tmp_path / "out"), "--days", "1998-03-01..1998-03-01"]
    words = ["backfill", str(config), "--input", str(source), *days, "--quiet"]
    with pytest.raises(InputError) as refusal:
        run(*words)
    told = str(refusal.value)
    assert refusal.value.exit_code == 4 and "3 of 3 records" in told
    assert "bad_time, column event_time: expected a time from events.earliest, 2000-01-01" in told
    assert "`events: {earliest: 1990-01-01}`" in told
    config.write_text(text.replace("max_dead_share", "earliest: 1998-01-01, max_dead_share"))
    run(*words)
    made = pl.read_parquet(f"{tmp_path}/out/features/*/*.parquet").sort("event_time")
    assert made["who_n_1d"].to_list() == [0.0, 1.0, 2.0]
