"""Compares two sides bit for bit, and counts what differs by cause.

What enters: numeric blocks, model inputs and scores of the same events from two paths. What leaves:
`Difference`s, gathered into a `ParityReport`.
"""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from configs.errors import ParityError

LATE, DUPLICATE, MISSING = "late", "duplicate", "missing event"
VERSION, HAND_OFF, UNEXPLAINED = "bundle or graph version", "state hand-off", "unexplained"
CAUSES = (LATE, DUPLICATE, MISSING, VERSION, HAND_OFF, UNEXPLAINED)


@dataclasses.dataclass(frozen=True)
class Difference:
    """One event whose two sides differ.

    Attributes:
      event: its place among the compared.
      cause: of `CAUSES`.
      features: names of the numeric inputs that differ; empty if only what comes after does.
      effect: |score one way - score the other|.
    """

    event: int
    cause: str
    features: tuple[str, ...]
    effect: float


@dataclasses.dataclass(frozen=True)
class ParityReport:
    """What a comparison found.

    Attributes:
      mode: "as served" or "ideal".
      events: compared.
      by_cause: cause -> events.
      by_feature: feature -> events in which it differs.
      largest_effect: by cause, on a score.
      versions: how many events each bundle decided.
      hints: what the pattern of unexplained differences points to.
    """

    mode: str
    events: int
    by_cause: dict[str, int]
    by_feature: dict[str, int]
    largest_effect: dict[str, float]
    versions: dict[str, int]
    hints: tuple[str, ...] = ()

    @property
    def differing(self) -> int:
        """Events that differ in any bit."""
        return sum(self.by_cause.values())

    @property
    def clean(self) -> bool:
        """As served: no difference. Ideal: none that is unexplained."""
        if self.mode == "as served":
            return self.differing == 0
        return self.by_cause.get(UNEXPLAINED, 0) == 0

    def require(self) -> None:
        """Does nothing if the two sides agree as they must.

        Raises:
          ParityError: they do not.
        """
        if self.clean:
            return
        features = ", ".join(sorted(self.by_feature, key=lambda n: -self.by_feature[n])[:5])
        counts = ", ".join(f"{cause} {n:,}" for cause, n in self.by_cause.items())
        hints = f" {' '.join(self.hints)}" if self.hints else ""
        raise ParityError(
            f"{self.mode}: {self.differing:,} of {self.events:,} events differ ({counts}), in "
            f"{features or 'what comes after the numeric block'}.{hints} Do not promote; see "
            "docs/parity.md"
        )

    def to_builtins(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return dataclasses.asdict(self) | {"differing": self.differing, "clean": self.clean}


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
    events: int,
    differences: Sequence[Difference],
    versions: Counter[str],
    hints: Sequence[str] = (),
) -> ParityReport:
    """A report of differences."""
    effects: dict[str, float] = {}
    for one in differences:
        effects[one.cause] = max(effects.get(one.cause, 0.0), one.effect)
    return ParityReport(
        mode=mode,
        events=events,
        by_cause=dict(Counter(one.cause for one in differences)),
        by_feature=dict(Counter(name for one in differences for name in one.features)),
        largest_effect=effects,
        versions=dict(versions),
        hints=tuple(hints),
    )


def hints_for(features: Counter[str], names: Sequence[str]) -> list[str]:
    """What a pattern of features points to: a window, an entity, an aggregate, or the model.

    >>> hints_for(Counter({"a_n_1h": 5, "a_m_1h": 4}), ["a_n_1h", "a_n_1d", "a_m_1h"])
    ['Only features of window 1h differ: look at its length and tiles.']
    """
    if not features:
        return ["Only what comes after the numeric block differs: graph, vocabulary or model."]
    windows = {name.rsplit("_", 1)[-1] for name in features}
    others = {name.rsplit("_", 1)[-1] for name in names if name not in features}
    if len(windows) == 1 and not windows <= others:
        return [f"Only features of window {windows.pop()} differ: look at its length and tiles."]
    entities = {name.split("_", 1)[0] for name in features}
    if len(entities) == 1:
        return [f"Only features of entity {entities.pop()} differ: look at its keys and order."]
    return []
