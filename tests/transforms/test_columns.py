import decimal
import math
import uuid

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from configs.schema import Column, ColumnType
from transforms.columns import ARROW_TYPES, type_column
from transforms.dead_letter import Reason

STRING, INTEGER, NUMBER = ColumnType.STRING, ColumnType.INTEGER, ColumnType.NUMBER
BOOLEAN, TIMESTAMP = ColumnType.BOOLEAN, ColumnType.TIMESTAMP
D = decimal.Decimal


def typed(array, type_, **limits):
    """Values, and reason -> rows at fault."""
    made = type_column(array, Column("c", type_, **limits))
    assert made.array.type == ARROW_TYPES[type_]
    made.array.validate(full=True)
    faults = {}
    for fault in made.faults:
        for row in np.flatnonzero(fault.rows).tolist():
            faults.setdefault(row, str(fault.reason))
    return made.array.to_pylist(), faults


@pytest.mark.parametrize(
    ("array", "expected", "faults"),
    [
        (pa.array(["a", None, ""]), ["a", None, ""], {}),
        (pa.array(["a"], pa.large_string()), ["a"], {}),
        (pa.array(["a"], pa.string_view()), ["a"], {}),
        (pa.array(["a", "b", "a"]).dictionary_encode(), ["a", "b", "a"], {}),
        (pa.array([b"a", b"\xff"]), ["a", None], {1: "not_utf8"}),
        (pa.array([b"ab", b"\xff\xfe"], pa.binary(2)), ["ab", None], {1: "not_utf8"}),
        (pa.array([123, None, -5]), ["123", None, "-5"], {}),
        (pa.array([7], pa.uint8()), ["7"], {}),
        (pa.array([7.0, math.nan, 7.5, 2.0**53]), ["7", None, None, None],
         {2: "wrong_type", 3: "wrong_type"}),
        (pa.array([True]), [None], {0: "wrong_type"}),
        (pa.array([[1], None]), [None, None], {0: "wrong_type"}),
        (pa.nulls(2), [None, None], {}),
    ],
)  # fmt: skip
def test_strings(array, expected, faults):
    assert typed(array, STRING) == (expected, faults)


def test_extension_types():
    one = uuid.UUID(int=7)
    assert typed(pa.array([one.bytes, None], pa.uuid()), STRING) == ([str(one), None], {})
    assert typed(pa.nulls(1, pa.uuid()), STRING) == ([None], {})
    assert typed(pa.array(["{}"], pa.json_()), STRING) == (["{}"], {})
    assert typed(pa.array([1, 0], pa.bool8()), BOOLEAN) == ([True, False], {})


def test_text_that_only_claims_to_be_utf8():
    bad = pa.Array.from_buffers(
        pa.string(),
        3,
        [None, pa.py_buffer(np.array([0, 1, 2, 3], np.int32)), pa.py_buffer(b"a\xffc")],
    )
    assert typed(bad, STRING) == (["a", None, "c"], {1: "not_utf8"})
    assert typed(bad.slice(1), STRING) == ([None, "c"], {0: "not_utf8"})
    assert typed(bad, INTEGER)[1] == {0: "wrong_type", 1: "not_utf8", 2: "wrong_type"}


@pytest.mark.parametrize(
    ("array", "expected", "faults"),
    [
        (pa.array(["5", " 5 ", "+5", "-5", "005", None]), [5, 5, 5, -5, 5, None], {}),
        (pa.array(["5.0", "5.", "1e3", "-0"]), [5, 5, 1000, 0], {}),
        (pa.array(["5.5", "", "five", "1_0", "0x1", "\u0665"]), [None] * 6,
         dict.fromkeys(range(6), "wrong_type")),
        (pa.array([str(2**63 - 1), str(-(2**63))]), [2**63 - 1, -(2**63)], {}),
        (pa.array([str(2**63), "9" * 5000, "1e30", "0" * 30 + "7"]), [None, None, None, 7],
         {0: "out_of_range", 1: "out_of_range", 2: "out_of_range"}),
        (pa.array([2**63, 5], pa.uint64()), [None, 5], {0: "out_of_range"}),
        (pa.array([5, None], pa.int16()), [5, None], {}),
        (pa.array([5.0, 5.5, 1e300, math.nan, math.inf, -(2.0**63)]),
         [5, None, None, None, None, None],
         {1: "wrong_type", 2: "out_of_range", 4: "wrong_type", 5: "out_of_range"}),
        (pa.array([2.0**53 - 1, 2.0**53, -(2.0**53)]), [2**53 - 1, None, None],
         {1: "out_of_range", 2: "out_of_range"}),
        (pa.array([2.0**24 - 1, 2.0**24], pa.float32()), [2**24 - 1, None], {1: "out_of_range"}),
        (pa.array(["12345678901234567.0", "12345678901234567"]),
         [None, 12345678901234567], {0: "out_of_range"}),
        (pa.array([D("12345678901234567.00")]), [12345678901234567], {}),
        (pa.array([D("5.00"), D("5.25"), None]), [5, None, None], {1: "wrong_type"}),
        (pa.array([D(2**63 - 1), D(2**63)]), [2**63 - 1, None], {1: "out_of_range"}),
        (pa.array([True]), [None], {0: "wrong_type"}),
        (pa.array([b"5"]), [5], {}),
    ],
)  # fmt: skip
def test_integers(array, expected, faults):
    assert typed(array, INTEGER) == (expected, faults)


def test_there_is_one_zero():
    for array in (pa.array(["-0", "-0.0", "0"]), pa.array([-0.0, 0.0]), pa.array([0])):
        assert {math.copysign(1, value) for value in typed(array, NUMBER)[0]} == {1.0}


@pytest.mark.parametrize(
    ("array", "expected", "faults"),
    [
        (pa.array(["1.5", ".5", "5.", "+1e-3", "-0", None]), [1.5, 0.5, 5.0, 0.001, 0.0, None],
         {}),
        (pa.array(["x", "", "1,5", "0x1p3", "1e"]), [None] * 5,
         dict.fromkeys(range(5), "wrong_type")),
        (pa.array(["nan", "-inf", "Infinity", "1e999"]), [None] * 4,
         dict.fromkeys(range(4), "not_finite")),
        (pa.array([1, None]), [1.0, None], {}),
        (pa.array([0.5, math.nan, math.inf]), [0.5, None, None],
         {1: "not_finite", 2: "not_finite"}),
        (pa.array([0.5], pa.float32()), [0.5], {}),
        (pa.array([D("123456.789")]), [123456.789], {}),
        (pa.array([True]), [None], {0: "wrong_type"}),
    ],
)  # fmt: skip
def test_numbers(array, expected, faults):
    assert typed(array, NUMBER) == (expected, faults)


def test_numbers_that_may_be_absent_as_nan():
    array = pa.array([1.0, math.nan, math.inf])
    assert typed(array, NUMBER, allow_nonfinite=True) == ([1.0, None, None], {})
    text = pa.array(["1", "nan", "1e999"])
    assert typed(text, NUMBER, allow_nonfinite=True) == ([1.0, None, None], {})


@pytest.mark.parametrize(
    ("array", "expected", "faults"),
    [
        (pa.array([True, False, None]), [True, False, None], {}),
        (pa.array(["true", "FALSE", "1", "0", "1.0", " yes", "no"]),
         [True, False, True, False, True, True, False], {}),
        (pa.array(["1e0", "1.00", "-0", "+1", "10e-1", "1e1"]),
         [True, True, False, True, True, None], {5: "wrong_type"}),
        (pa.array(["", "2", "t"]), [None] * 3, dict.fromkeys(range(3), "wrong_type")),
        (pa.array([1, 0, 2, None]), [True, False, None, None], {2: "wrong_type"}),
        (pa.array([1.0, -0.0, math.nan, 0.5]), [True, False, None, None], {3: "wrong_type"}),
    ],
)  # fmt: skip
def test_booleans(array, expected, faults):
    assert typed(array, BOOLEAN) == (expected, faults)


def test_times():
    assert typed(pa.array(["1970-01-02", "soon", "7", None]), TIMESTAMP) == (
        [86_400_000_000, None, 7, None],
        {1: "bad_time"},
    )
    assert typed(pa.array([1.0, math.nan]), TIMESTAMP) == ([1, None], {})
    assert typed(pa.array(["7.0", "1.7e15", "1e18", "7.5", "1e30", "soon"]), TIMESTAMP) == (
        [7, 1_700_000_000_000_000, None, None, None, None],
        {2: "out_of_range", 3: "wrong_type", 4: "out_of_range", 5: "bad_time"},
    )


def test_limits():
    assert typed(pa.array(["ab", "abc", "\u00e4b"]), STRING, max_bytes=2) == (
        ["ab", None, None],
        {1: "too_large", 2: "too_large"},
    )
    assert typed(pa.array([0, 1, 5, 6]), INTEGER, minimum=1, maximum=5) == (
        [None, 1, 5, None],
        {0: "out_of_range", 3: "out_of_range"},
    )
    assert typed(pa.array(["0.5", "nan"]), NUMBER, minimum=1) == (
        [None, None],
        {0: "out_of_range", 1: "not_finite"},
    )


texts = st.one_of(
    st.text(max_size=8),
    st.integers().map(str),
    st.floats().map(repr),
    st.from_regex(r"\A[+-]?[0-9]{0,25}\.?[0-9]{0,3}([eE][+-]?[0-9]{0,5})?\Z"),
)


@pytest.mark.parametrize("type_", list(ColumnType))
@given(values=st.lists(st.one_of(texts, st.none()), max_size=10))
def test_neighbours_do_not_matter(type_, values):
    made, faults = typed(pa.array(values, pa.string()), type_)
    alone = [typed(pa.array([value], pa.string()), type_) for value in values]
    assert repr(made) == repr([one[0][0] for one in alone])
    assert faults == {row: one[1][0] for row, one in enumerate(alone) if one[1]}


@given(st.lists(st.one_of(st.floats(allow_nan=False, allow_infinity=False)), min_size=1))
def test_text_gives_the_same_bits_as_floats(values):
    text = pa.array([repr(value) for value in values])
    assert typed(text, NUMBER)[0] == typed(pa.array(values), NUMBER)[0]


@given(st.lists(st.integers(-(2**70), 2**70), min_size=1))
def test_integers_of_any_size(values):
    made, faults = typed(pa.array([str(value) for value in values]), INTEGER)
    fits = [-(2**63) <= value < 2**63 for value in values]
    assert made == [value if fit else None for value, fit in zip(values, fits, strict=True)]
    assert faults == {row: Reason.OUT_OF_RANGE for row, fit in enumerate(fits) if not fit}


@pytest.mark.parametrize("bound", [2**53, 2**63 - 2, -(2**62) - 1, 0])
@pytest.mark.parametrize("write", [pa.array, lambda values: pa.array(list(map(str, values)))])
def test_bounds_of_integers_are_exact(bound, write):
    values = write([bound - 1, bound, bound + 1])
    most, least = {"maximum": bound}, {"minimum": bound}
    assert typed(values, INTEGER, **most) == ([bound - 1, bound, None], {2: "out_of_range"})
    assert typed(values, INTEGER, **least) == ([None, bound, bound + 1], {0: "out_of_range"})


def test_a_bound_between_two_integers():
    values = pa.array([0, 1, 2**63 - 1])
    assert typed(values, INTEGER, minimum=0.5, maximum=1e300) == (
        [None, 1, 2**63 - 1],
        {0: "out_of_range"},
    )
