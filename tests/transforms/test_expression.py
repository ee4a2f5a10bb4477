import math

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from configs.expression import columns, parse
from configs.schema import Expression
from transforms.expression import evaluate, evaluate_arrays, evaluate_mask, to_floats

NAN = math.nan


def expression(text):
    return Expression(text, columns(parse(text)))


BATCH = pa.RecordBatch.from_pydict(
    {
        "a": pa.array([6, 0, None]),
        "b": pa.array([4.0, 0.0, 1.0]),
        "flag": pa.array([True, False, None]),
        "word": pa.array(["x", "y", None]),
    }
)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a + b", [10.0, 0.0, NAN]),
        ("a - b * 2", [-2.0, 0.0, NAN]),
        ("a / b", [1.5, NAN, NAN]),
        ("-a", [-6.0, -0.0, NAN]),
        ("coalesce(a, b, 9)", [6.0, 0.0, 1.0]),
        ("min(a, b)", [4.0, 0.0, NAN]),
        ("max(a, b, 5)", [6.0, 5.0, NAN]),
        ("sqrt(b)", [2.0, 0.0, 1.0]),
        ("sqrt(b - 5)", [NAN, NAN, NAN]),
        ("floor(a / 4)", [1.0, 0.0, NAN]),
        ("abs(b - 5)", [1.0, 5.0, 4.0]),
        ("flag + 1", [2.0, 1.0, NAN]),
        ("a > 1", [1.0, 0.0, 0.0]),
        ("1e308 * 10 + b", [NAN, NAN, NAN]),
        ("b / 1e-320", [NAN, 0.0, NAN]),
        ("7", [7.0, 7.0, 7.0]),
        ("true", [1.0, 1.0, 1.0]),
    ],
)
def test_numbers(text, expected):
    np.testing.assert_array_equal(evaluate(expression(text), BATCH), expected)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a > 1", [True, False, False]),
        ("a != 6", [False, True, False]),
        ("not a > 1", [False, True, True]),
        ("flag", [True, False, False]),
        ("flag == 1", [True, False, False]),
        ("not flag", [False, True, True]),
        ("is_null(a)", [False, False, True]),
        ("is_null(word)", [False, False, True]),
        ("not is_null(word) and b > 0", [True, False, False]),
        ("is_null(a) or b == 0", [False, True, True]),
        ("word == 'x'", [True, False, False]),
        ("word != 'x'", [False, True, False]),
        ("'x' == word", [True, False, False]),
        ("'x' == 'x'", [True, True, True]),
        ("1 == 1", [True, True, True]),
        ("a", [True, False, False]),
    ],
)
def test_conditions(text, expected):
    assert evaluate_mask(expression(text), BATCH).tolist() == expected


def test_of_no_rows():
    empty = BATCH.slice(0, 0)
    assert evaluate(expression("a / b"), empty).shape == (0,)
    assert evaluate_mask(expression("word == 'x' and 1 == 1"), empty).shape == (0,)


def test_the_result_may_be_written_to():
    assert evaluate(expression("7"), BATCH).flags.writeable
    assert evaluate_mask(expression("1 == 1"), BATCH).flags.writeable


def test_arrays():
    arrays = {"x": np.array([1.5, NAN, -0.0]), "y": np.array([0.0, 1.0, 0.0])}
    np.testing.assert_array_equal(evaluate_arrays(expression("x * y"), arrays, 3), [0.0, NAN, -0.0])
    np.testing.assert_array_equal(evaluate_arrays(expression("1 + 1"), {}, 3), [2.0, 2.0, 2.0])


def test_floats_of_any_column():
    assert to_floats(pa.array([1, 0], pa.int8())).tolist() == [1.0, 0.0]
    assert to_floats(pa.array([True, False])).tolist() == [1.0, 0.0]
    assert np.isnan(to_floats(pa.nulls(1, pa.float64()))).all()


def _joined(inner, *operators):
    return st.tuples(inner, st.sampled_from(operators), inner).map(lambda t: f"({' '.join(t)})")


def _called(names, *inner):
    return st.tuples(st.sampled_from(names), *inner).map(lambda t: f"{t[0]}({', '.join(t[1:])})")


def _arithmetic(inner):
    return st.one_of(
        _joined(inner, "+", "-", "*", "/"),
        _joined(inner, "==", "!=", "<", "<=", ">", ">="),
        inner.map(lambda one: f"(-{one})"),
        _called(["min", "max"], inner, inner),
        _called(["abs", "sqrt", "floor"], inner),
    )


def _anything(inner):
    return st.one_of(
        _arithmetic(inner),
        _joined(inner, "and", "or"),
        _called(["coalesce"], inner, inner),
        _called(["is_null"], inner),
    )


leaves = st.sampled_from(["a", "b", "flag", "0", "1", "2.5", "1e300"])
numbers = st.recursive(leaves, _arithmetic, max_leaves=8)
expressions = st.recursive(leaves, _anything, max_leaves=8)
values = st.one_of(
    st.none(), st.floats(allow_nan=False, allow_infinity=False), st.sampled_from([0.0, -0.0, 1.0])
)
rows = st.fixed_dictionaries(
    {
        "a": st.one_of(st.none(), st.integers(-(2**60), 2**60)),
        "b": values,
        "flag": st.one_of(st.none(), st.booleans()),
    }
)
SCHEMA = pa.schema({"a": pa.int64(), "b": pa.float64(), "flag": pa.bool_()})


@given(expressions, st.lists(rows, min_size=1, max_size=20))
def test_a_row_has_the_same_bits_in_any_batch(text, drawn):
    whole = evaluate(expression(text), pa.RecordBatch.from_pylist(drawn, SCHEMA))
    alone = [evaluate(expression(text), pa.RecordBatch.from_pylist([r], SCHEMA)) for r in drawn]
    assert whole.tobytes() == np.concatenate(alone).tobytes()
    assert not np.isinf(whole).any()


NAMES = {"min": min, "max": max, "abs": abs, "floor": math.floor, "sqrt": math.sqrt}


@given(numbers, rows)
def test_python_agrees_where_nothing_is_null(text, row):
    row = {name: value or 0 for name, value in row.items()}
    scope = {name: float(value) for name, value in row.items()} | NAMES
    try:
        due = float(eval(text, {"__builtins__": {}}, scope))
    except (ZeroDivisionError, ValueError, OverflowError):
        due = NAN
    got = evaluate(
        expression(text), pa.RecordBatch.from_pylist([row | {"flag": bool(row["flag"])}], SCHEMA)
    )[0]
    if not (math.isnan(got) or math.isnan(due)):  # what overflows on the way is null here
        assert got == due
