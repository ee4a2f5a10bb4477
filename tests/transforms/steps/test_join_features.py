"""Features come back to their events by the code of each, whatever order both are in."""

import numpy as np
import pyarrow as pa
import pytest

from configs.loader import loads
from transforms.catalog import CATALOG
from transforms.steps.join import FEATURES, join_features
from transforms.steps.shards import by_time, is_in_order
from transforms.steps.stamps import CODE, tag_batch

SPEC = loads(
    """
lockstep: 1
columns: {who: {type: string}, where: {type: string}}
kinds: {act: {scored: true}}
entities:
  one: {key: {act: [who]}, windows: [1h, 1d], aggregates: {acts: {op: count}}}
  two: {key: {act: [where]}, windows: [1h], aggregates: {acts: {op: count}}}
""",
    "join.yaml",
    CATALOG,
)
WIDTHS = {"one": 2, "two": 1}


def features(entity, codes, values):
    vectors = pa.FixedSizeListArray.from_arrays(
        pa.array(np.asarray(values, np.float32).ravel()), WIDTHS[entity]
    )
    columns = {CODE: pa.array(codes, pa.int64()), FEATURES: vectors}
    return tag_batch(pa.RecordBatch.from_pydict(columns), entity=entity)


def joined(codes, made):
    events = pa.RecordBatch.from_pydict({"at": list(range(len(codes)))})
    return join_features(SPEC, events, np.array(codes, np.int64), made)


def test_features_stand_at_their_events():
    rng = np.random.default_rng(1)
    codes = rng.permutation(((np.arange(7) << 24)[:, None] + np.arange(90)).ravel())
    values = {entity: rng.random((len(codes), width)) for entity, width in WIDTHS.items()}
    made = []
    for entity, of in values.items():
        places = rng.permutation(len(codes))[: 600 if entity == "one" else None]
        of[np.setdiff1d(np.arange(len(codes)), places)] = np.nan  # events without a key
        cut, rest = np.r_[places[:1], places[:100]], places[100:]
        made.append(features(entity, codes[cut], of[cut]).slice(1))
        made.append(features(entity, codes[rest], of[rest]))
    found = joined(codes, made)
    assert list(found) == list(WIDTHS)
    for entity, of in values.items():
        assert found[entity].tobytes() == of.astype(np.float32).tobytes()


def test_without_features_there_are_none():
    assert joined([], []) == {}
    assert joined([5], []) == {}
    assert np.isnan(joined([5], [features("two", [], [])])["two"]).all()


def test_features_of_no_event_are_a_loss_that_is_heard_of():
    with pytest.raises(RuntimeError, match="'two' came without their event"):
        joined([5, 6], [features("two", [6, 7], [1, 2])])


def test_batches_stand_by_their_first_time():
    batches = [pa.RecordBatch.from_pydict({"t": times}) for times in ([5, 9], [], [1, 6], [3])]
    assert [one.column("t").to_pylist() for one in by_time(batches, "t")] == [[1, 6], [3], [5, 9]]
    empty = [batches[1].cast(batches[0].schema)]
    assert by_time(empty, "t") == empty


@pytest.mark.parametrize(("order", "expected"), [([], True), ([0], True), ([0, 1], True)])
def test_nothing_is_taken_that_is_in_order(order, expected):
    assert is_in_order(np.array(order, np.int64)) is expected
    assert is_in_order(np.array([1, 0])) is False
