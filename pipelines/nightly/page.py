"""What a nightly run has found out, and its page: at any stage, so also of a run that failed.

The page (report.html) and the same facts (report.json) are written both or neither.
"""

from __future__ import annotations

import contextlib
import dataclasses
import shlex
from collections import Counter
from collections.abc import Iterator
from typing import Any

import msgspec

from configs.errors import BundleError, GateError, LockstepError
from configs.fingerprint import fingerprint
from configs.schema import Spec
from configs.settings import flat_settings
from pipelines.backfill import BackfillReport
from pipelines.campaign_units import CampaignUnits
from pipelines.dataset import Dataset, early_verdicts
from pipelines.failures import explain_os_error
from pipelines.layout import REPORT_FACTS, REPORT_PAGE, Layout, day_of
from pipelines.meter import Meter, Usage
from pipelines.nightly.campaigns import CampaignFacts
from pipelines.nightly.effects import Effects
from pipelines.nightly.evidence import MOST_PAST, Evidence, past_reports
from pipelines.nightly.plan import NightlyRequest
from pipelines.nightly.weighting import Weighed
from pipelines.parity.gate import last_parity
from pipelines.progress import Progress
from pipelines.versions import library_versions
from scoring.explanation import input_meanings
from scoring.files import delete_files, join, read_file, replace_file
from scoring.store import ServingChange, Store
from training.by_slice import evaluate_by_slice
from training.dataset import Slices
from training.delayed import YOUNG, describe_young
from training.early import DayFigures
from training.fit import Fitted
from training.gate import GateResult, ServingComparison
from training.groups import encode_groups
from training.importance import rank_importance
from training.report import (
    DeadCount,
    Fact,
    KindCount,
    NightlyReport,
    Parts,
    Setup,
    SliceCount,
    SourceCount,
    StageCost,
    render,
)
from training.report.changes import changes_between
from training.report.early import merge_days
from transforms.signature import input_fingerprints, is_private

MOST_CHANGES = 8


@dataclasses.dataclass
class NightlyFacts:
    """Filled in as the run goes on; what is None was not reached.

    Attributes:
      cut: the slices of time.
      weighed: what weighting made of the sample (`labels.weighting`).
      bundle, serving: fingerprints.
      comparison: the candidate and the serving bundle on the same events.
      parts: the candidate by slices of the traffic.
      early: days whose labels are still to come, and those of the gate slice.
      campaigns: what is shown of campaigns as units; None: they are none.
      cold: whether windows were full yet, in words; "" if they were.
      effects: what the new model's actions do to events, accounts and campaigns.
      rows: by stage, that it went through.
      replaced: of which other config the page of this day was until now, in words; "": of none.
    """

    backfill: BackfillReport | None = None
    cut: Slices | None = None
    fitted: Fitted | None = None
    parts: tuple[Parts, ...] = ()
    evidence: Evidence | None = None
    early: tuple[DayFigures, ...] = ()
    campaigns: CampaignFacts | None = None
    cold: str = ""
    effects: Effects | None = None
    rows: dict[str, int] = dataclasses.field(default_factory=dict)
    serving: str | None = None
    comparison: ServingComparison | None = None
    gate: GateResult | None = None
    bundle: str | None = None
    promoted: bool = False
    weighed: Weighed | None = None
    replaced: str = ""


class RunReport:
    """A run's facts, stages and page.

    Args:
      request: what is asked.
      layout: of the output directory.
      progress: hears of each stage.
    """

    def __init__(self, request: NightlyRequest, layout: Layout, progress: Progress) -> None:
        self.progress, self.facts = progress, NightlyFacts()
        self._request, self._layout, self._meter = request, layout, Meter()
        self.facts.replaced = replaced_page(request, layout)

    @contextlib.contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Measures what happens within."""
        self.progress.say(f"{name} …")
        with self._meter.step(name):
            yield

    @contextlib.contextmanager
    def failures(self) -> Iterator[None]:
        """What fails within is raised, and a page says what it was."""
        try:
            yield
        except (LockstepError, OSError) as error:
            words = str(explain_os_error(error) if isinstance(error, OSError) else error)
            gate = self.facts.gate
            refused = gate is not None and not gate.passed
            if gate is not None and isinstance(error, GateError):  # what to do is on the page
                words = f"The new model may not serve: {'; '.join(gate.reasons)}."
            self._write_failure("refused" if refused else "failed", words)
            raise
        except (KeyboardInterrupt, SystemExit):
            if not self.facts.promoted:
                words = "the run was interrupted; what serves has not changed"
                self._write_failure("failed", words)
            raise

    def write(self, outcome: str, summary: str) -> tuple[str, NightlyReport]:
        """Writes the page of what is known by now; returns it and its facts."""
        report = make_report(
            self._request, self._layout, outcome, summary, self.facts, self._meter.usage
        )
        return write_report(self._layout.report(self._request.as_of), report), report

    def warnings(self) -> tuple[str, ...]:
        """What someone should look at, in words."""
        made = self.facts.backfill
        if made is None:
            return ()
        early = self.facts.evidence.early if self.facts.evidence else 0
        return (
            *([self.facts.replaced] if self.facts.replaced else []),
            *([f"of the training span, {early_verdicts(early)}"] if early else []),
            *(self.facts.weighed.warnings() if self.facts.weighed else ()),
            *silent_actions(self.facts),
            *(f"{day}: the source has no event of this day" for day in made.empty),
            *made.warnings,
        )

    def _write_failure(self, outcome: str, summary: str) -> None:
        """A page of what went wrong; none at all rather than one that is no longer true."""
        try:
            self.write(outcome, summary)
        except OSError:
            remove_report(self._layout.report(self._request.as_of))


def replaced_page(request: NightlyRequest, layout: Layout) -> str:
    """Whether a run of another config has left its page of the same day, in words; "": none has."""
    try:
        text = read_file(join(layout.report(request.as_of), REPORT_FACTS))
        before = NightlyReport.from_json(text)
    except (OSError, msgspec.DecodeError):
        return ""
    if before.spec_fingerprint == fingerprint(request.spec):
        return ""
    return (
        f"This page replaces that of {before.name} ({before.spec_fingerprint}), another config, as "
        f"of the same day ({before.outcome}; bundle {before.bundle_fingerprint or 'none'})."
    )


def make_report(
    request: NightlyRequest,
    layout: Layout,
    outcome: str,
    summary: str,
    facts: NightlyFacts,
    usage: tuple[Usage, ...],
) -> NightlyReport:
    """The facts as a report."""
    spec, as_of_us = request.spec, request.as_of_us
    read, fitted, cut, evidence = facts.backfill, facts.fitted, facts.cut, facts.evidence
    compared, before = facts.comparison, past_reports(layout, as_of_us)
    whole = compared is not None and cut is not None and compared.where == cut.gate
    made = NightlyReport(
        name=spec.name,
        about=spec.about,
        as_of_us=as_of_us,
        outcome=outcome,
        summary=summary,
        spec_fingerprint=fingerprint(spec),
        bundle_fingerprint=facts.bundle,
        serving_fingerprint=facts.serving,
        sources=(SourceCount(request.source, read.read),) if read else (),
        rows=read.read if read else 0,
        kinds=count_kinds(spec, layout, cut, as_of_us) if cut else (),
        dead=_dead(read) if read else (),
        max_dead_share=spec.events.max_dead_share,
        slices=_slices(fitted, cut, evidence) if fitted and cut else (),
        metrics=fitted.metrics if fitted else None,
        baseline=fitted.baseline if fitted else None,
        serving=compared.serving if compared is not None and whole else None,
        beside=compared if compared is not None and (compared.fault or not whole) else None,
        gate=facts.gate,
        thresholds=fitted.policy.thresholds if fitted else (),
        features=rank_importance(fitted.gains, input_meanings(spec)) if fitted else (),
        parts=facts.parts,
        stages=tuple(
            StageCost(one.step, one.seconds, one.peak_bytes, facts.rows.get(one.step))
            for one in usage
        ),
        facts=tuple(
            Fact(name, str(value))
            for name, value in (_provenance(read, fitted) | _campaigns(facts)).items()
        ),
        notes=_notes(facts),
        commands=_commands(layout, facts, outcome),
        verdicts=evidence.verdicts if evidence else None,
        wrong=evidence.wrong if evidence else (),
        inputs=evidence.inputs if evidence else (),
        drifts=evidence.drifts if evidence else (),
        drift_since=evidence.drift_since if evidence else None,
        early=facts.early,
        held_out=spec.policy.hold_out is not None,
        past=tuple(one.as_past_run() for one in before[-MOST_PAST:]),
        changes=_changes(layout),
        days=merge_days([*(one.early for one in before[-MOST_PAST:]), facts.early]),
        setup=Setup(flat_settings(spec), input_fingerprints(spec), library_versions()),
        flow=evidence.flow if evidence else None,
        alarms=evidence.alarms if evidence else (),
        parity=last_parity(layout, request.as_of),
        reasons=facts.effects.reasons if facts.effects else (),
        accounts=facts.effects.accounts if facts.effects else None,
        harm=facts.effects.harm if facts.effects else (),
    )
    measured = [one for one in before if one.metrics is not None]
    if not measured:
        return made
    return dataclasses.replace(
        made,
        changed=changes_between(measured[-1], made),
        changed_since=measured[-1].as_of_us,
    )


def _changes(layout: Layout) -> tuple[ServingChange, ...]:
    """What has been made to serve lately; none where the pointer cannot be read."""
    try:
        return Store(layout.bundles).changes()[-MOST_CHANGES:]
    except BundleError:
        return ()


def _campaigns(facts: NightlyFacts) -> dict[str, str]:
    return {} if facts.campaigns is None else facts.campaigns.rows()


def _notes(facts: NightlyFacts) -> tuple[str, ...]:
    """What someone should know before they read the figures."""
    notes = [facts.replaced] if facts.replaced else []
    notes += [facts.cold] if facts.cold else []
    if facts.effects and facts.effects.fault:
        notes.append(facts.effects.fault)
    if facts.evidence and facts.evidence.early:
        notes.append(f"Of the training span, {early_verdicts(facts.evidence.early)}.")
    notes += map(str, facts.evidence.alarms) if facts.evidence else []
    if facts.campaigns is not None and facts.campaigns.note:
        notes.append(facts.campaigns.note)
    notes += silent_actions(facts)
    if facts.fitted is not None and YOUNG in facts.fitted.notes:
        notes.append(f"{describe_young(facts.fitted.notes[YOUNG])}.")
    serving = facts.comparison.serving if facts.comparison else None
    for at in serving.at if serving else ():
        if at.broken:
            notes.append(
                f"The serving model no longer keeps what its threshold for {at.action} promised: "
                f"{at.promise}. It was chosen on older events."
            )
    moved = [one.name for one in facts.evidence.drifts if one.moved] if facts.evidence else []
    if moved:
        more = f" and {len(moved) - 3} more" if len(moved) > 3 else ""
        notes.append(f"Inputs have moved since the run before: {', '.join(moved[:3])}{more}.")
    return (*notes, *(facts.backfill.warnings if facts.backfill else ()))


def silent_actions(facts: NightlyFacts) -> list[str]:
    """Which actions the new model's contracts leave off, and why."""
    thresholds = facts.fitted.policy.thresholds if facts.fitted else ()
    return [
        f"With the new model the action {one.action} never fires: {one.reason}."
        for one in thresholds
        if one.value is None
    ]


def _commands(layout: Layout, facts: NightlyFacts, outcome: str) -> tuple[Fact, ...]:
    """What can be done next."""
    out = shlex.quote(layout.root)
    made = []
    if outcome == "promoted" and facts.serving and facts.serving != facts.bundle:
        made.append(
            Fact(f"let {facts.serving} serve again", f"lockstep bundle rollback --out {out}")
        )
    if outcome == "kept" and facts.bundle:
        made.append(Fact("let it serve", f"lockstep bundle promote {facts.bundle} --out {out}"))
    if outcome == "refused" and facts.bundle:
        because = '--because "…"'
        made.append(
            Fact(
                "let it serve against the gate's word, with your reason",
                f"lockstep bundle promote {facts.bundle} --out {out} {because}",
            )
        )
    if outcome in ("promoted", "kept", "refused") and facts.bundle:
        alike = facts.comparison is None or not facts.comparison.fault  # else it cannot be measured
        compared = alike and facts.serving is not None and facts.serving != facts.bundle
        other = f" --bundle {facts.serving}" if compared else ""
        made.append(
            Fact(
                "measure it on later days",
                f"lockstep evaluate --out {out} --bundle {facts.bundle}{other} --days FIRST..LAST",
            )
        )
    return tuple(made)


def write_report(folder: str, report: NightlyReport) -> str:
    """Writes page and JSON; returns the page."""
    replace_file(join(folder, REPORT_FACTS), report.to_json())
    replace_file(join(folder, REPORT_PAGE), render(report).encode())
    return join(folder, REPORT_PAGE)


def remove_report(folder: str) -> None:
    """Takes away what is no longer true and cannot be written anew (a full disk)."""
    for name in (REPORT_PAGE, REPORT_FACTS):
        with contextlib.suppress(OSError):
            delete_files([join(folder, name)])


def count_kinds(spec: Spec, layout: Layout, cut: Slices, as_of_us: int) -> tuple[KindCount, ...]:
    """Events of the days that the run may look at, duplicates included, by kind."""
    counts: Counter[str] = Counter({kind: 0 for kind in spec.kinds})
    for day in layout.published():
        if day_of(cut.span.start_us) <= day < day_of(as_of_us):
            counts.update(layout.read_marker(day).get("kinds", {}))
    scored = spec.scored_kinds
    return tuple(KindCount(kind, count, kind in scored) for kind, count in counts.items())


def make_parts(
    spec: Spec, fitted: Fitted, judged: Dataset, units: CampaignUnits | None = None
) -> tuple[Parts, ...]:
    """The candidate on the gate slice, by the values of each categorical that is not private."""
    group = judged.group(spec)
    accounts = None if group is None else encode_groups(group)
    if group is not None and units is not None:
        accounts = units.clusters(group)
    return tuple(
        Parts(
            one.column,
            evaluate_by_slice(
                fitted.gate_scores,
                judged.labels,
                judged.events.column(one.column),
                clusters=accounts,
            ),
        )
        for one in spec.inputs.categorical
        if not is_private(spec, one.column)
    )


def _dead(made: BackfillReport) -> tuple[DeadCount, ...]:
    return tuple(
        DeadCount(stage, reason, count)
        for stage, reasons in made.dead_stages.items()
        for reason, count in reasons.items()
    )


def _slices(fitted: Fitted, cut: Slices, evidence: Evidence | None) -> tuple[SliceCount, ...]:
    ranges = {"fit": cut.fit, "validation": cut.validation, "gate": cut.gate, "span": cut.span}
    return tuple(
        SliceCount(
            name,
            where.start_us,
            where.end_us,
            fitted.counts[name].positives,
            fitted.counts[name].negatives,
            fitted.counts[name].unlabelled,
            evidence.judged[name] if evidence else None,
        )
        for name, where in ranges.items()
    )


def _provenance(made: BackfillReport | None, fitted: Fitted | None) -> dict[str, Any]:
    facts: dict[str, Any] = {}
    if made is not None:
        facts["days made"] = f"{made.days[0]} to {made.days[-1]}" if made.days else "none"
        if made.empty:
            facts["days without events"] = ", ".join(made.empty)
        facts["events of these days"] = f"{made.events:,}"
        facts["duplicates"] = f"{made.duplicates:,}"
        facts["live keys"] = ", ".join(f"{k} {n:,}" for k, n in made.keys.items()) or "0"
    notes = fitted.notes if fitted else {}
    facts |= {
        k.replace("_", " "): v for k, v in notes.items() if not k.endswith("_us") and k != YOUNG
    }
    return facts | library_versions()
