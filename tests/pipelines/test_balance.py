"""Heavy and light keys that alternate are dealt out evenly to the embedded runner's workers."""

import os
from collections import Counter

import apache_beam as beam
import pyarrow as pa

from pipelines.balance import deal
from pipelines.runners import Running, run_pipeline
from pipelines.scratch import _token, row_count


def test_heavy_and_light_keys_that_alternate_go_to_both_workers(tmp_path):
    run_pipeline(lambda root: _alternate(root, tmp_path), Running(2), str(tmp_path))
    values = Counter()
    for one in tmp_path.glob("key-*"):
        process, count = one.read_text().split()
        values[process] += int(count)
    assert sorted(values.values()) == [210, 210]
    assert str(os.getpid()) not in values


def _alternate(root, folder):
    numbers = [key for key in range(20) for _ in range(1 if key % 2 else 41)]
    _ = (
        root
        | beam.Create(numbers, reshuffle=False)
        | beam.Map(lambda key: (key, 1))
        | beam.GroupByKey()
        | beam.MapTuple(
            lambda key, ones: (folder / f"key-{key}").write_text(f"{os.getpid()} {len(list(ones))}")
        )
    )


def test_a_batch_weighs_its_rows_and_a_token_those_that_it_stands_for():
    batch = pa.RecordBatch.from_pydict({"a": [1, 2, 3]})
    assert (row_count(batch), row_count(_token("path", 5, 12))) == (3, 7)
    weights = {b"a": [batch], b"b": [_token("path", 0, 100)], b"c": [_token("path", 0, 50)] * 2}
    assert list(deal(weights, 2)) == [b"b", b"c", b"a"]


def test_no_key_is_lost_or_doubled():
    table = {bytes([key]): [0] * (key * 37 % 11) for key in range(50)}
    for workers in (1, 2, 3, 7):
        assert deal(table, workers) == table
