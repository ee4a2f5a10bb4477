import datetime as dt

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from transforms.derive.clock import HourOfDay, IsNight, IsWeekend

EPOCH = dt.datetime(1970, 1, 1)
moments = st.datetimes(dt.datetime(1900, 1, 1), dt.datetime(2200, 1, 1))


def apply(operation, *times):
    batch = pa.RecordBatch.from_pydict({"t": pa.array(times, pa.int64())})
    return operation.apply(batch).to_pylist()


@given(moments)
def test_the_calendar_agrees(moment):
    at = (moment - EPOCH) // dt.timedelta(microseconds=1)
    assert apply(HourOfDay("t"), at) == [moment.hour]
    assert apply(IsWeekend("t"), at) == [moment.weekday() >= 5]
    assert apply(IsNight("t"), at) == [moment.hour <= 6]


@pytest.mark.parametrize(
    ("first", "last", "night"),
    [(0, 6, range(7)), (22, 5, [22, 23, 0, 1, 2, 3, 4, 5]), (3, 3, [3])],
)
def test_night_has_both_its_hours(first, last, night):
    hours = [hour * 3_600_000_000 for hour in range(24)]
    expected = [hour in set(night) for hour in range(24)]
    assert apply(IsNight("t", from_hour=first, to_hour=last), *hours) == expected
