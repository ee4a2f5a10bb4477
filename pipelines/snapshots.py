"""Published snapshots of the social graph, as readers see them.

A snapshot exists when its marker does (`pipelines.graph`). Those that a scorer, parity and an
engine's job see are in the folder `graph` beside the store of bundles, where `lockstep graph` and
`lockstep nightly` put both: OUT/graph and OUT/bundles.
"""

from __future__ import annotations

import dataclasses
import functools
import json
import logging
import os
import re
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

import pyarrow as pa

from configs.errors import InputError, LockstepError, StateError
from configs.fingerprint import graph_fingerprint
from configs.schema import Spec
from pipelines.account_store import store_of
from pipelines.files import read_published
from scoring.files import Place, exists, is_local, join, name_of, read_file, stamps
from transforms.social.as_of import (
    NO_SNAPSHOTS,
    AsOf,
    Published,
    Seen,
    Snapshots,
    reads_snapshots,
)
from transforms.social.shard_table import Shard

GRAPH = "graph"
AS_OF = "as-of="
"""Begins the name of a snapshot's folder; the rest is its marker's, without the suffix."""
POLL_SECONDS = 10.0
_MARKER = re.compile(r"\d{4}-\d\d-\d\d(-[0-9a-f]{16})?\.json")
_LOGGER = logging.getLogger(__name__)


def beside(bundles: Place) -> str:
    """The folder of snapshots that goes with a store of bundles.

    >>> beside("out/bundles"), beside("bundles")
    ('out/graph', './graph')
    """
    return join(os.path.dirname(str(bundles).rstrip("/")) or ".", GRAPH)


def read_snapshots(folder: Place, store: str | None = None) -> Snapshots:
    """The snapshots of a folder, which may not be there: then none.

    Args:
      store: where their accounts are looked up (`pipelines.account_store`); None: in their files.

    Raises:
      InputError: a marker is damaged.
    """
    made = tuple(_published(*stamp) for stamp in list_markers(str(folder)))
    return Snapshots(str(folder), made, open_shard, store_of(store))


def seen_by(spec: Spec, bundles: Place) -> Snapshots:
    """The snapshots beside a store of bundles; none, and no look at them, where a config sees none.

    Raises:
      InputError: a marker is damaged.
    """
    return read_snapshots(beside(bundles)) if reads_snapshots(spec) else NO_SNAPSHOTS


def opened(spec: Spec, bundles: Place) -> Snapshots:
    """The same, checked and mapped before the first event.

    Raises:
      StateError: there is none of the config's graph, or a file is damaged.
    """
    found = seen_by(spec, bundles)
    open_all(found.of(spec))
    return found


def is_marker(path: str) -> bool:
    """Whether a file is named as the marker of a day's snapshot, of the graph or of campaigns."""
    return _MARKER.fullmatch(name_of(path)) is not None


def marker_of(
    folder: Place,
    as_of: object,
    digest: str,
    fits: Callable[[Mapping[str, Any]], bool],
    command: str,
) -> str:
    """Where a config's snapshot of a day has its marker, or is to have it.

    That is the day's own, `2026-03-12.json`, unless one that does not fit is there already: then
    `2026-03-12-DIGEST.json` beside it. So no config refuses another's, and none is changed.

    Args:
      folder: of the markers.
      as_of: the day.
      digest: 16 hex digits of what makes the config's snapshots what they are.
      fits: whether a marker is of such a snapshot.
      command: that makes them, for the message.

    Raises:
      InputError: the day's marker is damaged.
    """
    first = join(folder, f"{as_of}.json")
    if not exists(first):
        return first
    try:
        fitting = fits(json.loads(read_file(first)))
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(
            f"{first} is damaged ({type(error).__name__}): it is the marker of a snapshot; remove "
            f"it and run `lockstep {command}` for its day again"
        ) from error
    return first if fitting else join(folder, f"{as_of}-{digest}.json")


def list_markers(folder: str) -> list[tuple[str, int, float]]:
    """Markers as `stamps` tells files: one that is made anew is another; no other JSON file."""
    if not is_local(folder):
        return sorted(one for one in stamps(join(folder, "*.json")) if is_marker(one[0]))
    if not os.path.isdir(folder):
        return []
    names = [name for name in os.listdir(folder) if is_marker(name)]
    return sorted(one for name in names for one in stamps(join(folder, name)))


class HeldShards:
    """Shards of the snapshots that were asked for last, whoever of a process asks.

    Off a local disk a shard is in memory as a whole, and a job or a backfill walks through days.

    Args:
      most: snapshots whose shards are held. Events need two where one day's snapshot follows
        another's; what is let go of is opened again when it is asked for.
    """

    def __init__(self, most: int) -> None:
        self._most, self._lock = most, threading.Lock()
        self._of: dict[str, dict[str, Shard]] = {}  # the one that was asked for last is last

    def open(self, path: str) -> Shard:
        """A shard of a snapshot, mapped into memory where it is on a local disk.

        Raises:
          StateError: it holds other bytes than were published.
        """
        snapshot = os.path.dirname(path)
        with self._lock:
            shards = self._of[snapshot] = self._of.pop(snapshot, {})
            for old in list(self._of)[: -self._most]:
                del self._of[old]
        if path not in shards:  # outside of the lock: what others hold is theirs meanwhile
            shards[path] = Shard(read_shard(path, StateError))
        return shards[path]


_HELD = HeldShards(most=2)


def open_shard(path: str) -> Shard:
    """As `HeldShards.open`, for all of a process."""
    return _HELD.open(path)


def read_shard(path: str, error: type[LockstepError]) -> pa.Table:
    """The same, of a file that nobody holds.

    Raises:
      error: it holds other bytes than were published.
    """
    folder, name = os.path.split(os.path.dirname(path))
    marker = join(folder, f"{name.removeprefix(AS_OF)}.json")
    return read_published(
        path, error, f"remove {marker} and run `lockstep graph` for its day again"
    )


def open_all(snapshots: AsOf | None) -> None:
    """Checks and maps the files of the newest snapshots, so that no event waits for them.

    Of two: one that is published may be known a while later only.
    """
    if snapshots is None:
        return
    for one in snapshots.published[-2:]:
        if snapshots.store is not None:
            snapshots.store.require(one)
            continue
        for path in one.files:
            snapshots.open(path)


@functools.lru_cache(maxsize=4096)
def _published(marker: str, size: int, changed: float) -> Published:
    """Of a marker as it is now; it is never changed, but may be removed and made anew."""
    try:
        said = json.loads(read_file(marker))
        root = os.path.dirname(os.path.dirname(marker))
        return Published(
            name=said["name"],
            known_from=int(said["known_from"]),
            graph=said["spec"],
            columns=tuple(said["features"]),
            files=tuple(join(root, *one["path"].split("/")) for one in said["files"]),
        )
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(
            f"{marker} is damaged ({type(error).__name__}): it is the marker of a snapshot of the "
            "social graph; bring it back from a copy, or remove it and run `lockstep graph` for "
            f"{name_of(marker)[:10]}"
        ) from error


@dataclasses.dataclass(eq=False)
class Followed:
    """What events see, in a job that lives for long: the folder is looked at now and then.

    What cannot be read changes nothing: events go on with the snapshots that are there, and what is
    wrong is logged once. While one thread of a worker looks, the others go on, too.

    Attributes:
      folder: of snapshots.
      spec: of the events.
      poll_seconds: how long what was seen is trusted.
      clock: seconds, not falling.
      store: as of `read_snapshots`.
    """

    folder: str
    spec: Spec
    poll_seconds: float = POLL_SECONDS
    clock: Callable[[], float] = time.monotonic
    store: str | None = None

    def look(self, events: pa.RecordBatch) -> Seen:
        """As `AsOf.look`.

        Raises:
          LockstepError, OSError: nothing could be read yet, or no snapshot is one that the spec
            could see.
        """
        return self.current().look(events)

    def current(self) -> AsOf:
        """The snapshots that the next events see.

        Raises:
          LockstepError, OSError: as `look`.
        """
        return _follow(*self._key).current(self)

    @functools.cached_property
    def _key(self) -> tuple[str, str | None, str, tuple[tuple[str, str], ...], tuple[str, ...]]:
        """Where what is seen is from, and what of it: whoever asks for the same sees the same."""
        graph = self.spec.graph
        if graph is None:
            raise StateError(f"{self.spec.name} has no section graph")
        accounts = tuple(sorted(graph.accounts.items()))
        return self.folder, self.store, graph_fingerprint(self.spec), accounts, graph.columns


class _Follow:
    """Of all threads of a worker that see the same."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._there: AsOf | None = None
        self._looked, self._fault = 0.0, ""

    def current(self, asked: Followed) -> AsOf:
        if self._there is None:
            with self._lock:
                if self._there is None:
                    self._there, self._looked = _read(asked), asked.clock()
        elif asked.clock() - self._looked >= asked.poll_seconds and self._lock.acquire(False):
            try:
                self._there, self._fault = _read(asked), ""
            except (LockstepError, OSError, pa.ArrowInvalid) as error:
                said = f"{type(error).__name__}: {error}"
                if said != self._fault:
                    _LOGGER.error("snapshots of the social graph stay as they are: %s", said)
                self._fault = said
            finally:
                self._looked = asked.clock()
                self._lock.release()
        return self._there


@functools.lru_cache(maxsize=64)
def _follow(
    folder: str,
    store: str | None,
    graph: str,
    accounts: tuple[tuple[str, str], ...],
    columns: tuple[str, ...],
) -> _Follow:
    return _Follow()


def _read(asked: Followed) -> AsOf:
    there = read_snapshots(asked.folder, asked.store).of(asked.spec)
    if there is None:
        raise StateError(f"{asked.spec.name} reads no snapshot of the social graph")
    open_all(there)
    return there


__all__ = [
    "AS_OF",
    "Followed",
    "beside",
    "is_marker",
    "list_markers",
    "marker_of",
    "open_all",
    "open_shard",
    "opened",
    "read_shard",
    "read_snapshots",
    "seen_by",
]
