"""A challenger beside the scorer: it scores what was decided, in its own thread, and never acts.

What it may cost is bounded. It takes at most a share of one core: after each batch the thread rests
until what it took is that share of the time. What comes meanwhile waits, up to a number of events;
what comes beyond that is dropped and counted. So the loop waits for nothing of it, and a challenger
that is too slow sees fewer events. Its log stands apart from the scorer's:

    STATE/shadow/date=2026-03-08/1773000000000000000-5f0c….parquet    rows of `scoring.shadow`

It is written every few seconds and not flushed: a scorer that is killed loses the last rows of its
shadow, and nothing else. No event is in it twice.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa

from configs.errors import StateError
from configs.schema import EVENT_TIME, Spec
from pipelines.files import parquet_bytes
from pipelines.layout import day_of
from pipelines.streaming.counts import Counts
from pipelines.streaming.failures import describe_failure
from pipelines.streaming.timings import Histogram
from scoring.engine import Outcome
from scoring.files import replace_file
from scoring.scorer import Scorer
from scoring.shadow import check_shadow, score_beside

FOLDER = "shadow"
SHARE = 0.25
_MOST_WAITING = 20_000  # events
_MOST_ROWS, _MOST_S = 20_000, 10.0  # of a file, whichever comes first
_JOIN_S = 20.0
_FAILED_S = 1.0  # what a failure counts as at least: no flood of work, nor of lines in the log
_LOGGER = logging.getLogger(__name__)


class Shadow:
    """Scores outcomes with a challenger.

    Args:
      scorer: of its bundle.
      root: the state folder.
      counts: `shadow_events` and `shadow_dropped` are counted here.
      seconds: what each batch took.
      share: of one core that it may take, above 0 and at most 1.
      keep_s: files that were written longer ago are removed.
      most_waiting: events that may wait.
      clock: seconds, not falling.
    """

    def __init__(
        self,
        scorer: Scorer,
        root: Path,
        counts: Counts,
        seconds: Histogram,
        share: float = SHARE,
        keep_s: float = 7 * 86_400.0,
        most_waiting: int = _MOST_WAITING,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.scorer, self.folder = scorer, root / FOLDER
        self._counts, self._seconds, self._share = counts, seconds, share
        self._keep_s, self._most_waiting, self._clock = keep_s, most_waiting, clock
        self._changed = threading.Condition()
        self._jobs: deque[tuple[Spec, Outcome, int]] = deque()
        self._waiting = 0
        self._rows: list[pa.RecordBatch] = []
        self._since: float | None = None  # the oldest row that is not written
        self._ended = False
        self._fits: tuple[Spec, bool] | None = None
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Scores from a thread, until `close`."""
        self._thread = threading.Thread(target=self._run, name="shadow", daemon=True)
        self._thread.start()

    def offer(self, spec: Spec, outcome: Outcome) -> None:
        """Lets the challenger see a step that was decided; returns at once.

        Args:
          spec: that the step was folded by.
        """
        count = 0 if outcome.scored is None else len(outcome.scored.score)
        if not count:
            return
        with self._changed:
            if not self._fit(spec) or self._ended or self._waiting + count > self._most_waiting:
                self._counts.shadow_dropped += count
                return
            self._jobs.append((spec, outcome, count))
            self._waiting += count
            self._changed.notify_all()

    def close(self) -> None:
        """Ends; what still waits is dropped, what was scored is written."""
        with self._changed:
            self._ended = True
            self._counts.shadow_dropped += sum(count for _, _, count in self._jobs)
            self._jobs.clear()
            self._changed.notify_all()
        if self._thread is not None:
            self._thread.join(_JOIN_S)

    def _fit(self, spec: Spec) -> bool:
        """Whether the challenger can see what this spec folds; looked at once for each."""
        if self._fits is None or self._fits[0] is not spec:
            try:
                check_shadow(spec, self.scorer.bundle.spec)
                self._fits = (spec, True)
            except StateError as error:  # another bundle was promoted meanwhile
                self._fits = (spec, False)
                name = self.scorer.bundle.fingerprint
                _LOGGER.error("the shadow %s sees nothing any more: %s", name, error)
        return self._fits[1]

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._ended or self._jobs, self._patience())
                ended = self._ended
                job = self._jobs.popleft() if self._jobs else None
            if job is not None:
                self._score(*job)
            if self._rows and (ended or self._is_due()):
                self._write()
            if ended:
                return

    def _score(self, spec: Spec, outcome: Outcome, count: int) -> None:
        began = self._clock()
        try:
            rows = score_beside(self.scorer, spec, outcome)
        except Exception as error:  # a challenger that fails must not end a scorer
            _LOGGER.error("the shadow could not score a step (%s)", describe_failure(error))
            self._done(count, scored=False)
            self._rest(max(_FAILED_S, self._clock() - began))
            return
        took = self._clock() - began
        self._seconds.add(took)
        if rows is not None:
            self._rows.append(rows)
            self._since = self._since if self._since is not None else self._clock()
        self._done(count, scored=True)
        self._rest(took)

    def _rest(self, took: float) -> None:
        """Until what it took is its share of the time; an end wakes it."""
        with self._changed:
            self._changed.wait_for(lambda: self._ended, took * (1.0 / self._share - 1.0))

    def _done(self, count: int, scored: bool) -> None:
        with self._changed:
            self._waiting -= count
            self._counts.shadow_events += count if scored else 0
            self._counts.shadow_dropped += 0 if scored else count

    def _is_due(self) -> bool:
        """Whether what was scored is to be written now."""
        late = self._since is not None and self._clock() - self._since >= _MOST_S
        return late or sum(one.num_rows for one in self._rows) >= _MOST_ROWS

    def _patience(self) -> float | None:
        """How long rows may still wait for more; None: there are none."""
        return None if self._since is None else self._since + _MOST_S - self._clock()

    def _write(self) -> None:
        """Writes what was scored; what cannot be written is dropped and counted."""
        table = pa.Table.from_batches(self._rows)
        self._rows, self._since = [], None
        day = day_of(int(table.column(EVENT_TIME)[-1].as_py()))
        name = f"{time.time_ns()}-{self.scorer.bundle.fingerprint}.parquet"
        path = self.folder / f"date={day}" / name
        try:
            replace_file(path, parquet_bytes(table).to_pybytes(), flush=False)
            self._forget(time.time() - self._keep_s)
        except OSError as error:
            with self._changed:
                self._counts.shadow_events -= table.num_rows
                self._counts.shadow_dropped += table.num_rows
            _LOGGER.error("the shadow log cannot be written (%s); rows are lost", error.strerror)

    def _forget(self, before_s: float) -> None:
        for path in self.folder.glob("date=*/*.parquet"):
            if path.stat().st_mtime < before_s:
                path.unlink(missing_ok=True)
