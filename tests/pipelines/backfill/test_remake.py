"""Days that are made anew: whenever the run is killed, the same run goes on and ends the same."""

import json
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
from pipelines.backfill import read_features
from pipelines.backfill import run as backfill
from pipelines.layout import Layout, parse_day
from transforms.catalog import CATALOG

MORE = CONFIG.replace(
    "      people: {op",
    "      amounts: {op: max, of: post, column: amount, decimals: 1}\n      people: {op",
)
DAYS = "2026-03-01..2026-03-02"


class Killed(BaseException):
    """As if the process were gone: nothing that catches errors catches it."""


class KillingOs:
    """The module `os`, whose n-th rename never happens, and after that none."""

    def __init__(self, after):
        self.left = after

    def __getattr__(self, name):
        return getattr(os, name)

    def replace(self, source, target):
        self.count()
        os.replace(source, target)

    def count(self):
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
    """Whether the run was killed at a rename while it published, or at what comes after it."""
    source, more = published
    killing, publish_days, remove = (
        KillingOs(number),
        backfill.publish_days,
        backfill.remove_unnamed,
    )

    def publish(*arguments):
        patch.setattr("scoring.files.os", killing)
        publish_days(*arguments)
        killing.count()

    def remove_unnamed(*arguments):
        if killing.left >= 0:  # a dead process removes nothing
            remove(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(backfill, "publish_days", publish)
        patch.setattr(backfill, "remove_unnamed", remove_unnamed)
        try:
            run(source, DAYS, spec=more, only_new_features=True)
        except Killed:
            return True
    return False


def test_killed_while_days_are_published_the_same_run_goes_on(
    published, run, tmp_path, monkeypatch
):
    """After two files of sources, after one marker, and after both, before old files go."""
    source, more = published
    out = tmp_path / "out"
    shutil.copytree(out, tmp_path / "before")
    old, whole = (
        {day: Layout(folder).read_marker(day) for day in Layout(folder).published()}
        for folder in (out, tmp_path / "whole")
    )
    for number in (2, 3, 4):
        assert killed_at(run, published, monkeypatch, number)
        there = {day: Layout(out).read_marker(day) for day in old}
        assert [there[day] == whole[day] for day in old] == [number > 2, number > 3], number
        assert [there[day] == old[day] for day in old] == [number <= 2, number <= 3], number
        for day, marker in there.items():  # each day is whole, whichever it is
            named = [one for kind in marker["files"].values() for one in kind]
            assert all((out / one["path"]).stat().st_size == one["bytes"] for one in named)
            assert len(read_features(Layout(out), [day], ["event_id"])) == marker["scored"]
        run(source, DAYS, spec=more, only_new_features=True)
        assert tree_bytes(out) == tree_bytes(tmp_path / "whole"), number
        shutil.rmtree(out)
        shutil.copytree(tmp_path / "before", out)


SCRIPT = """
import os, signal, sys
from pathlib import Path
import scoring.files
from configs.loader import load
from pipelines.backfill import BackfillRequest, backfill
from pipelines.backfill import run
from pipelines.layout import Days
from transforms.catalog import CATALOG

class Killing:
    left = int(sys.argv[4])

    def __getattr__(self, name):
        return getattr(os, name)

    def replace(self, source, target):
        self.left -= 1
        if self.left < 0:
            os.kill(os.getpid(), signal.SIGKILL)
        os.replace(source, target)

original = run.publish_days

def publish_days(*arguments):
    scoring.files.os = Killing()
    original(*arguments)

run.publish_days = publish_days
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


def test_what_no_marker_names_is_not_read_and_goes_with_the_next_run(write, run, tmp_path):
    events = make_events(60, days=3)
    source, out = write(events), tmp_path / "out"
    run(source, DAYS)
    before = tree_bytes(out)
    layout, day = Layout(out), parse_day("2026-03-02")
    left = [
        Path(layout.folder("features", day), "part-0000-0123456789abcdef.parquet"),
        Path(layout.folder("features", day), ".part-0000.parquet0123.tmp"),
        Path(layout.folder("state", parse_day("2026-03-03")), "who-000-0123456789abcdef.arrow"),
        Path(layout.dead_letters, "duplicates-2026-03-03-0123456789abcdef.parquet"),
        Path(layout.dead_letters, ".events.jsonl.parquet0123.tmp"),
    ]
    for path in left:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"half")
    kept = Path(layout.folder("features", day), "notes.txt")
    kept.write_text("someone's own")
    assert len(read_features(layout, [day], ["event_id"])) == layout.read_marker(day)["scored"]
    assert layout.state(parse_day("2026-03-03")) == {}
    run(source, DAYS)
    assert not any(path.exists() for path in left)
    kept.unlink()
    assert tree_bytes(out) == before


def test_a_run_that_fails_leaves_no_file_of_its_days(write, run, tmp_path, monkeypatch):
    source, out = write(make_events(60, days=2)), tmp_path / "out"
    run(source, "2026-03-01")
    before = tree_bytes(out)

    def fail(*arguments):
        assert list(Path(Layout(out).folder("features", parse_day("2026-03-02"))).iterdir())
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(backfill, "publish_days", fail)
    with pytest.raises(InputError, match="disk is full"):
        run(source, DAYS)
    assert tree_bytes(out) == before
    assert not Path(Layout(out).folder("features", parse_day("2026-03-02"))).exists()


def test_days_of_an_earlier_build_are_read_and_continued(write, run, tmp_path):
    """Its markers name no files: what is in a day's folders is the day's."""
    events = make_events(90, days=3)
    source, out = write([*events, *events[::5]]), tmp_path / "out"
    run(source, DAYS)
    layout = Layout(out)
    expected = read_features(layout, layout.published(), ["event_id", "who_posts_1h"])
    for day in layout.published():
        marker = layout.read_marker(day)
        for kind in marker["files"]:
            for one in marker["files"][kind]:
                os.rename(out / one["path"], (out / one["path"]).with_name(one["name"]))
        del marker["files"]
        Path(layout.marker(day)).write_text(json.dumps(marker))
    assert read_features(layout, layout.published(), ["event_id", "who_posts_1h"]) == expected
    run(source, "2026-03-01..2026-03-03")
    assert Path(layout.dead_letters, "duplicates-2026-03-01.parquet").exists()
    run(source, "2026-03-01..2026-03-03", out="whole")
    last = parse_day("2026-03-03")
    assert layout.read_marker(last) == Layout(tmp_path / "whole").read_marker(last)


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
