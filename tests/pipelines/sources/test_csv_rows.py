import csv
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from configs.errors import InputError
from pipelines.sources import csv_rows
from pipelines.sources.csv_rows import read_header, read_rows


def rows(text, width=2):
    """(line, fields or reason) of what follows the header."""
    data = text if isinstance(text, bytes) else text.encode()
    return [
        (row.line, str(row.reason) if row.reason else list(row.fields))
        for row in read_rows(io.BytesIO(data), width)
    ]


def test_lines_are_numbered_from_the_header_on():
    assert rows("a,b\n\nc,d\n") == [(1, ["a", "b"]), (3, ["c", "d"])]


def test_quoted_fields_may_have_commas_quotes_and_lines():
    text = '"a, ""b""","two\nlines\n"\r\nc,d'
    assert rows(text) == [(1, ['a, "b"', "two\nlines\n"]), (4, ["c", "d"])]


def test_a_row_with_other_fields_dies_alone():
    assert rows("a,b\nc\nd,e,f\ng,h\n") == [
        (1, ["a", "b"]),
        (2, "broken_row"),
        (3, "broken_row"),
        (4, ["g", "h"]),
    ]


def test_a_quote_that_is_never_closed_swallows_nothing():
    text = 'a,b\nc,"d\n' + "".join(f"e{i},f\n" for i in range(50))
    assert rows(text) == [(1, ["a", "b"]), (2, "broken_row")] + [
        (3 + i, [f"e{i}", "f"]) for i in range(50)
    ]


def test_a_quote_that_the_next_one_closes_kills_what_it_must():
    text = 'a,"b\nc,d\ne,"f"\ng,h\n'
    assert rows(text) == [
        (1, "broken_row"),
        (2, ["c", "d"]),
        (3, ["e", "f"]),
        (4, ["g", "h"]),
    ]


def test_a_quote_within_an_unquoted_field_is_text():
    assert rows('a"b",c\n') == [(1, ['a"b"', "c"])]


def test_text_after_a_closing_quote_is_broken():
    assert rows('"a"b,c\nd,e\n') == [(1, "broken_row"), (2, ["d", "e"])]


def test_bytes_that_are_no_utf8_die_alone():
    assert rows(b"a,b\nc,\xff\nd,e\n") == [(1, ["a", "b"]), (2, "not_utf8"), (3, ["d", "e"])]


def test_odd_characters_are_text():
    assert rows("a\x00,b\n\u2028c,\x0b\n") == [(1, ["a\x00", "b"]), (2, ["\u2028c", "\x0b"])]


def test_a_lone_carriage_return_is_broken():
    assert rows("a\rb,c\nd,e\n") == [(1, "broken_row"), (2, ["d", "e"])]


def test_a_record_beyond_the_bounds(monkeypatch):
    monkeypatch.setattr(csv_rows, "MOST_RECORD", 40)
    long = "x" * 50
    assert rows(f"a,b\n{long},c\nd,e\n") == [(1, ["a", "b"]), (2, "too_large"), (3, ["d", "e"])]
    open_quote = 'a,"' + "\n".join(["b,c"] * 20) + "\n"
    assert rows(open_quote)[:2] == [(1, "too_large"), (2, ["b", "c"])]


def test_a_record_of_too_many_lines(monkeypatch):
    monkeypatch.setattr(csv_rows, "_MOST_LINES", 5)
    text = 'a,"' + "\n".join(["b,c"] * 20) + "\n"
    assert rows(text) == [(1, "too_large"), *((2 + i, ["b", "c"]) for i in range(19))]


def test_no_rows():
    assert rows("") == rows("\n\r\n") == []


def header(data, delimiter=","):
    found = read_header(io.BytesIO(data), "f", delimiter)
    return found.names, found.lines


def test_the_header():
    assert header(b"\xef\xbb\xbfid, name ,x\r\n1,2,3") == (["id", "name", "x"], 1)
    assert header(b"") == header(b"\n\r\n") == ([], 0)
    assert header(b"id\tname\n1\t2", "\t") == (["id", "name"], 1)


def test_blank_lines_above_the_header():
    assert header(b"\n  \r\nid,name\n1,2") == (["id", "name"], 3)


def test_a_name_with_a_line_end_in_it():
    assert header(b'id,"notes\n(optional)"\n1,2') == (["id", "notes\n(optional)"], 2)


def test_rows_go_on_after_a_long_header():
    file = io.BytesIO(b'\n\nid,"notes\n(optional)"\n1,2\n\n3,4\n')
    found = read_header(file, "f")
    assert [row.line for row in read_rows(file, 2, found.lines)] == [4, 6]


@pytest.mark.parametrize(
    "first", [b"\xff\xfei\x00d\x00\n", b'"id\n', b"id\rname\r1\r", b"PAR1\xff"]
)
def test_a_header_that_is_none(first):
    with pytest.raises(InputError, match="f: its first line is no CSV header in UTF-8"):
        read_header(io.BytesIO(first), "f")


fields = st.text(st.characters(codec="utf-8"), max_size=8)


@given(st.lists(st.tuples(fields, fields), max_size=8))
def test_what_the_csv_module_writes_is_read(written):
    out = io.StringIO()
    csv.writer(out).writerows(written)
    assert [list(row) for row in written] == [row for _, row in rows(out.getvalue())]


@given(st.lists(st.sampled_from(['"', ",", "\n", "\r\n", "a", "b", '""', " ", "\r"]), max_size=40))
def test_broken_text_ends_and_numbers_ascend(parts):
    got = rows("".join(parts))
    numbers = [line for line, _ in got]
    assert numbers == sorted(set(numbers))
    assert all(len(row) == 2 for _, row in got if isinstance(row, list))
