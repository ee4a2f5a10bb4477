import numpy as np
import pyarrow as pa
import pytest

from configs.loader import load, loads, shipped
from transforms.catalog import CATALOG
from transforms.decode import decode_columns
from transforms.derive import derive
from transforms.inputs import describe_inputs, numeric_block, numeric_columns, numeric_names
from transforms.velocity import make_plan

CONFIG = """
lockstep: 1
name: small
events: {id: id, time: at, kind: what}
columns:
  who: {type: string}
  amount: {type: number}
  good: {type: boolean}
kinds:
  act: {scored: true, required: [who]}
derive:
  double: {op: arithmetic, expression: "amount * 2"}
entities:
  who:
    key: {act: [who]}
    windows: [1h, 1d]
    aggregates:
      acts: {op: count, of: act}
      last: {op: last, of: act, column: amount, decimals: 0}
inputs:
  numeric: [double, good]
  exclude: [who_acts_1d]
  computed:
    share: "who_acts_1h / who_acts_1d"
    change: "amount - who_last"
  scaling: none
"""
spec = loads(CONFIG, "small.yaml", CATALOG)


def block(rows, features):
    table = pa.Table.from_pylist(rows)
    batch = derive(spec, decode_columns(spec, table, "f").batch)
    given = {"who": np.array(features, np.float32)}
    made = numeric_block(spec, batch, given)
    assert numeric_columns(spec, batch, given).T.tobytes() == made.tobytes()
    return made


def row(**changes):
    return {
        "id": "a",
        "at": 10**15,
        "what": "act",
        "who": "w",
        "amount": 1.5,
        "good": True,
    } | changes


def test_names_are_columns_then_features_then_computed():
    assert make_plan(spec, "who").features == ("who_acts_1h", "who_acts_1d", "who_last")
    assert numeric_names(spec) == ("double", "good", "who_acts_1h", "who_last", "share", "change")


def test_values_stand_under_their_names():
    made = block([row()], [[1, 4, 0.5]])
    assert made.dtype == np.float32
    assert dict(zip(numeric_names(spec), made[0].tolist(), strict=True)) == {
        "double": 3.0,
        "good": 1.0,
        "who_acts_1h": 1.0,
        "who_last": 0.5,
        "share": 0.25,
        "change": 1.0,
    }


def test_null_is_nan_and_so_is_overflow():
    made = block([row(amount=None, good=None), row(amount=1e300)], [[0, 0, np.nan], [0, 0, 0.0]])
    np.testing.assert_array_equal(
        made,
        np.array(
            [
                [np.nan, np.nan, 0, np.nan, np.nan, np.nan],
                [np.nan, 1, 0, 0, np.nan, np.nan],
            ],
            np.float32,
        ),
    )


def test_a_row_has_the_same_bits_in_any_batch():
    rng = np.random.default_rng(0)
    rows = [row(id=str(i), amount=float(a)) for i, a in enumerate(rng.normal(size=50) * 1e3)]
    features = rng.normal(size=(50, 3))
    whole = block(rows, features)
    alone = np.concatenate([block(rows[i : i + 1], features[i : i + 1]) for i in range(50)])
    assert whole.tobytes() == alone.tobytes()


@pytest.mark.parametrize("name", ["chat", "card_fraud", "video_comments", "mail"])
def test_names_of_shipped_configs_are_unique(name):
    names = numeric_names(load(shipped(name), CATALOG))
    assert len(set(names)) == len(names) > 0


def test_no_rows():
    made = block([row()], [[1, 1, 1]])[:0]
    batch = derive(spec, decode_columns(spec, pa.Table.from_pylist([row()]), "f").batch).slice(0, 0)
    empty = numeric_block(spec, batch, {"who": np.empty((0, 3), np.float32)})
    assert empty.shape == made.shape


def test_every_other_input_is_described():
    spec = load(shipped("chat"), CATALOG)
    infos = {(info.role, info.name): info for info in describe_inputs(spec)}
    assert [name for role, name in infos if role in ("event", "derived", "computed")] == [
        name for name in numeric_names(spec) if not name.startswith(tuple(spec.entities))
    ]
    assert infos["event", "account_age"].about == "seconds since the account was made"
    assert infos["derived", "links"].about == "number of links: clean"
    assert infos["derived", "reach_per_age"].about.endswith("recipients / (account_age + 3600)")
    computed = infos["computed", "texts_per_message_1d"]
    assert computed.about == "author_texts_1d / author_messages_1d"
    assert (computed.dtype, computed.null_rule) == (
        "float32",
        "null where an operand is null or a divisor is 0",
    )
    assert "2,000 values and 16 buckets" in infos["categorical", "link_domain"].about
    assert "65,536 buckets" in infos["text", "clean"].about
