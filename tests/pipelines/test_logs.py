"""Standard error as JSON lines, where the environment asks for it."""

import datetime as dt
import json
import logging
import subprocess
import sys

import pytest

from pipelines.logs import SETTING, install, log
from pipelines.progress import Plain, Terminal, choose_progress


@pytest.fixture
def structured(monkeypatch):
    """Loggers as they were, afterwards."""
    monkeypatch.setenv(SETTING, "json")
    root = logging.getLogger()
    before = list(root.handlers)
    yield
    root.handlers[:] = before
    logging.captureWarnings(False)


def test_lines_are_for_people_unless_asked_for(capsys):
    log("INFO", "ready")
    assert capsys.readouterr().err == "ready\n"


def test_progress_and_warnings_are_objects(structured, capsys):
    install()
    choose_progress().say("ready")
    logging.getLogger("pipelines.one").warning("%d left", 3)
    said, warned = map(json.loads, capsys.readouterr().err.splitlines())
    assert (said["severity"], said["message"]) == ("INFO", "ready")
    assert dt.datetime.fromisoformat(said["time"]).utcoffset() == dt.timedelta(0)
    assert warned.pop("time") >= said["time"]
    assert warned == {"severity": "WARNING", "message": "3 left", "logger": "pipelines.one"}


def test_a_failure_keeps_its_trace_in_one_line(structured, capsys):
    install()
    try:
        raise OSError("gone")
    except OSError:
        logging.getLogger("pipelines.one").exception("ended")
    [told] = map(json.loads, capsys.readouterr().err.splitlines())
    assert told["severity"] == "ERROR"
    assert told["message"].startswith("ended\nTraceback")


def test_a_terminal_gets_lines_too(structured, monkeypatch):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    assert isinstance(choose_progress(), Plain)
    monkeypatch.delenv(SETTING)
    assert isinstance(choose_progress(), Terminal)


@pytest.mark.parametrize(("asked", "code"), [("json", 4), ("xml", 2)])
def test_the_commands_last_word_is_one_too(asked, code):
    ended = subprocess.run(
        [
            sys.executable,
            "-c",
            "from pipelines.commands import main; main()",
            "validate",
            "no.yaml",
        ],
        env={SETTING: asked, "PATH": "", "COLUMNS": "80"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == code
    if asked == "xml":
        assert "expected text or json" in ended.stderr
        return
    told = json.loads(ended.stderr)
    assert told["severity"] == "ERROR"
    assert "no.yaml" in told["message"]
