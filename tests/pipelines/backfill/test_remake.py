"""Days that are made anew: whenever the run is killed, the same run goes on and ends the same."""

import os
import shutil
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import polars as pl
import pytest
from backfill_world import CONFIG, make_events, tree_bytes

from configs.errors import InputError
from configs.loader import loads
from pipelines import writers
from pipelines.layout import Layout, locked, parse_day
from transforms.catalog import CATALOG

MORE = CONFIG.replace(
    "      people: {op",
    "      amounts: {op: max, of: post, column: amount, decimals: 1}\n      people: {op",
)
DAYS = "2026-03-01..2026-03-02"


class Killed(BaseException):
    """As if the process were gone: nothing that catches errors catches it."""


class KillingOs:
    """The module `os`, whose n-th rename never happens."""

    def __init__(self, after):
        self.left = after

    def __getattr__(self, name):
        return getattr(os, name)

    def rename(self, source, target):
        self._count()
        os.rename(source, target)

    def replace(self, source, target):
        self._count()
        os.replace(source, target)

    def _count(self):
        self.left -= 1
        if self.left < 0:
            raise Killed


@pytest.fixture
def published(write, run, tmp_path):
    """Two days under CONFIG, and what MORE makes of them in one go."""
    source = write(make_events(150, days=2))
    more = loads(MORE, "more.yaml", CATALOG)
    run(source, DAYS)
    run(source, DAYS, out="whole", spec=more)
    return source, more


def killed_at(run, published, monkeypatch, number):
    """Whether the run was killed at its rename of that number."""
    source, more = published
    killing = KillingOs(number)
    with monkeypatch.context() as patch:
        patch.setattr("pipelines.layout.os", killing)
        patch.setattr("scoring.files.os", killing)
        try:
            run(source, DAYS, spec=more, only_new_features=True)
        except Killed:
            return True
    return False


@pytest.mark.slow
def test_killed_at_any_rename_the_same_run_goes_on(published, run, tmp_path, monkeypatch):
    shutil.copytree(tmp_path / "out", tmp_path / "before")
    number = 0
    while killed_at(run, published, monkeypatch, number):
        source, more = published
        run(source, DAYS, spec=more, only_new_features=True)
        assert tree_bytes(tmp_path / "out") == tree_bytes(tmp_path / "whole"), number
        shutil.rmtree(tmp_path / "out")
        shutil.copytree(tmp_path / "before", tmp_path / "out")
        number += 1
    assert number >= 16, "two days: a marker before, three folders in two renames each, a marker"


@pytest.mark.parametrize("number", [2, 3, 7])
def test_killed_between_two_renames_the_same_run_goes_on(
    published, run, tmp_path, monkeypatch, number
):
    assert killed_at(run, published, monkeypatch, number)
    source, more = published
    layout = Layout(tmp_path / "out")
    with pytest.raises(InputError, match="2026-03-01 is being made anew"):
        layout.read_marker(parse_day("2026-03-01"))
    run(source, DAYS, spec=more, only_new_features=True)
    assert tree_bytes(tmp_path / "out") == tree_bytes(tmp_path / "whole")


SCRIPT = """
import os, signal, sys
from pathlib import Path
from configs.loader import load
from pipelines.backfill import BackfillRequest, backfill, publish
from pipelines.layout import Days
from transforms.catalog import CATALOG

original, left = publish.publish_folder, [int(sys.argv[4])]

def publish_folder(*arguments, **options):
    left[0] -= 1
    if left[0] < 0:
        os.kill(os.getpid(), signal.SIGKILL)
    original(*arguments, **options)

publish.publish_folder = publish_folder
spec = load(Path(sys.argv[1]), CATALOG)
backfill(BackfillRequest(spec, sys.argv[2], Path(sys.argv[3]), Days.parse(sys.argv[5]),
                         only_new_features=True))
"""


@pytest.mark.parametrize("number", [1, pytest.param(3, marks=pytest.mark.slow)])
def test_sigkill_while_a_day_is_published(published, run, tmp_path, number):
    source, more = published
    config, script = tmp_path / "more.yaml", tmp_path / "script.py"
    config.write_text(MORE)
    script.write_text(textwrap.dedent(SCRIPT))
    done = subprocess.run(
        [
            sys.executable,
            str(script),
            str(config),
            source,
            str(tmp_path / "out"),
            str(number),
            DAYS,
        ],
        env={**os.environ, "PYTHONPATH": os.getcwd()},
        capture_output=True,
        timeout=300,
    )
    assert done.returncode == -signal.SIGKILL
    report = run(source, DAYS, spec=more, only_new_features=True)
    assert report.days
    assert tree_bytes(tmp_path / "out") == tree_bytes(tmp_path / "whole")


def test_a_folder_that_was_being_replaced_is_put_back(tmp_path):
    layout = Layout(tmp_path)
    day = parse_day("2026-03-01")
    old = layout.replaced / layout.features(day).relative_to(tmp_path)
    old.mkdir(parents=True)
    (old / "part-00000.parquet").write_text("old")
    with locked(layout):
        assert (layout.features(day) / "part-00000.parquet").read_text() == "old"
    assert not layout.replaced.exists()


def test_dead_letters_appear_whole_and_go_when_there_are_none(write, run, tmp_path):
    bad = {"id": "x", "at": "never", "kind": "post", "who": "w"}
    events = [event for event in make_events(60, days=2) if event["at"] < "2026-03-03"]
    source = write([*events, bad])
    run(source, "2026-03-01")
    folder = tmp_path / "out" / "dead_letters"
    (letters,) = folder.iterdir()
    assert len(pl.read_parquet(letters)) == 1
    write(events)
    run(source, DAYS)
    assert list(folder.iterdir()) == []


def test_dead_letters_are_not_written_in_place(write, run, tmp_path, monkeypatch):
    """A reader of the folder, or a run that is cut off, never meets half a file."""
    bad = {"id": "x", "at": "never", "kind": "post", "who": "w"}
    source = write([*make_events(60, days=2), bad])
    written = []
    original = writers.write_parquet
    monkeypatch.setattr(writers, "write_parquet", lambda t, p: (written.append(p), original(t, p)))
    run(source, DAYS)
    folder = tmp_path / "out" / "dead_letters"
    assert written and not [path for path in written if Path(path).is_relative_to(folder)]
    assert all(Path(path).is_relative_to(tmp_path / "out" / ".work") for path in written)
    assert [path.suffix for path in folder.iterdir()] == [".parquet"]
