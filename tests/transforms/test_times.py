import datetime as dt

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from transforms.times import scale_times, text_times

EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
HOUR = 3_600_000_000
TEN = 1_772_359_200_000_000  # 2026-03-01T10:00:00Z


def one(text):
    return text_times(pa.array([text], pa.string())).to_pylist()[0]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026-03-01T10:00:00Z", TEN),
        ("2026-03-01t10:00:00z", None),
        ("2026-03-01T10:00:00z", TEN),
        ("2026-03-01 10:00:00", TEN),
        ("2026-03-01 10:00:00 UTC", TEN),
        ("2026-03-01 10:00", TEN),
        ("2026-03-01", TEN - 10 * HOUR),
        (" 2026-03-01T10:00:00 ", TEN),
        ("2026-03-01T10:00:00+01:00", TEN - HOUR),
        ("2026-03-01T10:00:00-0130", TEN + HOUR + HOUR // 2),
        ("2026-03-01T10:00:00.5Z", TEN + 500_000),
        ("2026-03-01T10:00:00.123456", TEN + 123_456),
        ("2026-03-01T10:00:00.123456789Z", TEN + 123_456),
        ("1772359200000000", TEN),
        ("-5", -5),
        ("+5", 5),
        ("2026-02-30", None),
        ("2000-02-29T00:00:00Z", 951_782_400_000_000),
        ("1900-02-29T00:00:00Z", None),
        ("2026-04-31T00:00:00Z", None),
        ("1969-12-31 23:59:59.999999-00:01", 59_999_999),
        ("2026-03-01T10:00:00.Z", None),
        ("2026-03-01T24:00:00Z", None),
        ("2026-03-01T10:00:60Z", None),
        ("2026-03-01T10:00:00+24:00", None),
        ("2026-03-01T10:00:00+01:60", None),
        ("2026-03-01T10:00:00,5", None),
        ("0000-01-01", None),
        ("12026-03-01", None),
        ("20260301", 20_260_301),
        ("2026-060", None),
        ("2026-W09-7", None),
        ("March 1", None),
        ("", None),
        (None, None),
    ],
)
def test_text(text, expected):
    assert one(text) == expected


zones = st.integers(-1439, 1439).map(lambda m: dt.timezone(dt.timedelta(minutes=m)))
moments = st.datetimes(
    min_value=dt.datetime(1, 1, 3), max_value=dt.datetime(9999, 12, 29), timezones=zones
)


@given(moments, st.sampled_from("T "))
def test_any_moment_in_any_zone(moment, between):
    since = moment - EPOCH
    expected = (since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds
    assert one(moment.isoformat(between)) == expected
    assert one(moment.replace(tzinfo=dt.UTC).isoformat().replace("+00:00", "Z")) == one(
        moment.replace(tzinfo=None).isoformat()
    )


shapes = st.from_regex(
    r"[0-9]{4}-[0-3][0-9]-[0-3][0-9]"
    r"([T ][0-2][0-9]:[0-6][0-9](:[0-6][0-9](\.[0-9]{1,9})?)?"
    r"(Z|z| UTC|[+-][0-2][0-9]:?[0-9]{2})?)?",
    fullmatch=True,
)


@given(st.lists(st.one_of(shapes, st.text(max_size=12), st.none()), max_size=12))
def test_neighbours_do_not_matter(texts):
    assert text_times(pa.array(texts, pa.string())).to_pylist() == [
        text_times(pa.array([text], pa.string())).to_pylist()[0] for text in texts
    ]


@pytest.mark.parametrize(
    ("type_", "values", "expected"),
    [
        (pa.timestamp("s"), [5, None, -1], [5_000_000, None, -1_000_000]),
        (pa.timestamp("ms"), [5, -5], [5000, -5000]),
        (pa.timestamp("us", "Europe/Paris"), [5], [5]),
        (pa.timestamp("ns"), [1999, -1], [1, -1]),
        (pa.timestamp("s"), [2**62, -(2**62)], [None, None]),
        (pa.timestamp("ms"), [2**62], [None]),
        (pa.date32(), [dt.date(1970, 1, 2), None], [24 * HOUR, None]),
        (pa.date64(), [dt.date(1970, 1, 2)], [24 * HOUR]),
    ],
)
def test_arrow_types(type_, values, expected):
    assert scale_times(pa.array(values, type_)).to_pylist() == expected
