"""Ticks of event time, and what enters and leaves `Features` on unbounded input.

Event time is cut into ticks. All events of a tick are folded at once, in total order, when the
watermark says that no earlier event is expected: `Features` is an order buffer of ticks.

What enters
-----------
Arrow batches under `transforms.batches.RecordBatchCoder`, as in batch: `Decode` takes raw records
(a column `record`, or a table's columns), `Features` takes its `events`.

**A batch's Beam timestamp is the watermark that its source had when it gave the batch out**: "no
event before this is expected". Rows that are earlier are late, the others are not. So whether an
event is late is decided once, where it enters, by the rule of its source's own order (its latest
event time less the disorder bound; the clock while idle). A source never reports a watermark ahead
of the timestamp of a batch that is still to come. A batch without such a timestamp (`beam.Create`)
has no late rows.

- A row that is not late is folded in the tick of its time, in total order.
- A late row is folded on arrival: at the beginning of the first tick that is not folded yet, late
  rows of a tick in total order among themselves, before all others.

So all folds, of whatever shard, worker or entity, follow one order: `(lockstep_tick, event time,
place)`. A log whose rows are sorted by it can be replayed.

What leaves
-----------
`Features(spec, …)` gives, as in batch, `rows` (scored events with their features, which `Score`
takes), `verdicts` and `dead_letters` (of dropped duplicates); and on unbounded input `others`:
accepted events that are not scored. A batch holds one tick's events of one shard of event ids, in
total order. Its tags (`transforms.steps.stamps.tags_of`) are `tick`, the first microsecond of the
tick, and `shard`. Beside its other columns, each row has what a log needs (`LIVE_COLUMNS`):

=====================  =====================================================================
`lockstep_late`        bool; folded out of its place, since it came too late for it
`lockstep_tick`        int64, microseconds UTC: the first one of the tick that it was folded in
`lockstep_place`       binary; where it stands among events of its time (`transforms.order`)
`lockstep_sequences`   fixed list of int64, one per entity in the order of the spec: how many
                       events of the key came before; -1: no key, or not scored
`lockstep_event`       struct of the decoded event's columns (`transforms.decode.event_schema`)
`lockstep_snapshot`    string, of scored rows of a spec that reads snapshots of the social graph:
                       which one the event saw; null: none
=====================  =====================================================================

The keys that were silent for longer than their retention are freed when the first tick of a day
(UTC) is folded, as of that day's first microsecond (`expiry_before`); a log notes it there.
"""

from __future__ import annotations

import dataclasses

import numpy as np
import numpy.typing as npt

DAY_US = 86_400_000_000
MILLISECOND_US = 1_000

LATE = "lockstep_late"
TICK = "lockstep_tick"
PLACE_IN_TIME = "lockstep_place"
SEQUENCES = "lockstep_sequences"
EVENT = "lockstep_event"
SNAPSHOT = "lockstep_snapshot"
LIVE_COLUMNS = (LATE, TICK, PLACE_IN_TIME, SEQUENCES, EVENT)

Int64s = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]


@dataclasses.dataclass(frozen=True)
class TickSettings:
    """How unbounded input is folded.

    Attributes:
      tick_us: length of a tick, whole milliseconds; what a decision waits for beyond the source's
        disorder bound, and how much is folded at once.
      snapshot_ticks: a shard's state is written whole after so many folds, or later, once the
        deltas since the last time are as large as it.
      homes: shards of event ids, where duplicates are found and events meet their features; divides
        the spec's `shards`, or is a multiple of it.

      behind_us: how far timestamps and watermark of the engine are ahead of what is meant here. An
        engine's own source knows publish times only: then it is the disorder bound.
      remember_s: an id is known for so long by the clock after it was folded, also where event
        time passes its horizon faster (a backlog): until then its message may come again.

    Raises:
      ValueError: a number out of range.
    """

    tick_us: int = 1_000_000
    snapshot_ticks: int = 32
    homes: int = 16
    behind_us: int = 0
    remember_s: float = 90.0

    def __post_init__(self) -> None:
        if self.tick_us < 10 * MILLISECOND_US or self.tick_us % MILLISECOND_US:
            raise ValueError(
                f"tick_us is {self.tick_us}, expected whole milliseconds, 10,000 or more"
            )
        if self.snapshot_ticks < 1 or not 1 <= self.homes <= 4096:
            raise ValueError(
                f"snapshot_ticks is {self.snapshot_ticks}, homes {self.homes}; expected 1 or more, "
                "and 1 to 4096"
            )

    def end_us(self, tick: int) -> int:
        """The first microsecond after a tick."""
        return (tick + 1) * self.tick_us

    def due_us(self, tick: int) -> int:
        """When a tick is over, by the engine's watermark."""
        return self.end_us(tick) + self.behind_us


def fold_ticks(times: Int64s, watermark_us: int, tick_us: int) -> tuple[Int64s, Bools]:
    """In which tick each event is folded, and whether it is late.

    Args:
      times: int64 `[n]`, microseconds UTC.
      watermark_us: of the source, when it gave the events out.
      tick_us: length of a tick.

    Returns:
      int64 `[n]`, numbers of ticks (`time // tick_us` of the events in it); bool `[n]`.

    >>> ticks, late = fold_ticks(np.array([25, 31, 47]), watermark_us=35, tick_us=10)
    >>> ticks.tolist(), late.tolist()
    ([3, 3, 4], [True, False, False])
    """
    first_open = watermark_us // tick_us
    ticks = times // tick_us
    return np.maximum(ticks, first_open), ticks < first_open


def expiry_before(tick: int, folded: int | None, tick_us: int) -> int | None:
    """As of when silent keys are freed before a tick is folded; None: they are not.

    Args:
      tick: about to be folded.
      folded: the last one folded; None: none.
      tick_us: length of a tick.

    >>> expiry_before(24, 23, 3_600_000_000), expiry_before(25, 24, 3_600_000_000)
    (86400000000, None)
    """
    day = tick * tick_us // DAY_US
    if folded is None or folded * tick_us // DAY_US >= day:
        return None
    return day * DAY_US
