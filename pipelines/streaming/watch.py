"""Which bundle is to serve: a thread asks the store, and loads the new one beside the old one.

What enters: a store, whose pointer others move. What leaves: a loaded, verified scorer, which the
service takes between two micro-batches. A bundle that is damaged or does not fit is told of once
and refused, and the old one serves on. It is looked at again when its files change, or when the
pointer has been elsewhere; a failure that may pass (a disk, memory) is tried again now and then.
So with snapshots of the social graph: the next one is mapped beside those that are seen. And with
those of campaigns, whose faults are logged and hold up nothing.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

from configs.errors import BundleError, LockstepError
from configs.schema import Spec
from pipelines.campaign_snapshots import campaigns_known
from pipelines.snapshots import beside, open_all, read_snapshots, seen_by
from pipelines.streaming.counts import Counts
from pipelines.streaming.failures import describe_failure
from scoring.bundle import load_bundle
from scoring.controls import NONE, Controls, read_controls
from scoring.controls import POINTER as CONTROLS
from scoring.engine import Engine
from scoring.files import join, stamps
from scoring.fits import check_events, check_fits
from scoring.scorer import Scorer
from scoring.store import POINTER, Store
from transforms.campaigns.lookup import CampaignsAsOf, naming_fingerprint
from transforms.catalog import CATALOG
from transforms.social.as_of import Snapshots

_LOGGER = logging.getLogger(__name__)
_JOIN_S = 20.0
_AGAIN_S = 30.0  # a failure that is none of the bundle's may have passed by then

Mark = tuple[str, tuple[tuple[str, int, float], ...]]
"""What was refused: a name, and its files as (name, size, time of change)."""


class BundleWatch:
    """Looks which bundle serves.

    Args:
      store: that is asked.
      engine: what decides now.
      poll_s: how often the thread looks.
      counts: `refused_bundles` are counted here.
    """

    def __init__(
        self, store: Store, engine: Callable[[], Engine], poll_s: float, counts: Counts
    ) -> None:
        self._store, self._engine, self._poll_s, self._counts = store, engine, poll_s, counts
        self._ready: Scorer | None = None
        self._controls: Controls | None = None  # of the store, as it was looked at last
        self._refused: Mark | None = None
        self._damaged: Mark | None = None  # controls that could not be read
        self._again_s: float | None = None
        self._snapshots: Snapshots | None = None
        self._snapshots_fault = self._campaigns_fault = ""
        self._campaigns: CampaignsAsOf | None = None
        self._failing = False
        self._ended = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Looks from a thread, until `stop`."""
        self._thread = threading.Thread(target=self._run, name="bundle-watch", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Looks no more; a load that is under way is waited for, within reason.

        A thread that is in the middle of TensorFlow when the interpreter ends may crash it.
        """
        self._ended.set()
        if self._thread is not None:
            self._thread.join(_JOIN_S)

    def take(self) -> Scorer | None:
        """The scorer that is to decide from now on; None: the one that does.

        A bundle is given out once, when it is loaded; controls at once.
        """
        ready, self._ready = self._ready, None
        now, controls = self._engine().scorer, self._controls
        scorer = ready or now
        if scorer is None:
            return None
        if controls is None:
            controls = now.controls if now is not None else NONE
        wanted = scorer.under(controls)
        return None if wanted is now else wanted

    def take_snapshots(self) -> Snapshots | None:
        """Snapshots of the social graph, where another one was published; None: nothing is new.

        Asked for after `take`, whose bundle may need them.
        """
        found, self._snapshots = self._snapshots, None
        return found

    def take_campaigns(self) -> CampaignsAsOf | None:
        """What names campaigns of events, where it is another than before; None: nothing is new."""
        found, self._campaigns = self._campaigns, None
        return found

    def look(self) -> None:
        """Asks once, and loads what is new; damaged controls hold up no bundle."""
        self._look_for_snapshots()
        self.look_for_campaigns(self._engine().spec)
        self._look_at_controls()
        try:
            wanted = self._store.serving()
        except (BundleError, OSError) as error:
            self._refuse((POINTER, stamps(join(self._store.root, POINTER))), error)
            return
        scorer = self._engine().scorer
        if wanted is None or (scorer is not None and wanted == scorer.bundle.fingerprint):
            self._refused = self._ready = None
            return
        if self._ready is not None and self._ready.bundle.fingerprint == wanted:
            return
        self._ready = None
        mark = self._mark(wanted)
        if mark == self._refused and (self._again_s is None or time.monotonic() < self._again_s):
            return
        try:
            self._ready = self._load(wanted)
        except Exception as error:  # of any library that loads: the old bundle serves on
            self._refuse(mark, error)
            return
        self._refused = None

    def _look_at_controls(self) -> None:
        try:
            self._controls = read_controls(self._store.root)
            self._damaged = None
        except (BundleError, OSError) as error:
            mark = (CONTROLS, stamps(join(self._store.root, CONTROLS)))
            if self._damaged != mark:
                self._report(CONTROLS, error)
            self._damaged = mark

    def _look_for_snapshots(self) -> None:
        """The next one is mapped beside those that are seen; a fault leaves things as they are."""
        engine = self._engine()
        try:
            found = seen_by(engine.spec, self._store.root)
            if found.published == engine.snapshots.published:
                return
            open_all(found.of(engine.spec))
        except (LockstepError, OSError) as error:
            said = str(error) if isinstance(error, LockstepError) else describe_failure(error)
            if said != self._snapshots_fault:
                _LOGGER.error("snapshots of the social graph stay as they are: %s", said)
            self._snapshots_fault = said
            return
        self._snapshots, self._snapshots_fault = found, ""

    def look_for_campaigns(self, spec: Spec) -> None:
        """Prepares those that a spec's events name theirs by; a fault leaves things as they are."""
        if naming_fingerprint(spec) is None:
            return
        engine = self._engine()
        now = engine.campaigns if isinstance(engine.campaigns, CampaignsAsOf) else None
        try:
            found = campaigns_known(spec, self._store.root, engine.resident.clock_us, now)
        except Exception as error:  # a decision that names none is better than none
            said = str(error) if isinstance(error, LockstepError) else describe_failure(error)
            if said != self._campaigns_fault:
                _LOGGER.error("snapshots of campaigns stay as they are: %s", said)
            self._campaigns_fault = said
            return
        self._campaigns_fault = ""
        if found is not now:
            self._campaigns = found

    def refuse(self, scorer: Scorer, error: LockstepError) -> None:
        """The engine would not take it."""
        self._refuse(self._mark(scorer.bundle.fingerprint), error)

    def _mark(self, bundle: str) -> Mark:
        """With the snapshots that are there: another one may be what the bundle needs."""
        try:
            there = read_snapshots(beside(self._store.root)).published
        except (LockstepError, OSError):
            there = ()
        snapshots = ((one.name, 0, float(one.known_from)) for one in there)
        return bundle, (*stamps(self._store.place(bundle)), *snapshots)

    def _load(self, wanted: str) -> Scorer:
        fresh = Scorer(load_bundle(self._store.path(wanted), CATALOG))
        if fresh.bundle.fingerprint != wanted:
            raise BundleError(
                f"{wanted} holds the bundle {fresh.bundle.fingerprint}; a bundle's folder has its "
                "name: copy it anew"
            )
        spec = self._engine().spec
        check_fits(spec, fresh.bundle.spec)
        check_events(spec, fresh.bundle.spec)
        found = seen_by(fresh.bundle.spec, self._store.root)
        open_all(found.of(fresh.bundle.spec))
        if found.published != self._engine().snapshots.published:
            self._snapshots = found  # before the bundle is given out, which needs them
        self.look_for_campaigns(fresh.bundle.spec)
        return fresh

    def _refuse(self, mark: Mark, error: Exception) -> None:
        name, _ = mark
        passes = not isinstance(error, LockstepError)
        self._again_s = time.monotonic() + _AGAIN_S if passes else None
        if self._refused != mark:
            self._report(name, error)
        self._refused = mark

    def _report(self, name: str, error: Exception) -> None:
        what = f"the file {name}" if name in (POINTER, CONTROLS) else f"bundle {name}"
        said = str(error) if isinstance(error, LockstepError) else type(error).__name__
        _LOGGER.error("%s is refused, what decided before decides on: %s", what, said)
        self._counts.refused_bundles += 1

    def _run(self) -> None:
        while not self._ended.wait(self._poll_s):
            try:
                self.look()
                self._failing = False
            except Exception as error:  # a thread that is gone would never swap again
                if not self._failing:
                    _LOGGER.error(
                        "looking which bundle serves failed (%s); the old bundle serves on, and "
                        "the store is asked again every %g s",
                        describe_failure(error),
                        self._poll_s,
                    )
                self._failing = True
