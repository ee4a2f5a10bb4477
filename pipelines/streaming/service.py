"""The scorer as a process: steps, log, publishing, snapshots and swaps, in the order that is safe.

What enters: micro-batches of an intake. What leaves: decisions on a topic, a log on disk, dead
letters; and, when `process` returns, the right to acknowledge. Where `process` raises, what is in
memory is no longer what is on disk; nothing goes on before `resume` has read it again (`recovery`).
"""

from __future__ import annotations

import dataclasses
import functools
import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import Protocol

import numpy as np
import pyarrow.compute as pc

from configs.errors import StateError
from configs.schema import EVENT_ID, EVENT_TIME
from pipelines.layout import day_of
from pipelines.pubsub.leases import remembered_for
from pipelines.pubsub.micro_batch import DeadMessage, MicroBatch
from pipelines.streaming.arrivals import ArrivalLog, Done
from pipelines.streaming.at_arrival import AtArrival
from pipelines.streaming.counts import Counts
from pipelines.streaming.dead_letters import DeadLetters
from pipelines.streaming.decisions import encode_decisions
from pipelines.streaming.disk import retry_until_written
from pipelines.streaming.journal import Journal, save_snapshot
from pipelines.streaming.restore import Restored, snapshot_files
from pipelines.streaming.shadow import Shadow
from pipelines.streaming.stopping import Stopping
from pipelines.streaming.timings import Timings
from pipelines.streaming.watch import BundleWatch
from scoring.engine import SCORED, Engine, Outcome, Resident, log_batch
from scoring.scorer import Scorer
from scoring.store import Store
from transforms.campaigns.lookup import fitting_campaigns
from transforms.social.as_of import Snapshots
from transforms.ticks import LATE

_LOGGER = logging.getLogger(__name__)

_MOST_UNLOGGED = 100_000  # messages that made no step, such as duplicates, between two snapshots


class Publishes(Protocol):
    """What takes messages (`pipelines.pubsub.publisher.TopicPublisher`)."""

    def publish(self, data: Sequence[bytes]) -> list[str]:
        """Returns when the server has them."""


@dataclasses.dataclass(frozen=True)
class ServiceSettings:
    """Retention and polling settings of a scorer.

    Attributes:
      snapshot_steps: a snapshot is begun after so many steps.
      swap_poll_s: how often the store is asked which bundle serves.
      keep_log_days: the log of what was decided in the last so many days by the clock of the
        machine, whatever the event times, stays for parity.
      remember_s: an id is remembered for so long after it was folded, beyond the horizon of event
        time; more than a lease.
      keep_dead_days: files of dead letters of the newest days.
    """

    snapshot_steps: int = 2000
    swap_poll_s: float = 1.0
    keep_log_days: float = 7
    remember_s: float = remembered_for(0)
    keep_dead_days: int = 30

    @classmethod
    def for_lease(
        cls, lease_s: int, keep_dead_days: int = 30, keep_log_days: float = 7
    ) -> ServiceSettings:
        """Remembers ids for longer than a lease, after which a message may come again.

        >>> [ServiceSettings.for_lease(lease_s).remember_s for lease_s in (30, 600)]
        [90.0, 1200.0]
        """
        return cls(
            remember_s=remembered_for(lease_s),
            keep_dead_days=keep_dead_days,
            keep_log_days=keep_log_days,
        )


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
      arrivals: the arrival log, of which decided segments are deleted; None: there is none.
      done: its messages that need nothing more.
      first: decides at arrival; None: decisions are made in order.

    Attributes:
      counts: of what was done.
      timings: how long it took.
      watch: of the store; its owner starts and stops it.
      shadow: sees each step after its decisions were published; its owner starts and closes it.
      failure: what `process` raised; until `resume`, nothing is processed.
    """

    def __init__(
        self,
        engine: Engine,
        journal: Journal,
        next_step: int,
        decisions: Publishes,
        dead: DeadLetters | None = None,
        store: Store | None = None,
        settings: ServiceSettings | None = None,
        stopping: Stopping | None = None,
        arrivals: ArrivalLog | None = None,
        done: Done | None = None,
        first: AtArrival | None = None,
    ) -> None:
        self.engine = engine
        self._first = first
        self.counts = Counts()
        self.timings = Timings()
        self.failure: BaseException | None = None
        self.shadow: Shadow | None = None
        self._journal, self._step = journal, next_step
        self._settings = settings or ServiceSettings()
        self._decisions = decisions
        self._dead = dead or DeadLetters(journal.root, None, self._settings.keep_dead_days)
        self._stopping = stopping or Stopping()
        self.watch = (
            BundleWatch(store, lambda: self.engine, self._settings.swap_poll_s, self.counts)
            if store is not None
            else None
        )
        self._arrivals, self._done = arrivals, done or Done()
        self._unlogged: list[int] = []  # messages that are done, for the next step to say so
        self._saved: Done | None = None  # those that a snapshot says are
        self._folded: deque[tuple[float, int]] = deque()  # (clock, event time that was reached)
        self._expire_us: int | None = None  # to be done before the next step
        self._expired_us: int | None = None  # done, and to be logged with the next step
        self._snapshot_at = next_step + self._settings.snapshot_steps
        self._snapshot: threading.Thread | None = None

    @property
    def decides_at_arrival(self) -> bool:
        """Whether it is to be told what arrives: it decides that, or goes by what was decided."""
        return self._first is not None

    @property
    def next_step(self) -> int:
        """The number of the next step."""
        return self._step

    def republish(self, steps: Iterable[tuple[int, Sequence[bytes]]]) -> None:
        """Publishes decisions that were logged and perhaps not published; the same bytes."""
        for step, messages in steps:
            self._publish(step, messages)

    def process(self, micro: MicroBatch) -> None:
        """Folds, scores, logs and publishes one micro-batch; then it is done.

        Raises:
          InputError: the topic refuses, or stays away and the process is stopping.
          StateError: the disk stays away and the process is stopping.
        """
        if self.failure is not None:
            raise StateError(
                "a micro-batch came after one that failed; resume the service from disk first"
            )
        try:
            self._take_saved()
            self.follow()
            self._decide_at_arrival(micro)
            if micro.dead:  # before the step says that they are done
                self._dead_letter(micro.dead)
            if not (micro.batch.num_rows and self._take(micro)):
                self._unlogged += micro.arrivals
            if self._step >= self._snapshot_at or len(self._unlogged) >= _MOST_UNLOGGED:
                self.begin_snapshot()
        except BaseException as failure:
            self.failure = failure
            raise
        self.counts.forced += micro.forced
        self.counts.redelivered += micro.redelivered

    def resume(self, restore: Callable[[], Restored]) -> None:
        """Goes on from what is on disk, as a fresh process would; `failure` is over then."""
        if self._snapshot is not None:
            self._snapshot.join()
        self._journal.close()
        restored = restore()
        self.engine.resident, self._done = restored.resident, restored.done
        self._step = restored.next_step
        self._folded.clear()
        self._expire_us = self._expired_us = None
        self._snapshot_at = self._step + self._settings.snapshot_steps
        if self._first is not None:
            self._first.resume()
        self.republish(restored.unpublished)
        self.failure = None

    def begin_snapshot(self) -> None:
        """Copies the state, and writes it from a thread; one at a time."""
        if self._snapshot is not None and self._snapshot.is_alive():
            return
        self._snapshot_at = self._step + self._settings.snapshot_steps
        copied, done = self.engine.resident.copy(), self._done.copy()
        done.add(self._unlogged)
        if self._first is not None:
            self._first.forget(time.time() - self._settings.keep_log_days * 86_400)
        if copied.position is not None:
            self._expire_us = copied.position.time_us
        self._snapshot = threading.Thread(
            target=self._write_snapshot,
            args=(copied, self._step - 1, done),
            daemon=True,
        )
        self._snapshot.start()

    def close(self) -> None:
        """Ends with a snapshot, so that the next start has nothing to replay.

        After a failure there is none: what is in memory is not to be kept.
        """
        if self._snapshot is not None:
            self._snapshot.join()
        if self.failure is None:
            if self._first is not None:
                self._first.settle()
            self._done.add(self._unlogged)
            self._write_snapshot(self.engine.resident, self._step - 1, self._done)
        if self._first is not None:
            self._first.close()
        self._journal.close()

    def _take(self, micro: MicroBatch) -> bool:
        """Folds, scores, logs and publishes; false where all were duplicates: there is no step."""
        if self._expire_us is not None:
            self.engine.expire(self._expire_us)
            self._expire_us, self._expired_us = None, self._expire_us
        started = time.perf_counter()
        first, engine = self._first, self.engine
        score = functools.partial(first.decided.score, engine) if first is not None else None
        outcome = engine.step(micro.batch, micro.late, score=score)
        self.timings.stages["score"].add(time.perf_counter() - started)
        self.counts.duplicates += outcome.duplicates
        self.counts.other_kind += outcome.other_kind
        self.counts.saturated.update(outcome.saturated)
        if outcome.events.num_rows == 0:
            return False
        revisions = first.revisions(outcome) if first is not None else None
        messages = encode_decisions(engine.spec, outcome, engine.scorer, revisions)
        done = [*self._unlogged, *micro.arrivals]
        batch = log_batch(outcome, self._step, messages, self._expired_us, done)
        times = batch.column(EVENT_TIME)
        position = self.engine.resident.position  # of folded time: late events come and go
        day = day_of(position.time_us if position else int(times[-1].as_py()))
        if first is not None:
            first.settle(micro.batch.column(EVENT_ID))
        started = time.perf_counter()
        self._until_written("the log", lambda: self._journal.append(self._step, batch, day))
        self.timings.stages["log"].add(time.perf_counter() - started)
        self._expired_us = None
        self._step += 1
        self._unlogged = []
        self._done.add(done)
        if first is not None:
            first.folded(micro.batch.column(EVENT_ID))
        if self._arrivals is not None:
            self._arrivals.forget(self._done.below)
        self.counts.events += batch.num_rows
        self.counts.late += pc.sum(outcome.events.column(LATE)).as_py() or 0
        self.counts.decisions += len(messages)
        self.counts.revisions += (revisions or []).count(1)
        if outcome.scored is not None:
            self.counts.actions.update(outcome.scored.actions().to_pylist())
            self.counts.withheld.update(one.by for one in outcome.scored.withheld.values())
        self._forget_ids(micro.doubtful_s)
        self._publish(self._step - 1, [one for one in messages if one is not None])
        if first is None or not first.looks:
            self._tell_delay(outcome)
        if self.shadow is not None:
            self.shadow.offer(engine.spec, outcome)
        return True

    def _decide_at_arrival(self, micro: MicroBatch) -> None:
        if self._first is None or not micro.arrived:
            return
        self._first.decide(self.engine, micro.arrived, self._step, self._tell_delay)

    def _take_saved(self) -> None:
        """A snapshot has come to disk, and what it says is done need not be logged any more."""
        saved, self._saved = self._saved, None
        if saved is not None:
            self._unlogged = [one for one in self._unlogged if one not in saved]
            self._done.merge(saved)

    def _tell_delay(self, outcome: Outcome) -> None:
        """How long after its event each decision had been published."""
        mask = outcome.events.column(SCORED).to_numpy(zero_copy_only=False)
        times = outcome.events.column(EVENT_TIME).to_numpy()[mask]
        if len(times):
            self.timings.decision.add_all(time.time() - np.asarray(times, np.float64) / 1e6)

    def _forget_ids(self, doubtful_s: float) -> None:
        """Lets ids go by what was folded a while ago.

        Not by the intake's watermark, which runs ahead of what is folded: a second copy may be in
        the next micro-batch. And not at once: a message that was folded and not acknowledged
        comes again when its lease ends, and in a backlog event time passes faster than the clock.
        Nor while the server may lack its ack, as long as that is (`doubtful_s`) and a while longer.
        """
        now, position = time.monotonic(), self.engine.resident.position
        if position is not None and (not self._folded or now - self._folded[-1][0] >= 1.0):
            self._folded.append((now, position.time_us))
        remember_s = self._settings.remember_s
        while self._folded and now - max(self._folded[0][0], doubtful_s) > remember_s:
            self.engine.resident.recent.watermark(self._folded.popleft()[1])

    def _publish(self, step: int, messages: Sequence[bytes]) -> None:
        started = time.perf_counter()
        if messages:
            self._decisions.publish(list(messages))
        self.timings.stages["publish"].add(time.perf_counter() - started)
        self._until_written("the cursor", functools.partial(self._journal.mark_published, step))

    def _dead_letter(self, dead: Sequence[DeadMessage]) -> None:
        self._until_written("the dead letters", lambda: self._dead.write(dead))
        self._dead.publish(dead)
        self.counts.dead_letters.update(one.letter.reason for one in dead)

    def _until_written(self, what: str, write: Callable[[], None]) -> None:
        retry_until_written(self._journal.root, what, write, self._stopping)

    def _write_snapshot(self, resident: Resident, step: int, done: Done) -> None:
        try:
            files = snapshot_files(self.engine.spec, resident, step, done)
            save_snapshot(self._journal.root, step, files)
            self._saved = done
            kept_s = self._settings.keep_log_days * 86_400
            self._journal.forget(step, time.time() - kept_s)
        except OSError as error:
            _LOGGER.warning(
                "no snapshot in %s (%s); the log goes on, a restart only takes longer",
                self._journal.root,
                error.strerror,
            )

    def _see(self, found: Snapshots | None) -> None:
        if found is None:
            return
        try:
            self.engine.publish(found)
        except StateError as error:  # a bundle was swapped meanwhile
            _LOGGER.error("snapshots of the social graph stay as they are: %s", error)
            return
        if self.engine.sees is not None:
            self.counts.graph_snapshots += 1
            newest = max(found.published, key=lambda one: one.known_from)
            _LOGGER.warning("snapshot %s is there from step %d on", newest.name, self._step)

    def follow(self) -> None:
        """Takes over what the store names now, between two micro-batches.

        Also where none comes: metrics and log show what is in force.
        """
        if self.watch is None:
            return
        fresh = self.watch.take()
        self._see(self.watch.take_snapshots())
        if fresh is not None:
            self._swap(self.watch, fresh)
        found = fitting_campaigns(self.watch.take_campaigns(), self.engine.spec)
        if found is not None:
            self.engine.campaigns = found

    def _swap(self, watch: BundleWatch, fresh: Scorer) -> None:
        before = self.engine.scorer
        try:
            self.engine.swap(fresh)
        except StateError as error:  # another swap came between
            watch.refuse(fresh, error)
            return
        name, controls = fresh.bundle.fingerprint, fresh.controls
        if before is None or before.bundle.fingerprint != name:
            self.counts.swaps += 1
            _LOGGER.warning("bundle %s decides from step %d on", name, self._step)
        if before is not None and before.controls != controls:
            said = controls.digest or "none"
            _LOGGER.warning("controls in force from step %d on: %s", self._step, said)
