"""Whether promises are kept: by the interval of what became of them, never by the share alone."""

import dataclasses

import pytest

from scoring.decision import Threshold
from training.daily import DailyNumber
from training.evaluate import AtThreshold
from training.report.contracts import contract_lines

AT = AtThreshold("block", 0.9, 100, 90, 0.9, 0.82, 0.95, 0.5, 0.4, 0.6, min_precision=0.9)
NEW = Threshold("block", 0.8, 0.9, "", "precision of at least 0.9", 0.95, flagged=40)


@pytest.mark.parametrize(
    ("low", "high", "state"),
    [
        (0.82, 0.95, "not shown"),
        (0.9, 0.95, "kept"),
        (0.7, 0.89, "broken"),
        (0.7, 0.9, "not shown"),
    ],
)
def test_the_interval_says_it(sample_report, low, high, state):
    at = dataclasses.replace(AT, precision_low=low, precision_high=high)
    serving = dataclasses.replace(sample_report.serving, at=(at,))
    new, old = contract_lines((NEW,), serving)
    assert (new.model, new.state, new.promise) == ("new", "kept", "precision of at least 0.9")
    assert (old.model, old.state) == ("serving", state)
    assert old.promise == "precision of at least 0.9" and "90 of 100 flagged" in old.shown


def test_what_flags_nothing_and_what_promises_no_precision_is_not_shown(sample_report):
    none = dataclasses.replace(AT, flagged=0, precision=None)
    number = dataclasses.replace(AT, action="look", min_precision=None)
    serving = dataclasses.replace(sample_report.serving, at=(none, number))
    off = dataclasses.replace(NEW, value=None, reason="too few events")
    found = [(one.action, one.model, one.state) for one in contract_lines((off,), serving)]
    assert found == [
        ("block", "new", "off"),
        ("block", "serving", "not shown"),
        ("look", "serving", "not shown"),
    ]
    assert contract_lines((off,), None)[0].shown == "too few events"


@pytest.mark.parametrize(
    ("low", "high", "state"), [(90, 110, "not shown"), (60, 100, "kept"), (101, 140, "broken")]
)
def test_a_number_a_day_is_a_promise_too(sample_report, low, high, state):
    daily = DailyNumber(100, (low + high) / 2, low, high)
    look = dataclasses.replace(AT, action="look", min_precision=None, daily=daily)
    both = dataclasses.replace(AT, precision_low=0.9, daily=daily)
    serving = dataclasses.replace(sample_report.serving, at=(look, both))
    one, two = contract_lines((), serving)
    assert (one.state, one.promise) == (state, "at most 100 a day")
    assert (two.state, two.promise) == (state, "precision of at least 0.9, at most 100 a day")
    assert two.shown.endswith(f"; it took {daily.found:,.0f} a day ({low} to {high})")
