"""What an experiment found, as plain frozen records: the table, the page and `--json` show them.

No field holds payload text or an account id.
"""

from __future__ import annotations

import dataclasses

import msgspec
import numpy as np
import numpy.typing as npt

from training.clusters import share_interval
from training.labels import POSITIVE
from training.paired import Difference


def metric_words(name: str) -> str:
    """A metric's name for people.

    >>> metric_words("average_precision"), metric_words("auc")
    ('average precision', 'AUC')
    """
    return {"auc": "AUC", "mcc": "MCC"}.get(name, name.replace("_", " "))


@dataclasses.dataclass(frozen=True)
class ActedOn:
    """Events that a model's actions fell on, at its own thresholds, all nights together.

    Attributes:
      events: with a label; positives: of abuse among them; missed: abuse that nothing was done to.
      precision, recall: None where there is nothing to take a share of; intervals are 95 %, of
        effective events (`training.clusters`).
    """

    events: int
    positives: int
    missed: int
    precision: float | None
    precision_low: float
    precision_high: float
    recall: float | None
    recall_low: float
    recall_high: float


def acted_on(
    acted: npt.NDArray[np.bool_], labels: npt.NDArray[np.int8], units: npt.NDArray[np.int64]
) -> ActedOn:
    """What actions fell on.

    Args:
      acted: bool[n].
      labels: int8[n]: 1 or 0.
      units: int64[n], which events belong together.

    >>> acted_on(np.array([True, False]), np.array([1, 1], np.int8), np.arange(2)).recall
    0.5
    """
    hits = labels == POSITIVE
    events, found, total = int(acted.sum()), int((acted & hits).sum()), int(hits.sum())
    return ActedOn(
        events,
        found,
        total - found,
        found / events if events else None,
        *share_interval(hits[acted], units[acted]),
        found / total if total else None,
        *share_interval(acted[hits], units[hits]),
    )


@dataclasses.dataclass(frozen=True)
class TrainedNight:
    """A contender's model of one night.

    Attributes:
      as_of: "2026-03-11": nothing that became known on or after that day was used.
      bundle: fingerprint; figures: by metric, on the events after that day.
      gate: rules of its config's gate that its own held-out events do not pass, in words.
      reused: it had been trained and had scored before.
    """

    as_of: str
    bundle: str
    figures: dict[str, float]
    gate: tuple[str, ...] = ()
    reused: bool = False


@dataclasses.dataclass(frozen=True)
class ContenderResult:
    """A contender.

    Attributes:
      changes: what is otherwise than in the champion's config, a line for each setting.
      features: where its features come from, in words.
      nights: one for each day of `as_of`; none where it failed.
      differences: from the champion, in the order of the metrics; none for the champion.
      error, message: why it failed: the error's class, and its words; "" if it did not.
    """

    name: str
    about: str
    changes: tuple[str, ...]
    features: str
    nights: tuple[TrainedNight, ...] = ()
    figures: dict[str, float] = dataclasses.field(default_factory=dict)
    differences: tuple[Difference, ...] = ()
    acted: ActedOn | None = None
    error: str = ""
    message: str = ""

    @property
    def conclusion(self) -> str:
        """What the first metric's interval says; "failed" where there is none."""
        if self.error:
            return "failed"
        return self.differences[0].conclusion if self.differences else ""


@dataclasses.dataclass(frozen=True)
class JudgedStretch:
    """The events after a night: `[start_us, end_us)` µs UTC, and how many have which label."""

    as_of: str
    start_us: int
    end_us: int
    events: int
    positives: int
    negatives: int


@dataclasses.dataclass(frozen=True)
class ExperimentResult:
    """An experiment.

    Attributes:
      config: the champion's name.
      over: what the bootstrap drew: "campaigns", "accounts" or "events"; units: how many.
      labels_as_of: labels are those known before this day, by the champion's config.
      metrics: by their words, in the order of the file.
      confidence: with which all intervals hold together; draws: of the bootstrap.
      thin: why nothing can be concluded, in words; "" if there is enough to.
      notes: what someone should know before they read figures.
    """

    name: str
    about: str
    config: str
    over: str
    units: int
    labels_as_of: str
    metrics: tuple[str, ...]
    confidence: float
    draws: int
    tests: tuple[JudgedStretch, ...]
    champion: ContenderResult
    challengers: tuple[ContenderResult, ...]
    thin: str = ""
    notes: tuple[str, ...] = ()

    @property
    def failed(self) -> tuple[ContenderResult, ...]:
        """Challengers that there are no figures of."""
        return tuple(one for one in self.challengers if one.error)

    @property
    def summary(self) -> str:
        """A sentence for who reads nothing else."""
        if self.thin:
            return f"Too little evidence to conclude from: {self.units:,} {self.over}, {self.thin}."
        words = [
            f"{one.name}: {one.conclusion}" if one.error else f"{one.name} is {one.conclusion}"
            for one in self.challengers
        ]
        words = [one.replace("is no difference shown", "shows no difference") for one in words]
        return f"By {metric_words(self.metrics[0])}, {'; '.join(words)}."

    def to_json(self) -> bytes:
        """As JSON, indented, UTF-8; equal results give equal bytes."""
        return msgspec.json.format(msgspec.json.encode(self), indent=2) + b"\n"

    @classmethod
    def from_json(cls, text: bytes) -> ExperimentResult:
        """The reverse of :meth:`to_json`.

        Raises:
          msgspec.DecodeError: not JSON, or not a result.
        """
        return msgspec.json.decode(text, type=cls)
