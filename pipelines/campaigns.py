"""Snapshots of campaigns: events in, accounts that act together as of a day out.

    splits ─ ReadEvents ─ SharedUses ─ a file per shard of uses, hubs, judgements ─┐
        previous snapshot ─ names ─ find_campaigns ─ campaigns, members, events, values, marker

Beam reads, narrows and reduces events shard by shard; the launcher joins what is shared. A snapshot
is immutable: it exists when its marker does, which names its files.

    OUT/campaigns/2026-03-12.json                           the marker: moment, counts, files
    OUT/campaigns/as-of=2026-03-12/campaigns-7b1c….arrow     a row per campaign
    OUT/campaigns/as-of=2026-03-12/members-0a9d….arrow       a row per account
    OUT/campaigns/as-of=2026-03-12/events-51c0….arrow        a row per event
    OUT/campaigns/as-of=2026-03-12/values-e2f8….arrow        a row per shared value, by its hash
    OUT/campaigns/2026-03-12-9c41….json                      of another config, beside it
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import hashlib
import json
import logging
import uuid
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from configs.campaigns import CampaignRules
from configs.errors import ConfigError, InputError
from configs.fingerprint import campaigns_fingerprint
from configs.schema import Spec
from pipelines.campaign_snapshots import (
    CAMPAIGNS,
    CampaignSnapshot,
    campaign_snapshots,
    marker_path,
)
from pipelines.failures import explain_os_error
from pipelines.files import arrow_bytes, write_by_content
from pipelines.layout import Layout, day_of, day_us, json_bytes, locked, make_folders
from pipelines.progress import Progress, Quiet
from pipelines.runners import Running
from pipelines.shard_files import ShardJob, SnapshotRequest
from pipelines.snapshots import AS_OF
from pipelines.sources.listing import require_apart
from scoring.files import Place, exists, join, name_of, read_file, replace_files
from transforms.campaigns import (
    ALONE,
    HUBS,
    USES,
    FoundCampaigns,
    KnownCampaigns,
    NamedCampaign,
    find_campaigns,
    name_campaigns,
)
from transforms.campaigns.find import CAMPAIGN, FIRST_SEEN
from transforms.campaigns.uses import ACCOUNTS, COLUMN
from transforms.social.events import ABUSIVE, ACCOUNT, JUDGEMENTS
from transforms.steps.campaigns import ALONE_GROUP, HUBS_GROUP, USES_GROUP, SharedUses
from transforms.steps.social import JUDGEMENTS_GROUP

NAME, SPLIT_FROM, MERGED = "name", "split_from", "merged"
_LOGGER = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class PublishedCampaigns:
    """A published snapshot, as its marker tells it.

    Attributes:
      name: day and digest of its contents.
      known_from: the first moment that may see it, microseconds UTC: `as_of` and `campaigns.delay`.
      published: when it was written, in ISO format.
      previous: the snapshot that names go on from; "": none.
      campaigns, accounts, events: counts.
      continued, split, merged: campaigns that have a name of the night before; that are a part of
        one of those; names of the night before that are part of another one now.
      pairs: linked accounts, two by two.
      largest: accounts of the largest connected component; campaigns are its parts, if weak links
        alone held it together.
      hubs: of each link, values that too many accounts used, and how many used the most popular.
      honest: values that were dropped, since honest accounts share them.
      already: whether it was there before.
    """

    name: str
    as_of: str
    known_from: int
    published: str
    spec: str
    previous: str
    campaigns: int
    accounts: int
    events: int
    continued: int
    split: int
    merged: int
    pairs: int
    largest: int
    hubs: Mapping[str, Mapping[str, int]]
    honest: int
    files: tuple[Mapping[str, Any], ...]
    already: bool = False


def make_campaigns(
    request: SnapshotRequest, days: Iterable[dt.date], progress: Progress | None = None
) -> list[PublishedCampaigns]:
    """The snapshots of some days, one after the other; see `make_campaign_snapshot`."""
    return [
        make_campaign_snapshot(dataclasses.replace(request, as_of=day), progress) for day in days
    ]


def make_campaign_snapshot(
    request: SnapshotRequest, progress: Progress | None = None
) -> PublishedCampaigns:
    """Makes the snapshot of a day; one that is there stays as it is.

    Raises:
      ConfigError: the config has no campaigns.
      InputError: the source cannot be read; too many dead letters.
      BusyError: another run holds the output folder.
    """
    if request.spec.campaigns is None:
        raise ConfigError(
            f"the config {request.spec.name!r} has no section campaigns; say in it what accounts "
            "can share (docs/campaigns.md)"
        )
    require_apart(request.source, str(request.out))
    layout = Layout(request.out)
    try:
        with locked(layout):
            return _published(request) or _make(
                request, request.spec.campaigns, layout, progress or Quiet()
            )
    except OSError as error:
        raise explain_os_error(error) from error


def read_campaigns(
    out: Place, as_of: dt.date, table: str = "campaigns", spec: Spec | None = None
) -> pa.Table:
    """A table of a day's snapshot (`campaign_snapshots.TABLES`).

    Args:
      spec: whose snapshot; None: the one that was made first of this day.

    Raises:
      InputError: there is none of this day, or a file of it is damaged.
    """
    path = marker_path(out, as_of, spec)
    if not exists(path):
        raise InputError(f"{out} has no campaigns as of {as_of}; run `lockstep campaigns` for them")
    marker = json.loads(read_file(path))
    files = {one["name"].removesuffix(".arrow"): one["path"] for one in marker["files"]}
    paths = {name: join(out, *below.split("/")) for name, below in files.items()}
    known = (marker["name"], marker["as_of"], marker["known_from"], marker["spec"])
    return CampaignSnapshot(*known, path, paths).read(table)


def _published(request: SnapshotRequest) -> PublishedCampaigns | None:
    path = marker_path(request.out, request.as_of, request.spec)
    if not exists(path):
        return None
    marker = json.loads(read_file(path))
    return PublishedCampaigns(**marker | {"files": tuple(marker["files"]), "already": True})


def _make(
    request: SnapshotRequest, campaigns: CampaignRules, layout: Layout, progress: Progress
) -> PublishedCampaigns:
    spec, end = request.spec, day_us(request.as_of)
    attempt = join(layout.work, f"attempt-{uuid.uuid4().hex}")
    running = Running(request.workers, request.flags)
    job = ShardJob(spec, request.source, end - campaigns.span_us, end, attempt, running)
    splits = job.splits()
    progress.say(f"reads {len(splits)} splits of {request.source}")
    shards = job.run(splits, SharedUses(spec))
    first = day_of(end - campaigns.span_us)
    if not any(str(first) <= day < str(request.as_of) for day in shards.days):
        _LOGGER.warning(
            "%s has no event before %s and from %s on (--as-of, campaigns.span): no campaign is "
            "found, and the next snapshot goes on with the names of the one before",
            request.source,
            request.as_of,
            first,
        )
    uses = shards.of(USES_GROUP, USES)
    judged = shards.of(JUDGEMENTS_GROUP, JUDGEMENTS).select([ACCOUNT, ABUSIVE])
    progress.say(f"{uses.num_rows:,} uses of shared values")
    found = find_campaigns(campaigns, uses, judged, shards.of(ALONE_GROUP, ALONE))
    there = campaign_snapshots(spec, request.out)
    earlier = [one for one in there if one.as_of < str(request.as_of)]
    after = [one for one in there if one.as_of > str(request.as_of)]
    # Nights on which nothing was found end no name.
    previous = next((one for one in reversed(earlier) if one.read("campaigns").num_rows), None)
    following = next((one for one in after if one.read("campaigns").num_rows), None)
    known, later = (None if one is None else _known(one) for one in (previous, following))
    named = name_campaigns(found, known, str(request.as_of), campaigns.continued_share, later)
    tables = tables_of(found, named)
    path = marker_path(request.out, request.as_of, spec)
    folder = f"{CAMPAIGNS}/{AS_OF}{name_of(path).removesuffix('.json')}"
    make_folders([join(layout.root, folder)])
    files = tuple(
        write_by_content(layout.root, folder, f"{name}.arrow", arrow_bytes(table))
        for name, table in tables.items()
    )
    digest = hashlib.sha256("".join(one["sha256"] for one in files).encode()).hexdigest()
    before = set() if known is None else set(known.first_seen)
    snapshot = PublishedCampaigns(
        name=f"{request.as_of}-{digest[:16]}",
        as_of=str(request.as_of),
        known_from=end + campaigns.delay_us,
        published=request.published.astimezone(dt.UTC).isoformat(timespec="seconds"),
        spec=campaigns_fingerprint(spec),
        previous="" if previous is None else previous.name,
        campaigns=len(named),
        accounts=len(found.members),
        events=len(found.events),
        continued=sum(one.name in before for one in named),
        split=sum(bool(one.split_from) for one in named),
        merged=sum(len(one.merged) for one in named),
        pairs=found.pairs,
        largest=found.largest,
        hubs=_hubs(campaigns, shards.of(HUBS_GROUP, HUBS)),
        honest=found.honest,
        files=files,
    )
    marker = dataclasses.asdict(snapshot)
    del marker["already"]
    # Its files were not flushed: they are on the disk before the marker is seen.
    replace_files({path: json_bytes(marker)})
    return snapshot


def tables_of(found: FoundCampaigns, named: list[NamedCampaign]) -> dict[str, pa.Table]:
    """What a snapshot's files hold, campaigns by their names."""
    names = pa.array([one.name for one in named], pa.string())
    since = pa.array([one.first_seen for one in named], pa.int64())
    campaigns = found.campaigns.set_column(
        found.campaigns.schema.get_field_index(FIRST_SEEN), FIRST_SEEN, since
    )
    campaigns = campaigns.add_column(0, NAME, names)
    campaigns = campaigns.append_column(
        SPLIT_FROM, pa.array([one.split_from or None for one in named], pa.string())
    )
    merged = pa.array([list(one.merged) for one in named], pa.list_(pa.string()))
    made = {"campaigns": campaigns.append_column(MERGED, merged)}
    for name, table in (
        ("members", found.members), ("events", found.events), ("values", found.values)
    ):  # fmt: skip
        place = table.schema.get_field_index(CAMPAIGN)
        made[name] = table.set_column(place, CAMPAIGN, names.take(table[CAMPAIGN]))
    return {name: table.combine_chunks() for name, table in made.items()}


def _known(previous: CampaignSnapshot) -> KnownCampaigns:
    campaigns = previous.read("campaigns")
    first = dict(zip(campaigns[NAME].to_pylist(), campaigns[FIRST_SEEN].to_pylist(), strict=True))
    return KnownCampaigns(previous.read("members").select([ACCOUNT, CAMPAIGN]), first)


def _hubs(campaigns: CampaignRules, hubs: pa.Table) -> dict[str, dict[str, int]]:
    made = {}
    for link in campaigns.links.values():
        of_link = [of.name == link.name for _, of in campaigns.columns]
        numbers = pa.array(np.flatnonzero(of_link), pa.int32())
        own = hubs.filter(pc.is_in(hubs[COLUMN], value_set=numbers))
        most = pc.max(own[ACCOUNTS]).as_py() or 0
        made[link.name] = {"values": len(own), "most_accounts": most}
    return made
