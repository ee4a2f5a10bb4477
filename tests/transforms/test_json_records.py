import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from transforms.dead_letter import Reason
from transforms.json_records import MOST_DEPTH, read_json


def read(*records, wanted="a", **options):
    """Values of the wanted member, and row -> reason."""
    columns, rows, faults = read_json(list(records), frozenset(wanted.split()), **options)
    values = {row: columns["a"][i].as_py() for i, row in enumerate(rows.tolist())}
    return values, {row: str(reason) for row, reason, _ in faults}


def test_objects():
    assert read(b'{"a": 1}', b' {"b": 2}\n', b'{"a": null}') == ({0: 1, 1: None, 2: None}, {})


def test_types_may_differ_from_record_to_record():
    values, faults = read(b'{"a": 1}', b'{"a": "x"}', b'{"a": 0.5}', b'{"a": true}', b'{"a": [1]}')
    assert (values, faults) == ({0: 1, 1: "x", 2: 0.5, 3: True, 4: []}, {})


def test_integers_beyond_64_bits_are_digits():
    values, _ = read(b'{"a": 9223372036854775808}', b'{"a": 1}', b'{"a": -9223372036854775808}')
    assert values == {0: "9223372036854775808", 1: 1, 2: -(2**63)}
    values, _ = read(b'{"a": %s}' % (b"7" * 350))
    assert values == {0: "9" * 400}


@pytest.mark.parametrize(
    "record",
    [
        b'{"a": 1, "a": 1}',
        b'{"a": 1, "\\u0061": 2}',
        b'{"b": {"c": 1, "c": 2}}',
        b'{"b": [{"c": 1, "c": 2}]}',
        b'{"a": "\\": ", "b": 1, "b": 1}',
        b'{"": 1, "": 2}',
    ],
)
def test_a_name_twice(record):
    assert read(record) == ({}, {0: "duplicate_key"})


@pytest.mark.parametrize(
    "record",
    [b'{"a": "x\\": 1"}', b'{"b": {"a": 1}, "a": 2}', b'{"a": "{\\"a\\": 1, \\"a\\": 2}"}'],
)
def test_what_only_looks_like_a_name_twice(record):
    assert read(record)[1] == {}


def test_depth_is_counted_outside_of_strings():
    def nested(depth):
        return b'{"a": %s1%s}' % (b"[" * depth, b"]" * depth)

    assert read(nested(MOST_DEPTH - 1))[1] == {}
    assert read(nested(MOST_DEPTH))[1] == {0: "too_deep"}
    brackets = json.dumps({"a": '\\"' + "[{" * 500}).encode()
    assert read(brackets) == ({0: '\\"' + "[{" * 500}, {})
    assert read(b'{"a": [%s]}' % b",".join([b"[]"] * 500))[1] == {}


def test_a_caller_deep_in_the_stack_reads_the_same():
    record = b'{"a": 1, "b": %s%s}' % (b"[" * (MOST_DEPTH - 1), b"]" * (MOST_DEPTH - 1))

    def deeper(levels):
        return read(record) if levels == 0 else deeper(levels - 1)

    assert deeper(700) == read(record) == ({0: 1}, {})


def test_too_long_is_not_parsed():
    assert read(b'{"a": "%s"}' % (b"x" * 50), most_bytes=40) == ({}, {0: "too_large"})


def test_aliases_stand_in_where_the_name_is_not_there():
    values, _ = read(b'{"z": 1}', b'{"a": 2, "z": 1}', b'{"a": null, "z": 1}', aliases={"z": "a"})
    assert values == {0: 1, 1: 2, 2: None}


plain = st.one_of(
    st.none(), st.booleans(), st.integers(-(2**80), 2**80), st.text(),
    st.floats(allow_nan=False, allow_infinity=False),
)  # fmt: skip
anything = st.recursive(
    plain, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=8
)


@given(st.lists(st.dictionaries(st.sampled_from("ab:"), anything, max_size=3), max_size=6))
def test_whatever_json_writes_is_read(objects):
    values, faults = read(*(json.dumps(one).encode() for one in objects))
    assert faults == {}
    for row, one in enumerate(objects):
        due = one.get("a")
        if isinstance(due, list | dict):
            due = []
        elif type(due) is int and not -(2**63) <= due < 2**63:
            due = str(due)
        assert values[row] == due
        assert type(values[row]) is type(due)


@given(st.binary(max_size=60))
def test_no_bytes_crash(record):
    values, faults = read(record)
    assert len(values) + len(faults) == 1


@given(st.data())
def test_no_broken_json_crashes(data):
    record = json.dumps(data.draw(st.dictionaries(st.text(), anything, max_size=3))).encode()
    at = data.draw(st.integers(0, len(record)))
    cut = data.draw(st.integers(0, 3))
    put = data.draw(st.sampled_from([b"", b'"', b"\\", b"\\ud800", b"[", b"}", b":", b"\x00"]))
    values, faults = read(record[:at] + put + record[at + cut :], b'{"a": 1}')
    assert values[1] == 1
    assert 1 not in faults
    assert len(values) + len(faults) == 2


def test_the_reasons_of_what_msgspec_refuses():
    assert read(b'{"a": "\\ud800"}', b'{"a": NaN}', b'{"a": "\xff"}', b"")[1] == {
        0: Reason.LONE_SURROGATE,
        1: Reason.NOT_JSON,
        2: Reason.NOT_UTF8,
        3: Reason.NOT_JSON,
    }


def test_numbers_beyond_floats_are_infinite_and_ignored_where_nobody_asks():
    records = [b'{"a": 1e999}', b'{"a": -1E+400}', b'{"a": 2.5, "b": [1e999, {"c": 1e999}]}']
    values, faults = read(*records)
    assert (values, faults) == ({0: math.inf, 1: -math.inf, 2: 2.5}, {})
    assert read(b'{"a": 1, "b": 1e999, "b": 2}')[1] == {0: Reason.DUPLICATE_KEY}
    assert read(b'{"a": %s, "b": %s1}' % (b"9" * 5000, b"9" * 5000))[0] == {0: "9" * 400}
    assert read(b'{"b": 1e999, "c": "\\ud800"}')[1] == {0: Reason.LONE_SURROGATE}
    assert read(b'{"a": 1e999,}')[1] == {0: Reason.NOT_JSON}
