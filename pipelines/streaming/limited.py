"""`LimitActions`: what is due to what is given, where a job's bundle has limits of actions.

    rows, others of `Decide` ─ Rows ─ LimitActions ─┬─ WriteDecisions
                                      (one key)     └─ WriteSteps

Which action a limit leaves hangs on the decisions before, of all accounts: a late event counts at
the clock of the whole log, and what one account's limit refuses asks another column's. The log is
one sequence that one key puts in order (`pipelines.streaming.sinks`), so that key counts too: it
holds whole ticks in the order of the fold, and leaves what was given (`scoring.limit_log`).

The counts are a shard of the shard log (`transforms.live.shard_log`): resident in the worker, a
delta a tick in the runner's state, now and then a snapshot. Decisions are published from here, so
after the tick is whole, some milliseconds of event time later than without limits.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from typing import Any

import apache_beam as beam
from apache_beam.coders import BytesCoder
from apache_beam.metrics import Metrics
from apache_beam.transforms.timeutil import TimeDomain
from apache_beam.transforms.userstate import (
    BagStateSpec,
    ReadModifyWriteStateSpec,
    TimerSpec,
    on_timer,
)

from pipelines.streaming.sinks import OrderSteps, to_one_log
from scoring.limit_log import ASKS, Counts, GivenActions, asks_of, give_chosen
from transforms.batches import ShardKey
from transforms.live.shard_log import ResidentShard, ShardLog
from transforms.steps.live import StateCells
from transforms.steps.shards import Keyed
from transforms.ticks import TickSettings

_RESIDENTS: dict[str, ResidentShard[Counts]] = {}
"""The counts that this process has folded, by step: Beam makes several DoFns of one step."""


class LimitActions(beam.PTransform):
    """Rows of the log with what is due to its steps with what is given, from a shuffle.

    Args:
      ticks: by which the rows were folded.
      begins_us: the log's clock before the first event: the end of the night that the job begins
        with; None: a cold start.
    """

    def __init__(self, ticks: TickSettings, begins_us: int | None = None) -> None:
        super().__init__()
        self._ticks, self._begins_us = ticks, begins_us

    def expand(self, rows: beam.PCollection[Keyed]) -> beam.PCollection[Keyed]:
        """Applies it."""
        limit = _Limit(self._ticks, self._begins_us, secrets.token_hex(8))
        return (
            rows
            | "OneLog" >> beam.Map(to_one_log).with_output_types(Keyed)
            | "Limit" >> beam.ParDo(limit).with_output_types(Keyed)
            | "Limited" >> beam.Reshuffle()
        )


class _Asks(StateCells):
    """The cells of the counts, and what asks them now."""

    def __init__(self, block: bytes, version: Any, snapshot: Any, deltas: Any) -> None:
        super().__init__((), version, snapshot, deltas)
        self._block = block

    def take(self, slot: int) -> list[bytes]:
        return [self._block]


class _Limit(OrderSteps):
    VERSION = ReadModifyWriteStateSpec("version", BytesCoder())
    SNAPSHOT = ReadModifyWriteStateSpec("snapshot", BytesCoder())
    DELTAS = BagStateSpec("deltas", BytesCoder())
    DUE = TimerSpec("due", TimeDomain.WATERMARK)
    _ROWS, _AT = beam.DoFn.StateParam(OrderSteps.ROWS), beam.DoFn.StateParam(OrderSteps.AT)

    def __init__(self, ticks: TickSettings, begins_us: int | None, step: str) -> None:
        super().__init__(ticks)
        self._begins_us, self._step = begins_us, step
        self._limited = Metrics.counter("lockstep", "actions_over_limit")
        self._rebuilt = Metrics.counter("lockstep", "limits_rebuilt")

    def setup(self) -> None:
        """Nothing is resident yet."""
        machine = GivenActions(self._begins_us)
        self._log = ShardLog(machine, self._ticks, lambda: secrets.token_bytes(16))

    def process(
        self, element: Keyed, rows: Any = _ROWS, due: Any = beam.DoFn.TimerParam(DUE)
    ) -> None:
        self.keep(element, rows, due)

    @on_timer(DUE)
    def limit(
        self,
        tag: str = beam.DoFn.DynamicTimerTagParam,
        rows: Any = _ROWS,
        at: Any = _AT,
        version: Any = beam.DoFn.StateParam(VERSION),
        snapshot: Any = beam.DoFn.StateParam(SNAPSHOT),
        deltas: Any = beam.DoFn.StateParam(DELTAS),
    ) -> Iterator[Keyed]:
        """A tick is whole."""
        made = self.take(tag, rows, at)
        if not made:
            return
        tick, steps = made[-1][0], [step for _, step in made]
        block = GivenActions.blocks.write(ASKS, asks_of(steps), tick)
        # Let go of while it is changed: a bundle of a job that has failed may still be at it.
        held = _RESIDENTS.pop(self._step, None)
        fired = self._log.fire(_Asks(block, version, snapshot, deltas), tick, held)
        if fired.resident is not None:
            _RESIDENTS[self._step] = fired.resident
        self._rebuilt.inc(int(fired.rebuilt))
        [chosen] = fired.outputs
        self._limited.inc(sum(map(bool, chosen)))
        for step in give_chosen(steps, chosen):
            yield ShardKey("log", 0), step
