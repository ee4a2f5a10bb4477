import gzip
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.sources.lines import BOM, each_line


def lines(data, most=100):
    return list(each_line(io.BytesIO(data), most))


def test_ends_stay_with_their_lines():
    assert lines(b"a\r\n\nb") == [(0, b"a\r\n"), (1, b"\n"), (2, b"b")]


def test_an_empty_file():
    assert lines(b"") == []


def test_a_byte_order_mark_is_left_out():
    assert lines(b"\xef\xbb\xbf{}\n\xef\xbb\xbf") == [(0, b"{}\n"), (1, b"\xef\xbb\xbf")]


def test_a_long_line_after_a_byte_order_mark_is_not_cut_in_two():
    assert lines(b"\xef\xbb\xbfabcd\nb\n", most=6) == [(0, None), (1, b"b\n")]


@pytest.mark.parametrize("size", [5, 6, 11, 12, 13, 60])
def test_a_long_line_is_passed_over(size):
    assert lines(b"a\n" + b"x" * size + b"\nb\n", most=5) == [(0, b"a\n"), (1, None), (2, b"b\n")]


def test_a_long_last_line():
    assert lines(b"x" * 1000, most=5) == [(0, None)]


@given(st.lists(st.binary(max_size=12)), st.integers(1, 8))
def test_every_line_is_there_or_marked(parts, most):
    data = b"\n".join(parts)
    due = [
        (number, line if len(line) <= most else None) for number, line in enumerate(_split(data))
    ]
    assert data.startswith(BOM) or lines(data, most) == due


def _split(data):
    """Lines by newline alone; `bytes.splitlines` would split at a carriage return too."""
    parts = [part + b"\n" for part in data.split(b"\n")]
    parts[-1] = parts[-1][:-1]
    return [part for part in parts if part]


def test_through_gzip():
    packed = io.BytesIO(gzip.compress(b"a\n" * 3))
    assert list(each_line(gzip.GzipFile(fileobj=packed), 5)) == [(i, b"a\n") for i in range(3)]
