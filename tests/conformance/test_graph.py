"""A snapshot of the social graph has the same bytes on another runner."""

import dataclasses

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from social_world import AS_OF, PUBLISHED, make_events, spec

from pipelines.graph import GraphRequest, make_snapshot


@pytest.mark.slow
def test_another_runner_gives_the_same_snapshot(prism, tmp_path):
    (tmp_path / "in").mkdir()
    for part in range(2):
        table = pa.Table.from_pylist(make_events(400)[part::2])
        pq.write_table(table, tmp_path / "in" / f"{part}.parquet")
    here = GraphRequest(spec(), str(tmp_path / "in"), tmp_path / "here", AS_OF, PUBLISHED)
    there = dataclasses.replace(here, out=tmp_path / "there", flags=tuple(prism))
    assert make_snapshot(there) == make_snapshot(here)
