"""A snapshot of the social graph, and days that see it, have the same bytes on another runner."""

import dataclasses

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from as_of_world import seeing_spec
from social_world import AS_OF, PUBLISHED, make_events

from pipelines.backfill import BackfillRequest, backfill
from pipelines.graph import make_snapshot
from pipelines.layout import FEATURES, Days, Layout
from pipelines.shard_files import SnapshotRequest


@pytest.mark.slow
def test_another_runner_gives_the_same_snapshot_and_days(prism, tmp_path):
    (tmp_path / "in").mkdir()
    for part in range(2):
        table = pa.Table.from_pylist(make_events(400)[part::2])
        pq.write_table(table, tmp_path / "in" / f"{part}.parquet")
    source, made = str(tmp_path / "in"), []
    for name, flags in (("here", ()), ("there", tuple(prism))):
        out = tmp_path / name
        asked = SnapshotRequest(seeing_spec(), source, out, AS_OF, PUBLISHED)
        snapshot = make_snapshot(dataclasses.replace(asked, flags=flags))
        backfill(BackfillRequest(seeing_spec(), source, out, Days(AS_OF, AS_OF), flags=flags))
        marker = Layout(out).read_marker(AS_OF)
        assert marker["snapshots"] == [snapshot.name]
        made.append((snapshot, [one["sha256"] for one in marker["files"][FEATURES]]))
    assert made[0] == made[1]
