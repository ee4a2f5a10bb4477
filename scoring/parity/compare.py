"""Compares two sides bit for bit, and counts what differs by cause."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from configs.errors import ParityError

LATE, DUPLICATE, MISSING = "late", "duplicate", "missing event"
COPY = "other copy"
VERSION, HAND_OFF, UNEXPLAINED = "bundle or graph version", "state hand-off", "unexplained"
SNAPSHOT, CAMPAIGN = "snapshot", "campaign"
CAUSES = (LATE, DUPLICATE, COPY, MISSING, SNAPSHOT, VERSION, HAND_OFF, CAMPAIGN, UNEXPLAINED)

BINS = 48
"""Pieces of time into which a report counts decisions and differences."""

_SHOWN = 10


@dataclasses.dataclass(frozen=True)
class Difference:
    """One event whose two sides differ.

    Attributes:
      event: its id.
      time_us: its time, microseconds UTC.
      cause: of `CAUSES`.
      features: names of the numeric inputs that differ; empty if only what comes after does.
      served: the score that was decided by.
      offline: the score as computed again.
    """

    event: str
    time_us: int
    cause: str
    features: tuple[str, ...]
    served: float
    offline: float

    @property
    def effect(self) -> float:
        """|score one way - score the other|."""
        return abs(self.served - self.offline)


@dataclasses.dataclass(frozen=True)
class ParityReport:
    """What a comparison found.

    Attributes:
      mode: "as served" or "ideal".
      events: decisions compared.
      by_cause: cause -> events.
      by_feature: feature -> events in which it differs.
      features_of: cause -> feature -> events.
      largest_effect: by cause, on a score.
      largest: the differences with the largest effects, largest first.
      versions: how many events each bundle decided.
      hints: what differences that no cause allows point to, and what of the range the log no
        longer has, in words.
      faults: what is wrong with the log or the backfill as a whole, in words; any one fails.
      missing: events of the archive that the log should have and has not; None: no archive given.
      first_us, last_us: times of the earliest and the latest compared event; 0 if there is none.
      compared, differing_over_time: by piece of time from `first_us` to `last_us` (`BINS` equal
        ones): decisions; cause -> decisions that differ.
    """

    mode: str
    events: int
    by_cause: dict[str, int]
    by_feature: dict[str, int]
    largest_effect: dict[str, float]
    versions: dict[str, int]
    hints: tuple[str, ...] = ()
    faults: tuple[str, ...] = ()
    missing: int | None = None
    features_of: dict[str, dict[str, int]] = dataclasses.field(default_factory=dict)
    largest: tuple[Difference, ...] = ()
    first_us: int = 0
    last_us: int = 0
    compared: tuple[int, ...] = ()
    differing_over_time: dict[str, tuple[int, ...]] = dataclasses.field(default_factory=dict)

    @property
    def differing(self) -> int:
        """Events that differ in any bit."""
        return sum(self.by_cause.values())

    @property
    def clean(self) -> bool:
        """As served: no difference. Ideal: none that is unexplained. And no fault in either."""
        if self.faults:
            return False
        if self.mode == "as served":
            return self.differing == 0
        return self.by_cause.get(UNEXPLAINED, 0) == 0

    def share(self, cause: str) -> float:
        """The share of the compared events that differ by a cause."""
        return self.by_cause.get(cause, 0) / max(self.events, 1)

    def require(self) -> None:
        """Does nothing if the two sides agree as they must.

        Raises:
          ParityError: they do not.
        """
        if self.clean:
            return
        raise ParityError(f"{self.words()} Do not promote; see docs/parity.md")

    def words(self) -> str:
        """The finding in a few sentences."""
        lines = [f"{self.mode}: {self.events:,} decisions, none differs in any bit."]
        if self.differing:
            features = ", ".join(sorted(self.by_feature, key=lambda n: -self.by_feature[n])[:5])
            counts = ", ".join(f"{cause} {n:,}" for cause, n in self.by_cause.items())
            lines = [
                f"{self.mode}: {self.differing:,} of {self.events:,} events differ ({counts}), in "
                f"{features or 'what comes after the numeric block'}.",
                *self.hints,
            ]
        lines += self.faults
        if self.missing:
            lines.append(f"{self.missing:,} events of the archive are not in the log.")
        return " ".join(lines)

    def to_builtins(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return dataclasses.asdict(self) | {
            "differing": self.differing,
            "clean": self.clean,
            "shares": {cause: self.share(cause) for cause in self.by_cause},
            "largest": [dataclasses.asdict(one) | {"effect": one.effect} for one in self.largest],
        }


def differing_columns(
    one: npt.NDArray[np.float32], other: npt.NDArray[np.float32]
) -> npt.NDArray[np.bool_]:
    """Where two float32 blocks differ in any bit; every NaN is the same null: bool `[n, K]`.

    >>> differing_columns(np.array([[1, np.nan]], np.float32), np.array([[1, np.nan]], np.float32))
    array([[False, False]])
    """
    differ: npt.NDArray[np.bool_] = one.view(np.uint32) != other.view(np.uint32)
    return differ & ~(np.isnan(one) & np.isnan(other))


def gather(
    mode: str,
    times: npt.NDArray[np.int64],
    differences: Sequence[Difference],
    versions: Mapping[str, int],
    hints: Sequence[str] = (),
    faults: Sequence[str] = (),
    missing: int | None = None,
) -> ParityReport:
    """A report of differences.

    Args:
      mode: "as served" or "ideal".
      times: int64 `[n]`, microseconds UTC, of every compared event.
      differences: of those that differ.
      versions: bundle -> events.
      hints, faults: in words.
      missing: events of the archive that are not in the log.
    """
    effects: dict[str, float] = {}
    features: dict[str, Counter[str]] = {}
    moments: dict[str, list[int]] = {}
    for one in differences:
        effects[one.cause] = max(effects.get(one.cause, 0.0), one.effect)
        features.setdefault(one.cause, Counter()).update(one.features)
        moments.setdefault(one.cause, []).append(one.time_us)
    first, last = (int(times.min()), int(times.max())) if len(times) else (0, 0)

    def binned(values: npt.ArrayLike) -> tuple[int, ...]:
        return tuple(np.histogram(values, BINS, (first, max(last, first + BINS)))[0].tolist())

    causes = [cause for cause in CAUSES if cause in moments]
    return ParityReport(
        mode=mode,
        events=len(times),
        by_cause={cause: len(moments[cause]) for cause in causes},
        by_feature=dict(Counter(name for one in differences for name in one.features)),
        largest_effect={cause: effects[cause] for cause in causes},
        versions=dict(versions),
        hints=tuple(hints),
        faults=tuple(faults),
        missing=missing,
        features_of={cause: dict(features[cause].most_common()) for cause in causes},
        largest=tuple(sorted(differences, key=lambda one: (-one.effect, one.event))[:_SHOWN]),
        first_us=first,
        last_us=last,
        compared=binned(times),
        differing_over_time={cause: binned(moments[cause]) for cause in causes},
    )
