"""A night end to end, and what a bad night leaves behind: nothing."""

import dataclasses
import datetime as dt
import errno
import json
import os
import shutil
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
from backfill_world import CONFIG, make_events, tree_bytes

from configs.errors import BusyError, ConfigError, EvidenceError, GateError, InputError
from configs.loader import loads
from pipelines.backfill import BackfillRequest, backfill
from pipelines.evaluate import EvaluateRequest, evaluate_bundle
from pipelines.layout import DAY_US, Days, Layout, locked
from pipelines.nightly import STAGES, NightlyRequest, nightly
from pipelines.report import NightlyReport
from scoring.store import Store
from transforms.catalog import CATALOG

NIGHT = dt.date(2026, 3, 9)
COMMAND = [sys.executable, "-c", "from pipelines.commands import main; main()"]


def write_events(folder: Path, events):
    folder.mkdir()
    (folder / "events.jsonl").write_text("".join(json.dumps(e) + "\n" for e in events))
    return str(folder)


def request(source, out, config=CONFIG, night=NIGHT, **changes):
    spec = loads(config, "tiny.yaml", CATALOG)
    made = NightlyRequest(
        spec=spec, config=config, source=source, out=out, as_of=night, since=dt.date(2026, 3, 1)
    )
    return dataclasses.replace(made, **changes)


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """A source of ten days, and an output folder in which one night has been promoted."""
    folder = tmp_path_factory.mktemp("world")
    source = write_events(folder / "input", make_events(3000, days=10))
    outcome = nightly(request(source, folder / "out"))
    return source, folder / "out", outcome


def copy_of(world, tmp_path):
    """Source and a copy of the output folder: the world itself stays as it is for other tests."""
    source, out, _ = world
    return source, Path(shutil.copytree(out, tmp_path / "out"))


def test_a_night_trains_promotes_and_tells(world):
    _, out, outcome = world
    assert Store(out / "bundles").serving() == outcome.bundle
    assert outcome.report.outcome == "promoted"
    assert outcome.report.metrics.auc > 0.8
    page = outcome.page.read_text()
    assert outcome.bundle in page
    report = json.loads((outcome.page.parent / "report.json").read_text())
    assert report["gate"]["passed"] is True


def test_two_nights_on_the_same_input_make_the_same_bundle(world, tmp_path):
    source, _, outcome = world
    again = nightly(request(source, tmp_path / "out"))
    assert again.bundle == outcome.bundle
    assert again.report.metrics == outcome.report.metrics


def test_a_later_night_is_judged_beside_the_serving_bundle(world, tmp_path):
    outcome = world[2]
    source, out = copy_of(world, tmp_path)
    later = nightly(request(source, out, night=NIGHT + dt.timedelta(days=1)))
    assert later.report.serving is not None
    assert later.report.serving_fingerprint == outcome.bundle
    store = Store(out / "bundles")
    assert store.serving() == later.bundle
    assert store.rollback() == outcome.bundle


def test_a_bundle_is_evaluated_on_later_days(world):
    _, out, outcome = world
    nights = Days.parse("2026-03-08")
    found = evaluate_bundle(EvaluateRequest(out, outcome.bundle, nights))
    assert found.metrics.labelled > 0
    assert found.metrics.auc > 0.8
    early = EvaluateRequest(out, outcome.bundle, nights, dt.date(2026, 3, 8))
    with pytest.raises(EvidenceError, match="has a label before 2026-03-08"):
        evaluate_bundle(early)


def test_a_worse_model_does_not_serve(world):
    source, out, _ = world
    before = tree_bytes(out / "bundles")
    strict = CONFIG.replace("min_average_precision: 0.0", "min_average_precision: 1.0")
    with pytest.raises(GateError, match="average precision"):
        nightly(request(source, out, strict))
    assert tree_bytes(out / "bundles") == before
    page = (out / "reports" / str(NIGHT) / "report.html").read_text()
    assert "refused" in page


LATER = NIGHT + dt.timedelta(days=1)


def refused(source, out, config, words, night=LATER, **changes):
    """A night that the gate refuses; what serves is the same, bit for bit."""
    before = tree_bytes(out / "bundles")
    with pytest.raises(GateError, match=words) as refusal:
        nightly(request(source, out, config, night, **changes))
    assert refusal.value.exit_code == 8
    assert tree_bytes(out / "bundles") == before
    report = NightlyReport.from_json((out / f"reports/{night}/report.json").read_bytes())
    assert report.outcome == "refused"
    return report


WORSE = CONFIG.replace("rounds: 20", "rounds: 1").replace("max_drop: 1.0", "max_drop: 0.0")


def test_a_worse_model_than_the_one_that_serves_does_not_take_over(world, tmp_path):
    source, out = copy_of(world, tmp_path)
    report = refused(source, out, WORSE, "a drop of 0.[0-9]*, more than the 0.0000 allowed")
    assert report.serving.average_precision > report.metrics.average_precision
    assert report.serving.labelled == report.metrics.labelled
    assert report.beside is None


def test_on_a_long_gate_slice_both_are_judged_on_what_is_new_to_both(world, tmp_path):
    source, out = copy_of(world, tmp_path)
    long = WORSE.replace("gate: 1d", "gate: 2d")
    report = refused(source, out, long, "a drop of 0.[0-9]*, more than the 0.0000 allowed")
    assert report.serving is None, "no figure of other events under the same heading"
    assert report.beside.where.end_us - report.beside.where.start_us == DAY_US
    assert report.beside.candidate.labelled == report.beside.serving.labelled
    assert report.beside.serving.labelled < report.metrics.labelled
    page = (out / f"reports/{LATER}/report.html").read_text()
    assert "The serving model was trained on some of these" in page


def test_the_same_night_with_another_config_is_not_let_past_the_serving_model(world, tmp_path):
    source, out = copy_of(world, tmp_path)
    other = CONFIG.replace("rounds: 20", "rounds: 7")
    report = refused(source, out, other, "nothing later than what the serving bundle", NIGHT)
    assert "All on the same held-out events" in (out / f"reports/{NIGHT}/report.html").read_text()
    assert report.serving is None
    kept = nightly(request(source, out, other, promote=False))
    assert kept.report.outcome == "kept"


def test_too_few_positives_that_are_new_to_both_are_no_comparison(world, tmp_path):
    source, out = copy_of(world, tmp_path)
    asking = CONFIG.replace("gate: 1d", "gate: 2d").replace("min_positives: 1", "min_positives: 25")
    report = refused(source, out, asking, "positives among the events later than")
    assert report.metrics.positives >= 25 > report.beside.serving.positives


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("posts: {op: count, of: post}\n      amounts", "amounts", "who_posts_1h', which is not"),
        (
            "amounts: {op: sum, of: post, column: amount, decimals: 2}",
            'amounts: {op: sum, of: post, column: amount, decimals: 2, where: "amount > 5"}',
            "who_amounts_1h', which is made in another way",
        ),
        (
            "normalize_text, of: text",
            "normalize_text, of: where",
            "clean', which is made in another",
        ),
    ],
)
def test_inputs_that_mean_something_else_are_no_comparison(world, tmp_path, old, new, words):
    """Under the same name: the serving model would be given numbers that it does not know."""
    source, old_out = copy_of(world, tmp_path)
    assert old in CONFIG
    changed = CONFIG.replace(old, new)
    out = tmp_path / "new"
    spec = loads(changed, "tiny.yaml", CATALOG)
    days = Days.parse("2026-03-01..2026-03-09")
    backfill(BackfillRequest(spec, source, out, days))
    shutil.copytree(old_out / "bundles", out / "bundles")
    report = refused(source, out, changed, words)
    assert report.serving_fingerprint == world[2].bundle
    assert "nothing serves yet" not in (out / f"reports/{LATER}/report.html").read_text()
    with pytest.raises(InputError, match=words):
        evaluate_bundle(EvaluateRequest(out, "serving", Days.parse("2026-03-08")))


def test_an_input_more_is_no_reason_not_to_compare(world, tmp_path):
    source, old_out = copy_of(world, tmp_path)
    more = CONFIG.replace(
        "people:", "most: {op: max, of: post, column: amount, decimals: 1}\n      people:"
    )
    out = tmp_path / "new"
    shutil.copytree(old_out / "bundles", out / "bundles")
    made = nightly(request(source, out, more, LATER))
    assert made.report.serving.labelled == made.report.metrics.labelled
    found = evaluate_bundle(EvaluateRequest(out, world[2].bundle, Days.parse("2026-03-08")))
    assert found.metrics.labelled > 0


def test_the_same_night_again_makes_the_bundle_that_serves(world, tmp_path):
    source, out = copy_of(world, tmp_path)
    again = nightly(request(source, out))
    assert again.report.gate.rules[-1].words == "it is the bundle that serves"
    assert Store(out / "bundles").serving() == world[2].bundle == again.bundle


def test_with_a_full_disk_there_is_no_page_and_no_promotion(world, tmp_path, monkeypatch):
    source, out = copy_of(world, tmp_path)
    before = Store(out / "bundles").serving()

    def full(path, data):
        raise OSError(errno.ENOSPC, "No space left on device", str(path))

    monkeypatch.setattr("pipelines.night_page.write_bytes", full)
    with pytest.raises(InputError, match="the disk is full"):
        nightly(request(source, out, night=LATER))
    assert Store(out / "bundles").serving() == before
    assert not (out / f"reports/{LATER}/report.html").exists()


def test_a_promotion_that_fails_is_told_as_failed(world, tmp_path, monkeypatch):
    source, out = copy_of(world, tmp_path)
    before = Store(out / "bundles").serving()

    def full(path, text):
        raise OSError(errno.ENOSPC, "No space left on device", str(path))

    monkeypatch.setattr("scoring.store.replace_file", full)
    with pytest.raises(InputError, match="the disk is full"):
        nightly(request(source, out, night=LATER))
    assert Store(out / "bundles").serving() == before
    report = NightlyReport.from_json((out / f"reports/{LATER}/report.json").read_bytes())
    assert report.outcome == "failed" and "the disk is full" in report.summary


def test_labels_that_are_not_ripe_when_training_ends_are_refused(world, tmp_path):
    source, _, _ = world
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


def test_a_second_night_at_the_same_time_is_refused(world):
    source, out, _ = world
    with locked(Layout(out)), pytest.raises(BusyError):
        nightly(request(source, out))


def test_two_nights_as_two_processes_one_is_refused(world, tmp_path):
    source, out = copy_of(world, tmp_path)
    config = tmp_path / "tiny.yaml"
    config.write_text(CONFIG)
    words = [*COMMAND, "nightly", str(config), "--input", source, "--out", str(out), "--as-of"]
    with subprocess.Popen(
        [*words, str(LATER)],
        env={**os.environ, "PYTHONPATH": os.getcwd()},
        stderr=subprocess.PIPE,
        text=True,
    ) as first:
        for line in first.stderr:
            if line.startswith("backfill"):
                break
        with pytest.raises(BusyError, match=f"in use by another run .process {first.pid}"):
            nightly(request(source, out, night=LATER))
        first.stderr.read()
    assert first.returncode == 0


def test_empty_input_is_refused_and_leaves_no_day(tmp_path):
    source = write_events(tmp_path / "input", [])
    with pytest.raises(InputError, match="shows no event"):
        nightly(request(source, tmp_path / "out"))
    assert Layout(tmp_path / "out").published() == []


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


def test_a_config_without_training_is_refused(world, tmp_path):
    source, _, _ = world
    bare = "\n".join(line for line in CONFIG.splitlines() if not line.startswith("training:"))
    with pytest.raises(InputError, match="no training"):
        nightly(request(source, tmp_path / "out", bare))


SCRIPT = """
import datetime as dt, os, signal, sys
from pathlib import Path
from configs.loader import load
from pipelines.nightly import NightlyRequest, nightly
from pipelines.progress import Quiet
from transforms.catalog import CATALOG

class Kill(Quiet):
    def say(self, text):
        if text.startswith(sys.argv[4]):
            os.kill(os.getpid(), getattr(signal, sys.argv[5]))

config = Path(sys.argv[1])
nightly(NightlyRequest(load(config, CATALOG), config.read_text(), sys.argv[2], Path(sys.argv[3]),
                       dt.date(2026, 3, 10)), Kill())
"""


@pytest.mark.slow
@pytest.mark.parametrize("stage", STAGES)
def test_killed_at_any_stage_it_changes_nothing(world, tmp_path, stage):
    source, out = copy_of(world, tmp_path)
    config, script = tmp_path / "tiny.yaml", tmp_path / "script.py"
    config.write_text(CONFIG.replace("rounds: 20", "rounds: 21"))
    script.write_text(textwrap.dedent(SCRIPT))
    before = Store(out / "bundles").serving()
    days = tree_bytes(out / "features")
    done = subprocess.run(
        [sys.executable, str(script), str(config), source, str(out), stage, "SIGKILL"],
        env={**os.environ, "PYTHONPATH": os.getcwd()},
        capture_output=True,
        timeout=300,
    )
    assert done.returncode == -signal.SIGKILL
    assert Store(out / "bundles").serving() == before
    after = tree_bytes(out / "features")
    assert {path: after[path] for path in days} == days
    for info in Store(out / "bundles").list():
        Store(out / "bundles").verify(info.fingerprint)


SIGNALLED = """
import importlib, os, sys
from pipelines.commands import main

module = importlib.import_module(sys.argv.pop(1))
name = sys.argv.pop(1)
original = getattr(module, name)

def patched(*arguments):
    import os, time
    left = int(os.environ["CALLS_BEFORE_SIGNAL"])
    os.environ["CALLS_BEFORE_SIGNAL"] = str(left - 1)
    if left == 0:
        os.kill(os.getpid(), int(os.environ["SIGNAL"]))
        time.sleep(0.5)
    return original(*arguments)

setattr(module, name, patched)
main()
"""
"""The real command; the signal comes while a function runs: inside of Beam, but for `train`."""

WITHIN = {
    "backfill": ("pipelines.backfill.run", "fold_shard", 0),
    "analyse": ("pipelines.analyze", "_read_rows", 1),  # the first call is before the pipeline
    "train": ("pipelines.nightly", "fit", 0),
}


@pytest.mark.parametrize(
    ("stage", "sent", "code", "word"),
    [
        ("analyse", signal.SIGTERM, 143, "terminated"),
        pytest.param("analyse", signal.SIGINT, 130, "interrupted", marks=pytest.mark.slow),
        pytest.param("backfill", signal.SIGTERM, 143, "terminated", marks=pytest.mark.slow),
        ("backfill", signal.SIGINT, 130, "interrupted"),
        pytest.param("train", signal.SIGTERM, 143, "terminated", marks=pytest.mark.slow),
        pytest.param("train", signal.SIGINT, 130, "interrupted", marks=pytest.mark.slow),
    ],
)
def test_a_signal_ends_the_command_and_changes_nothing(world, tmp_path, stage, sent, code, word):
    source, out = copy_of(world, tmp_path)
    before = Store(out / "bundles").serving()
    config = tmp_path / "tiny.yaml"
    config.write_text(CONFIG.replace("rounds: 20", "rounds: 22"))
    module, function, calls = WITHIN[stage]
    done = subprocess.run(
        [sys.executable, "-c", SIGNALLED, module, function, "nightly", str(config), "--input",
         source, "--out", str(out), "--as-of", str(LATER)],
        env={
            **os.environ,
            "PYTHONPATH": os.getcwd(),
            "SIGNAL": str(int(sent)),
            "CALLS_BEFORE_SIGNAL": str(calls),
        },
        capture_output=True,
        text=True,
        timeout=300,
    )  # fmt: skip
    assert done.returncode == code, done.stderr
    assert done.stderr.count(f"lockstep: {word}; nothing half-written was left") == 1
    assert "Traceback" not in done.stderr
    stages = ["backfill", "read", "analyse", "transform", "train", "compare"]
    assert f"{stage} …" in done.stderr
    assert f"{stages[stages.index(stage) + 1]} …" not in done.stderr, "it ended in that stage"
    assert Store(out / "bundles").serving() == before
    assert not (out / ".work").exists()
    report = NightlyReport.from_json((out / f"reports/{LATER}/report.json").read_bytes())
    assert report.outcome == "failed"
    made = nightly(request(source, out, config.read_text(), LATER))
    assert Store(out / "bundles").serving() == made.bundle != before


def test_the_command_line_says_what_is_wrong_and_exits_with_its_code(world, tmp_path):
    source, out, _ = world
    config = tmp_path / "strict.yaml"
    config.write_text(CONFIG.replace("min_average_precision: 0.0", "min_average_precision: 1.0"))
    done = subprocess.run(
        [
            *COMMAND,
            "nightly",
            str(config),
            "--input",
            source,
            "--out",
            str(out),
            "--as-of",
            "2026-03-09",
        ],
        env={**os.environ, "PYTHONPATH": os.getcwd()},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == GateError.exit_code
    assert "the new model may not serve" in done.stderr
    assert "Traceback" not in done.stderr
