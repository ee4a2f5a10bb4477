"""The model bundle that a worker scores with now: a fixed one, or the one that a store serves.

A store's pointer is looked at every few seconds, between two batches, so a batch is scored by one
bundle. A bundle that cannot be loaded, or that reads other features than the first one did, changes
nothing: the old one goes on, and what was wrong is logged once.
"""

from __future__ import annotations

import functools
import logging
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from apache_beam.io.filesystem import BeamIOError

from configs.errors import BundleError
from scoring.bundle import load_bundle
from scoring.controls import NONE, read_controls
from scoring.files import exists, join
from scoring.manifest import MANIFEST
from scoring.scorer import Scorer
from scoring.store import Store, fetch_bundle
from transforms.campaigns.lookup import naming_fingerprint
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
      counted: columns of events by which the actions that are given are counted; a bundle whose
        limits need another one is refused. None: nobody acts on the decisions, so any will do.
      named: fingerprint of the campaigns whose columns events have; a bundle whose decisions name
        others is refused. None: nobody names any.

    Raises:
      BundleError: there is no bundle, or it or the store's controls are damaged, or it has limits
        that are not counted.

    Attributes:
      controls: of the store, as it was looked at last; whoever acts decides under them.
    """

    def __init__(
        self,
        place: str,
        poll_seconds: float = POLL_SECONDS,
        clock: Callable[[], float] = time.monotonic,
        counted: Sequence[str] | None = None,
        named: str | None = None,
    ) -> None:
        self._counted, self._named = counted, named
        self._place, self._poll_seconds, self._clock = place, poll_seconds, clock
        self._lock = threading.Lock()
        self._refused, self._logged = "", dict[str, str]()
        self.swaps = 0
        self.refusals = 0
        self._followed = not exists(join(place, MANIFEST))
        self._scorer = self._load()
        self._inputs = input_fingerprints(self._scorer.bundle.spec)
        self.controls = read_controls(place) if self._followed else NONE
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
        try:  # damaged controls hold up no bundle, such as one that is rolled back to
            self.controls = read_controls(self._place)
            self._logged.pop("controls", None)
        except (BundleError, OSError, BeamIOError) as error:
            self._report("controls", error)
        name = ""
        try:
            name = _pointed(self._place)
            if name in (self._scorer.bundle.fingerprint, self._refused):
                return
            scorer = self._load()
            unlike = find_unlike(scorer.bundle.spec, self._inputs)
            if unlike:
                raise BundleError(
                    f"{name} reads {unlike}: this job does not make it; start the job anew with it"
                )
        except (BundleError, OSError, BeamIOError) as error:
            self._report("bundle", error)
            # What could not be read may be read later; what is wrong with a bundle stays.
            self._refused = name if isinstance(error, BundleError) else ""
            return
        _log.warning("%s serves after %s", name, self._scorer.bundle.fingerprint)
        self._scorer, self._refused = scorer, ""
        self._logged.pop("bundle", None)
        self.swaps += 1

    def _load(self) -> Scorer:
        scorer = Scorer(load_bundle(_folder(self._place, self._followed)))
        if self._named not in (None, naming_fingerprint(scorer.bundle.spec) or self._named):
            raise BundleError(
                f"decisions of {scorer.bundle.fingerprint} name their campaign (campaigns."
                "name_decisions), and this job does not read events by its section campaigns, as "
                "the bundle it was started with had none or another one; start the job anew with "
                "this bundle"
            )
        for action in scorer.bundle.spec.policy.actions:
            if self._counted is None or action.limit is None or action.limit.per in self._counted:
                continue
            lacks = f"does not read {action.limit.per!r}" if self._counted else "counts no actions"
            raise BundleError(
                f"{scorer.bundle.fingerprint} limits how often {action.name!r} is given "
                f"(policy.actions.{action.name}.limit), and this job {lacks}, as the bundle it was "
                "started with did not ask for it; start the job anew with this bundle, in a fresh "
                "--state, or promote one without this limit"
            )
        return scorer

    def _report(self, about: str, error: Exception) -> None:
        """Logs what is wrong, once."""
        if self._logged.get(about) != str(error):
            _log.error("%s goes on serving: %s", self._scorer.bundle.fingerprint, error)
            self._logged[about] = str(error)
            self.refusals += 1


@functools.lru_cache(maxsize=4)
def shared_serving(
    place: str,
    poll_seconds: float,
    counted: tuple[str, ...] | None = None,
    named: str | None = None,
) -> Serving:
    """One `Serving` for all steps and threads of this process."""
    return Serving(place, poll_seconds, counted=counted, named=named)


def _folder(place: str, followed: bool) -> Path:
    """A bundle's folder on this machine."""
    return fetch_bundle(join(place, _pointed(place)) if followed else place)


def _pointed(place: str) -> str:
    """Name of the bundle that a store's pointer names."""
    name = Store(place).serving()
    if name is None:
        raise BundleError(
            f"{place} is no bundle (it has no {MANIFEST}), and no store whose pointer names one; "
            "`lockstep bundle promote` makes a bundle serve"
        )
    return name
