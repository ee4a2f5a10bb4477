"""Published snapshots of the social graph, as readers see them.

A snapshot exists when its marker does (`pipelines.graph`). Those that a scorer, parity and an
engine's job see are in the folder `graph` beside the store of bundles, where `lockstep graph` and
`lockstep nightly` put both: OUT/graph and OUT/bundles.
"""

from __future__ import annotations

import dataclasses
import functools
import json
import os
import threading
import time
from collections.abc import Callable

import pyarrow as pa
from apache_beam.io.filesystems import FileSystems

from configs.errors import InputError, StateError
from configs.schema import Spec
from pipelines.files import read_published
from scoring.files import Place, is_local, join, name_of, read_file
from transforms.social.as_of import AsOf, Published, Seen, Snapshots

GRAPH = "graph"
POLL_SECONDS = 10.0


def beside(bundles: Place) -> str:
    """The folder of snapshots that goes with a store of bundles.

    >>> beside("out/bundles"), beside("bundles")
    ('out/graph', './graph')
    """
    return join(os.path.dirname(str(bundles).rstrip("/")) or ".", GRAPH)


def read_snapshots(folder: Place) -> Snapshots:
    """The snapshots of a folder, which may not be there: then none.

    Raises:
      InputError: a marker is damaged.
    """
    made = tuple(_published(path, stamp) for path, stamp in _markers(str(folder)))
    return Snapshots(str(folder), made, open_shard)


def _markers(folder: str) -> list[tuple[str, float]]:
    """Paths of markers, and when each was written: one that is made anew is another."""
    if not is_local(folder):
        [match] = FileSystems.match([join(folder, "*.json")])
        return sorted((str(one.path), 0.0) for one in match.metadata_list)
    if not os.path.isdir(folder):
        return []
    there = [one for one in os.scandir(folder) if one.name.endswith(".json")]
    return sorted((join(folder, one.name), one.stat().st_mtime) for one in there)


@functools.lru_cache(maxsize=4096)
def open_shard(path: str) -> pa.Table:
    """A shard of a snapshot, mapped into memory where it is on a local disk.

    Raises:
      StateError: it holds other bytes than were published.
    """
    return read_published(path, StateError)


def open_all(snapshots: AsOf | None) -> None:
    """Checks and maps the newest snapshot's files, so that no event waits for it."""
    for path in snapshots.published[-1].files if snapshots is not None else ():
        snapshots.open(path)  # type: ignore[union-attr]


@functools.lru_cache(maxsize=4096)
def _published(marker: str, stamp: float) -> Published:
    """Of a marker, which is never changed."""
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
            f"{name_of(marker).removesuffix('.json')}"
        ) from error


@dataclasses.dataclass(eq=False)
class Followed:
    """What events see, in a job that lives for long: the folder is looked at now and then.

    Attributes:
      folder: of snapshots.
      spec: of the events.
      poll_seconds: how long what was seen is trusted.
      clock: seconds, not falling.
    """

    folder: str
    spec: Spec
    poll_seconds: float = POLL_SECONDS
    clock: Callable[[], float] = time.monotonic

    def look(self, events: pa.RecordBatch) -> Seen:
        """As `AsOf.look`.

        Raises:
          StateError: there is no snapshot that the spec could see.
        """
        return _followed(self).look(events)


_LOCK = threading.Lock()
_FOLLOWED: dict[tuple[str, str], tuple[float, AsOf]] = {}


def _followed(asked: Followed) -> AsOf:
    """Of all threads of a worker."""
    key, now = (asked.folder, asked.spec.name), asked.clock()
    with _LOCK:
        looked, there = _FOLLOWED.get(key, (0.0, None))
        if there is None or now - looked >= asked.poll_seconds:
            there = read_snapshots(asked.folder).of(asked.spec)
            if there is None:
                raise StateError(f"{asked.spec.name} reads no snapshot of the social graph")
            open_all(there)
            _FOLLOWED[key] = (now, there)
        return there


__all__ = ["Followed", "beside", "open_all", "open_shard", "read_snapshots"]
