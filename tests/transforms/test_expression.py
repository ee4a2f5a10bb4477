import math

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from configs.expression import columns, parse
from configs.schema import Expression
from transforms.expression import evaluate, evaluate_arrays, evaluate_mask
from transforms.numbers import log, to_floats

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
        ("a * 0 + 1.5e20", [1.5e20, 1.5e20, NAN]),
        ("-2.5E16 + a * 0", [-2.5e16, -2.5e16, NAN]),
        ("b / 1e-320", [NAN, 0.0, NAN]),
        ("7", [7.0, 7.0, 7.0]),
        ("log(b)", [math.log(4.0), NAN, 0.0]),
        ("log(b - 5)", [NAN, NAN, NAN]),
        ("log(a + 1)", [math.log(7.0), 0.0, NAN]),
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
        ("a in [6, 7]", [True, False, False]),
        ("a not in [6, 7]", [False, True, False]),
        ("a in (0, 2.5)", [False, True, False]),
        ("b in [4, 1.0]", [True, False, True]),
        ("word in ['x', 'z']", [True, False, False]),
        ("word not in ['x', 'z']", [False, True, False]),
        ("not word in ['x', 'z']", [False, True, True]),
        ("flag in [true]", [True, False, False]),
        ("2 in [1, 2]", [True, True, True]),
        ("'x' in ['y']", [False, False, False]),
        ("starts_with(word, 'x')", [True, False, False]),
        ("starts_with(word, '')", [True, True, False]),
        ("not starts_with(word, 'x') and not is_null(word)", [False, True, False]),
        ("starts_with(word, 'x') + 1 == 2", [True, False, False]),
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
        _called(["abs", "sqrt", "log", "floor"], inner),
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
NAMES["log"] = lambda value: NAN if value <= 0 else float(log(np.float64(value)))


@given(numbers, rows)
def test_python_agrees_where_nothing_is_null(text, row):
    row = {name: value or 0 for name, value in row.items()}
    row["b"] = float(row["b"])
    try:
        due = float(eval(text, {"__builtins__": {}}, row | NAMES))
    except (ZeroDivisionError, ValueError, OverflowError):
        due = NAN
    got = evaluate(
        expression(text), pa.RecordBatch.from_pylist([row | {"flag": bool(row["flag"])}], SCHEMA)
    )[0]
    if not (math.isnan(got) or math.isnan(due)):  # what overflows on the way is null here
        assert got == due


SNOWFLAKE = 1152921504606846977
LARGE = [SNOWFLAKE - 1, SNOWFLAKE + 1, SNOWFLAKE, 5, None, 2**63 - 1, -(2**63)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (f"n == {SNOWFLAKE}", [2]),
        (f"n != {SNOWFLAKE}", [0, 1, 3, 5, 6]),
        (f"n in [{SNOWFLAKE}, 5]", [2, 3]),
        (f"n not in [{SNOWFLAKE}, 5]", [0, 1, 5, 6]),
        (f"n > {SNOWFLAKE}", [1, 5]),
        (f"n <= {SNOWFLAKE}", [0, 2, 3, 6]),
        (f"n - 1 == {SNOWFLAKE}", [1]),
        (f"n * 1 == {SNOWFLAKE}", [2]),
        (f"abs(-n) == {SNOWFLAKE}", [2]),
        (f"max(n, 7) == {SNOWFLAKE}", [2]),
        (f"coalesce(n, {SNOWFLAKE}) == {SNOWFLAKE}", [2, 4]),
        (f"floor(n) == {SNOWFLAKE}", [2]),
        ("n == 9223372036854775807", [5]),
        ("n == -9223372036854775808", [6]),
        ("is_null(n + 1)", [4, 5]),
        ("is_null(n * 16)", [0, 1, 2, 4, 5, 6]),
        ("is_null(-n)", [4, 6]),
        ("is_null(abs(n))", [4, 6]),
        ("n > 1152921504606846976.5", [1, 2, 5]),
        ("n == 1152921504606846976.0", [0]),
        ("n < 1e19", [0, 1, 2, 3, 5, 6]),
        ("n > -1e19", [0, 1, 2, 3, 5, 6]),
        ("n < x", [0, 3, 6]),
        ("x < n", [1, 2, 5]),
    ],
)
def test_whole_numbers_are_exact(text, expected):
    batch = pa.RecordBatch.from_pydict(
        {"n": pa.array(LARGE), "x": pa.array([SNOWFLAKE - 0.5 if i else 1.2e18 for i in range(7)])}
    )
    assert batch.column("x")[1].as_py() == 2.0**60
    assert np.flatnonzero(evaluate_mask(expression(text), batch)).tolist() == expected


def test_a_result_that_a_float_cannot_hold_is_null():
    batch = pa.RecordBatch.from_pydict({"n": pa.array([2**53, 2**53 + 1, -(2**60), 7])})
    np.testing.assert_array_equal(evaluate(expression("n"), batch), [2.0**53, NAN, NAN, 7])


def test_computed_inputs_compare_whole_numbers_exactly():
    arrays = {"n": pa.array(LARGE), "x": np.ones(len(LARGE))}
    made = evaluate_arrays(expression(f"(n == {SNOWFLAKE}) * x"), arrays, len(LARGE))
    assert made.tolist() == [0, 0, 1, 0, 0, 0, 0]


int64s = st.one_of(
    st.integers(-(2**63), 2**63 - 1), st.sampled_from([0, -1, 1, 2**31, -(2**63), 2**63 - 1, 2**53])
)


@given(int64s, int64s, st.sampled_from(["+", "-", "*"]))
def test_arithmetic_of_integers_is_exact_or_null(one, other, op):
    due = eval(f"({one}) {op} ({other})")
    batch = pa.RecordBatch.from_pydict({"n": pa.array([one]), "m": pa.array([other])})
    fits = -(2**63) <= due < 2**63
    assert bool(evaluate_mask(expression(f"is_null(n {op} m)"), batch)[0]) == (not fits)
    if fits:
        assert evaluate_mask(expression(f"n {op} m == {due}"), batch).tolist() == [True]


@given(int64s, st.one_of(st.floats(allow_nan=False), int64s.map(float)))
def test_comparisons_of_integers_with_floats_are_exact(whole, number):
    batch = pa.RecordBatch.from_pydict({"n": pa.array([whole]), "x": pa.array([number])})
    for op in ("==", "!=", "<", "<=", ">", ">="):
        due = eval(f"whole {op} number")  # Python compares exactly
        assert evaluate_mask(expression(f"n {op} x"), batch).tolist() == [due]


@given(st.floats(min_value=0, exclude_min=True, allow_infinity=False))
def test_log_is_within_two_units_in_the_last_place(value):
    due = math.log(value)
    assert abs(log(np.array([value]))[0] - due) <= 2 * math.ulp(due)


def test_log_of_ones_neighbours_keeps_its_digits():
    for value in (1 + 2**-52, 1 - 2**-53, 0.99, 1.01):
        assert log(np.array([value]))[0] == pytest.approx(math.log(value), rel=5e-16)
