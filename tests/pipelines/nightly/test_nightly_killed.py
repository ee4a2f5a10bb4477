"""Nights as processes: killed, signalled, refused; what serves stays, and the next run goes on."""

import os
import signal
import subprocess
import sys
import textwrap

import pytest
from backfill_world import CONFIG, tree_bytes
from nightly_world import COMMAND, LATER, NIGHT, copy_of, request

from configs.errors import BusyError, GateError
from pipelines.nightly import STAGES, nightly
from scoring.store import Store
from training.report import NightlyReport


def test_two_nights_as_two_processes_one_is_refused(night_house, tmp_path):
    source, out = copy_of(night_house, tmp_path)
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
def test_killed_at_any_stage_it_changes_nothing(night_house, tmp_path, stage):
    source, out = copy_of(night_house, tmp_path)
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
    page = out / f"reports/{LATER}/report.json"
    if page.exists():  # it does not say that a bundle serves which does not
        assert NightlyReport.from_json(page.read_bytes()).outcome != "promoted"
    assert page.exists() == (stage == "promote")
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
    "backfill": ("transforms.steps.shards", "fold_shard", 0),
    "analyse": ("transforms.steps.graph", "tensor_rows", 0),
    "train": ("pipelines.nightly.run", "fit_sample", 0),
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
def test_a_signal_ends_the_command_and_changes_nothing(
    night_house, tmp_path, stage, sent, code, word
):
    source, out = copy_of(night_house, tmp_path)
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


def test_the_command_line_says_what_is_wrong_and_exits_with_its_code(night_house, tmp_path):
    source, out = copy_of(night_house, tmp_path)
    config = tmp_path / "strict.yaml"
    config.write_text(CONFIG.replace("min_average_precision: 0.0", "min_average_precision: 1.0"))
    done = subprocess.run(
        [*COMMAND, "nightly", str(config), "--input", source, "--out", str(out),
         "--as-of", str(NIGHT)],
        env={**os.environ, "PYTHONPATH": os.getcwd()},
        capture_output=True,
        text=True,
        timeout=300,
    )  # fmt: skip
    assert done.returncode == GateError.exit_code
    assert "the new model may not serve" in done.stderr
    assert "Traceback" not in done.stderr
