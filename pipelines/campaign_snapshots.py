"""Published snapshots of campaigns, as readers see them (`pipelines.campaigns` makes them).

A snapshot exists when its marker does. What an event could have known is the newest snapshot whose
`known_from` is not after the event's time, as for the social graph (`transforms.social.as_of`).
"""

from __future__ import annotations

import dataclasses
import functools
import json
import logging
import os
import threading
import time
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from configs.errors import InputError, LockstepError, StateError
from configs.fingerprint import campaigns_fingerprint
from configs.schema import EVENT_TIME, Spec
from pipelines.files import read_published
from pipelines.snapshots import POLL_SECONDS, list_markers, marker_of
from pipelines.streaming.failures import describe_failure
from scoring.columns import CAMPAIGN_SNAPSHOT, NEVER_US
from scoring.files import Place, join, read_file
from transforms.campaigns.lookup import (
    CampaignIndex,
    CampaignsAsLogged,
    CampaignsAsOf,
    EventCampaigns,
    campaigns_as_of,
    campaigns_of_events,
    events_to_name,
    naming_fingerprint,
)
from transforms.social.as_of import choose

_LOGGER = logging.getLogger(__name__)
CAMPAIGNS = "campaigns"
TABLES = ("campaigns", "members", "events", "values")
_LATE_US = 86_400_000_000  # events that are later than this name no campaign
_HELD = 3  # of a day's events, of late ones, and the next one, before it is known


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
    then = campaigns_as_of(spec.campaigns, row, np.array([time_us]), snapshots)
    now = campaigns_of_events(pa.array([event]), snapshots[-1].read("events"))[0].as_py()
    return then.campaigns[0].as_py() or "", then.snapshots[0].as_py() or "", now or ""


def campaigns_known(
    spec: Spec, bundles: Place, clock_us: int, now: CampaignsAsOf | None = None
) -> CampaignsAsOf | None:
    """The snapshots beside a store of bundles, those prepared that the next events may see.

    Args:
      clock_us: the latest event time that was folded; `NEVER_US`: the newest are prepared.
      now: as they are; returned where nothing is new.

    Returns:
      None where decisions of the config name no campaigns.

    Raises:
      InputError: a snapshot is damaged.
    """
    fingerprint = naming_fingerprint(spec)
    if spec.campaigns is None or fingerprint is None:
        return None
    there = sorted(campaign_snapshots(spec, _beside(bundles)), key=lambda one: one.known_from)
    known_from = np.array([one.known_from for one in there], np.int64)
    first = max(0, len(there) - _HELD)
    if clock_us != NEVER_US:
        first = max(0, int(choose(known_from, np.array([clock_us - _LATE_US]))[0]))
    names, wanted = tuple(one.name for one in there), range(len(there))[first : first + _HELD]
    prepared: dict[str, CampaignIndex] = {}
    if now is not None and now.spec == fingerprint:
        if now.names == names and now.held.keys() == set(wanted):
            return now
        prepared = {one.name: one for one in now.held.values()}
    held = {
        number: prepared.get(names[number]) or CampaignIndex.of(spec.campaigns, there[number])
        for number in wanted
    }
    return CampaignsAsOf(spec.campaigns, fingerprint, names, known_from, held)


class CampaignsBeside:
    """The snapshots beside a store of bundles, each prepared when an event asks for it.

    Args:
      bundles: the store.
      poll_seconds: how long a look at the folder is trusted.
      clock: seconds, not falling.
    """

    def __init__(
        self,
        bundles: Place,
        poll_seconds: float = POLL_SECONDS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._out, self._poll_seconds, self._clock = _beside(bundles), poll_seconds, clock
        self._held: dict[tuple[str, str], tuple[CampaignIndex, int]] = {}
        self._there: dict[str, list[CampaignSnapshot]] = {}
        self._looked, self._fault, self._lock = 0.0, "", threading.Lock()

    def of_log(self, spec: Spec, batch: pa.RecordBatch) -> CampaignsAsLogged | None:
        """What the events of a logged batch named theirs by; None: the config has it name none.

        Args:
          batch: its scored rows.
        """
        if naming_fingerprint(spec) is None:
            return None
        names = pa.nulls(batch.num_rows, pa.string())
        if CAMPAIGN_SNAPSHOT in batch.schema.names:
            names = batch.column(CAMPAIGN_SNAPSHOT)
        return self._by_name(spec, names)

    def known(self, spec: Spec, events: pa.RecordBatch) -> EventCampaigns | None:
        """Of events, by the newest snapshot that is published and was known at the time of each.

        What cannot be read is logged once, and holds up nothing: events go on with the others.

        Args:
          events: decoded `[n]`.

        Returns:
          None where decisions of the config name no campaigns.
        """
        if naming_fingerprint(spec) is None:
            return None
        with self._lock:
            names = self._known(spec, events.column(EVENT_TIME).to_numpy())
            return self._by_name(spec, names).look(events_to_name(spec, events))

    def _known(self, spec: Spec, times: npt.NDArray[np.int64]) -> pa.StringArray:
        """Which snapshot each event sees, of those that can be read: string `[n]`; null: none."""
        there = self._listed(spec)
        while True:
            chosen = choose(np.array([one.known_from for one in there], np.int64), times)
            for number in np.unique(chosen[chosen >= 0]).tolist():
                try:
                    self._open(spec, there[number].name)
                except Exception as error:  # a decision that names none is better than none
                    self._report(error)
                    del there[number]
                    break
            else:
                known = pa.array([one.name for one in there], pa.string())
                return known.take(pa.array(chosen, mask=chosen < 0))

    def _listed(self, spec: Spec) -> list[CampaignSnapshot]:
        key, now = campaigns_fingerprint(spec), self._clock()
        if key not in self._there or now - self._looked >= self._poll_seconds:
            self._looked = now
            try:
                there = campaign_snapshots(spec, self._out)
                self._there = {key: sorted(there, key=lambda one: one.known_from)}
            except Exception as error:  # as above
                self._report(error)
        return self._there.setdefault(key, [])

    def _report(self, error: Exception) -> None:
        said = str(error) if isinstance(error, LockstepError) else describe_failure(error)
        if said != self._fault:
            _LOGGER.error("decisions go on with other snapshots of campaigns: %s", said)
        self._fault = said

    def _by_name(self, spec: Spec, names: pa.StringArray) -> CampaignsAsLogged:
        if spec.campaigns is None:
            raise ValueError(f"{spec.name} has no section campaigns")
        open_ = functools.partial(self._open, spec)
        return CampaignsAsLogged(spec.campaigns, campaigns_fingerprint(spec), names, open_)

    def _open(self, spec: Spec, name: str) -> tuple[CampaignIndex, int]:
        key = campaigns_fingerprint(spec), name
        if key not in self._held:
            while len(self._held) >= _HELD:
                del self._held[next(iter(self._held))]
            self._held[key] = self._read(spec, name)
        return self._held[key]

    def _read(self, spec: Spec, name: str) -> tuple[CampaignIndex, int]:
        found = [one for one in campaign_snapshots(spec, self._out) if one.name == name]
        if not found or spec.campaigns is None:
            raise StateError(
                f"the log names the snapshot {name} of campaigns, which is not in {self._out}; "
                "snapshots are kept: bring it back from a copy"
            )
        return CampaignIndex.of(spec.campaigns, found[0]), found[0].known_from


@functools.lru_cache(maxsize=4)
def shared_campaigns(bundles: str, poll_seconds: float) -> CampaignsBeside:
    """One for all steps and threads of this process."""
    return CampaignsBeside(bundles, poll_seconds)


def require_campaigns(spec: Spec, bundles: Place) -> None:
    """Does nothing if decisions name no campaigns, or the newest snapshot for it can be read.

    Raises:
      StateError: there is none.
      InputError: it is damaged.
    """
    if spec.campaigns is None or naming_fingerprint(spec) is None:
        return
    found = campaigns_known(spec, bundles, NEVER_US)
    if found is None or not found.names:
        out = _beside(bundles)
        raise StateError(
            f"decisions of {spec.name} name their campaign (campaigns.name_decisions), and "
            f"{join(out, CAMPAIGNS)} has no snapshot of its campaigns; make one with `lockstep "
            f"campaigns --out {out}`, or promote a bundle without this setting"
        )


def _beside(bundles: Place) -> str:
    """The output directory that a store of bundles is in."""
    return os.path.dirname(str(bundles).rstrip("/")) or "."


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
    markers = sorted(list_markers(join(out, CAMPAIGNS)))
    return [one for one in (_read(*stamp, str(out)) for stamp in markers) if one.spec == wanted]


@functools.lru_cache(maxsize=4096)
def _read(path: str, size: int, changed: float, out: str) -> CampaignSnapshot:
    """Of a marker as it is now; it is never changed, but may be removed and made anew."""
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
