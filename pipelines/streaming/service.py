"""The scorer as a process: steps, log, publishing, snapshots and swaps, in the order that is safe.

What enters: micro-batches of an intake. What leaves: decisions on a topic, a log on disk, dead
letters; and, when `process` returns, the right to acknowledge. It lives outside the Beam pipelines,
which come and go in generations, and outside any one micro-batch: a batch that is handed out again
after a failure is not folded twice.
"""

from __future__ import annotations

import dataclasses
import functools
import logging
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Sequence
from typing import Protocol

import msgspec
import pyarrow.compute as pc

from configs.errors import BundleError, LockstepError, StateError
from pipelines.layout import day_of
from pipelines.pubsub.intake import DeadMessage, MicroBatch
from pipelines.streaming.decisions import encode_decisions
from pipelines.streaming.engine import LATE, Engine, Resident, log_batch
from pipelines.streaming.journal import Journal, save_snapshot
from pipelines.streaming.restore import snapshot_files
from scoring.bundle import load_bundle
from scoring.scorer import Scorer
from scoring.store import Store
from transforms.catalog import CATALOG

_LOGGER = logging.getLogger(__name__)
_WAITS_S = (0.2, 5.0)


class Publishes(Protocol):
    """What takes messages (`pipelines.pubsub.publisher.TopicPublisher`)."""

    def publish(self, data: Sequence[bytes]) -> list[str]:
        """Returns when the server has them."""


@dataclasses.dataclass(frozen=True)
class ServiceSettings:
    """How a scorer keeps house.

    Attributes:
      snapshot_steps: a snapshot is begun after so many steps.
      swap_poll_s: how often the store is asked which bundle serves.
      keep_log_days: of the newest days, for parity.
      remember_s: an id is remembered for so long after it was folded, beyond the horizon of event
        time; more than a lease.
    """

    snapshot_steps: int = 2000
    swap_poll_s: float = 1.0
    keep_log_days: int = 7
    remember_s: float = 90.0


class Service:
    """Processes micro-batches.

    Args:
      engine: with the state to go on from.
      journal: open for writing by this process alone.
      next_step: the number of the next step.
      decisions: where decisions go.
      dead: where dead messages go; None: the folder only.
      store: asked for the serving bundle; None: never swaps.
      stopping: asked while a full disk is waited for.
    """

    def __init__(
        self,
        engine: Engine,
        journal: Journal,
        next_step: int,
        decisions: Publishes,
        dead: Publishes | None = None,
        store: Store | None = None,
        settings: ServiceSettings | None = None,
        stopping: Callable[[], bool] = lambda: False,
    ) -> None:
        self.engine = engine
        self.counts: Counter[str] = Counter()
        self.seconds = {"score": 0.0, "log": 0.0, "publish": 0.0}
        self._journal, self._step = journal, next_step
        self._decisions, self._dead, self._store = decisions, dead, store
        self._settings = settings or ServiceSettings()
        self._stopping = stopping
        self._sequence = -1
        self._folded: deque[tuple[float, int]] = deque()  # (clock, event time that was reached)
        self._expire_us: int | None = None  # to be done before the next step
        self._expired_us: int | None = None  # done, and to be logged with the next step
        self._unpublished: list[tuple[int, list[bytes]]] = []
        self._snapshot_at = next_step + self._settings.snapshot_steps
        self._snapshot: threading.Thread | None = None
        self._asked_s = 0.0
        self._refused: str | None = None

    @property
    def next_step(self) -> int:
        """The number of the next step."""
        return self._step

    def republish(self, steps: Sequence[tuple[int, Sequence[bytes]]]) -> None:
        """Publishes decisions that an earlier process logged; the same bytes as then."""
        self._unpublished = [(step, list(data)) for step, data in steps]
        self._publish()

    def process(self, micro: MicroBatch) -> None:
        """Folds, scores, logs and publishes one micro-batch; then it may be acknowledged.

        Raises:
          InputError: the topic or the disk stays away, and the process is stopping.
        """
        self._swap_if_asked()
        if micro.sequence > self._sequence:
            self._take(micro)
            self._sequence = micro.sequence
        self._publish()
        if self._step >= self._snapshot_at:
            self.begin_snapshot()

    def begin_snapshot(self) -> None:
        """Copies the state, and writes it from a thread; one at a time."""
        if self._snapshot is not None and self._snapshot.is_alive():
            return
        self._snapshot_at = self._step + self._settings.snapshot_steps
        copied = self.engine.resident.copy()
        if copied.frontier is not None:
            self._expire_us = copied.frontier[0]
        self._snapshot = threading.Thread(
            target=self._write_snapshot, args=(copied, self._step - 1), daemon=True
        )
        self._snapshot.start()

    def close(self) -> None:
        """Ends with a snapshot, so that the next start has nothing to replay."""
        if self._snapshot is not None:
            self._snapshot.join()
        self._write_snapshot(self.engine.resident, self._step - 1)
        self._journal.close()

    def _take(self, micro: MicroBatch) -> None:
        if micro.dead:
            self._bury(micro.dead)
        if micro.batch.num_rows == 0:
            return
        if self._expire_us is not None:
            self.engine.expire(self._expire_us)
            self._expire_us, self._expired_us = None, self._expire_us
        started = time.perf_counter()
        outcome = self.engine.step(micro.batch, micro.late)
        self.seconds["score"] += time.perf_counter() - started
        self.counts["duplicates"] += outcome.duplicates
        self.counts["late"] += pc.sum(outcome.events.column(LATE)).as_py() or 0
        if outcome.events.num_rows == 0:
            return
        messages = encode_decisions(self.engine.spec, outcome, self.engine.scorer)
        batch = log_batch(outcome, self._step, messages, self._expired_us)
        day = day_of(int(batch.column("event_time")[0].as_py()))
        started = time.perf_counter()
        self._insist("the log", lambda: self._journal.append(self._step, batch, day))
        self.seconds["log"] += time.perf_counter() - started
        self._expired_us = None
        self._unpublished.append((self._step, messages))
        self._step += 1
        self.counts["events"] += batch.num_rows
        self.counts["decisions"] += len(messages)
        if outcome.scored is not None:
            self.counts.update(f"action {name}" for name in outcome.scored.actions())
        self._forget_ids()

    def _forget_ids(self) -> None:
        """Lets ids go by what was folded a while ago.

        Not by the intake's watermark, which runs ahead of what is folded: a second copy may be in
        the next micro-batch. And not at once: a message that was folded and not acknowledged
        comes again when its lease ends, and in a backlog event time passes faster than the clock.
        """
        now, frontier = time.monotonic(), self.engine.resident.frontier
        if frontier is not None and (not self._folded or now - self._folded[-1][0] >= 1.0):
            self._folded.append((now, frontier[0]))
        while self._folded and now - self._folded[0][0] > self._settings.remember_s:
            self.engine.resident.recent.watermark(self._folded.popleft()[1])

    def _publish(self) -> None:
        while self._unpublished:
            step, messages = self._unpublished[0]
            started = time.perf_counter()
            if messages:
                self._decisions.publish(messages)
            self.seconds["publish"] += time.perf_counter() - started
            self._insist("the cursor", functools.partial(self._journal.mark_published, step))
            del self._unpublished[0]

    def _bury(self, dead: Sequence[DeadMessage]) -> None:
        lines = b"".join(
            msgspec.json.encode(
                {
                    "stage": one.letter.stage,
                    "reason": one.letter.reason,
                    "column": one.letter.column,
                    "detail": one.letter.detail,
                    "message_id": one.message.message_id,
                }
            )
            + b"\n"
            for one in dead
        )
        self._insist("the dead letters", lambda: self._append_dead(lines))
        if self._dead is not None:
            self._dead.publish([one.message.data for one in dead])
        for one in dead:
            self.counts[f"dead {one.letter.reason}"] += 1

    def _append_dead(self, lines: bytes) -> None:
        with open(self._journal.root / "dead_letters.jsonl", "ab") as file:
            file.write(lines)

    def _insist(self, what: str, write: Callable[[], None]) -> None:
        """Writes, and waits while the disk is full or gone: nothing is acknowledged meanwhile."""
        wait = _WAITS_S[0]
        while True:
            try:
                write()
                return
            except OSError as error:
                if self._stopping():
                    raise StateError(
                        f"{what} in {self._journal.root} cannot be written ({error.strerror}); "
                        "what was not logged was not acknowledged, and comes again"
                    ) from error
                _LOGGER.warning(
                    "%s in %s cannot be written (%s); free space. Nothing is acknowledged; again "
                    "in %.1f s",
                    what,
                    self._journal.root,
                    error.strerror,
                    wait,
                )
                time.sleep(wait)
                wait = min(_WAITS_S[1], 2 * wait)

    def _write_snapshot(self, resident: Resident, step: int) -> None:
        try:
            save_snapshot(
                self._journal.root, step, snapshot_files(self.engine.spec, resident, step)
            )
            self._journal.forget(step, self._settings.keep_log_days)
        except OSError as error:
            _LOGGER.warning(
                "no snapshot in %s (%s); the log goes on, a restart only takes longer",
                self._journal.root,
                error.strerror,
            )

    def _swap_if_asked(self) -> None:
        """Looks which bundle serves, now and then; a bad one is told of once, and refused."""
        now = time.monotonic()
        if self._store is None or now - self._asked_s < self._settings.swap_poll_s:
            return
        self._asked_s = now
        scorer = self.engine.scorer
        try:
            wanted = self._store.serving()
        except BundleError as error:
            self._refuse("the pointer", error)
            return
        if wanted is None or wanted == self._refused:
            return
        if scorer is not None and wanted == scorer.bundle.fingerprint:
            return
        try:
            fresh = Scorer(load_bundle(self._store.path(wanted), CATALOG))
            self.engine.swap(fresh)
        except LockstepError as error:
            self._refuse(wanted, error)
            return
        self._refused = None
        self.counts["swaps"] += 1
        _LOGGER.warning("bundle %s decides from step %d on", wanted, self._step)

    def _refuse(self, wanted: str, error: LockstepError) -> None:
        if self._refused != wanted:
            _LOGGER.error("bundle %s is refused, the old one serves on: %s", wanted, error)
            self.counts["refused bundles"] += 1
        self._refused = wanted
