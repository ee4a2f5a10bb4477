"""Time since the first and the last event."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import ClassVar

from configs.catalog import Bounds
from configs.schema import EVENT_TIME, Column, ColumnType
from transforms.velocity.aggregates.base import NO_COLUMN, Floats, Int64s, scaled
from transforms.velocity.cells import Ask, Cell, ScalarKind

_MICRO = 6  # times are whole microseconds, subtracted before they become floats


@dataclasses.dataclass(frozen=True)
class SecondsSinceFirst:
    """Seconds since the first event, as far as the key is remembered."""

    op: ClassVar[str] = "seconds_since_first"
    about: ClassVar[str] = "time since the first event"
    windowed: ClassVar[bool] = False
    accepts: ClassVar[frozenset[ColumnType]] = NO_COLUMN
    unit: ClassVar[str] = "seconds"
    null_rule: ClassVar[str] = "null without an earlier event"

    def bounds(self, columns: Mapping[str, Column]) -> Bounds:
        """No longer than from the first time that is accepted to the last."""
        times = columns.get(EVENT_TIME)
        if times is None or times.minimum is None or times.maximum is None:
            return 0, None
        return 0, (times.maximum - times.minimum) / 10**_MICRO

    def cells(self, ask: Ask) -> tuple[Cell, ...]:
        """One scalar."""
        return (ask.since(ScalarKind.SINCE_FIRST),)

    def finish(self, outputs: Sequence[Int64s], ask: Ask) -> Floats:
        """Seconds."""
        return scaled(outputs[0], _MICRO)


@dataclasses.dataclass(frozen=True)
class SecondsSinceLast(SecondsSinceFirst):
    """Seconds since the last event before this one."""

    op: ClassVar[str] = "seconds_since_last"
    about: ClassVar[str] = "time since the last event"

    def cells(self, ask: Ask) -> tuple[Cell, ...]:
        """One scalar."""
        return (ask.since(ScalarKind.SINCE_LAST),)
