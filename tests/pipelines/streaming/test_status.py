"""The scorer's live line: what it says, on a terminal and in a log."""

import itertools
import json
import os
import pty
import re
import subprocess
import sys
import threading
from collections import Counter
from types import SimpleNamespace

import pytest
from stream_world import DECISIONS, SUBSCRIPTION, after_night, publish

from pipelines.progress import Plain, Quiet
from pipelines.streaming.counts import Counts
from pipelines.streaming.status import StatusLine

PROGRAM = "from pipelines.commands import main; main()"


def scorer(**counts):
    """A service and an intake that have counted so far."""
    bundle = SimpleNamespace(fingerprint="0123456789abcdef")
    service = SimpleNamespace(
        counts=Counts(**counts), engine=SimpleNamespace(scorer=SimpleNamespace(bundle=bundle))
    )
    return service, SimpleNamespace(held=7, watermark_us=None)


def test_the_rate_is_that_of_the_last_seconds():
    service, intake = scorer()
    steady = itertools.count(0.0, 1.0)
    line = StatusLine(service, intake, lambda: next(steady), lambda: 100.0)
    said = []
    for events in (1000, 2000, 3000, 4000, 5000, 6000, 6000, 6000, 6000, 6000, 6000):
        service.counts.events = events
        said.append(line().split("  ")[0])
    assert said[0] == said[5] == "1,000 events/s"
    assert said[7] == "600 events/s"
    assert said[-1] == "0 events/s"


def test_everything_that_is_asked_for_is_in_the_line():
    service, intake = scorer(
        events=10, decisions=8, late=2, dead_letters=Counter(not_json=3, bad_time=1)
    )
    intake.watermark_us = 40_000_000
    line = StatusLine(service, intake, lambda: 0.0, lambda: 100.0)()
    assert line.split("  ")[1:] == [
        "decided 8",
        "lag 60.0 s",
        "buffer 7",
        "dead letters 4",
        "late 2",
        "bundle 0123456789abcdef",
    ]
    intake.watermark_us = -86_400_000_000 * 3
    assert "lag 3.0 d" in StatusLine(service, intake, lambda: 0.0, lambda: 100.0)()


def test_a_log_gets_lines_at_intervals_and_one_at_the_end(capsys):
    asked, often = [], threading.Event()

    def line():
        asked.append(None)
        if len(asked) == 3:
            often.set()
        return f"line {len(asked)}"

    with Plain(live_seconds=0.01).live(line):
        assert often.wait(60)
    assert capsys.readouterr().err.splitlines() == [f"line {i + 1}" for i in range(len(asked))]
    assert len(asked) > 3


def test_quiet_does_not_even_ask(capsys):
    def never():
        raise AssertionError("asked")

    with Quiet().live(never):
        pass
    assert capsys.readouterr().err == ""


def stream_command(folder, endpoint, state, *options):
    return [
        *(sys.executable, "-c", PROGRAM, "stream", "--subscription", SUBSCRIPTION),
        *("--bundles", str(folder / "house" / "bundles"), "--decisions", DECISIONS),
        *("--state", str(state), "--endpoint", endpoint, "--idle-exit", "2", *options),
    ]


def read_all(handle):
    """What came to a terminal until the other side closed it."""
    data = b""
    while True:
        try:
            chunk = os.read(handle, 65_536)
        except OSError:  # Linux: the other side is gone
            return data.decode()
        if not chunk:
            return data.decode()
        data += chunk


@pytest.mark.slow
def test_on_a_terminal_the_line_is_written_over_itself(stream_house, server, tmp_path):
    folder, events, made = stream_house
    live = after_night(events)
    publish(server, live, disorder=1)
    posts = sum(event["kind"] == "post" for event in live)
    ours, theirs = pty.openpty()
    running = subprocess.Popen(
        stream_command(folder, server, tmp_path / "state"),
        env={**os.environ, "PYTHONPATH": os.getcwd(), "TERM": "xterm", "COLUMNS": "140"},
        stdout=subprocess.PIPE,
        stderr=theirs,
        text=True,
    )
    os.close(theirs)
    shown = read_all(ours)
    results, _ = running.communicate(timeout=60)
    os.close(ours)
    assert running.returncode == 0, shown
    assert "\x1b[2K" in shown, "the line is erased before it is written again"
    assert shown.count("events/s  decided") > 1
    assert f"decided {posts:,}" in shown.split("events/s")[-1]
    assert f"bundle {made.bundle}" in shown
    assert re.search(rf"decisions +{posts:,}", results)


@pytest.mark.slow
@pytest.mark.parametrize("option", ["", "--quiet", "--json"])
def test_without_a_terminal_there_are_plain_lines_or_none(stream_house, server, tmp_path, option):
    folder, events, _ = stream_house
    publish(server, after_night(events), disorder=1)
    done = subprocess.run(
        stream_command(folder, server, tmp_path / "state", *([option] if option else [])),
        env={**os.environ, "PYTHONPATH": os.getcwd()},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert "\x1b" not in done.stderr + done.stdout
    assert ("events/s  decided" in done.stderr) == (option == "")
    if option:
        assert done.stderr == ""
    if option == "--json":
        assert json.loads(done.stdout)["decisions"] > 100
