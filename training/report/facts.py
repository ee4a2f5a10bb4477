"""What a nightly run reports, as plain frozen records.

No field holds payload text or an account id; an event's id may be there, for who has to look it up.
A run that failed early leaves out what it did not reach.
"""

from __future__ import annotations

import dataclasses

import msgspec

from scoring.decision import Threshold
from scoring.store import ServingChange
from training.by_slice import SliceMetrics
from training.drift import InputDrift, InputSummary
from training.early import DayFigures
from training.evaluate import Metrics
from training.flag_reasons import ActionReasons
from training.gate import GateResult, ServingComparison
from training.harm import HarmBefore
from training.importance import Importance
from training.label_counts import VerdictCounts
from training.label_flow import LabelFlow
from training.source_alarms import SourceAlarm
from training.subjects import SubjectMetrics


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
    """A slice of the training span: `[start_us, end_us)` µs UTC, and its labels.

    `judged` of the negatives are so by a verdict, the others by their age (`labels.maturity`);
    None in reports that did not count them.
    """

    name: str
    start_us: int
    end_us: int
    positives: int
    negatives: int
    unlabelled: int
    judged: int | None = None


@dataclasses.dataclass(frozen=True)
class StageCost:
    """A stage of the run: wall seconds, peak resident bytes (all processes), rows it went through.

    `rows`: of the input for the backfill, then scored events; None: it has none, or is not counted.
    """

    stage: str
    seconds: float
    peak_bytes: int
    rows: int | None = None


@dataclasses.dataclass(frozen=True)
class Parts:
    """The new model on parts of the gate slice, by the values of a column that is not private."""

    column: str
    rows: tuple[SliceMetrics, ...]


@dataclasses.dataclass(frozen=True)
class WrongEvent:
    """An event of the gate slice that is not abuse and has a high score.

    `action`: what the new thresholds do to it. `judged`: a verdict says that it is not abuse;
    otherwise nobody has judged it in time, and it may be abuse that was not found.
    """

    event_id: str
    time_us: int
    score: float
    action: str
    judged: bool


@dataclasses.dataclass(frozen=True)
class PastRun:
    """What an earlier run's report says; figures are None where it did not get so far.

    `flagged`: labelled events of its gate slice at or above each action's threshold.
    """

    as_of_us: int
    outcome: str
    bundle: str | None
    average_precision: float | None
    auc: float | None
    prevalence: float | None
    labelled: int
    flagged: dict[str, int]


@dataclasses.dataclass(frozen=True)
class Fact:
    """A line of the page's last table: a version, a seed, a fingerprint."""

    name: str
    value: str


@dataclasses.dataclass(frozen=True)
class Setup:
    """What a run was made with.

    Attributes:
      settings: of the config, as people write them (`configs.settings`).
      inputs: of the model -> fingerprint of what each means (`transforms.signature`).
      software: library -> version.
    """

    settings: dict[str, str] = dataclasses.field(default_factory=dict)
    inputs: dict[str, str] = dataclasses.field(default_factory=dict)
    software: dict[str, str] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class RunChange:
    """One thing in two runs.

    Attributes:
      of: "setting", "input", "software", "model", "threshold" or "figure".
      before, now: in words; "": it is not there.
    """

    of: str
    name: str
    before: str
    now: str


@dataclasses.dataclass(frozen=True)
class ParityFinding:
    """One mode of a parity check of the scorer's log (`scoring.parity.compare.ParityReport`).

    `as_of_us`: the night that checked it; `by_cause`: decisions that differ.
    """

    as_of_us: int
    mode: str
    events: int
    differing: int
    clean: bool
    by_cause: dict[str, int]


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
      parts: the new model by slices of the traffic.
      stages: in the order run.
      facts: provenance, for the last table.
      notes: what someone should know before they read figures, in sentences.
      commands: what can be done next, and the command that does it.
      verdicts: about the events of the span.
      wrong: the worst false positives, highest score first.
      inputs: summaries of the gate slice, for the next run.
      drifts: how inputs moved since the run as of `drift_since`, most first.
      early: figures that the new model's scores foretell, by day: of the gate slice, beside what
        turned out, and of the days after it, whose labels are still to come.
      held_out: whether `policy.hold_out` is set: something is done to what is flagged, so that
        labels of it are missing, and what turned out is not what is true.
      past: earlier runs, oldest first.
      changes: what has been made to serve, by whom and why, oldest first.
      days: `early` of this and of earlier runs, a day once (`training.report.early.merge_days`).
      setup: what the run was made with; None in reports of earlier builds.
      changed: against the run as of `changed_since`, the newest before that measured a model.
      flow: of verdicts, by source and day.
      alarms: sources of verdicts that stopped or flood.
      parity: the newest check that is in the output folder, a finding for each mode.
      reasons: what drove each action on the gate slice.
      accounts: how accounts are found there, where `evaluation.group` names them.
      harm: before the first action on a campaign or account there.
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
    beside: ServingComparison | None = None
    gate: GateResult | None = None
    thresholds: tuple[Threshold, ...] = ()
    features: tuple[Importance, ...] = ()
    parts: tuple[Parts, ...] = ()
    stages: tuple[StageCost, ...] = ()
    facts: tuple[Fact, ...] = ()
    notes: tuple[str, ...] = ()
    commands: tuple[Fact, ...] = ()
    verdicts: VerdictCounts | None = None
    wrong: tuple[WrongEvent, ...] = ()
    inputs: tuple[InputSummary, ...] = ()
    drifts: tuple[InputDrift, ...] = ()
    drift_since: int | None = None
    early: tuple[DayFigures, ...] = ()
    held_out: bool = False
    past: tuple[PastRun, ...] = ()
    changes: tuple[ServingChange, ...] = ()
    days: tuple[DayFigures, ...] = ()
    setup: Setup | None = None
    changed: tuple[RunChange, ...] = ()
    changed_since: int | None = None
    flow: LabelFlow | None = None
    alarms: tuple[SourceAlarm, ...] = ()
    parity: tuple[ParityFinding, ...] = ()
    reasons: tuple[ActionReasons, ...] = ()
    accounts: SubjectMetrics | None = None
    harm: tuple[HarmBefore, ...] = ()

    def as_past_run(self) -> PastRun:
        """What later reports show of this run."""
        metrics = self.metrics
        return PastRun(
            as_of_us=self.as_of_us,
            outcome=self.outcome,
            bundle=self.bundle_fingerprint,
            average_precision=metrics.average_precision if metrics else None,
            auc=metrics.auc if metrics else None,
            prevalence=metrics.prevalence if metrics else None,
            labelled=metrics.labelled if metrics else 0,
            flagged={one.action: one.flagged for one in metrics.at} if metrics else {},
        )

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
