"""A scorer's log as parity reads it: from a state that is known, in fold order, by range.

What enters: a scorer's state folder, which a running scorer may be writing, and a span. What
leaves: the state to begin from, and batches of logged events, each marked whether it lies in the
span. Nothing is written. The last step of a segment that is being written is whole or left out.

A decision lies in the span if the scorer's clock did: the latest event time that it had folded by
then, late events aside. That clock never goes back, so a span is one piece of the log.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from configs.errors import InputError
from configs.schema import Spec
from pipelines.layout import Days
from pipelines.streaming.journal import list_segments, list_snapshots, read_steps, require_segments
from pipelines.streaming.restore import ORIGIN, read_snapshot
from pipelines.streaming.shadow import FOLDER
from scoring.columns import NEVER_US, clock_of
from scoring.controls import split_name
from scoring.engine import BUNDLE, SCORE, Resident, expired_before

BATCH_EVENTS = 16_384


@dataclasses.dataclass(frozen=True)
class TimeSpan:
    """A half-open range of event time, microseconds UTC; None: no bound.

    >>> TimeSpan.parse("2026-03-01..2026-03-02") == TimeSpan.parse("2026-03-01T00..2026-03-03T00")
    True
    """

    start_us: int | None = None
    end_us: int | None = None

    @classmethod
    def parse(cls, text: str) -> TimeSpan:
        """Days, both included ("2026-03-01..2026-03-07", "2026-03-01"), or times.

        Times are UTC where they do not say otherwise, and the second one is not included:
        "2026-03-01T10:00..2026-03-01T12:00".

        Raises:
          InputError: neither.
        """
        if "T" not in text:
            days = Days.parse(text)
            return cls(days.start_us, days.end_us)
        first, _, last = text.partition("..")
        span = cls(_moment(first, text), _moment(last, text))
        if (span.start_us or 0) >= (span.end_us or 0):
            raise InputError(f"times {text!r}: the second one is not after the first; swap them")
        return span


@dataclasses.dataclass(frozen=True)
class Base:
    """Where a replay begins.

    Attributes:
      step: the last step that the state holds; -1: none.
      folder: of the snapshot; None: a cold start.
      night_end_us: the end of the day that the state came from, so that every event from then
        on belongs to the log; None: the state is the scorer's own, or empty.
    """

    step: int
    folder: Path | None
    night_end_us: int | None = None

    def state(self, spec: Spec) -> Resident:
        """The state after `step`.

        Raises:
          StateError: it is of another spec.
        """
        return read_snapshot(spec, self.folder) if self.folder else Resident.empty(spec)


@dataclasses.dataclass(frozen=True)
class LogBatch:
    """Logged events of one bundle, in fold order; keys were expired before the first one at most.

    Attributes:
      batch: `engine.log_batch` of some steps.
      bundle: what decided, as the log names it (`scoring.controls.decided_by`).
      inside: bool `[n]`, which lie in the span.
    """

    batch: pa.RecordBatch
    bundle: str
    inside: npt.NDArray[np.bool_]

    @property
    def fingerprint(self) -> str:
        """Of the model bundle."""
        return split_name(self.bundle)[0]


def find_base(state: Path, span: TimeSpan | None = None) -> Base:
    """The latest kept state from which every event of a span can be replayed.

    Where the log no longer reaches back to the span's start, the first state that it can be
    replayed from.

    Raises:
      InputError: there is no log, or no state to begin it with.
    """
    first = require_segments(state)[0][0]
    known = [_start(state / "start")]
    known += [Base(step, folder) for step, folder in list_snapshots(state) if step >= 0]
    usable = [base for base in known if base.step + 1 >= first]
    if not usable:
        raise InputError(
            f"{state} has a log from step {first} on and no snapshot from there; wait for the "
            "scorer's next snapshot, or give another --state"
        )
    if span is None or span.start_us is None:
        return usable[0]
    for base in reversed(usable[1:]):
        following = _first_time(state, base.step)
        if following is not None and following < span.start_us:
            return base
    return usable[0]


def logged_batches(state: Path, base: Base, span: TimeSpan | None = None) -> Iterator[LogBatch]:
    """The log from a base on, steps of one bundle together up to `BATCH_EVENTS`.

    Raises:
      StateError: a step is missing between two that are there.
      InputError: the log has lost the step after the base.
    """
    span = span or TimeSpan()
    held: list[pa.RecordBatch] = []
    inside: list[npt.NDArray[np.bool_]] = []
    bundle, rows, clock, expected = "", 0, NEVER_US, base.step + 1
    for step in read_steps(state, base.step):
        if step.number != expected:
            raise InputError(
                f"{state}: the log goes on at step {step.number}, expected {expected}; it was "
                "shortened meanwhile (only its newest days are kept). Start parity again"
            )
        expected += 1
        clocks = clock_of(step.batch, clock)
        clock = int(clocks[-1])
        if span.end_us is not None and clocks[0] >= span.end_us:
            break
        name = step.batch.column(BUNDLE)[0].as_py()
        expired = expired_before(step.batch) is not None
        other = name != bundle or expired or step.batch.schema != held[0].schema if held else False
        if held and (other or rows >= BATCH_EVENTS):
            yield LogBatch(_one(held), bundle, np.concatenate(inside))
            held, inside, rows = [], [], 0
        bundle = name
        held.append(step.batch)
        inside.append(_within(clocks, span))
        rows += step.batch.num_rows
    if held:
        yield LogBatch(_one(held), bundle, np.concatenate(inside))


def lost_before(state: Path, base: Base, span: TimeSpan | None = None) -> str:
    """What of a span is not compared, and why, in words; "" where nothing is missing.

    The log of a scorer is complete from its first step on until `--keep-log-days` shortens it; and
    of what it has, it is replayed from the first state on that was kept.
    """
    first = list_segments(state)[0][0]
    start_us = span.start_us if span is not None else None
    asked = f", of the range that begins at {_words(start_us)}," if start_us is not None else ""
    found = []
    deleted_us = _first_time(state, first - 1) if first > 0 else None
    if deleted_us is not None and (start_us is None or deleted_us >= start_us):
        found.append(
            f"decisions before step {first} (events up to {_words(deleted_us)}){asked} are not "
            "compared: their log was deleted (`lockstep stream --keep-log-days`)"
        )
    base_us = None
    if base.step >= first:  # the state may hold the whole log, as after a scorer's end
        base_us = _first_time(state, base.step) or newest_decision(state)
    if base_us is not None and (start_us is None or base_us >= start_us):
        found.append(
            f"decisions of steps {first} to {base.step} (events up to {_words(base_us)}){asked} "
            "are logged, but not compared: the state before them is not kept"
        )
    return "; ".join(found)


def nothing_in_range(state: Path, base: Base, span: TimeSpan | None) -> InputError:
    """The error of a range in which the log has nothing, with what it does have."""
    oldest = base if span is None or span.start_us is None else find_base(state)
    first_us, last_us = _first_time(state, oldest.step), newest_decision(state)
    lost = lost_before(state, base, span)
    if last_us is None:
        held = "it holds no decision yet"
    elif first_us is None:
        held = f"it holds none that can be compared, and others up to {_words(last_us)}"
    else:
        held = f"it holds decisions from {_words(first_us)} to {_words(last_us)}"
    return InputError(
        f"the log of {state} has no decision in this range; {held}. "
        + (f"{lost[:1].upper()}{lost[1:]}. " if lost else "")
        + "Give --days within that, or leave --days out"
    )


def _words(time_us: int) -> str:
    moment = dt.datetime(1970, 1, 1) + dt.timedelta(microseconds=time_us)
    return f"{moment:%Y-%m-%dT%H:%M:%S}"


def newest_decision(state: Path) -> int | None:
    """The scorer's clock at the last decision of its log; None where there is none."""
    for first, _ in reversed(list_segments(state)):
        newest, clock = None, NEVER_US
        for step in read_steps(state, first - 1):
            clocks = clock_of(step.batch, clock)
            clock = int(clocks[-1])
            scored = clocks[step.batch.column(SCORE).is_valid().to_numpy(zero_copy_only=False)]
            if len(scored) and scored[-1] != NEVER_US:
                newest = int(scored[-1])
        if newest is not None:
            return newest
    return None


def logged_bundles(state: Path) -> set[str]:
    """Fingerprints of the bundles that a scorer's log names, and the log of its shadow.

    Raises:
      InputError: there is no log.
    """
    require_segments(state)
    decided = {split_name(step.batch.column(BUNDLE)[0].as_py())[0] for step in read_steps(state)}
    return decided | {path.stem.rpartition("-")[2] for path in state.glob(f"{FOLDER}/*/*.parquet")}


def _start(folder: Path) -> Base:
    if not folder.is_dir():
        return Base(-1, None)
    origin = folder / ORIGIN
    night = json.loads(origin.read_text())["night"] if origin.exists() else None
    return Base(-1, folder, Days.parse(night).end_us if night else None)


def _first_time(state: Path, step: int) -> int | None:
    """The time of the first event after a step that is not late."""
    for logged in read_steps(state, step):
        clocks = clock_of(logged.batch)
        there = clocks[clocks != NEVER_US]
        if len(there):
            return int(there[0])
    return None


def _within(clocks: npt.NDArray[np.int64], span: TimeSpan) -> npt.NDArray[np.bool_]:
    inside = np.ones(len(clocks), np.bool_)
    if span.start_us is not None:
        inside &= clocks >= span.start_us
    if span.end_us is not None:
        inside &= clocks < span.end_us
    return inside


def _one(batches: list[pa.RecordBatch]) -> pa.RecordBatch:
    return pa.Table.from_batches(batches).combine_chunks().to_batches()[0]


def _moment(text: str, whole: str) -> int:
    try:
        moment = dt.datetime.fromisoformat(text.strip())
    except ValueError as error:
        raise InputError(
            f"{whole!r} is not a range; write it as 2026-03-01..2026-03-07 or as "
            "2026-03-01T10:00..2026-03-01T12:00"
        ) from error
    aware = moment if moment.tzinfo else moment.replace(tzinfo=dt.UTC)
    return (aware - dt.datetime(1970, 1, 1, tzinfo=dt.UTC)) // dt.timedelta(microseconds=1)
