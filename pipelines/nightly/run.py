"""The nightly run, stage by stage: features, sample, graph, model, comparison, gate, promotion.

Whatever fails, at whatever stage, the serving pointer stays as it was and the command exits
non-zero: it is moved by the last act of all, in one atomic step. A model that the gate refuses is
kept as a bundle that is marked so: an analyst may judge it otherwise.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from configs.errors import GateError
from configs.fingerprint import fingerprint
from pipelines.backfill import backfill_locked
from pipelines.campaign_units import read_units
from pipelines.failures import explain_os_error
from pipelines.layout import Layout, local_scratch, locked
from pipelines.nightly.campaigns import find_campaign_facts
from pipelines.nightly.compare import compare_with_serving
from pipelines.nightly.early import expect_days
from pipelines.nightly.effects import gather_effects
from pipelines.nightly.evidence import cold_start, gather_evidence
from pipelines.nightly.page import RunReport, make_parts
from pipelines.nightly.plan import NightlyRequest, backfill_plans, sections
from pipelines.nightly.sample import analyse_sample, fit_sample
from pipelines.nightly.young import load_weighed, transform_young
from pipelines.parity.gate import check_parity
from pipelines.progress import Progress, Quiet
from pipelines.signals import held, raise_if_stopped
from pipelines.sources.listing import require_apart
from pipelines.versions import library_versions
from scoring.bundle import BundleParts, fingerprint_parts, load_bundle, write_bundle
from scoring.files import Place, name_of
from scoring.locks import Require
from scoring.store import JUDGED, ChangeNote, Store
from training.dataset import Slices, slices
from training.delayed import YOUNG
from training.fit import Fitted
from training.gate import GateResult, ServingComparison, check_gate
from training.report import NightlyReport
from transforms.catalog import CATALOG
from transforms.encoder_model import require_encoder
from transforms.executor import Executor

STAGES = (
    "backfill", "read", "analyse", "transform", "train", "compare", "gate", "bundle", "promote",
)  # fmt: skip


@dataclasses.dataclass(frozen=True)
class NightlyOutcome:
    """What a nightly run has made.

    Attributes:
      bundle: fingerprint of the new bundle; folder: where it is.
      page: the HTML page.
      report: the same facts.
      warnings: what someone should look at, in words.
    """

    bundle: str
    folder: Place
    page: str
    report: NightlyReport
    warnings: tuple[str, ...] = ()


def nightly(request: NightlyRequest, progress: Progress | None = None) -> NightlyOutcome:
    """Trains on what was known, judges the model, and lets it serve if it passes the gate.

    Raises:
      LockstepError: what failed; what serves has not changed, and the page says why.
    """
    require_apart(request.source, str(request.out))  # before anything is put there
    layout = Layout(request.out)
    report = RunReport(request, layout, progress or Quiet())
    try:
        with (
            locked(layout) as require,
            local_scratch(layout) as scratch,
            report.failures(),
        ):
            folder, gate = _make_bundle(request, layout, report, require, scratch)
            return _promote(request, layout, report, folder, gate)
    except OSError as error:
        raise explain_os_error(error) from error


def _make_bundle(
    request: NightlyRequest,
    layout: Layout,
    report: RunReport,
    require: Require,
    scratch: Path,
) -> tuple[Place, GateResult]:
    """From events to a bundle that passed the gate, all but its parity rule.

    Raises:
      GateError: it did not pass; it is kept, marked as refused.
    """
    spec, facts, stage = request.spec, report.facts, report.stage
    training, _ = sections(spec)
    require_encoder(spec)
    cut = facts.cut = slices(training, request.as_of_us)
    with stage("backfill"):
        for plan in backfill_plans(request, layout, cut):
            facts.backfill = backfill_locked(plan, report.progress, require)
            facts.rows["backfill"] = facts.rows.get("backfill", 0) + facts.backfill.read
    with stage("read"):
        weighed = facts.weighed = load_weighed(request, layout, cut)
        data = weighed.data
    facts.rows |= dict.fromkeys(("read", "transform", "train"), len(data))
    graph = scratch / "transform_graph"
    with stage("analyse"):
        analyse_sample(spec, layout, cut.fit, data, graph, request.running)
    facts.rows["analyse"] = min(int(cut.fit.mask(data.times).sum()), training.analyse_rows)
    with stage("transform"):
        transformed = Executor(graph, spec).transform(data.numeric, data.batch())
    with stage("train"):
        units = read_units(spec, layout.root, request.as_of)
        fitted = facts.fitted = fit_sample(
            spec,
            cut,
            data,
            transformed,
            request.threads,
            report.progress,
            units,
            weighed.weights,
            transform_young(spec, weighed.young, graph, units),
        )
        data = data.without_labels(fitted.left_out)
        gate_rows = np.flatnonzero(cut.gate.mask(data.times))
        judged = data.take(gate_rows)
        facts.parts = make_parts(spec, fitted, judged, units)
        if spec.evaluation.campaigns:
            facts.campaigns = find_campaign_facts(spec, units, fitted, judged)
        facts.evidence = gather_evidence(spec, layout, cut, request.as_of_us, data, judged, fitted)
        facts.early = expect_days(request, layout, cut, judged, fitted, graph)
        facts.effects = gather_effects(
            spec, layout, request.as_of, judged, transformed.take(gate_rows), fitted
        )
        facts.cold = cold_start(spec, layout, cut)
    with stage("compare"):
        name = facts.serving = Store(layout.bundles).serving()
        notes = weighed.notes()
        if name is not None:
            facts.rows["compare"] = len(judged)
            candidate = bundle_parts(request, fitted, graph, GateResult(False, ()), cut, notes)
            if fingerprint_parts(candidate, scratch) == name:
                facts.comparison = ServingComparison(cut.gate, same=True)
            else:
                facts.comparison = compare_with_serving(
                    request, layout, cut.gate, data, judged, fitted, name, units
                )
    with stage("gate"):
        gate = facts.gate = check_gate(
            spec.gate, fitted.metrics, facts.comparison, request.promote, fitted.refit
        )
    with stage("bundle"):
        if weighed.young is not None:
            notes |= _keep_judged(request, layout, fitted, graph, gate, cut, notes)
        made = bundle_parts(request, fitted, graph, gate, cut, notes)
        folder = write_bundle(made, layout.bundles)
        load_bundle(folder, CATALOG)
        facts.bundle = name_of(folder)
        if facts.bundle != facts.serving:
            Store(layout.bundles).set_refused(facts.bundle, "; ".join(gate.reasons))
    gate.require(facts.bundle)
    return folder, gate


def _promote(
    request: NightlyRequest, layout: Layout, report: RunReport, folder: Place, gate: GateResult
) -> NightlyOutcome:
    """Lets a bundle serve that passed the gate, if that is asked for."""
    bundle = name_of(folder)
    passed = f"bundle {bundle} passed the gate"
    if not request.promote:
        words = "is kept; `lockstep bundle promote` makes it serve"
        page, made = report.write("kept", f"{passed} and {words}")
        return NightlyOutcome(bundle, folder, page, made, report.warnings())
    if request.spec.gate.parity_us:
        with report.stage("parity"):
            _require_parity(request, layout, report, bundle, gate)
    # All that can fail goes before: with a full disk there is no page, and then no promotion.
    words = "is about to serve; `lockstep bundle list` tells whether it does"
    page, made = report.write("kept", f"{passed} and {words}")
    raise_if_stopped()
    with held():
        with report.stage("promote"):
            Store(layout.bundles).promote(bundle, _note(request, report))
            report.facts.promoted = True
        try:
            page, made = report.write("promoted", f"{passed} and serves")
        except OSError as error:  # it serves; the page says where to look
            report.progress.say(f"warning: the page is not up to date ({error.strerror})")
    return NightlyOutcome(bundle, folder, page, made, report.warnings())


def _note(request: NightlyRequest, report: RunReport) -> ChangeNote:
    """What the store keeps of the promotion: every answer of the gate."""
    gate = report.facts.gate
    return ChangeNote(
        at=dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
        how=f"nightly run as of {request.as_of}",
        because="; ".join(rule.words for rule in gate.rules) if gate else "",
    )


def _require_parity(
    request: NightlyRequest, layout: Layout, report: RunReport, bundle: str, gate: GateResult
) -> None:
    """The last rule of the gate, asked of the scorer that would take the bundle over."""
    rule = check_parity(
        request.spec.gate.parity_us,
        request.scorer,
        layout.bundles,
        request.source,
        layout.report(request.as_of),
    )
    report.facts.gate = dataclasses.replace(
        gate, passed=gate.passed and rule.passed, rules=(*gate.rules, rule)
    )
    if not rule.passed:
        if bundle != report.facts.serving:
            Store(layout.bundles).set_refused(bundle, rule.words)
        raise GateError(
            f"bundle {bundle} is kept and not promoted: {rule.words} What serves now stays. "
            "See docs/parity.md; once parity is clean, run `lockstep nightly` again, or promote "
            f'the bundle by hand with `lockstep bundle promote {bundle} --because "…"`'
        )


def _keep_judged(
    request: NightlyRequest,
    layout: Layout,
    fitted: Fitted,
    graph: Path,
    gate: GateResult,
    cut: Slices,
    notes: Mapping[str, Any],
) -> dict[str, str]:
    """Keeps the models that the figures are of as a bundle too, for later runs to compare with.

    What has learnt from young events has seen all that will have mature labels in the next runs.
    """
    own = {name: one for name, one in fitted.notes.items() if name != YOUNG}
    own |= {"trained_until_us": cut.validation.end_us, "refit": False}
    alone = dataclasses.replace(fitted, models=fitted.judged, notes=own)
    parts = bundle_parts(request, alone, graph, gate, cut, notes)
    name = name_of(write_bundle(parts, layout.bundles))
    Store(layout.bundles).set_refused(
        name,
        f"it was judged as of {request.as_of} and is kept for comparison; what it was judged for "
        "has learnt from more events",
    )
    return {JUDGED: name}


def bundle_parts(
    request: NightlyRequest,
    fitted: Fitted,
    graph: Path,
    gate: GateResult,
    cut: Slices,
    notes: Mapping[str, Any] | None = None,
) -> BundleParts:
    """What a bundle of a run is made of."""
    training, _ = sections(request.spec)
    return BundleParts(
        config=request.config,
        spec=request.spec,
        graph=graph,
        models=fitted.models,
        model=training.model,
        calibration=fitted.calibration,
        policy=fitted.policy,
        metrics={
            "gate_slice": str(cut.gate),
            "candidate": fitted.metrics.to_builtins(),
            "gate": [dataclasses.asdict(rule) for rule in gate.rules],
        },
        provenance={
            "as_of": str(request.as_of),
            "config_fingerprint": fingerprint(request.spec),
            "versions": library_versions(),
            **fitted.notes,
            **(notes or {}),
        },
    )
