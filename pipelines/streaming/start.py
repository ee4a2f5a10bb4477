"""Where a scorer begins: cold, from a night, or from its own state; and what it then leaves out.

What enters: a spec, a state folder, perhaps a night. What leaves: a `Restored` to go on from, and
the decoder of messages. A folder that is begun gets a snapshot before the first step, and `start/`
beside it: the state and the night that parity replays from for as long as the log lasts.

The night's rule holds for as long as the folder does, over restarts: an event that lies further
before the night's end than the deduplication horizon cannot be told from those that the backfill
has folded, so it is taken for folded, left out and counted. Later ones are known by their ids.
"""

from __future__ import annotations

import datetime as dt
import json
import logging
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from configs.errors import ConfigError, InputError, StateError
from configs.schema import EVENT_TIME, Spec
from pipelines.layout import DAY_US, day_us, parse_day
from pipelines.streaming.at_arrival import FOLDED, OLDEST, RAW
from pipelines.streaming.counts import Counts
from pipelines.streaming.journal import Journal, list_segments, list_snapshots, save_snapshot
from pipelines.streaming.restore import ORIGIN, Restored, from_night, restore, snapshot_files
from pipelines.streaming.timings import Histogram
from scoring.engine import (
    ACTION,
    ARRIVALS,
    BUNDLE,
    DECISION,
    EXPIRED,
    INPUTS,
    NUMERIC,
    SCORE,
    SEQUENCE,
    STEP,
    WITHHELD,
    Resident,
)
from scoring.files import Place, replace_file
from transforms.decode import Decoded, decode_json, event_schema

_LOGGER = logging.getLogger(__name__)
START = "start"
"""Of a state folder: what it began with, from which parity replays."""


def begin(
    spec: Spec,
    journal: Journal,
    out: Place | None = None,
    night: dt.date | None = None,
    seek_back: Callable[[int], None] = lambda time_us: None,
) -> Restored:
    """The state to go on from; a fresh folder is begun.

    Args:
      spec: of the bundle that decides first.
      journal: of the folder.
      out: a backfill's folder, for `night`.
      night: begin with the state at the end of this day.
      seek_back: sets the subscription back to a publish time, microseconds UTC.

    Raises:
      StateError: the folder holds another spec's state, or a night is asked for twice.
      InputError: there is no backfill to take the night from.
    """
    restored = restore(spec, journal)
    if restored is not None:
        if night is not None and list_snapshots(journal.root)[-1][0] >= 0:
            raise StateError(
                f"{journal.root} holds a scorer's own state; --from-night starts a new one: give "
                "a fresh --state, or leave --from-night out to go on"
            )
        return restored
    if list_segments(journal.root):
        raise StateError(
            f"{journal.root} has a log, and no snapshot of a scorer: a job of an engine wrote "
            "it, or the snapshots were deleted. Keep it, and give a fresh --state"
        )
    if night is None:
        resident, origin = Resident.empty(spec), "none (a cold start: windows fill up)"
    else:
        if out is None:
            raise InputError("--from-night needs --out, the folder of the backfill")
        resident, origin = from_night(spec, out, night), f"the night of {night}"
        seek_back(day_us(night) + DAY_US - spec.events.disorder_us)
    files = snapshot_files(spec, resident, -1)
    files |= {ORIGIN: json.dumps({"night": str(night) if night else None}).encode()}
    for name, data in files.items():
        replace_file(journal.root / START / name, data)
    save_snapshot(journal.root, -1, files)  # last: once it is there, a restart goes on from it
    return Restored(resident, 0, iter(()), origin)


def night_end_us(root: Path) -> int | None:
    """The end of the night that a state folder began with, microseconds UTC; None: no night."""
    night = begun_with(root)
    return None if night is None else day_us(parse_day(night)) + DAY_US


def begun_with(root: Path) -> str | None:
    """The night that a state folder began with; None: no night.

    Raises:
      StateError: the file that names it is damaged.
    """
    path = root / START / ORIGIN
    if not path.exists():
        return None
    try:
        night = json.loads(path.read_text())["night"]
        return None if night is None else str(parse_day(night))
    except (ValueError, KeyError, TypeError, InputError) as error:
        raise StateError(
            f"{path} is damaged; it names the night that this state began with, as "
            '{"night": "2026-03-08"}, or {"night": null}: write it anew'
        ) from error


class Decoder:
    """Decodes payloads, and leaves out what the night's state holds already.

    Args:
      spec: of the bundle that the scorer was started with.
      begin_us: the end of the night; None: nothing is left out.
      counts: `before_start` is counted here.
      seconds: how long each call took.
    """

    def __init__(
        self, spec: Spec, begin_us: int | None, counts: Counts, seconds: Histogram
    ) -> None:
        self._spec, self._counts, self._seconds = spec, counts, seconds
        self._first_us = None if begin_us is None else begin_us - spec.events.dedup_us

    def __call__(self, payloads: Sequence[bytes]) -> Decoded:
        """See the class."""
        started = time.perf_counter()
        made = self._fresh(decode_json(self._spec, payloads, "subscription"))
        self._seconds.add(time.perf_counter() - started)
        return made

    def _fresh(self, made: Decoded) -> Decoded:
        if self._first_us is None:
            return made
        fresh = made.batch.column(EVENT_TIME).to_numpy() >= self._first_us
        if fresh.all():
            return made
        if not self._counts.before_start:
            _LOGGER.warning(
                "events from more than the deduplication horizon before the end of the night that "
                "this state began with are taken for folded: they are acknowledged and left out, "
                "and counted as before_start"
            )
        self._counts.before_start += int(len(fresh) - fresh.sum())
        rows = np.flatnonzero(fresh)
        return Decoded(made.batch.take(rows), made.positions[rows], made.dead)


_LOGGED = frozenset({
    ACTION, ARRIVALS, BUNDLE, DECISION, EXPIRED, FOLDED, INPUTS, NUMERIC, OLDEST, RAW, SCORE,
    SEQUENCE, STEP, WITHHELD,
})  # fmt: skip
"""What the log holds beside an event's columns."""


def check_streamable(spec: Spec) -> None:
    """Refuses a spec that a scorer cannot run.

    Its columns and the log's have names of their own. And no rule makes an event that is later
    than its message: it would be held, and its message stay unacknowledged, until its time has
    come: a verdict seven days later, for seven days. A file may have both in one row; a stream has
    the verdict as an event of its own, when it becomes known.

    Raises:
      ConfigError: which columns or rules.
    """
    taken = sorted(_LOGGED.intersection(event_schema(spec).names))
    if taken:
        raise ConfigError(
            f"{spec.name}: a scorer's log has columns of its own named {', '.join(taken)}; give "
            f"those of events other names: events: {{aliases: {{{taken[0]}: event_{taken[0]}}}}}, "
            f"and event_{taken[0]} under `columns`"
        )
    late = [one for one in spec.ingest if one.delay_us > spec.events.disorder_us]
    if late:
        named = ", ".join(f"{one.kind!r} ({one.delay_us / 1e6:,.0f} s)" for one in late)
        raise ConfigError(
            f"{spec.name}: `ingest` makes events later than their message by more than the "
            f"disorder bound of {spec.events.disorder_us / 1e6:g} s: {named}. Their messages would "
            "be held for so long. Train under a config without these rules, and publish such an "
            "event by itself, with its kind, when it becomes known (docs/operations.md)"
        )
