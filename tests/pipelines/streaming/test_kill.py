"""Killed at random moments, a scorer loses nothing and decides nothing twice."""

import os
import random
import signal
import subprocess
import sys
import threading
import time

import pytest
from stream_world import (
    DECISIONS,
    NIGHT,
    SUBSCRIPTION,
    after_night,
    backfilled,
    hear,
    logged,
    publish,
)

from pipelines.parity import check_served


def start(folder, endpoint, state, night):
    command = [
        *(sys.executable, "-c", "from pipelines.commands import main; main()", "stream"),
        *("--bundles", str(folder / "house" / "bundles")),
        *("--subscription", SUBSCRIPTION, "--decisions", DECISIONS, "--endpoint", endpoint),
        *("--state", str(state), "--batch-events", "20", "--idle-exit", "14", "--quiet"),
    ]
    if night:
        command += ["--out", str(folder / "house"), "--from-night", str(NIGHT)]
    environment = {**os.environ, "PYTHONPATH": os.getcwd()}
    return subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL)


def kill_and_check(stream_house, server, tiny_spec, state, kills):
    folder, events, _ = stream_house
    live, rng = after_night(events), random.Random(kills)
    pieces = [live[i : i + 40] for i in range(0, len(live), 40)]

    def produce():
        for piece in pieces:
            publish(server, piece, disorder=1, duplicates=0.1)
            time.sleep(0.2)

    producer = threading.Thread(target=produce)
    producer.start()
    process = start(folder, server, state, night=True)
    for _ in range(kills):
        try:
            process.wait(timeout=4 + rng.random() * 5)
            break
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            process.wait()
        process = start(folder, server, state, night=not (state / "snapshots").exists())
    producer.join()
    assert process.wait(timeout=300) == 0
    decided = {}
    for one in hear(server):
        before = decided.setdefault(one["decision_id"], one)
        assert before == one, "a decision that came again was another one"
    posts = {event["id"] for event in live if event["kind"] == "post"}
    assert {one["event_id"] for one in decided.values()} == posts
    online, offline = logged(state, tiny_spec), backfilled(folder, tiny_spec)
    assert online.keys() == posts
    late = {event for event, (_, _, row) in online.items() if row["lockstep_late"]}
    if not late:
        assert all(online[event][:2] == offline[event] for event in online)
    check_served(state, folder / "house" / "bundles").require()


@pytest.mark.slow
def test_kill_9_loses_nothing_and_decides_nothing_twice(stream_house, server, tiny_spec, tmp_path):
    kill_and_check(stream_house, server, tiny_spec, tmp_path / "state", kills=6)


@pytest.mark.soak
@pytest.mark.timeout(3600)
def test_kill_9_a_hundred_times(stream_house, server, tiny_spec, tmp_path):
    kill_and_check(stream_house, server, tiny_spec, tmp_path / "state", kills=100)
