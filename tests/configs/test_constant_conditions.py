"""Conditions that are the same for every event are told, and no others."""

import itertools

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from configs.expression import columns, parse
from configs.expression_truth import TextSet, constant_conditions
from configs.expression_types import BOOLEAN, read
from configs.schema import Column, ColumnType, Expression
from transforms.expression import evaluate_mask

NAMES = {"n": ColumnType.INTEGER, "x": ColumnType.NUMBER, "b": ColumnType.BOOLEAN}
TYPES = NAMES | {"c": ColumnType.STRING, "kind": ColumnType.STRING}
VALUES = {
    "n": Column("n", ColumnType.INTEGER, minimum=0, maximum=2),
    "x": Column("x", ColumnType.NUMBER, minimum=0, maximum=1),
    "b": Column("b", ColumnType.BOOLEAN),
    "m": Column("m", ColumnType.INTEGER),
}
POSSIBLE = {"n": [None, 0, 1, 2], "x": [None, 0.0, 0.5, 1.0], "b": [None, True, False],
            "c": [None, "a", "ab", "z"]}  # fmt: skip


def faults(text, present=()):
    types = TYPES | {"m": ColumnType.INTEGER}
    return [str(one) for one in read(text, types, BOOLEAN, ("a", "v"), (), VALUES, present)[1]]


@pytest.mark.parametrize(
    "text",
    [
        "n != n",
        "c == c",
        "m > 50 and m < 20",
        "m == 3 and m in [4, 5]",
        "m in [1, 2] and m > 2",
        "m > n and m < n",
        "m / n > 5 and m / n < 3",
        "c == 'x' and c == 'y'",
        "c != 'x' or c != 'y'",
        "starts_with(c, 'D') and c == 'US'",
        "c == 'US' and starts_with(c, 'D')",
        "m > 20 or m < 50",
        "not (m > 3 or m < 5)",
        "b and not b",
        "b or not b",
        "b in [0, 1] and m > 3",
        "kind in ['a', 'v']",
        "is_null(c) and c == 'x'",
        "is_null(kind)",
        "m > 3 and (m < 2 or c == 'x' and c == 'y')",
        "m > 3 and false",
        "false",
    ],
)
def test_what_is_the_same_for_every_event_is_a_fault(text):
    assert len(faults(text)) == 1


@pytest.mark.parametrize(
    "text",
    [
        "not (c == 'x') and not (c != 'x')",  # where c is null
        "is_null(c) or c == 'x'",
        "not is_null(c) or m > 3",
        "is_null(m) or m > 5",
        "m != 3 and m != 4",
        "c != 'x' and c != 'y'",
        "m > 5 or n < 1",
        "not (m > 5 and m < 10)",
        "m * n > 3 or is_null(m * n)",  # too large
        "c in ['x', 'y'] and c != 'x'",
        "starts_with(c, 'a') and starts_with(c, 'ab')",
        "true",
    ],
)
def test_what_some_events_meet_is_none(text):
    assert not faults(text)


def test_a_column_that_no_event_lacks_is_never_null():
    assert faults("is_null(c)", present=["c"]) and not faults("is_null(c)")
    assert faults("not (m > 5) and not (m <= 5)", present=["m"])
    assert not faults("not (m > 5) and not (m <= 5)")


def test_a_deep_condition_takes_no_time_of_its_depth():
    text = "m > 3"
    for level in range(40):
        text = f"m > {level} {('and', 'or')[level % 2]} ({text})"
    assert not faults(text)


_NUMBERS = st.sampled_from(["n", "x", "b", "n + x", "-n", "coalesce(n, 1)", "n / x", "min(n, b)"])
_COMPARED = st.one_of(
    st.tuples(_NUMBERS, st.sampled_from(["==", "!=", "<", "<=", ">", ">="]),
              st.one_of(_NUMBERS, st.sampled_from(["0", "0.5", "1", "2"]))).map(" ".join),
    st.tuples(_NUMBERS, st.sampled_from(["in [0, 1]", "not in [0, 2, 1]", "in [2]"])).map(" ".join),
    st.tuples(st.just("c"), st.sampled_from(["== 'a'", "!= 'ab'", "in ['a', 'z']",
                                             "not in ['a', 'ab']", "== c"])).map(" ".join),
    st.sampled_from(["is_null(n)", "is_null(c)", "is_null(n / x)", "is_null(coalesce(x, b))", "b",
                     "starts_with(c, 'a')", "starts_with(c, 'ab')", "true", "n"]),
)  # fmt: skip
_CONDITIONS = st.recursive(
    _COMPARED,
    lambda inner: st.one_of(
        inner.map("not ({})".format),
        st.tuples(inner, st.sampled_from([") and (", ") or ("]), inner).map(
            lambda one: f"({''.join(one)})"
        ),
    ),
    max_leaves=5,
)
_ROWS = list(itertools.product(*POSSIBLE.values()))
_BATCH = pa.RecordBatch.from_pydict(
    {name: pa.array([row[at] for row in _ROWS]) for at, name in enumerate(POSSIBLE)}
)


@settings(max_examples=400, deadline=None)
@given(_CONDITIONS)
def test_no_condition_is_called_constant_that_is_not(text):
    node = parse(text)
    names = columns(node)
    told = [str(one) for one in constant_conditions(node, VALUES, {"c": TextSet()})]
    inner = [one for part in _inner(node) for one in constant_conditions(part, VALUES, _TEXTS)]
    if not told or inner:
        return  # of the parts, which are drawn as conditions of their own
    truth = evaluate_mask(Expression(text, names), _BATCH)
    if "never" in told[0]:
        assert not truth.any()
    else:
        values = evaluate_mask(Expression("not is_null(n / x)", ("n", "x")), _BATCH)
        there = [
            None not in (row[list(POSSIBLE).index(name)] for name in names)
            and (bool(divided) or "n / x" not in text)
            for row, divided in zip(_ROWS, values, strict=True)
        ]
        assert truth[there].all()


_TEXTS = {"c": TextSet()}


def _inner(node):
    return [getattr(node, name) for name in ("left", "right", "operand") if hasattr(node, name)] + [
        *getattr(node, "operands", ()),
        *getattr(node, "arguments", ()),
    ]
