"""First decisions on disk: what was decided at an event's arrival, before it was folded.

What a micro-batch brings anew is looked at (`scoring.arrival`), appended to a log of its own and
flushed, and then published, behind the loop (`behind`); so a first decision has one form for ever,
as one in order has. The log is the scorer's (`journal`), with the events as they came, scored or
not:

    STATE/at_arrival/log/…     a step per look; `folded`: the number of the next step of STATE/log,
                               so that a replay knows the state that it saw; `oldest`: the first
                               step whose events may still wait
    STATE/at_arrival/cursor    the last one that was published

A restart reads it from `oldest` on: events of the arrival log that are in it have been decided.
"""

from __future__ import annotations

import functools
import json
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from configs.schema import EVENT_ID, EVENT_TIME, Spec
from pipelines.layout import day_of
from pipelines.streaming.behind import Behind, Works
from pipelines.streaming.decisions import encode_decisions
from pipelines.streaming.journal import Journal, LoggedStep, list_segments, read_steps
from scoring.arrival import Arrived, Decided, Waiting, look, unseen
from scoring.columns import matrix, spread
from scoring.controls import Withheld
from scoring.engine import (
    ACTION,
    BUNDLE,
    DECISION,
    INPUTS,
    NUMERIC,
    SCORE,
    SCORED,
    SEQUENCE,
    WITHHELD,
    Engine,
    Outcome,
    log_batch,
    logged_events,
)
from scoring.scorer import Scored
from transforms.ticks import LATE

FOLDER = "at_arrival"
FOLDED, OLDEST, RAW = "folded", "oldest", "raw"
_ANY = 1 << 62  # jobs


class AtArrival:
    """Decides what arrives, and knows what was decided until it is folded.

    Args:
      root: the state folder.
      publish: returns when the server has the messages.
      write: `disk.retry_until_written` of the folder, for a write that is named.
      looks: false: nothing is decided at its arrival any more; what was stands.
      works: logs and publishes behind the loop.
    """

    def __init__(
        self,
        root: Path,
        publish: Callable[[Sequence[bytes]], object],
        write: Callable[[str, Callable[[], None]], None],
        looks: bool = True,
        works: Works | None = None,
    ) -> None:
        self.looks = looks
        self._works = works or Behind()
        self.decided = Decided()
        self._publish, self._write = publish, write
        self._journal = Journal(root / FOLDER)
        self._waiting: Waiting | None = None
        self._step_of: dict[str, int] = {}  # event that waits -> step, in order of steps
        self._step, self._logged = _recover(root)

    def republish(self) -> None:
        """Publishes what was logged and perhaps not published; the same bytes."""
        for step, messages in self._journal.unpublished():
            self._send(step, messages)

    def decide(
        self,
        engine: Engine,
        came: Sequence[pa.RecordBatch],
        step: int,
        published: Callable[[Outcome], None] = lambda outcome: None,
    ) -> None:
        """Decides what is new; it is logged, and then published, behind the loop.

        Args:
          engine: that decides now.
          came: decoded events.
          step: the number of the next step of the scorer's own log.
          published: called, perhaps from another thread, once the decisions are.

        Raises:
          BaseException: what kept a look before from being logged or published.
        """
        waiting = self._now(engine)
        fresh = unseen(engine, waiting, pa.concat_batches(list(came)))
        if self._logged:
            fresh = self._known(engine, waiting, fresh)
        if not fresh.num_rows or not self.looks:
            return
        outcome, arrived = look(engine, waiting, fresh)
        count = fresh.num_rows
        messages = encode_decisions(engine.spec, outcome, engine.scorer, [0] * count)
        number = self._step
        oldest = next(iter(self._step_of.values()), number)
        batch = _log_batch(outcome, number, messages, step, oldest)
        day = day_of(int(np.max(fresh.column(EVENT_TIME).to_numpy())))
        self._works.put(
            lambda: self._write("the log", lambda: self._journal.append(number, batch, day)),
            lambda: self._send(number, [one for one in messages if one is not None]),
            lambda: published(outcome),
        )
        waiting.add(arrived)
        self.decided.add(engine.spec, outcome, arrived)
        self._step_of |= dict.fromkeys(fresh.column(EVENT_ID).to_pylist(), number)
        self._step += 1

    def settle(self, ids: pa.Array | None = None) -> None:
        """Returns when the first decisions on some events, or all, are logged and published.

        Before that no step may say that they are folded: after a kill it would have them decided.

        Raises:
          BaseException: what keeps them from it.
        """
        if ids is None:
            self._works.settle()
            return
        last = max((self._step_of.get(one, -1) for one in ids.to_pylist()), default=-1)
        self._works.settle(max(0, self._step - 1 - last) if last >= 0 else _ANY)

    def revisions(self, outcome: Outcome) -> list[int | None] | None:
        """As `Decided.revisions`; None where decisions have none: no event was decided at arrival.

        Args:
          outcome: of a step.
        """
        made = self.decided.revisions(outcome)
        return made if self.looks or any(one != 0 for one in made) else None

    def folded(self, ids: pa.Array) -> None:
        """These have been folded, and logged with what was decided then."""
        gone = ids.to_pylist()
        if self._waiting is not None:
            self._waiting.forget(gone)
        self.decided.forget(gone)
        for event in gone:
            self._step_of.pop(event, None)

    def forget(self, written_before_s: float) -> None:
        """Drops the oldest segments; see `Journal.forget`."""
        oldest = next(iter(self._step_of.values()), self._step)
        self._journal.forget(oldest - 1, written_before_s)

    def resume(self) -> None:
        """After a failure: what was decided and is not logged or published yet is, now.

        Raises:
          BaseException: what keeps it from that.
        """
        self._works.resume()
        self._works.settle()

    def close(self) -> None:
        """Closes the log, once all that was decided is in it and published."""
        self._works.close()
        self._journal.close()

    def _now(self, engine: Engine) -> Waiting:
        """What waits, by the spec that decides now: another bundle may fold otherwise."""
        if self._waiting is None:
            self._waiting = Waiting(engine.spec, engine.plans)
        self._waiting = self._waiting.under(engine.spec, engine.plans)
        return self._waiting

    def _known(self, engine: Engine, waiting: Waiting, fresh: pa.RecordBatch) -> pa.RecordBatch:
        """Takes out what an earlier process has decided: it waits, and is not decided again."""
        ids = fresh.column(EVENT_ID).to_pylist()
        known = np.array([event in self._logged for event in ids], np.bool_)
        if not known.any():
            return fresh
        waiting.add(Arrived.of(engine.spec, engine.plans, fresh.filter(pa.array(known))))
        wanted: dict[int, list[str]] = {}
        steps = {id(step): step for step in self._logged.values()}
        for event, is_known in zip(ids, known, strict=True):
            if is_known:
                wanted.setdefault(id(self._logged[event]), []).append(event)
        for key in sorted(wanted, key=lambda one: steps[one].number):
            step = steps[key]
            mask = pc.is_in(step.batch.column(EVENT_ID), value_set=pa.array(wanted[key]))
            self.decided.add(engine.spec, logged_outcome(engine.spec, step.batch.filter(mask)))
            self._step_of |= dict.fromkeys(wanted[key], step.number)
            for event in wanted[key]:
                del self._logged[event]
        return fresh.filter(pa.array(~known))

    def _send(self, step: int, messages: Sequence[bytes]) -> None:
        if messages:
            self._publish(list(messages))
        self._write("the cursor", functools.partial(self._journal.mark_published, step))


def read_looks(root: Path, after: int = -1) -> Iterator[LoggedStep]:
    """The looks of a state folder, in order; none where nothing was decided at arrival."""
    return read_steps(root / FOLDER, after) if (root / FOLDER).is_dir() else iter(())


def logged_outcome(spec: Spec, batch: pa.RecordBatch) -> Outcome:
    """A look as it was logged."""
    mask = batch.column(SCORED).to_numpy(zero_copy_only=False)
    events = logged_events(spec, batch)
    events = events.append_column(LATE, batch.column(LATE)).append_column(SCORED, pa.array(mask))
    chosen = batch.filter(pa.array(mask))
    actions = chosen.column(ACTION).to_pylist()
    names = tuple(sorted(set(actions)))
    scored = Scored(
        np.asarray(matrix(chosen.column(INPUTS), np.float32), np.float32),
        chosen.column(RAW).to_numpy(zero_copy_only=False),
        chosen.column(SCORE).to_numpy(zero_copy_only=False),
        np.array([names.index(one) for one in actions], np.int8),
        names,
        _logged_withheld(chosen),
    )
    return Outcome(
        events,
        np.asarray(matrix(chosen.column(NUMERIC), np.float32), np.float32),
        np.asarray(matrix(chosen.column(SEQUENCE), np.int64), np.int64),
        scored if chosen.num_rows else None,
        batch.column(BUNDLE)[0].as_py() if batch.num_rows else "",
        0,
    )


def _logged_withheld(chosen: pa.RecordBatch) -> dict[int, Withheld]:
    """What was held back of scored rows; the action that it was to be is in the decision."""
    if WITHHELD not in chosen.schema.names:
        return {}  # of a log from before there were controls
    made = {}
    for row, by in enumerate(chosen.column(WITHHELD).to_pylist()):
        if by is not None:
            decision = json.loads(chosen.column(DECISION)[row].as_py())
            made[row] = Withheld(decision.get("withheld", {}).get("action", ""), by)
    return made


def _log_batch(
    outcome: Outcome, step: int, messages: Sequence[bytes | None], folded: int, oldest: int
) -> pa.RecordBatch:
    batch = log_batch(outcome, step, messages)
    mask = batch.column(SCORED).to_numpy(zero_copy_only=False)
    raw = outcome.scored.raw if outcome.scored is not None else np.empty(0, np.float32)
    flat = spread(raw[:, None], mask).flatten() if len(raw) else pa.array([], pa.float32())
    index = pa.array(np.cumsum(mask) - 1, mask=~mask)
    column = flat.take(index) if len(raw) else pa.nulls(len(mask), pa.float32())
    batch = batch.append_column(RAW, column)
    for name, number in ((FOLDED, folded), (OLDEST, oldest)):
        batch = batch.append_column(name, pa.array(np.full(len(mask), number, np.int64)))
    return batch


def _recover(root: Path) -> tuple[int, dict[str, LoggedStep]]:
    """The number of the next look, and the looks at events that may still wait, by id."""
    segments = list_segments(root / FOLDER)
    last = None
    for first, _ in reversed(segments):
        last = next(iter(deque(read_steps(root / FOLDER, first - 1), maxlen=1)), None)
        if last is not None:
            break
    if last is None:
        return 0, {}
    oldest = int(last.batch.column(OLDEST)[0].as_py())
    known = {
        event: step
        for step in read_steps(root / FOLDER, oldest - 1)
        for event in step.batch.column(EVENT_ID).to_pylist()
    }
    return last.number + 1, known
