"""Lines of the page about days whose labels are still to come, and those before."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable

from training.early import DayFigures, Expected, ExpectedFigures


@dataclasses.dataclass(frozen=True)
class Pair:
    """A figure as it was expected, and as it turned out.

    Attributes:
      low, high: what chance leaves of it; None: not known.
      then: what was expected when the day was young.
      turned_out: None while labels are young, or where there is nothing to divide by.
    """

    name: str
    expected: float | None
    low: float | None = None
    high: float | None = None
    then: float | None = None
    turned_out: float | None = None

    @property
    def off(self) -> bool:
        """Whether what turned out is not what chance leaves."""
        if self.turned_out is None or self.low is None or self.high is None:
            return False
        return not self.low <= self.turned_out <= self.high


@dataclasses.dataclass(frozen=True)
class EarlyLine:
    """A day and an action; without any action that may fire, the day alone."""

    day_us: int
    action: str
    flagged: int
    young: bool
    pairs: tuple[Pair, ...]


def early_lines(days: tuple[DayFigures, ...]) -> tuple[EarlyLine, ...]:
    """By day, and by action within.

    >>> from training.early import expect
    >>> import numpy as np
    >>> made = expect(np.array([0.9, 0.1]), [("block", 0.5)])
    >>> [line] = early_lines((DayFigures(0, made, young=True),))
    >>> line.action, line.flagged, line.young, line.pairs[0].expected
    ('block', 1, True, 0.9)
    """
    return tuple(line for day in days for line in _lines(day))


def merge_days(runs: Iterable[tuple[DayFigures, ...]]) -> tuple[DayFigures, ...]:
    """Each day once, by date: as it turned out, by the last run that knew; else as last expected.

    Args:
      runs: the days of each run, oldest run first.

    >>> from training.early import expect
    >>> import numpy as np
    >>> made = expect(np.array([0.9, 0.1]), [("block", 0.5)])
    >>> young, known = DayFigures(0, made, young=True), DayFigures(0, made)
    >>> merge_days([(young,), (known,), (young,)]) == (known,)
    True
    """
    found: dict[int, DayFigures] = {}
    for one in (day for run in runs for day in run):
        before = found.get(one.day_us)
        if before is None or before.young or not one.young:
            found[one.day_us] = one
    return tuple(found[day] for day in sorted(found))


def _lines(day: DayFigures) -> list[EarlyLine]:
    auc = Pair("AUC", day.expected.auc, then=day.then.auc if day.then else None, turned_out=day.auc)
    if not day.expected.at:
        nothing = Pair("precision", None), Pair("recall", None)
        return [EarlyLine(day.day_us, "", 0, day.young, (*nothing, auc))]
    made = []
    later = {one.action: one for one in day.turned_out}
    for one in day.expected.at:
        out = later.get(one.action)
        pairs = (
            _pair("precision", one.precision, _then(day.then, one.action, "precision"),
                  out.precision if out else None),
            _pair("recall", one.recall, _then(day.then, one.action, "recall"),
                  out.recall if out else None),
            auc,
        )  # fmt: skip
        made.append(EarlyLine(day.day_us, one.action, one.flagged, day.young, pairs))
    return made


def _pair(name: str, found: Expected | None, then: float | None, out: float | None) -> Pair:
    if found is None:
        return Pair(name, None, None, None, then, out)
    return Pair(name, found.value, found.low, found.high, then, out)


def _then(figures: ExpectedFigures | None, action: str, name: str) -> float | None:
    for one in figures.at if figures else ():
        if one.action == action:
            found: Expected | None = getattr(one, name)
            return found.value if found else None
    return None
