"""The model bundle that a worker scores with now: a fixed one, or the one that a store serves.

A store's pointer is looked at every few seconds, between two batches, so a batch is scored by one
bundle. A bundle that cannot be loaded, or that reads other features than the first one did, changes
nothing: the old one goes on, and what was wrong is logged once. Bundles of another filesystem of
Beam's (an object store) are copied to this machine's disk first, pointer and manifest included.
"""

from __future__ import annotations

import functools
import json
import logging
import os
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

from apache_beam.io.filesystem import BeamIOError
from apache_beam.io.filesystems import FileSystems

from configs.errors import BundleError
from scoring.bundle import load_bundle
from scoring.manifest import MANIFEST
from scoring.scorer import Scorer
from scoring.store import POINTER, Store
from transforms.signature import find_unlike, input_fingerprints

POLL_SECONDS = 10.0
_log = logging.getLogger(__name__)


class Serving:
    """Gives the scorer of the bundle that serves.

    Args:
      place: folder of a bundle, which never changes; or of a store, whose pointer is followed. A
        path, or a URL of a filesystem that Beam knows.
      poll_seconds: how long the pointer is trusted.
      clock: seconds, not falling.

    Raises:
      BundleError: there is no bundle, or it is damaged.
    """

    def __init__(
        self,
        place: str,
        poll_seconds: float = POLL_SECONDS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._place, self._poll_seconds, self._clock = place, poll_seconds, clock
        self._lock = threading.Lock()
        self._refused = self._logged = ""
        self.swaps = 0
        self.refusals = 0
        self._followed = not _exists(place, MANIFEST)
        self._scorer = Scorer(load_bundle(_folder(place, self._followed)))
        self._inputs = input_fingerprints(self._scorer.bundle.spec)
        self._looked = clock()

    def current(self) -> Scorer:
        """The scorer to use for the next batch, the whole of it.

        While one thread loads a new bundle the others go on with the old one.
        """
        due = self._followed and self._clock() - self._looked >= self._poll_seconds
        if due and self._lock.acquire(blocking=False):
            try:
                self._follow()
            finally:
                self._looked = self._clock()
                self._lock.release()
        return self._scorer

    def _follow(self) -> None:
        name = ""
        try:
            name = _pointed(self._place)
            if name in (self._scorer.bundle.fingerprint, self._refused):
                return
            scorer = Scorer(load_bundle(_folder(self._place, followed=True)))
            unlike = find_unlike(scorer.bundle.spec, self._inputs)
            if unlike:
                raise BundleError(
                    f"{name} reads {unlike}: this job does not make it; start the job anew with it"
                )
        except (BundleError, OSError, BeamIOError) as error:
            if str(error) != self._logged:
                _log.error("%s goes on serving: %s", self._scorer.bundle.fingerprint, error)
                self._logged, self.refusals = str(error), self.refusals + 1
            # What could not be read may be read later; what is wrong with a bundle stays.
            self._refused = name if isinstance(error, BundleError) else ""
            return
        _log.warning("%s serves after %s", name, self._scorer.bundle.fingerprint)
        self._scorer, self._refused, self._logged = scorer, "", ""
        self.swaps += 1


@functools.lru_cache(maxsize=4)
def shared_serving(place: str, poll_seconds: float) -> Serving:
    """One `Serving` for all steps and threads of this process."""
    return Serving(place, poll_seconds)


def _folder(place: str, followed: bool) -> Path:
    """A bundle's folder on this machine."""
    local = Path(_mirror(place) if "://" in place else place)
    if not followed:
        if "://" in place:
            _copy_bundle(place, local)
        return local
    if "://" in place:
        name = _pointed(place)
        _copy_bundle(str(FileSystems.join(place, name)), local / name)
        _copy(str(FileSystems.join(place, POINTER)), local / POINTER)
    return Store(local).path("serving")


def _pointed(place: str) -> str:
    """Name of the bundle that a store's pointer names."""
    if "://" not in place:
        name = Store(Path(place)).serving()
    elif _exists(place, POINTER):
        with FileSystems.open(str(FileSystems.join(place, POINTER))) as file:
            name = json.loads(file.read()).get("serving")
    else:
        name = None
    if not isinstance(name, str):
        raise BundleError(
            f"{place} is no bundle (it has no {MANIFEST}), and no store whose pointer names one; "
            "`lockstep bundle promote` makes a bundle serve"
        )
    return name


def _exists(folder: str, name: str) -> bool:
    path = str(FileSystems.join(folder, name))
    return os.path.exists(path) if "://" not in path else bool(FileSystems.exists(path))


@functools.lru_cache(maxsize=16)
def _mirror(place: str) -> str:
    """A folder of this process for what it copies of a place."""
    return tempfile.mkdtemp(prefix="lockstep-bundles-")


def _copy_bundle(place: str, folder: Path) -> None:
    """Copies a bundle; its manifest says of which files it is made. `load_bundle` verifies."""
    _copy(str(FileSystems.join(place, MANIFEST)), folder / MANIFEST)
    try:
        names = list(json.loads((folder / MANIFEST).read_text())["files"])
    except (ValueError, KeyError, TypeError) as error:
        raise BundleError(f"{place}: {MANIFEST} is damaged; copy the bundle anew") from error
    for name in names:
        target = folder / name
        if not target.resolve().is_relative_to(folder.resolve()):
            raise BundleError(f"{place}: {MANIFEST} names a file outside; copy the bundle anew")
        _copy(str(FileSystems.join(place, *name.split("/"))), target)


def _copy(source: str, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    with FileSystems.open(source) as file:
        target.write_bytes(file.read())
