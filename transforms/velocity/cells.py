"""What an aggregate asks the fold to keep: slots of a row, and cells of a key's state.

What enters: an aggregate's filter, column and window. What leaves: frozen descriptions, equal for
equal wishes, so that aggregates share what they have in common (a mean and a count over the same
events share the count).

- A `Slot` is what a row brings: whether the event counts, and its value or hash.
- A cell is what a key keeps: per tile a sum, an extreme, a sketch, a sum of squares or a histogram;
  or one scalar.
"""

from __future__ import annotations

import dataclasses
import enum

from configs.schema import Aggregate, Expression, Window

LIMIT = 1 << 52
"""Sums, squares and histograms clip values to this magnitude; the sums of a tile saturate at it.

Last values and extremes of whole numbers are kept as they are."""

NONE = -(1 << 63)
"""What the fold puts out for an extreme or a scalar that is not there: the least int64."""


class Measure(enum.Enum):
    """What a row brings for a slot, beside the bit that says whether it counts."""

    NOTHING = "nothing"
    VALUE = "value"
    HASH = "hash"


@dataclasses.dataclass(frozen=True)
class Slot:
    """Events of some kinds for which a condition holds, and a column of theirs.

    Attributes:
      kinds: names; empty: all kinds of the entity.
      where: a condition, or None.
      column: events with a null in it do not count; None: no column.
      measure: what of the column is brought.
      decimals: values are kept as whole multiples of 10^-decimals.
      texts: of a text, which values are told apart; what is kept is the place in this list, or its
        length for any other text.
    """

    kinds: tuple[str, ...]
    where: Expression | None
    column: str | None = None
    measure: Measure = Measure.NOTHING
    decimals: int = 0
    texts: tuple[str, ...] = ()


class ScalarKind(enum.IntEnum):
    """Scalars of a key."""

    LAST_VALUE = 0
    SINCE_FIRST = 1
    SINCE_LAST = 2
    SAME_AS_LAST = 3


@dataclasses.dataclass(frozen=True)
class Sum:
    """Per tile, the sum of a slot's values, or the count of its events."""

    slot: Slot
    window: Window


@dataclasses.dataclass(frozen=True)
class Extreme:
    """Per tile, the largest (sign 1) or the smallest (sign -1) of a slot's values."""

    slot: Slot
    window: Window
    sign: int


@dataclasses.dataclass(frozen=True)
class Sketch:
    """Per tile, a HyperLogLog sketch of a slot's hashes."""

    slot: Slot
    window: Window


@dataclasses.dataclass(frozen=True)
class Squares:
    """Per tile, the sum of the squares of a slot's values, in 128 bits."""

    slot: Slot
    window: Window


@dataclasses.dataclass(frozen=True)
class Bins:
    """Per tile, how many of a slot's values fell into each of some bins (`bins`)."""

    slot: Slot
    window: Window


@dataclasses.dataclass(frozen=True)
class Scalar:
    """One number of a key: the last value or its hash, or the time of the first or last event."""

    slot: Slot
    kind: ScalarKind


Cell = Sum | Extreme | Sketch | Squares | Bins | Scalar


@dataclasses.dataclass(frozen=True)
class Ask:
    """Makes the cells of one aggregate and window; what an aggregate class is handed."""

    aggregate: Aggregate
    window: Window | None

    @property
    def seconds(self) -> float:
        """The window's length in seconds."""
        return self._window().length_us / 1e6

    def count(self, column: str | None = None) -> Sum:
        """Events, or those of them whose column is not null."""
        return Sum(self._slot(column, Measure.NOTHING), self._window())

    def sum(self, column: str, decimals: int) -> Sum:
        """The sum of a column, in units of 10^-decimals."""
        return Sum(self._slot(column, Measure.VALUE, decimals), self._window())

    def extreme(self, column: str, decimals: int, sign: int) -> Extreme:
        """The largest (1) or smallest (-1) value, in units of 10^-decimals."""
        return Extreme(self._slot(column, Measure.VALUE, decimals), self._window(), sign)

    def sketch(self, column: str) -> Sketch:
        """A sketch of a column's values."""
        return Sketch(self._slot(column, Measure.HASH), self._window())

    def squares(self, column: str, decimals: int) -> Squares:
        """The sum of a column's squares, in units of 10^-(2 decimals)."""
        return Squares(self._slot(column, Measure.VALUE, decimals), self._window())

    def bins(self, column: str, decimals: int) -> Bins:
        """A histogram of a column's values, in units of 10^-decimals."""
        return Bins(self._slot(column, Measure.VALUE, decimals), self._window())

    def same_as_last(self, column: str) -> Scalar:
        """Whether the event's own value is the last one of the column: 1, 0, `NONE`."""
        return Scalar(self._slot(column, Measure.HASH), ScalarKind.SAME_AS_LAST)

    def last(self, column: str, decimals: int, texts: tuple[str, ...] = ()) -> Scalar:
        """The last value of a column; of a text, its place among `texts`."""
        slot = self._slot(column, Measure.VALUE, decimals)
        return Scalar(dataclasses.replace(slot, texts=texts), ScalarKind.LAST_VALUE)

    def since(self, kind: ScalarKind) -> Scalar:
        """Time since the first or the last event."""
        return Scalar(self._slot(None, Measure.NOTHING), kind)

    def _slot(self, column: str | None, measure: Measure, decimals: int = 0) -> Slot:
        return Slot(self.aggregate.kinds, self.aggregate.where, column, measure, decimals)

    def _window(self) -> Window:
        if self.window is None:
            raise ValueError(f"{self.aggregate.name}: this cell needs a window")
        return self.window
