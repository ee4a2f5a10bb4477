"""A night end to end, and what a bad night leaves behind: nothing."""

import dataclasses
import datetime as dt
import json
import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
from backfill_world import CONFIG, make_events, tree_bytes

from configs.errors import BusyError, EvidenceError, GateError, InputError
from configs.loader import loads
from pipelines.evaluate import EvaluateRequest, evaluate_bundle
from pipelines.layout import Days, Layout, locked
from pipelines.nightly import STAGES, NightlyRequest, nightly
from scoring.store import Store
from transforms.catalog import CATALOG

NIGHT = dt.date(2026, 3, 9)


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


def test_a_later_night_is_judged_beside_the_serving_bundle(world):
    source, out, outcome = world
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


def test_labels_of_one_class_are_refused(tmp_path):
    events = [{**e, "bad": False} if "bad" in e else e for e in make_events(800, days=9)]
    source = write_events(tmp_path / "input", events)
    with pytest.raises(EvidenceError, match="0 positives"):
        nightly(request(source, tmp_path / "out"))
    assert Store(tmp_path / "out" / "bundles").serving() is None


def test_a_span_without_events_is_refused(tmp_path):
    source = write_events(tmp_path / "input", make_events(50, days=1))
    with pytest.raises(EvidenceError, match="no scored event"):
        nightly(request(source, tmp_path / "out"))


def test_a_vocabulary_of_one(tmp_path):
    events = [{**e, "where": "a"} if e["kind"] == "post" else e for e in make_events(1500, days=9)]
    source = write_events(tmp_path / "input", events)
    assert nightly(request(source, tmp_path / "out")).report.outcome == "promoted"


def test_a_second_night_at_the_same_time_is_refused(world):
    source, out, _ = world
    with locked(Layout(out)), pytest.raises(BusyError):
        nightly(request(source, out))


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
                       dt.date(2026, 3, 9)), Kill())
"""


@pytest.mark.slow
@pytest.mark.parametrize("stage", STAGES)
def test_killed_at_any_stage_it_changes_nothing(world, tmp_path, stage):
    source, out, _ = world
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
    assert tree_bytes(out / "features") == days
    for info in Store(out / "bundles").list():
        Store(out / "bundles").verify(info.fingerprint)


def test_the_command_line_says_what_is_wrong_and_exits_with_its_code(world, tmp_path):
    source, out, _ = world
    config = tmp_path / "strict.yaml"
    config.write_text(CONFIG.replace("min_average_precision: 0.0", "min_average_precision: 1.0"))
    command = [sys.executable, "-c", "from pipelines.commands import main; main()", "nightly"]
    done = subprocess.run(
        [*command, str(config), "--input", source, "--out", str(out), "--as-of", "2026-03-09"],
        env={**os.environ, "PYTHONPATH": os.getcwd()},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == GateError.exit_code
    assert "the new model may not serve" in done.stderr
    assert "Traceback" not in done.stderr
