"""`Features` on unbounded input: thin DoFns around the shards of `transforms.live`.

    events ─ Split ─┬─ ids ─────────── Ids ──┬─ tombstones ─┐
                    ├─ rows ─ (Flatten) ◄────┼──────────────┘
                    │            Fold ───────┼─ features
                    └─ kept ─ (Flatten) ◄────┴─ Join ─ rows, others

Each of `Ids`, `Fold` and `Join` keeps rows in bags and sets a timer for the end of their tick,
under a tag of its own: a second timer under one tag would replace the first. A stage's timers are a
millisecond behind those of the stage before, so that what that one gave out at the end of a tick is
there; the watermark is held until it is (`transforms.steps.timers`). Elements and state are bytes
(`transforms.live.blocks`). A shard's expiry is a tag of the same timer: an engine may hand timers
of several names over in any order, and a shard is not freed before it has folded what is due.
"""

from __future__ import annotations

import abc
import dataclasses
import secrets
import time
from collections.abc import Iterator
from typing import Any

import apache_beam as beam
import pyarrow as pa
from apache_beam.coders import BytesCoder
from apache_beam.metrics import Metrics
from apache_beam.pvalue import TaggedOutput
from apache_beam.transforms import window
from apache_beam.transforms.timeutil import TimeDomain
from apache_beam.transforms.userstate import (
    BagStateSpec,
    ReadModifyWriteStateSpec,
    TimerSpec,
    on_timer,
)
from apache_beam.utils.timestamp import Timestamp
from apache_beam.utils.windowed_value import WindowedValue

from configs.schema import Spec
from transforms.batches import ShardKey
from transforms.live.rejoin import Rejoin, part_blocks
from transforms.live.routes import (
    JOIN,
    Routed,
    Routes,
    duplicate_dead_letters,
    seed_pieces,
    verdicts_of,
)
from transforms.live.shard_log import ResidentShard, ShardLog, is_seed, put_arrived
from transforms.social.as_of import Sees
from transforms.steps.deduplicate import OTHER_KIND
from transforms.steps.shards import RECENT_IDS, Keyed, count_saturated
from transforms.steps.timers import HOLD, Timers
from transforms.ticks import MILLISECOND_US, TickSettings

DEAD_LETTERS, OTHERS, IDS, KEPT = "dead_letters", "others", "ids", "kept"
_EXPIRY = "expiry"

_RESIDENTS: dict[tuple[str, ShardKey], ResidentShard[Any]] = {}
"""Of all shards that this process has folded, by step and shard. Beam makes several DoFns of one
step in a process, and gives a shard now to this one, now to that."""


@dataclasses.dataclass(eq=False)
class FoldLive(beam.PTransform):
    """Decoded events as they come to accepted events, the scored ones with their features.

    Args:
      spec: the use.
      settings: of ticks.
      initial_state: bounded; by shard, as `Features` takes it; None: a cold start.
      snapshots: of the social graph, that events see; None where the spec reads none.

    Outputs: `rows`, `others`, `verdicts`, `dead_letters` (`transforms.ticks`).
    """

    spec: Spec
    settings: TickSettings
    initial_state: Any = None
    snapshots: Sees | None = None

    def expand(self, events: beam.PCollection[pa.RecordBatch]) -> dict[str, Any]:
        """Applies it."""
        spec, settings = self.spec, self.settings
        # The embedded runner fires the timers of bounded input in the order in which they were set.
        in_order = not events.is_bounded
        split = (
            events
            | "Global" >> beam.WindowInto(window.GlobalWindows())
            | "Split"
            >> beam.ParDo(_Split(spec, settings))
            .with_output_types(Routed, **{IDS: Routed, KEPT: Routed})
            .with_outputs(IDS, KEPT, main="rows")
        )
        ids, rows = [split[IDS]], [split["rows"]]
        if self.initial_state is not None:
            seeds = self.initial_state | "Seeds" >> beam.ParDo(_Seeds(settings)).with_output_types(
                Routed, **{IDS: Routed}
            ).with_outputs(IDS, main="rows")
            ids, rows = [*ids, seeds[IDS]], [*rows, seeds["rows"]]
        ruled = (
            ids
            | "IdsAndState" >> beam.Flatten()
            | "Ids"
            >> beam.ParDo(_Ids(spec, settings, in_order, secrets.token_hex(8)))
            .with_output_types(Routed, **{KEPT: Routed, DEAD_LETTERS: pa.RecordBatch})
            .with_outputs(KEPT, DEAD_LETTERS, main="tombstones")
        )
        folded = (
            [*rows, ruled["tombstones"]]
            | "RowsAndState" >> beam.Flatten()
            | "Fold"
            >> beam.ParDo(_Fold(spec, settings, in_order, secrets.token_hex(8))).with_output_types(
                Routed
            )
        )
        joined = (
            (split[KEPT], ruled[KEPT], folded)
            | "Parts" >> beam.Flatten()
            | "Join"
            >> beam.ParDo(_Join(spec, settings, in_order, self.snapshots))
            .with_output_types(pa.RecordBatch, **{OTHERS: pa.RecordBatch})
            .with_outputs(OTHERS, main="rows")
        )
        verdicts = joined[OTHERS] | "Verdicts" >> beam.Map(
            lambda batch: verdicts_of(spec, batch)
        ).with_output_types(pa.RecordBatch)
        return {
            "rows": joined["rows"],
            OTHERS: joined[OTHERS],
            "verdicts": verdicts,
            DEAD_LETTERS: ruled[DEAD_LETTERS],
        }


class _Split(beam.DoFn):
    def __init__(self, spec: Spec, settings: TickSettings) -> None:
        self._spec, self._settings = spec, settings
        self._events = Metrics.counter("lockstep", "events")

    def setup(self) -> None:
        """Compiles the spec's plans."""
        self._routes = Routes(self._spec, self._settings, part_blocks(self._spec))

    def process(
        self, batch: pa.RecordBatch, stamp: Timestamp = beam.DoFn.TimestampParam
    ) -> Iterator[Any]:
        self._events.inc(batch.num_rows)
        if not batch.num_rows:
            return
        for key, block in self._routes.split_events(batch, stamp.micros - self._settings.behind_us):
            if key.group in (RECENT_IDS, JOIN):
                yield TaggedOutput(IDS if key.group == RECENT_IDS else KEPT, (key, block))
            else:
                yield key, block


class _Seeds(beam.DoFn):
    def __init__(self, settings: TickSettings) -> None:
        self._settings = settings

    def process(self, element: Keyed) -> Iterator[Any]:
        for key, block in seed_pieces(*element, self._settings):
            yield TaggedOutput(IDS, (key, block)) if key.group == RECENT_IDS else (key, block)


class StateCells:
    """`Cells` over Beam's state of one key."""

    def __init__(self, slots: tuple[Any, ...], version: Any, snapshot: Any, deltas: Any) -> None:
        self._slots, self._version = slots, version
        self._snapshot, self._deltas = snapshot, deltas

    def put(self, slot: int, block: bytes) -> None:
        self._slots[slot].add(block)

    def take(self, slot: int) -> list[bytes]:
        found = list(self._slots[slot].read())
        if found:
            self._slots[slot].clear()
        return found

    def version(self) -> bytes | None:
        data: bytes | None = self._version.read()
        return data

    def set_version(self, data: bytes) -> None:
        self._version.write(data)

    def snapshot(self) -> bytes | None:
        data: bytes | None = self._snapshot.read()
        return data

    def set_snapshot(self, data: bytes) -> None:
        self._snapshot.write(data)
        self._deltas.clear()

    def deltas(self) -> list[bytes]:
        return list(self._deltas.read())

    def add_delta(self, data: bytes) -> None:
        self._deltas.add(data)

    def clear(self) -> None:
        for cell in (self._version, self._snapshot, self._deltas):
            cell.clear()


class _Sharded(beam.DoFn, abc.ABC):
    """Rows wait in four bags for the end of their tick; see `transforms.live.shard_log`."""

    SLOT_0 = BagStateSpec("rows_0", BytesCoder())
    SLOT_1 = BagStateSpec("rows_1", BytesCoder())
    SLOT_2 = BagStateSpec("rows_2", BytesCoder())
    SLOT_3 = BagStateSpec("rows_3", BytesCoder())
    VERSION = ReadModifyWriteStateSpec("version", BytesCoder())
    SNAPSHOT = ReadModifyWriteStateSpec("snapshot", BytesCoder())
    DELTAS = BagStateSpec("deltas", BytesCoder())
    END = TimerSpec("tick", TimeDomain.WATERMARK)
    DELAY_US = 0

    def __init__(self, spec: Spec, settings: TickSettings, in_order: bool) -> None:
        self._spec, self._settings, self._in_order = spec, settings, in_order
        self._timers = Timers()

    def start_bundle(self) -> None:
        """No timer is set yet."""
        self._timers.start_bundle()

    def process(
        self,
        element: Routed,
        slot_0: Any = beam.DoFn.StateParam(SLOT_0),
        slot_1: Any = beam.DoFn.StateParam(SLOT_1),
        slot_2: Any = beam.DoFn.StateParam(SLOT_2),
        slot_3: Any = beam.DoFn.StateParam(SLOT_3),
        version: Any = beam.DoFn.StateParam(VERSION),
        snapshot: Any = beam.DoFn.StateParam(SNAPSHOT),
        deltas: Any = beam.DoFn.StateParam(DELTAS),
        end: Any = beam.DoFn.TimerParam(END),
    ) -> None:
        key, block = element
        cells = StateCells((slot_0, slot_1, slot_2, slot_3), version, snapshot, deltas)
        for tick in self._arrive(key, block, cells):
            at = self._settings.due_us(tick) + self.DELAY_US
            self._timers.set(end, Timestamp(micros=at), str(tick))

    @on_timer(END)
    def end(
        self,
        key: ShardKey = beam.DoFn.KeyParam,
        tag: str = beam.DoFn.DynamicTimerTagParam,
        stamp: Timestamp = beam.DoFn.TimestampParam,
        slot_0: Any = beam.DoFn.StateParam(SLOT_0),
        slot_1: Any = beam.DoFn.StateParam(SLOT_1),
        slot_2: Any = beam.DoFn.StateParam(SLOT_2),
        slot_3: Any = beam.DoFn.StateParam(SLOT_3),
        version: Any = beam.DoFn.StateParam(VERSION),
        snapshot: Any = beam.DoFn.StateParam(SNAPSHOT),
        deltas: Any = beam.DoFn.StateParam(DELTAS),
        end: Any = beam.DoFn.TimerParam(END),
    ) -> Iterator[Any]:
        """A tick is over; or a shard has been silent for as long as its state is kept."""
        cells = StateCells((slot_0, slot_1, slot_2, slot_3), version, snapshot, deltas)
        if tag == _EXPIRY:
            self._expire(key, stamp.micros - self._settings.behind_us, cells)
        elif tag != HOLD:
            yield from self._end(key, int(tag), cells, end)

    @abc.abstractmethod
    def _arrive(self, key: ShardKey, block: bytes, cells: StateCells) -> tuple[int, ...]:
        """Keeps what came: ticks that are to be ended once they are over."""

    @abc.abstractmethod
    def _end(self, key: ShardKey, tick: int, cells: StateCells, timer: Any) -> Iterator[Any]:
        """What leaves when a tick is over."""

    def _expire(self, key: ShardKey, now_us: int, cells: StateCells) -> None:
        """Frees a shard; a stage that keeps no state sets no timer for it."""


class _Logged(_Sharded):
    """A shard whose state is a log of deltas, and lives in the worker."""

    def __init__(self, spec: Spec, settings: TickSettings, in_order: bool, step: str) -> None:
        super().__init__(spec, settings, in_order)
        self._step = step
        self._rebuilt = Metrics.counter("lockstep", "shards_rebuilt")
        self._folds = Metrics.counter("lockstep", "ticks_folded")

    def setup(self) -> None:
        """Compiles the spec's plans."""
        self._routes = Routes(self._spec, self._settings, part_blocks(self._spec))
        machines: dict[str, Any] = {RECENT_IDS: self._routes.ids, **self._routes.entities}
        self._logs = {
            group: ShardLog(
                machine,
                self._settings,
                lambda: secrets.token_bytes(16),
                self._settings.remember_s if group == RECENT_IDS else 0.0,
            )
            for group, machine in machines.items()
        }

    def _arrive(self, key: ShardKey, block: bytes, cells: StateCells) -> tuple[int, ...]:
        if is_seed(block):
            self._logs[key.group].seed(cells, block)
            return ()
        return put_arrived(cells, block)

    def _fold(self, key: ShardKey, tick: int, cells: StateCells, timer: Any) -> list[Any]:
        log, name = self._logs[key.group], (self._step, key)
        # Let go of while it is changed: a bundle of a job that has failed may still be at it.
        held = _RESIDENTS.pop(name, None)
        fired = log.fire(cells, tick, held, self._in_order, time.monotonic())
        if fired.resident is not None:
            _RESIDENTS[name] = fired.resident
        if fired.outputs:
            self._folds.inc(len(fired.outputs))
            self._rebuilt.inc(int(fired.rebuilt))
            at = Timestamp(micros=log.expires_us(tick) + self._settings.behind_us)
            self._timers.set(timer, at, _EXPIRY)
        return fired.outputs

    def _expire(self, key: ShardKey, now_us: int, cells: StateCells) -> None:
        if self._logs[key.group].expire(cells, now_us):
            _RESIDENTS.pop((self._step, key), None)


class _Ids(_Logged):
    """Finds a tick's duplicates."""

    def __init__(self, spec: Spec, settings: TickSettings, in_order: bool, step: str) -> None:
        super().__init__(spec, settings, in_order, step)
        self._duplicates = Metrics.counter("lockstep", "duplicate_events")
        self._other_kind = Metrics.counter("lockstep", OTHER_KIND)

    def _end(self, key: ShardKey, tick: int, cells: StateCells, timer: Any) -> Iterator[Any]:
        for ruled in self._fold(key, tick, cells, timer):
            for to, block in self._routes.of_ruled(key.shard, ruled):
                yield TaggedOutput(KEPT, (to, block)) if to.group == JOIN else (to, block)
            if ruled.dropped.num_rows:
                self._duplicates.inc(ruled.dropped.num_rows)
                self._other_kind.inc(ruled.other_kind)
                yield TaggedOutput(DEAD_LETTERS, duplicate_dead_letters(ruled.dropped))


class _Fold(_Logged):
    """Folds an entity's tick; features of all shards of a Beam bundle go out together."""

    DELAY_US = MILLISECOND_US

    def start_bundle(self) -> None:
        """No features yet."""
        super().start_bundle()
        self._found: dict[tuple[str, int], list[Any]] = {}

    def _end(self, key: ShardKey, tick: int, cells: StateCells, timer: Any) -> Iterator[Any]:
        for folded in self._fold(key, tick, cells, timer):
            count_saturated(folded.saturated)
            self._found.setdefault((key.group, folded.tick), []).append(folded)
        yield from ()

    def finish_bundle(self) -> Iterator[Any]:
        """Gives the features out, at the time of their tick's timer."""
        for (entity, tick), folded in sorted(self._found.items(), key=lambda one: one[0]):
            at = Timestamp(micros=self._settings.due_us(tick) + self.DELAY_US)
            for routed in self._routes.of_folded(entity, folded):
                yield WindowedValue(routed, at, [window.GlobalWindow()])
        self._found = {}


class _Join(_Sharded):
    """Puts a tick's events and features together."""

    DELAY_US = 2 * MILLISECOND_US

    def __init__(
        self, spec: Spec, settings: TickSettings, in_order: bool, snapshots: Sees | None
    ) -> None:
        super().__init__(spec, settings, in_order)
        self._snapshots = snapshots
        self._scored = Metrics.counter("lockstep", "scored_events")
        self._late = Metrics.counter("lockstep", "late_events")

    def setup(self) -> None:
        """Compiles the spec's plans."""
        self._rejoin = Rejoin(self._spec, self._settings, self._snapshots)

    def _arrive(self, key: ShardKey, block: bytes, cells: StateCells) -> tuple[int, ...]:
        return put_arrived(cells, block)

    def _end(self, key: ShardKey, tick: int, cells: StateCells, timer: Any) -> Iterator[Any]:
        for joined in self._rejoin.fire(cells, key.shard, tick, self._in_order):
            self._late.inc(joined.late)
            if joined.rows is not None:
                self._scored.inc(joined.rows.num_rows)
                yield joined.rows
            if joined.others is not None:
                yield TaggedOutput(OTHERS, joined.others)
