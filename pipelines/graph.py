"""Snapshots of the social graph: events in, features of every account as of a moment out.

    splits ─ ReadEvents ─ SocialEdges ─ a file per shard of edges and of judgements ─┐
                                        graph_of ─ node_features ─ accounts, marker ─┘

Beam reads, narrows and reduces events shard by shard; the launcher joins the shards and computes.
A snapshot is immutable: it exists when its marker does, which names its files.

    OUT/graph/2026-03-12.json                           the marker: moment, publication, files
    OUT/graph/as-of=2026-03-12/accounts-003-7b1c….arrow  accounts of a shard, by hash
    OUT/graph/2026-03-12-9c41….json                     of another config, beside it
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import hashlib
import json
import uuid
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from configs.errors import ConfigError, InputError
from configs.fingerprint import graph_fingerprint
from configs.schema import Spec
from configs.social import SocialGraph
from pipelines.account_store import store_of
from pipelines.failures import explain_os_error
from pipelines.files import arrow_bytes, write_by_content
from pipelines.layout import Layout, day_us, json_bytes, locked, make_folders
from pipelines.progress import Progress, Quiet
from pipelines.runners import Running
from pipelines.shard_files import ShardJob, SnapshotRequest
from pipelines.snapshots import (
    AS_OF,
    GRAPH,
    marker_of,
    open_shard,
    read_shard,
    read_snapshots,
)
from pipelines.sources.listing import require_apart
from scoring.files import Place, exists, join, name_of, read_file, replace_files
from transforms.social import Graph, Standing, graph_of, node_features
from transforms.social.edges import EDGES, latest
from transforms.social.events import ABUSIVE, ACCOUNT, JUDGEMENTS
from transforms.social.shard_table import HASH, Floats, Shard, shard_table
from transforms.steps.social import (
    EDGES_GROUP,
    JUDGEMENTS_GROUP,
    SHARED_GROUP,
    SocialEdges,
    account_shard,
)


@dataclasses.dataclass(frozen=True)
class PublishedSnapshot:
    """A published snapshot, as its marker tells it.

    Attributes:
      name: day and digest of its contents.
      known_from: the first moment that may see it, microseconds UTC: `as_of` and `graph.delay`.
      published: when it was written, in ISO format.
      accounts, edges, honest, abusive: counts; edges as pairs of accounts, whatever the relation.
      files: of its accounts, by shard.
      already: whether it was there before.
    """

    name: str
    as_of: str
    known_from: int
    published: str
    spec: str
    accounts: int
    edges: int
    honest: int
    abusive: int
    features: tuple[str, ...]
    files: tuple[Mapping[str, Any], ...]
    already: bool = False


def make_snapshots(
    request: SnapshotRequest,
    days: Iterable[dt.date],
    progress: Progress | None = None,
    store: str | None = None,
) -> list[PublishedSnapshot]:
    """The snapshots of some days, one after the other; see `make_snapshot`.

    Args:
      store: to where each is copied as well (`pipelines.account_store`), or None.
    """
    days, accounts = list(days), store_of(store)
    made = [make_snapshot(dataclasses.replace(request, as_of=day), progress) for day in days]
    if accounts is not None:
        published = read_snapshots(join(Layout(request.out).root, GRAPH)).published
        for one in published:
            if one.name in {each.name for each in made}:
                copied = accounts.put(one, open_shard)
                (progress or Quiet()).say(f"{one.name}: {copied:,} accounts in {store}")
    return made


def make_snapshot(request: SnapshotRequest, progress: Progress | None = None) -> PublishedSnapshot:
    """Makes the snapshot of a day; one that is there stays as it is.

    Raises:
      ConfigError: the config has no graph.
      InputError: the source cannot be read, or has no edge; too many dead
        letters.
      BusyError: another run holds the output folder.
    """
    if request.spec.graph is None:
        raise ConfigError(
            f"the config {request.spec.name!r} has no section graph; say in it which events make "
            "edges (docs/graph.md)"
        )
    require_apart(request.source, str(request.out))
    layout = Layout(request.out)
    try:
        with locked(layout):
            return _published(request, layout) or _make(
                request, request.spec.graph, layout, progress or Quiet()
            )
    except OSError as error:
        raise explain_os_error(error) from error


def read_snapshot(out: Place, as_of: dt.date, spec: Spec | None = None) -> pa.Table:
    """Accounts of a snapshot and their features, float32, in the order of their ids.

    Args:
      spec: whose snapshot; None: the one that was made first of this day.

    Raises:
      InputError: there is none of this day, or a file of it is damaged.
    """
    layout = Layout(out)
    path = _marker(layout, as_of) if spec is None else _marker_of(layout, as_of, spec)
    if not exists(path):
        raise InputError(f"{layout.root} has no graph as of {as_of}; run `lockstep graph` for it")
    named = json.loads(read_file(path))["files"]
    tables = [read_shard(join(layout.root, *one["path"].split("/")), InputError) for one in named]
    names = json.loads(read_file(path))["features"]
    if any(HASH not in table.column_names for table in tables):
        raise InputError(
            f"{path} is of an earlier build, whose files are others; remove "
            f"{join(layout.root, GRAPH)} and run `lockstep graph` for its days again"
        )
    shards = [Shard(table) for table in tables]
    rows = np.concatenate([one.values(slice(None), range(len(names))) for one in shards])
    columns = {name: rows[:, at].copy() for at, name in enumerate(names)}
    ids = pa.concat_arrays([one.accounts for one in shards])
    return pa.table({ACCOUNT: ids, **columns}).sort_by(ACCOUNT).combine_chunks()


def _marker(layout: Layout, as_of: dt.date) -> str:
    return join(layout.root, GRAPH, f"{as_of}.json")


def _marker_of(layout: Layout, as_of: dt.date, spec: Spec) -> str:
    """A config's own; the day's where that fits or none is there."""
    graph = graph_fingerprint(spec)
    wanted = spec.graph.columns if spec.graph else ()
    digest = hashlib.sha256(json.dumps([graph, sorted(wanted)]).encode()).hexdigest()[:16]

    def fits(there: Mapping[str, Any]) -> bool:
        return there["spec"] == graph and set(wanted) <= set(there["features"])

    return marker_of(join(layout.root, GRAPH), as_of, digest, fits, "graph")


def _published(request: SnapshotRequest, layout: Layout) -> PublishedSnapshot | None:
    path = _marker_of(layout, request.as_of, request.spec)
    if not exists(path):
        return None
    marker = json.loads(read_file(path))
    return PublishedSnapshot(**marker | {"already": True, "features": tuple(marker["features"]),
                                "files": tuple(marker["files"])})  # fmt: skip


def _make(
    request: SnapshotRequest, graph: SocialGraph, layout: Layout, progress: Progress
) -> PublishedSnapshot:
    end = day_us(request.as_of)
    start = end - graph.longest_us
    attempt = join(layout.work, f"attempt-{uuid.uuid4().hex}")
    running = Running(request.workers, request.flags)
    job = ShardJob(request.spec, request.source, start, end, attempt, running)
    splits = job.splits()
    marker_path = _marker_of(layout, request.as_of, request.spec)
    folder = f"{GRAPH}/{AS_OF}{name_of(marker_path).removesuffix('.json')}"
    make_folders([join(layout.root, folder)])
    progress.say(f"reads {len(splits)} splits of {request.source}")
    shards = job.run(splits, SocialEdges(request.spec, end))
    # Two groups may link the same two accounts, and be of different shards.
    together = latest(shards.of(SHARED_GROUP, EDGES))
    edges = pa.concat_tables([shards.of(EDGES_GROUP, EDGES), together])
    judgements = shards.of(JUDGEMENTS_GROUP, JUDGEMENTS)
    if not edges.num_rows:
        raise InputError(
            f"{request.source} has no event before {request.as_of} that makes an edge still there "
            "then; look at --as-of and at graph.edges"
        )
    answers = {rule.name: rule.answers for rule in graph.edges.values() if rule.answers}
    made = graph_of(edges, answers)
    standing = _standing(made, judgements)
    progress.say(f"{len(made.ids):,} accounts, {len(made.out.to):,} edges")
    values = node_features(made, standing, end, graph.features).astype(np.float32)
    files = tuple(_write_accounts(layout, folder, made.ids, values, request.spec.shards))
    digest = hashlib.sha256("".join(one["sha256"] for one in files).encode()).hexdigest()
    snapshot = PublishedSnapshot(
        name=f"{request.as_of}-{digest[:16]}",
        as_of=str(request.as_of),
        known_from=end + graph.delay_us,
        published=request.published.astimezone(dt.UTC).isoformat(timespec="seconds"),
        spec=graph_fingerprint(request.spec),
        accounts=len(made.ids),
        edges=len(made.out.to),
        honest=len(standing.honest),
        abusive=len(standing.abusive),
        features=graph.columns,
        files=files,
    )
    marker = dataclasses.asdict(snapshot)
    del marker["already"]
    # Its files were not flushed: they are on the disk before the marker is seen.
    replace_files({marker_path: json_bytes(marker)})
    return snapshot


def _standing(graph: Graph, judgements: pa.Table) -> Standing:
    of = {
        abusive: judgements.filter(pc.equal(judgements[ABUSIVE], abusive))[ACCOUNT].combine_chunks()
        for abusive in (False, True)
    }
    return Standing(graph.numbers(of[False]), graph.numbers(of[True]))


def _write_accounts(
    layout: Layout, folder: str, ids: pa.Array, values: Floats, shards: int
) -> Iterator[dict[str, Any]]:
    shard = account_shard(ids, shards)
    for number in range(shards):
        rows = np.flatnonzero(shard == number)
        table = shard_table(ids.take(pa.array(rows)), values[rows])
        name = f"accounts-{number:03d}.arrow"
        yield write_by_content(layout.root, folder, name, arrow_bytes(table))
