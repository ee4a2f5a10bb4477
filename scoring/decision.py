"""From a calibrated score to an action: the first threshold that is reached, strongest first."""

from __future__ import annotations

import dataclasses
import hashlib
import math
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from configs.errors import BundleError
from scoring.arrays import load_json, save_json


@dataclasses.dataclass(frozen=True)
class Threshold:
    """An action fires at scores at or above `value`; None: never, for want of evidence.

    The evidence is of the gate slice; bundles of earlier releases have less of it.

    Attributes:
      min_precision: what the policy asks of it; None: it asks for a number a day.
      reason: why there is no value, in words.
      contract: what the action promises, in words.
      confidence: with which it is shown.
      labelled: labelled events of the gate slice; prevalence: the share of abuse among them.
      flagged, positives: labelled events at or above the value, and how many of them are abuse.
      accounts: that these are of; effective: how many independent events they stand for.
      precision, precision_low: the share, and its lower bound, corrected for choosing the value
        among others and for accounts.
      recall: share of the slice's positives at or above it; 0 when it never fires.
      per_day, per_day_high: events a day that it takes and no stronger action does, labelled or
        not, and the upper bound of that.
    """

    action: str
    value: float | None
    min_precision: float | None
    reason: str = ""
    contract: str = ""
    confidence: float | None = None
    labelled: int = 0
    prevalence: float | None = None
    flagged: int = 0
    positives: int = 0
    accounts: int = 0
    effective: float = 0.0
    precision: float | None = None
    precision_low: float | None = None
    recall: float = 0.0
    per_day: float | None = None
    per_day_high: float | None = None

    @property
    def evidence(self) -> str:
        """What shows that the promise holds, in words; "" if there is none, or it was not kept."""
        if self.value is None or not self.contract:
            return ""
        parts = []
        if self.precision is not None and self.precision_low is not None:
            parts.append(
                f"{self.positives:,} of {self.flagged:,} flagged events of {self.accounts:,} "
                f"accounts were abuse (as {self.effective:,.0f} independent events): precision "
                f"{self.precision:.3f}, at least {self.precision_low:.3f}"
            )
        if self.per_day is not None and self.per_day_high is not None:
            parts.append(f"{self.per_day:,.0f} a day, at most {self.per_day_high:,.0f}")
        if self.prevalence is not None:
            parts.append(f"{self.labelled:,} labelled events, {self.prevalence:.2%} of them abuse")
        return "; ".join(parts)


@dataclasses.dataclass(frozen=True)
class DecisionPolicy:
    """Thresholds, strongest first, and what is done below all of them."""

    thresholds: tuple[Threshold, ...]
    default: str

    @property
    def names(self) -> tuple[str, ...]:
        """Actions by the numbers that `decide` gives: the default is 0."""
        return (self.default, *(one.action for one in self.thresholds))

    def decide(self, scores: npt.NDArray[np.float64]) -> npt.NDArray[np.int8]:
        """The number of each event's action: int8 `[n]`.

        >>> policy = DecisionPolicy((Threshold("block", 0.9, 0.95),), "allow")
        >>> policy.decide(np.array([0.9, 0.2])).tolist()
        [1, 0]
        """
        made = np.zeros(len(scores), np.int8)
        for number, one in reversed(list(enumerate(self.thresholds, 1))):
            if one.value is not None:
                made[scores >= one.value] = number
        return made

    def threshold_of(self, action: int) -> float | None:
        """The threshold that an action's number stands for; None for the default."""
        return self.thresholds[action - 1].value if action else None

    def save(self, path: Path) -> None:
        """Writes JSON."""
        save_json(path, dataclasses.asdict(self))

    @classmethod
    def load(cls, path: Path) -> DecisionPolicy:
        """Reads what `save` wrote.

        Raises:
          BundleError: the file is damaged.
        """
        value = load_json(path)
        try:
            return cls(tuple(map(_threshold, value["thresholds"])), str(value["default"]))
        except (KeyError, TypeError, ValueError) as error:
            raise BundleError(f"{path.name} is damaged: {error!r}") from error


def decision_id(use: str, event_id: str) -> str:
    """The id of the decision about an event: the same whenever and by whatever bundle it is made.

    So a consumer that remembers ids acts on an event once, also across a swap of bundles.

    Args:
      use: the spec's name.
      event_id: of the scored event.

    >>> decision_id("chat", "m-1") == decision_id("chat", "m-1")
    True
    """
    text = f"{len(use)}:{use}:{event_id}"  # the length keeps ("a", "b:c") and ("a:b", "c") apart
    return hashlib.blake2b(text.encode(), digest_size=16, person=b"lockstep").hexdigest()


def _threshold(plain: dict[str, Any]) -> Threshold:
    made = msgspec.convert(plain, Threshold)
    if made.value is not None and not math.isfinite(made.value):
        raise ValueError(f"the threshold {made.value} is no number")
    return made
