"""The coders of what travels between Beam steps."""

import apache_beam as beam
import pyarrow as pa
import pytest
from apache_beam import coders
from apache_beam.runners.portability.fn_api_runner import FnApiRunner
from apache_beam.testing.util import assert_that, equal_to
from apache_beam.typehints.native_type_compatibility import convert_to_beam_type

from transforms.batches import RecordBatchCoder, ShardKey, ShardKeyCoder, one_batch

SCHEMA = pa.schema(
    {"a": pa.int64(), "b": pa.string(), "c": pa.list_(pa.float32(), 2)},
    metadata={b"source": b"here"},
)


def a_batch(rows):
    return pa.RecordBatch.from_arrays(
        [
            pa.array(range(rows), pa.int64()),
            pa.array([None if i % 3 == 0 else f"é{i}" for i in range(rows)], pa.string()),
            pa.array([[i, float("nan")] for i in range(rows)], pa.list_(pa.float32(), 2)),
        ],
        schema=SCHEMA,
    )


@pytest.mark.parametrize("rows", [0, 1, 1000])
def test_a_batch_comes_back_with_schema_and_metadata(rows):
    coder, batch = coders.registry.get_coder(pa.RecordBatch), a_batch(rows)
    assert isinstance(coder, RecordBatchCoder)
    back = coder.decode(coder.encode(batch))
    assert back.schema.equals(SCHEMA, check_metadata=True)
    assert back.column("a").equals(batch.column("a")) and back.column("b").equals(batch.column("b"))
    assert coder.encode(back) == coder.encode(batch)


def test_a_slice_costs_its_own_size():
    coder, batch = RecordBatchCoder(), a_batch(100_000)
    assert len(coder.encode(batch.slice(10, 5))) < 4_000
    assert coder.decode(coder.encode(batch.slice(10, 5))).to_pylist()[0]["a"] == 10


def test_another_format_is_refused_by_name():
    with pytest.raises(ValueError, match="same release"):
        RecordBatchCoder().decode(b"LSBATCH\x02" + bytes(16))
    with pytest.raises(ValueError, match="same release"):
        ShardKeyCoder().decode(b"\x02" + bytes(9))


def test_keys_are_deterministic_and_batches_are_no_keys():
    coder = coders.registry.get_coder(convert_to_beam_type(tuple[ShardKey, pa.RecordBatch]))
    key, value = coder.coders()
    assert isinstance(key, ShardKeyCoder) and key.is_deterministic()
    assert isinstance(value, RecordBatchCoder)
    with pytest.raises(ValueError, match="deterministic"):
        value.as_deterministic_coder("a step")
    for one in (ShardKey("", 0), ShardKey("é/ü", 2**40), ShardKey("a", -1)):
        assert key.decode(key.encode(one)) == one


def test_the_coders_survive_a_groupbykey_and_the_trip_through_the_job_description():
    def by_shard(number):
        return ShardKey("a", number % 2), a_batch(number)

    with beam.Pipeline(runner=FnApiRunner()) as pipeline:
        rows = (
            pipeline
            | beam.Create([1, 2, 3, 4])
            | "Keyed" >> beam.Map(by_shard).with_output_types(tuple[ShardKey, pa.RecordBatch])
            | beam.GroupByKey()
            | beam.MapTuple(lambda key, values: (key.shard, sorted(v.num_rows for v in values)))
        )
        assert_that(rows, equal_to([(1, [1, 3]), (0, [2, 4])]))
    proto = pipeline.to_runner_api()
    used = [coder.spec.payload for coder in proto.components.coders.values()]
    assert any(b"RecordBatchCoder" in payload for payload in used)
    assert any(b"ShardKeyCoder" in payload for payload in used)
    assert not any(b"FastPrimitives" in payload and b"Batch" in payload for payload in used)


def test_one_batch():
    assert one_batch([a_batch(2), a_batch(3)]).num_rows == 5
    assert one_batch([], SCHEMA).schema == SCHEMA
    with pytest.raises(ValueError, match="no schema"):
        one_batch([])
