"""The page in a real browser: nothing sticks out at 400 and at 1,400 pixels."""

from __future__ import annotations

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
    assert told["console"] == []
    assert all(height > 150 for height in told["drawn"])
