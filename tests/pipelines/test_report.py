"""`lockstep report`: the last night of a range, beside the others; the folder stays as it is."""

import datetime as dt
import re

import pytest
from backfill_world import tree_bytes
from nightly_world import LATER, NIGHT, copy_of, request

from configs.errors import InputError
from pipelines.layout import day_us
from pipelines.nightly import nightly
from pipelines.report import report_nights, write_page
from training.report import render


@pytest.fixture(scope="module")
def two_nights(night_house, tmp_path_factory):
    source, out = copy_of(night_house, tmp_path_factory.mktemp("nights"))
    return nightly(request(source, out, night=LATER)), out


def test_the_newest_night_is_what_its_run_wrote(two_nights):
    outcome, out = two_nights
    assert report_nights(out) == outcome.report
    assert [one.as_of_us for one in outcome.report.past] == [day_us(NIGHT)]


def test_an_earlier_night_knows_nothing_of_later_ones(night_house, two_nights):
    assert report_nights(two_nights[1], last=NIGHT) == night_house[2].report


def test_a_range_has_its_nights_alone_and_days_as_they_turned_out(night_house, two_nights):
    outcome, out = two_nights
    both, alone = report_nights(out, NIGHT, LATER), report_nights(out, LATER, LATER)
    assert alone.past == () and len(both.past) == 1
    assert {day.day_us for day in alone.days} < {day.day_us for day in both.days}
    first = {day.day_us: day for day in night_house[2].report.days}
    known = next(day for day in outcome.report.early if not day.young)
    assert first[known.day_us].young, "foretold by the first night"
    assert next(day for day in both.days if day.day_us == known.day_us) == known


def test_the_page_is_written_outside_of_the_folder_which_stays_as_it_is(two_nights, tmp_path):
    _, out = two_nights
    before = tree_bytes(out)
    made = report_nights(out)
    write_page(made, tmp_path / "page.html", out)
    text = (tmp_path / "page.html").read_text()
    assert text == render(made) and "http" not in text
    with pytest.raises(InputError, match="only runs that hold its lock write"):
        write_page(made, out / "page.html", out)
    with pytest.raises(InputError, match=rf"\({re.escape(str(tmp_path))}\): Is a directory"):
        write_page(made, tmp_path, out)
    assert not list(tmp_path.parent.glob(f".{tmp_path.name}*")), "nothing half-written is left"
    assert tree_bytes(out) == before


@pytest.mark.parametrize(
    ("nights", "message"),
    [
        ((None, NIGHT - dt.timedelta(1)), "has no report of 2026-03-08 that this release"),
        ((LATER + dt.timedelta(1), LATER + dt.timedelta(2)), "has no report of 2026-03-11 to"),
    ],
)
def test_nights_without_a_report_are_refused(two_nights, nights, message):
    with pytest.raises(InputError, match=message):
        report_nights(two_nights[1], *nights)
    with pytest.raises(InputError, match="is no folder"):
        report_nights(two_nights[1] / "none")
