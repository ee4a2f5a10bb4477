"""The page in a real browser: nothing sticks out at 400 and at 1,400 pixels."""

from __future__ import annotations

import dataclasses

import pytest
from browser import measure, needs_browser

from training.report import render


@needs_browser
@pytest.mark.parametrize("width", [400, 1400])
def test_nothing_sticks_out(sample_report, tmp_path, width):
    told = measure(render(sample_report), width, tmp_path)
    assert told["cards"] == 28
    assert told["vanished"] == [], "no column is left out at any width"
    assert told["unnamed"] == [], "where a table has no head, each cell says what it is"
    assert told["scroll"] <= told["edge"] <= width
    assert told["out"] == []
    assert told["cut"] == [], "nothing has to be scrolled sideways within its card"
    assert told["clash"] == [], "labels of plots can be read"
    assert told["console"] == []
    assert all(height > 150 for height in told["drawn"])


@needs_browser
def test_labels_of_thresholds_that_lie_close_can_be_read(sample_report, tmp_path):
    """Where abuse is rare, all of three actions may begin at low scores."""
    shown = next(one for one in sample_report.thresholds if one.value is not None)
    close = tuple(
        dataclasses.replace(shown, action=name, value=at, precision=0.05 - at, recall=0.9 + 4 * at)
        for name, at in (("block", 0.016), ("hide", 0.009), ("review", 0.0025))
    )
    names = ("block", "hide", "review", "slow")

    def of_each(one):
        return tuple(dataclasses.replace(one, action=name) for name in names)

    days = tuple(
        dataclasses.replace(
            day,
            expected=dataclasses.replace(day.expected, at=of_each(day.expected.at[0])),
            turned_out=of_each(day.turned_out[0]) if day.turned_out else (),
        )
        for day in sample_report.days
    )
    page = render(dataclasses.replace(sample_report, thresholds=close, days=days))
    assert page.count("hide, expected") == 2, "of precision and of recall"
    assert measure(page, 400, tmp_path)["clash"] == []
