"""How long the log stays: by the scorer's clock, as long as it was told; parity names what went."""

import os
import time
from types import SimpleNamespace

import pytest
from stream_world import after_night, publish, request

from configs.errors import InputError
from pipelines.parity import TimeSpan, check_ideal, check_served
from pipelines.parity.log import find_base, newest_decision
from pipelines.streaming import service
from pipelines.streaming.journal import Journal, list_segments
from pipelines.streaming.run import stream
from pipelines.streaming.service import ServiceSettings

DAYS = 5
DAY_S = 86_400


@pytest.fixture
def streamed(stream_house, server, tmp_path, monkeypatch):
    """Runs a scorer once a day for some days of its clock; the state, the store, each day's events.

    The events are of two days, so that their times tell nothing of how old the log is.
    """
    folder, events, _ = stream_house

    def run(keep_log_days):
        live = after_night(events)
        size = -(-len(live) // DAYS)
        state, begun, steps = tmp_path / "state", time.time(), []
        settings = ServiceSettings(keep_log_days=keep_log_days)
        for day in range(DAYS):
            moved = {"time": lambda day=day: time.time() + day * DAY_S}
            monkeypatch.setattr(service, "time", SimpleNamespace(**(vars(time) | moved)))
            there = {path for _, path in list_segments(state)} if day else set()
            publish(server, live[day * size : (day + 1) * size], disorder=1)
            night = {"from_night": None} if day else {}
            stream(request(folder, server, state, settings=settings, **night))
            for _, path in list_segments(state):
                if path not in there:  # the disk's clock goes with the scorer's
                    os.utime(path, (begun + day * DAY_S, begun + day * DAY_S))
            made = [step.number for step in Journal(state).steps(steps[-1][-1] if day else -1)]
            steps.append(made)
        return state, folder / "house" / "bundles", steps

    return run


def test_the_log_of_the_last_days_stays_and_parity_names_what_went(streamed):
    state, bundles, steps = streamed(keep_log_days=2.5)
    first = list_segments(state)[0][0]
    assert first == steps[2][0], "of days 0 and 1 nothing is left, of the others all"
    report = check_served(state, bundles)
    assert report.differing == 0 and report.events > 0
    [hint] = report.hints
    assert hint.startswith(f"decisions before step {first} (events up to 2026-03-")
    assert hint.endswith("their log was deleted (`lockstep stream --keep-log-days`)")
    report = check_ideal(state, bundles)
    assert (report.differing, report.hints) == (0, (hint,))
    gone = TimeSpan.parse("2026-03-09T00..2026-03-09T06")
    with pytest.raises(InputError, match=f"before step {first} .* their log was deleted"):
        check_served(state, bundles, gone)
    base, end = find_base(state), newest_decision(state)
    assert base.step == first - 1
    left = TimeSpan.parse("2026-03-10T12..2026-03-11T00")
    assert left.start_us < end
    assert check_served(state, bundles, left).hints == ()


def test_a_longer_retention_keeps_all_of_it(streamed):
    state, bundles, steps = streamed(keep_log_days=30)
    assert list_segments(state)[0][0] == steps[0][0]
    report = check_served(state, bundles)
    assert (report.differing, report.hints) == (0, ())
