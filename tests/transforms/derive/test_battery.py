"""What every derivation promises: its declared type, null for null, and one row at a time."""

import dataclasses
import typing

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from configs.catalog import ColumnName
from configs.catalog import argument as argument_of_an_operation
from configs.loader import load, shipped
from configs.schema import ColumnType, Expression
from transforms.catalog import CATALOG
from transforms.columns import ARROW_TYPES
from transforms.decode import event_schema
from transforms.derive import DERIVATIONS, derive

words = st.sampled_from(
    ["Hello", "WIN", "http://", "https://", "www.", "a@b.example.co.uk", "x.Example.com", "/p?q=1",
     "12", "\u00df", "\uff26", "\u0130", "e\u0301", "\u2126", " ", "\t", "\x1c", "\u00a0", "\u3002",
     "xn--bcher-kva.de", "[::1]", "\U0001f600", "@", ".", ",", "\x00", "\u200b"]
)  # fmt: skip
texts = st.one_of(st.lists(words, max_size=9).map("".join), st.text(max_size=20))
VALUES = {
    ColumnType.STRING: texts,
    ColumnType.INTEGER: st.integers(-(2**40), 2**40),
    ColumnType.NUMBER: st.floats(allow_nan=False, allow_infinity=False),
    ColumnType.BOOLEAN: st.booleans(),
    ColumnType.TIMESTAMP: st.integers(-(2**52), 2**52),
}


def made(operation):
    """The operation with the smallest arguments that it takes, and its input's type."""
    accepts = sorted(operation.accepts)
    type_ = ColumnType(accepts[0]) if accepts else ColumnType.NUMBER
    arguments = {}
    hints = typing.get_type_hints(operation)
    for field in dataclasses.fields(operation):
        hint = hints[field.name]
        if typing.get_origin(hint) is tuple:
            hint = typing.get_args(hint)[0]
            arguments[field.name] = (argument(hint, field),)
        elif hint in (ColumnName, Expression) or field.default is dataclasses.MISSING:
            arguments[field.name] = argument(hint, field)
    return operation(**arguments), type_


def argument(hint, field):
    """A value that the loader might hand over for such a field."""
    if hint is ColumnName:
        return "c"
    if hint is Expression:
        return Expression("c / 3 + 1", ("c",))
    return {int: field.metadata.get("least") or 1, float: 1.5, bool: True, str: "x"}[hint]


def names(operation):
    return operation.op


@dataclasses.dataclass(frozen=True)
class Everything:
    """A derivation that nobody has registered, with an argument of every sort."""

    columns: tuple[ColumnName, ...]
    of: ColumnName
    least: int
    share: float
    word: str
    sure: bool
    words: tuple[str, ...]
    limited: int = argument_of_an_operation(least=3)
    spare: int = 7

    accepts: typing.ClassVar[frozenset[ColumnType]] = frozenset({ColumnType.STRING})


def test_the_battery_can_make_an_operation_with_arguments_of_every_sort():
    one, type_ = made(Everything)
    assert one == Everything(("c",), "c", 1, 1.5, "x", True, ("x",), 3)
    assert type_ is ColumnType.STRING


@pytest.mark.parametrize("operation", DERIVATIONS, ids=names)
class TestEvery:
    def test_is_a_frozen_dataclass_that_says_what_it_is(self, operation):
        assert dataclasses.is_dataclass(operation)
        assert operation.__dataclass_params__.frozen
        assert operation.about
        assert operation.returns in ColumnType
        assert all(one in ColumnType for one in operation.accepts)

    @given(st.data())
    def test_a_row_is_the_same_in_any_batch(self, operation, data):
        one, type_ = made(operation)
        values = data.draw(st.lists(st.one_of(st.none(), VALUES[type_]), max_size=12))
        batch = pa.RecordBatch.from_arrays([pa.array(values, ARROW_TYPES[type_])], ["c"])
        whole = one.apply(batch)
        assert whole.type == ARROW_TYPES[operation.returns]
        whole.validate(full=True)
        for row in range(len(values)):
            # A slice shares buffers with its batch, so offsets are tried too.
            assert one.apply(batch.slice(row, 1)).equals(whole.slice(row, 1))
        cut = len(values) // 2
        parts = [one.apply(batch.slice(0, cut)), one.apply(batch.slice(cut))]
        assert pa.concat_arrays(parts).equals(whole)

    def test_null_gives_null(self, operation):
        one, type_ = made(operation)
        batch = pa.RecordBatch.from_arrays([pa.nulls(3, ARROW_TYPES[type_])], ["c"])
        assert one.apply(batch).null_count == 3

    def test_no_rows_give_none(self, operation):
        one, type_ = made(operation)
        batch = pa.RecordBatch.from_arrays([pa.nulls(0, ARROW_TYPES[type_])], ["c"])
        assert len(one.apply(batch)) == 0


def test_their_names_are_sorted_and_unique():
    classes = [operation.__name__ for operation in DERIVATIONS]
    assert classes == sorted(set(classes))
    assert len({operation.op for operation in DERIVATIONS}) == len(DERIVATIONS)


@pytest.mark.parametrize("name", ["chat", "card_fraud", "video_comments", "mail"])
def test_every_shipped_config_derives(name):
    spec = load(shipped(name), CATALOG)
    schema = event_schema(spec)
    columns = [pa.nulls(4, field.type) for field in schema]
    columns[1] = pa.array([0, 1, 2, 3])
    batch = derive(spec, pa.RecordBatch.from_arrays(columns, schema=schema))
    assert batch.schema.names == [*schema.names, *spec.derived]
    for column, derived in spec.derived.items():
        assert batch.schema.field(column).type == ARROW_TYPES[derived.type]


@given(st.lists(st.tuples(texts, st.integers(0, 2**52)), max_size=10), st.integers(1, 4))
def test_the_chat_spec_derives_the_same_in_any_cut(drawn, size):
    spec = load(shipped("chat"), CATALOG)
    rows = [{"event_id": "e", "event_time": at, "kind": "message", "text": t} for t, at in drawn]
    batch = pa.RecordBatch.from_pylist(rows, event_schema(spec))
    whole = derive(spec, batch)
    parts = [derive(spec, batch.slice(at, size)) for at in range(0, len(rows), size)]
    assert pa.Table.from_batches(parts, whole.schema).equals(pa.Table.from_batches([whole]))
