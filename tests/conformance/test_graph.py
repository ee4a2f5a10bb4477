"""A snapshot of the social graph, and days that see it, have the same bytes on another runner."""

import dataclasses

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from as_of_world import seeing_spec
from social_world import AS_OF, PUBLISHED, make_events
from social_world import spec as friends

from pipelines.backfill import BackfillRequest, backfill
from pipelines.graph import make_snapshot
from pipelines.layout import FEATURES, Days, Layout
from pipelines.shard_files import SnapshotRequest

TOGETHER = "    together: {of: post, from: who, group: whom, expires: 9d, most_accounts: 3}\n"


def write_events(folder):
    folder.mkdir()
    for part in range(2):
        table = pa.Table.from_pylist(make_events(400)[part::2])
        pq.write_table(table, folder / f"{part}.parquet")
    return str(folder)


@pytest.mark.slow
def test_another_runner_gives_the_same_snapshot_and_days(prism, tmp_path):
    source, made = write_events(tmp_path / "in"), []
    for name, flags in (("here", ()), ("there", tuple(prism))):
        out = tmp_path / name
        asked = SnapshotRequest(seeing_spec(), source, out, AS_OF, PUBLISHED)
        snapshot = make_snapshot(dataclasses.replace(asked, flags=flags))
        backfill(BackfillRequest(seeing_spec(), source, out, Days(AS_OF, AS_OF), flags=flags))
        marker = Layout(out).read_marker(AS_OF)
        assert marker["snapshots"] == [snapshot.name]
        made.append((snapshot, [one["sha256"] for one in marker["files"][FEATURES]]))
    assert made[0] == made[1]


@pytest.mark.slow
@pytest.mark.parametrize("runner", ["prism", "flink"])
def test_accounts_that_share_a_group_are_linked_on_another_runner(runner, request, tmp_path):
    """Pairs of a group are made where its shard is: of groups small enough, and of no other."""
    source, made = write_events(tmp_path / "in"), []
    asked = SnapshotRequest(friends(graph=TOGETHER), source, tmp_path / "here", AS_OF, PUBLISHED)
    without = make_snapshot(dataclasses.replace(asked, spec=friends(), out=tmp_path / "without"))
    for name, flags in (("here", ()), ("there", tuple(request.getfixturevalue(runner)))):
        made.append(make_snapshot(dataclasses.replace(asked, out=tmp_path / name, flags=flags)))
    assert made[0] == made[1]
    assert made[0].edges > without.edges
