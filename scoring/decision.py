"""From a calibrated score to an action: the first threshold that is reached, strictest first."""

from __future__ import annotations

import dataclasses
import hashlib
import math
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from configs.errors import BundleError
from scoring.arrays import load_json, save_json


@dataclasses.dataclass(frozen=True)
class Threshold:
    """An action fires at scores at or above `value`; None: never, for want of evidence.

    Attributes:
      min_precision: what the policy asks of it.
      reason: why there is no value, in words.
    """

    action: str
    value: float | None
    min_precision: float
    reason: str = ""


@dataclasses.dataclass(frozen=True)
class DecisionPolicy:
    """Thresholds, strictest first, and what is done below all of them."""

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
    value = None if plain["value"] is None else float(plain["value"])
    if value is not None and not math.isfinite(value):
        raise ValueError(f"the threshold {value} is no number")
    return Threshold(
        str(plain["action"]), value, float(plain["min_precision"]), str(plain["reason"])
    )
