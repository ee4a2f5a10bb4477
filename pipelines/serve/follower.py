"""The scorer's state in another process: its newest snapshot, and what its logs said since.

What the scorer has folded is in STATE/log, what has arrived and waits for its order in
STATE/arrivals. A fold is a pure function of the log (`pipelines.streaming.restore`), so the
follower has the scorer's state bit for bit, a moment later; and it cannot change it, since it only
reads.
What has arrived is taken up at every `poll`. Steps are folded now and then, several as one: an
event that waits is seen as one that is folded, as long as none is out of order. Where one is late,
what was folded before it came is folded first.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from configs.errors import StateError
from configs.schema import EVENT_ID, EVENT_TIME
from pipelines.pubsub.leases import LONGEST_LEASE_S, remembered_for
from pipelines.serve.tail import ArrivalTail, DivergedError, StepTail
from pipelines.streaming.arrivals import ArrivalRecord
from pipelines.streaming.journal import Journal, LoggedStep
from pipelines.streaming.restore import Restored, restore
from pipelines.streaming.start import night_end_us
from scoring.arrival import Waiting, unseen
from scoring.ask import ask
from scoring.engine import Engine, Outcome, arrivals_done, expired_before
from scoring.limits import rules_of
from scoring.locks import LOCK
from scoring.scorer import Scorer
from transforms.decode import Decoded, decode_json
from transforms.social.as_of import NO_SNAPSHOTS, Snapshots
from transforms.ticks import LATE

_FOLD_S = 0.5
# By the clock, and for as long as any scorer does: of which lease this one's is, no file tells.
_REMEMBER_S = remembered_for(LONGEST_LEASE_S)
_TRIES = 5


class Follower:
    """A scorer's state, and what waits for its order.

    Args:
      root: the scorer's state folder.
      scorer: that decides.
      decode: payloads to events; None: by the spec of the bundle.
      ahead_us: as the scorer's `--ahead-seconds`; events that came further ahead are no events.
      snapshots: of the social graph.

    Attributes:
      first_us: earlier events are those of the night that the state began with; None: none are.
      decode: payloads to events.
      engine: with the state, and the scorer that decides.
      waiting: what has arrived and is not folded.
      steps: how many steps of the log are folded.

    Raises:
      StateError: the folder holds no state, or another spec's, or damaged logs.
    """

    def __init__(
        self,
        root: Path,
        scorer: Scorer,
        decode: Callable[[Sequence[bytes]], Decoded] | None = None,
        ahead_us: int | None = None,
        snapshots: Snapshots = NO_SNAPSHOTS,
    ) -> None:
        self._root, self._ahead_us = root, ahead_us
        spec = scorer.bundle.spec
        night_us = night_end_us(root)
        self.first_us = None if night_us is None else night_us - spec.events.dedup_us
        self.decode = decode or (lambda payloads: decode_json(spec, payloads, "request"))
        restored = self._restored(scorer)
        self._folds = Engine(spec, restored.resident, None)
        self.engine = Engine(spec, restored.resident, scorer, snapshots)
        self.waiting = Waiting(spec, self.engine.plans)
        self.steps = restored.next_step
        self._done = restored.done
        self._message_of: dict[str, int] = {}  # of the arrival log, for each event that waits
        self._arrivals = ArrivalTail(root, restored.done)
        self._tail = StepTail(root, restored.next_step - 1)
        self._pending: list[LoggedStep] = []
        self._broken = False
        self._folded_s = time.monotonic()
        self._reached: deque[tuple[float, int]] = deque()  # (clock, event time that was folded)

    def poll(self, now_s: float, fold_s: float = _FOLD_S) -> bool:
        """Takes up what has come; whether anything had.

        Args:
          now_s: a steady clock.
          fold_s: steps are folded so long after the last time.

        Raises:
          DivergedError: begin again (`pipelines.serve.tail`).
        """
        self._require_whole()
        steps = self._tail.poll()  # before arrivals: what a step folds has arrived
        arrived = self._arrivals.poll()
        if arrived:
            self._wait(arrived)
        self._pending += steps
        if self._pending and (now_s - self._folded_s >= fold_s or self._late() or self._limits()):
            self._fold(now_s)
        return bool(arrived or steps)

    def swap(self, scorer: Scorer) -> None:
        """Decides with another bundle.

        Raises:
          StateError: it needs other state than there is.
        """
        self.engine.swap(scorer)
        self._folds = Engine(self.engine.spec, self.engine.resident, None)
        self.waiting = self.waiting.under(self.engine.spec, self.engine.plans)

    def ask(self, events: pa.RecordBatch) -> Outcome:
        """Decides events that are not folded; see `scoring.ask`.

        Raises:
          DivergedError: begin again.
        """
        self._require_whole()
        times = events.column(EVENT_TIME).to_numpy()
        if self._pending and len(times) and times.min() <= self._end_us():
            self._fold(self._folded_s)
        return ask(self.engine, self.waiting, events)

    def _require_whole(self) -> None:
        if self._broken:
            raise DivergedError("a step of the log could not be folded")

    def _end_us(self) -> int:
        """The latest event of the steps that are to be folded."""
        return max(int(pc.max(one.batch.column(EVENT_TIME)).as_py()) for one in self._pending)

    def _late(self) -> bool:
        """Whether some event is, or will be, folded after one that is later."""
        count = sum(one.batch.num_rows for one in self._pending)
        if any(bool(pc.any(one.batch.column(LATE)).as_py()) for one in self._pending):
            return True
        return bool((self.waiting.times() <= self._end_us()).sum() != count)

    def _limits(self) -> bool:
        """Whether answers hang on what was given, which only folding tells."""
        return bool(rules_of(self.engine.scorer))

    def _restored(self, scorer: Scorer) -> Restored:
        for _ in range(_TRIES):
            with contextlib.suppress(FileNotFoundError):  # the scorer has dropped that snapshot
                restored = restore(scorer.bundle.spec, Journal(self._root))
                if restored is not None:
                    return restored
                break
        raise StateError(f"{self._root} holds no scorer's state yet; start `lockstep stream` on it")

    def _wait(self, arrived: Sequence[ArrivalRecord]) -> None:
        """What has arrived and is not done waits, unless it is folded or waits already."""
        came = [
            (record.first + index, record.clock_us, message.data)
            for record in arrived
            for index, message in enumerate(record.messages)
            if record.first + index not in self._done
        ]
        made = self.decode([data for _, _, data in came])
        events, of = made.batch, made.positions
        if self._ahead_us is not None and events.num_rows:
            clock_us = np.array([clock_us for _, clock_us, _ in came], np.int64)
            taken = ~(earliest_by_record(made, len(came)) > clock_us + self._ahead_us)[of]
            events, of = events.filter(pa.array(taken)), of[taken]
        if self.first_us is not None and events.num_rows:
            taken = events.column(EVENT_TIME).to_numpy() >= self.first_us
            events, of = events.filter(pa.array(taken)), of[taken]
        if not events.num_rows:
            return
        fresh = unseen(self.engine, self.waiting, events)
        if fresh.num_rows:
            self.waiting.add_events(fresh)
            number = dict(zip(events.column(EVENT_ID).to_pylist(), of.tolist(), strict=True))
            for event in fresh.column(EVENT_ID).to_pylist():
                self._message_of[event] = came[number[event]][0]

    def _fold(self, now_s: float) -> None:
        """Folds steps, those that follow each other without an expiry as one."""
        self._broken = True  # until all of it is folded: what fails in between left half of it
        pending, self._pending = self._pending, []
        engine, gone = self._folds, list[str]()
        groups: list[list[pa.RecordBatch]] = []
        for step in pending:
            expired = expired_before(step.batch)
            if groups and expired is None and groups[-1][0].schema == step.batch.schema:
                groups[-1].append(step.batch)
            else:
                groups.append([step.batch])
        for group in groups:
            batch = pa.concat_batches(group)
            engine.fold_logged(batch)
            gone += batch.column(EVENT_ID).to_pylist()
            for one in group:
                self._done.add(arrivals_done(one))
        # A copy is never folded; that its message is done says that it need not wait either.
        gone += [event for event, number in self._message_of.items() if number in self._done]
        self.waiting.forget(gone)
        for event in gone:
            self._message_of.pop(event, None)
        self.engine.resident = engine.resident
        self.steps = pending[-1].number + 1
        self._folded_s = now_s
        self._forget_ids(now_s)
        self._broken = False

    def _forget_ids(self, now_s: float) -> None:
        position = self._folds.resident.position
        if position is not None and (not self._reached or now_s - self._reached[-1][0] >= 1.0):
            self._reached.append((now_s, position.time_us))
        while self._reached and now_s - self._reached[0][0] > _REMEMBER_S:
            self._folds.resident.recent.watermark(self._reached.popleft()[1])


def earliest_by_record(made: Decoded, count: int) -> npt.NDArray[np.int64]:
    """The earliest event's time of each of `count` records, int64; far off where there is none."""
    earliest = np.full(count, np.iinfo(np.int64).max)
    np.minimum.at(earliest, made.positions, made.batch.column(EVENT_TIME).to_numpy())
    return earliest


def scorer_runs(root: Path) -> bool:
    """Whether a scorer holds the folder, as far as its filesystem tells.

    The lock is asked for, shared, and let go at once; a scorer that starts in that very moment
    asks again (`scoring.locks`).
    """
    try:
        handle = os.open(root / LOCK, os.O_RDONLY)
    except OSError:
        return False
    try:
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
        return False
    except OSError:  # held, or a filesystem without locks
        return True
    finally:
        os.close(handle)
