"""A snapshot of campaigns has the same bytes on another runner."""

import dataclasses

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from campaign_world import AS_OF, PUBLISHED, RARITY, make_events, make_rare_events, spec

from pipelines.campaigns import make_campaign_snapshot
from pipelines.shard_files import SnapshotRequest


@pytest.mark.slow
@pytest.mark.parametrize(
    ("runner", "rarity"), [("prism", ""), ("prism", RARITY), ("flink", ""), ("flink", RARITY)]
)
def test_another_runner_gives_the_same_snapshot(runner, rarity, request, tmp_path):
    flags = request.getfixturevalue(runner)
    events = make_rare_events() if rarity else make_events(500)
    (tmp_path / "in").mkdir()
    for part in range(2):
        table = pa.Table.from_pylist(events[part::2])
        pq.write_table(table, tmp_path / "in" / f"{part}.parquet")
    config = spec(more=rarity)
    here = SnapshotRequest(config, str(tmp_path / "in"), tmp_path / "here", AS_OF, PUBLISHED)
    there = dataclasses.replace(here, out=tmp_path / "there", flags=tuple(flags))
    made = make_campaign_snapshot(here)
    assert made.campaigns > 3
    assert make_campaign_snapshot(there) == made
