"""A snapshot of campaigns has the same bytes on another runner."""

import dataclasses

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from campaign_world import AS_OF, PUBLISHED, make_events, spec

from pipelines.campaigns import make_campaign_snapshot
from pipelines.shard_files import SnapshotRequest


@pytest.mark.slow
def test_another_runner_gives_the_same_snapshot(prism, tmp_path):
    (tmp_path / "in").mkdir()
    for part in range(2):
        table = pa.Table.from_pylist(make_events(500)[part::2])
        pq.write_table(table, tmp_path / "in" / f"{part}.parquet")
    here = SnapshotRequest(spec(), str(tmp_path / "in"), tmp_path / "here", AS_OF, PUBLISHED)
    there = dataclasses.replace(here, out=tmp_path / "there", flags=tuple(prism))
    made = make_campaign_snapshot(here)
    assert made.campaigns > 3
    assert make_campaign_snapshot(there) == made
