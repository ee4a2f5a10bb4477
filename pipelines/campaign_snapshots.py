"""Published snapshots of campaigns, as readers see them (`pipelines.campaigns` makes them).

A snapshot exists when its marker does. What an event could have known is the newest snapshot whose
`known_from` is not after the event's time, as for the social graph (`transforms.social.as_of`).
"""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pyarrow as pa

from configs.errors import InputError
from configs.fingerprint import campaigns_fingerprint
from configs.schema import Spec
from pipelines.files import read_published
from pipelines.snapshots import is_marker, marker_of
from scoring.files import Place, join, list_files, read_file
from transforms.campaigns.lookup import campaigns_as_of, campaigns_of_events

CAMPAIGNS = "campaigns"
TABLES = ("campaigns", "members", "events", "values")


@dataclasses.dataclass(frozen=True)
class CampaignSnapshot:
    """A published snapshot.

    Attributes:
      name: day and digest of its contents.
      as_of: its day, in ISO format.
      known_from: the first event time that may see it, microseconds UTC.
      spec: fingerprint of what it was made by (`configs.fingerprint.campaigns_fingerprint`).
      marker: its path.
      files: path of each of `TABLES`.
    """

    name: str
    as_of: str
    known_from: int
    spec: str
    marker: str
    files: dict[str, str]

    def read(self, table: str) -> pa.Table:
        """One of `TABLES`.

        Raises:
          InputError: its file is damaged.
        """
        anew = f"remove {self.marker} and run `lockstep campaigns` for its day again"
        return read_published(self.files[table], InputError, anew)


def campaigns_of_event(
    spec: Spec, out: Place, event: str, time_us: int, row: pa.RecordBatch
) -> tuple[str, str, str]:
    """Of an event: its campaign as known at its time, by which snapshot; by the newest. "": none.

    Args:
      row: the event `[1]`, with the columns that are known of it.

    Raises:
      InputError: a snapshot is damaged.
    """
    snapshots = campaign_snapshots(spec, out)
    if spec.campaigns is None or not snapshots:
        return "", "", ""
    then, known = campaigns_as_of(spec.campaigns, row, np.array([time_us]), snapshots)
    now = campaigns_of_events(pa.array([event]), snapshots[-1].read("events"))[0].as_py()
    return then[0].as_py() or "", known[0].as_py() or "", now or ""


def marker_path(out: Place, as_of: object, spec: Spec | None = None) -> str:
    """Where a day's marker is; of a config, or else of the one whose snapshot was made first.

    Raises:
      InputError: the day's marker is damaged.
    """
    folder = join(out, CAMPAIGNS)
    if spec is None:
        return join(folder, f"{as_of}.json")
    wanted = campaigns_fingerprint(spec)
    return marker_of(folder, as_of, wanted, lambda there: there["spec"] == wanted, "campaigns")


def campaign_snapshots(spec: Spec, out: Place) -> list[CampaignSnapshot]:
    """Those of a config's campaigns, by day; none where there is no section or no folder.

    Raises:
      InputError: a marker is damaged.
    """
    if spec.campaigns is None:
        return []
    wanted = campaigns_fingerprint(spec)
    paths = sorted(one for one in list_files(join(out, CAMPAIGNS)) if is_marker(one))
    return [one for one in (_read(path, out) for path in paths) if one.spec == wanted]


def _read(path: str, out: Place) -> CampaignSnapshot:
    try:
        marker = json.loads(read_file(path))
        files = {
            one["name"].removesuffix(".arrow"): join(out, *one["path"].split("/"))
            for one in marker["files"]
        }
        return CampaignSnapshot(
            marker["name"], marker["as_of"], marker["known_from"], marker["spec"], path, files
        )
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(
            f"{path} is damaged ({type(error).__name__}); remove it and run `lockstep campaigns` "
            "for its day again"
        ) from error
