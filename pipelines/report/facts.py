"""What a nightly run has to tell, as plain frozen records.

What enters: counts and results that the run collected. What leaves: :class:`NightlyReport`, which
`page.render` makes a page of and which goes to report.json as it is. No field holds payload text
or an account id. A run that failed early leaves out what it did not reach.
"""

from __future__ import annotations

import dataclasses

import msgspec

from training.by_slice import SliceMetrics
from training.evaluate import Metrics
from training.gate import Beside, GateResult
from training.importance import Importance
from training.thresholds import Threshold

__all__ = [
    "DeadCount",
    "Fact",
    "Importance",
    "KindCount",
    "NightlyReport",
    "Parts",
    "SliceCount",
    "SourceCount",
    "StageCost",
]


@dataclasses.dataclass(frozen=True)
class SourceCount:
    """A source that was read, and how many rows it had."""

    source: str
    rows: int


@dataclasses.dataclass(frozen=True)
class KindCount:
    """Events of a kind; `scored`: whether such events get features and a decision."""

    kind: str
    events: int
    scored: bool


@dataclasses.dataclass(frozen=True)
class DeadCount:
    """Records that became no event, by stage and reason (transforms.dead_letter)."""

    stage: str
    reason: str
    records: int


@dataclasses.dataclass(frozen=True)
class SliceCount:
    """A slice of the training span: `[start_us, end_us)` µs UTC, and its labels."""

    name: str
    start_us: int
    end_us: int
    positives: int
    negatives: int
    unlabelled: int


@dataclasses.dataclass(frozen=True)
class StageCost:
    """A stage of the run: wall seconds, peak resident bytes (all processes)."""

    stage: str
    seconds: float
    peak_bytes: int


@dataclasses.dataclass(frozen=True)
class Parts:
    """The new model on parts of the gate slice, by the values of a column that is not private."""

    column: str
    rows: tuple[SliceMetrics, ...]


@dataclasses.dataclass(frozen=True)
class Fact:
    """A line of the page's last table: a version, a seed, a fingerprint."""

    name: str
    value: str


@dataclasses.dataclass(frozen=True)
class NightlyReport:
    """One nightly run.

    Attributes:
      name, about: the spec's.
      as_of_us: the moment of knowing, µs UTC.
      outcome: "promoted", "kept" (good, and asked not to serve), "refused" (the gate said no) or
        "failed" (a stage did).
      summary: one or two sentences for who reads nothing else; the reason, when not promoted.
      spec_fingerprint, bundle_fingerprint, serving_fingerprint: None where there is none.
      sources, kinds, dead: what was read. `max_dead_share` is the configured bound.
      rows: source rows read, of which dead letters are a share.
      slices: what was trained on.
      metrics: the new model on the gate slice.
      baseline: the logistic regression on the same events.
      serving: the serving bundle on the same events; None where it is not compared, or was
        trained on some of them.
      beside: in the latter case, both on the others; `fault` where they cannot be compared.
      gate, thresholds, features: as `training` made them; features most important first.
      parts: the new model by parts of the traffic.
      stages: in the order run.
      facts: provenance, for the last table.
    """

    name: str
    about: str
    as_of_us: int
    outcome: str
    summary: str
    spec_fingerprint: str | None = None
    bundle_fingerprint: str | None = None
    serving_fingerprint: str | None = None
    sources: tuple[SourceCount, ...] = ()
    rows: int = 0
    kinds: tuple[KindCount, ...] = ()
    dead: tuple[DeadCount, ...] = ()
    max_dead_share: float | None = None
    slices: tuple[SliceCount, ...] = ()
    metrics: Metrics | None = None
    baseline: Metrics | None = None
    serving: Metrics | None = None
    beside: Beside | None = None
    gate: GateResult | None = None
    thresholds: tuple[Threshold, ...] = ()
    features: tuple[Importance, ...] = ()
    parts: tuple[Parts, ...] = ()
    stages: tuple[StageCost, ...] = ()
    facts: tuple[Fact, ...] = ()

    def to_json(self) -> bytes:
        """The report as JSON, indented, UTF-8; equal reports give equal bytes."""
        return msgspec.json.format(msgspec.json.encode(self), indent=2) + b"\n"

    @classmethod
    def from_json(cls, text: bytes) -> NightlyReport:
        """The reverse of :meth:`to_json`.

        Raises:
          msgspec.DecodeError: not JSON, or not a report.

        >>> made = NightlyReport("chat", "", 0, "failed", "no events")
        >>> NightlyReport.from_json(made.to_json()) == made
        True
        """
        return msgspec.json.decode(text, type=cls)
