"""The parity page: self-contained, in plain words, and nothing sticks out of it in a browser."""

import re

import numpy as np
import pytest
from browser import measure, needs_browser

from pipelines.parity.page import render
from scoring.parity.compare import (
    CAUSES,
    LATE,
    UNEXPLAINED,
    VERSION,
    Difference,
    gather,
)

HOUR = 3_600_000_000
START = 20_000 * 24 * HOUR


def made(mode, causes, hints=()):
    """A report of 4,000 decisions over two days, some of which differ."""
    rng = np.random.default_rng(5)
    times = np.sort(START + rng.integers(0, 48 * HOUR, 4000))
    names = [f"fingerprint_authors_of_a_long_name_{i}_1h" for i in range(20)]
    differences = [
        Difference(
            f"message:{row:08d}-with-a-long-identifier",
            int(times[row]),
            causes[row % len(causes)],
            tuple(names[: row % 20]),
            0.25,
            0.25 + row / 1e6,
        )
        for row in range(0, 4000 if causes else 0, 37)
    ]
    return gather(mode, times, differences, {"a3d9e2b14c5f6071": 4000}, hints)


HINT = "The served values of author_messages_1d are exactly those of a window 1d off by one tile."
FULL = (made("as served", [UNEXPLAINED, VERSION], [HINT]), made("ideal", list(CAUSES)))


def test_nothing_comes_from_the_network():
    page = render(FULL, "state")
    assert re.findall(r"\w+://", page) == []
    assert re.findall(r"url\((?!#)", page) == []
    assert "<script" not in page
    assert len(page.encode()) < 200_000
    assert render(FULL, "state") == page


def test_the_verdict_comes_first_and_the_facts_are_there():
    page = render(FULL, "/var/<state>")
    assert page.index("Not clean") < page.index("As served") < page.index("Ideal")
    for told in (*CAUSES, HINT, "1970" if START == 0 else "2024-10-04", "&lt;state&gt;"):
        assert told in page, told
    assert page.count("<svg") == 2


def test_a_clean_page_says_so():
    page = render((made("as served", []), made("ideal", [LATE])), "state")
    assert "Not clean" not in page
    assert "Clean: what was served" in page
    assert "No decision differs in any bit" in page
    assert page.count("<svg") == 1


@needs_browser
@pytest.mark.parametrize("width", [400, 1400])
def test_nothing_sticks_out(tmp_path, width):
    told = measure(render(FULL, "/srv/lockstep/scorer/" + "state" * 12), width, tmp_path)
    assert told["cards"] == 9
    assert told["scroll"] <= told["edge"] <= width
    assert told["out"] == []
    assert all(height > 150 for height in told["drawn"])
