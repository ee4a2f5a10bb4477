"""Signals: the first one drains, a second one or one during the start ends the process at once."""

import os
import signal
import subprocess
import sys
import time

import pytest

from pipelines import signals
from pipelines.streaming.stopping import Stopping

PROGRAM = """
import hashlib, sys, time
from pipelines.streaming.stopping import Stopping
with Stopping() as stopping:
    if sys.argv[1] == "running":
        stopping.draining(lambda: print("drain", flush=True))
    print("ready", flush=True)
    if sys.argv[2] == "computes":
        hashlib.pbkdf2_hmac("sha256", b"", b"", 2_000_000_000)  # one call of C, without the GIL
    try:
        while sys.argv[2] == "hangs" or not stopping.asked:
            time.sleep(0.05)
    except BaseException:
        print("unwound", flush=True)
        raise
    print("drained", flush=True)
"""


@pytest.fixture
def start():
    started = []

    def run(*arguments):
        process = subprocess.Popen(
            [sys.executable, "-c", PROGRAM, *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": os.getcwd()},
        )
        started.append(process)
        assert process.stdout.readline() == "ready\n"
        return process

    yield run
    for process in started:
        process.kill()
        process.communicate()


def test_the_first_one_drains(start):
    process = start("running", "drains")
    process.send_signal(signal.SIGTERM)
    out, err = process.communicate(timeout=20)
    assert (process.returncode, out, err) == (0, "drain\ndrained\n", "")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_second_one_ends_it_at_once_with_one_line(start, number):
    process = start("running", "hangs")
    process.send_signal(number)
    assert process.stdout.readline() == "drain\n"
    asked = time.monotonic()
    process.send_signal(number)
    out, err = process.communicate(timeout=20)
    assert time.monotonic() - asked < 5
    assert (process.returncode, out) == (128 + number, "")
    assert err.count("\n") == 1 and "stopped at once" in err


def test_a_second_one_is_told_from_the_first_though_the_main_thread_hears_neither(start):
    """gRPC and TensorFlow keep it in a call of C, and Python's handlers wait for its end."""
    process = start("running", "computes")
    process.send_signal(signal.SIGTERM)
    assert process.stdout.readline() == "drain\n"
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=20)
    assert process.returncode == 128 + signal.SIGTERM
    assert "stopped at once" in err


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_during_the_start_the_first_one_does(start, number):
    process = start("starting", "hangs")
    process.send_signal(number)
    out, err = process.communicate(timeout=20)
    assert (process.returncode, out) == (128 + number, "")
    assert err.count("\n") == 1


def test_a_sleep_ends_when_it_is_asked_to():
    stopping = Stopping()
    stopping.asked = True
    started = time.monotonic()
    stopping.sleep(30.0)
    assert time.monotonic() - started < 5


def test_what_had_the_signals_before_has_them_after():
    before = signal.getsignal(signal.SIGTERM)
    with Stopping():
        assert signal.getsignal(signal.SIGTERM) is not before
    assert signal.getsignal(signal.SIGTERM) is before


def test_a_signal_that_was_lost_before_is_not_forgotten(monkeypatch):
    monkeypatch.setattr(signals, "_stopped", [signal.SIGTERM])
    with pytest.raises(SystemExit) as ended, Stopping():
        pytest.fail("it went on")
    assert ended.value.code == 128 + signal.SIGTERM
