"""The nightly job: yesterday's events in, a better model served, or nothing changed.

What enters: a config, a source and a night. What leaves: new days of features, and a bundle that
serves if it passed its gate; always a page that tells what happened. Whatever fails, at whatever
stage, the serving pointer stays as it was and the command exits non-zero: it is moved by the last
act of all, in one atomic step.
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa

from configs.errors import EvidenceError, GateError, LockstepError
from configs.fingerprint import fingerprint
from configs.schema import EVENT_ID, Training
from pipelines.analyze import analyze_days, sample_hashes, sample_limit
from pipelines.backfill import backfill_locked
from pipelines.beside import stand_beside
from pipelines.dataset import Dataset, early_verdicts, load_dataset, published_parts
from pipelines.failures import explain_os_error
from pipelines.layout import Layout, day_of, day_us, locked
from pipelines.meter import Meter
from pipelines.night_evidence import cold_start, gather_evidence
from pipelines.night_page import (
    NightFacts,
    count_kinds,
    make_parts,
    make_report,
    remove_report,
    write_report,
)
from pipelines.night_plan import NightlyRequest, backfill_plans, plan_night, sections
from pipelines.parity.gate import check_parity
from pipelines.progress import Progress, Quiet
from pipelines.report import NightlyReport
from pipelines.runners import Running
from pipelines.signals import held, raise_if_stopped
from pipelines.versions import library_versions
from scoring.bundle import BundleParts, fingerprint_parts, load_bundle, write_bundle
from scoring.store import Store
from training.dataset import Slices, TimeRange, slices
from training.fit import Fitted, Span, fit, fit_parts
from training.gate import Beside, GateResult, check_gate
from transforms.catalog import CATALOG
from transforms.executor import Executor

__all__ = ["STAGES", "NightlyOutcome", "NightlyRequest", "nightly", "plan_night"]

STAGES = (
    "backfill", "read", "analyse", "transform", "train", "compare", "gate", "bundle", "promote",
)  # fmt: skip


@dataclasses.dataclass(frozen=True)
class NightlyOutcome:
    """What a nightly has made.

    Attributes:
      bundle: fingerprint of the new bundle; folder: where it is.
      page: the HTML page.
      report: the same facts.
      warnings: what someone should look at, in words.
    """

    bundle: str
    folder: Path
    page: Path
    report: NightlyReport
    warnings: tuple[str, ...] = ()


def nightly(request: NightlyRequest, progress: Progress | None = None) -> NightlyOutcome:
    """Runs a night.

    Raises:
      LockstepError: what failed; what serves has not changed, and the page says why.
    """
    layout = Layout(request.out)
    run = _Night(request, layout, progress or Quiet())
    try:
        with locked(layout):
            return run.run()
    except OSError as error:
        raise explain_os_error(error) from error


class _Night:
    """One night's facts as they come to be known; a page can be made of them at any stage."""

    def __init__(self, request: NightlyRequest, layout: Layout, progress: Progress) -> None:
        self._request, self._layout, self._progress = request, layout, progress
        self._spec = request.spec
        self._store = Store(layout.bundles)
        self._meter = Meter()
        self._facts = NightFacts()
        self._promoted = False
        self._as_of_us = day_us(request.as_of)

    def run(self) -> NightlyOutcome:
        try:
            return self._run()
        except (LockstepError, OSError) as error:
            words = explain_os_error(error) if isinstance(error, OSError) else error
            refused = self._facts.gate is not None and not self._facts.gate.passed
            self._tell_failure("refused" if refused else "failed", str(words))
            raise
        except (KeyboardInterrupt, SystemExit):
            if not self._promoted:
                self._tell_failure("failed", "the run was interrupted; what serves has not changed")
            raise

    def _run(self) -> NightlyOutcome:
        training, _ = sections(self._spec)
        cut = self._facts.cut = slices(training, self._as_of_us)
        with self._stage("backfill"):
            for plan in backfill_plans(self._request, self._layout, cut):
                self._facts.backfill = backfill_locked(plan, self._progress)
        with self._stage("read"):
            data = self._read(cut, training)
        graph = self._layout.work / "transform_graph"
        with self._stage("analyse"):
            self._analyse(training, cut.fit, data, graph)
        with self._stage("transform"):
            transformed = Executor(graph, self._spec).transform(data.numeric, data.batch())
        parts = self._progress.step("train", fit_parts(self._spec), "parts")
        with self._stage("train"), parts as step:
            span = Span(transformed, data.times, data.labels, data.group(self._spec))
            fitted = self._facts.fitted = fit(
                self._spec, span, cut, self._request.threads, step.advance
            )
            judged = data.take(np.flatnonzero(cut.gate.mask(data.times)))
            self._facts.parts = make_parts(self._spec, fitted, judged)
            self._facts.evidence = gather_evidence(
                self._spec, self._layout, cut, self._as_of_us, data, judged, fitted
            )
            self._facts.cold = cold_start(self._spec, self._layout, cut)
        with self._stage("compare"):
            beside = self._facts.beside = self._beside(fitted, judged, graph, cut)
        with self._stage("gate"):
            gate = self._facts.gate = check_gate(
                self._spec.gate, fitted.metrics, beside, self._request.promote
            )
            gate.require()
        with self._stage("bundle"):
            folder = write_bundle(self._parts(fitted, graph, gate, cut), self._layout.bundles)
            load_bundle(folder, CATALOG)
            self._facts.bundle = folder.name
        if not self._request.promote:
            words = "is kept; `lockstep bundle promote` makes it serve"
            page, report = self._tell("kept", f"bundle {folder.name} passed the gate and {words}")
            return NightlyOutcome(folder.name, folder, page, report, self._warnings())
        if self._spec.gate.parity_us:
            with self._stage("parity"):
                self._require_parity(gate, folder.name)
        # All that can fail goes before: with a full disk there is no page, and then no promotion.
        passed = f"bundle {folder.name} passed the gate"
        words = "is about to serve; `lockstep bundle list` tells whether it does"
        page, report = self._tell("kept", f"{passed} and {words}")
        raise_if_stopped()
        with held():
            with self._stage("promote"):
                self._store.promote(folder.name)
                self._promoted = True
            try:
                page, report = self._tell("promoted", f"{passed} and serves")
            except OSError as error:  # it serves; the page says where to look
                self._progress.say(f"warning: the page is not up to date ({error.strerror})")
        return NightlyOutcome(folder.name, folder, page, report, self._warnings())

    @contextlib.contextmanager
    def _stage(self, name: str) -> Iterator[None]:
        self._progress.say(f"{name} …")
        with self._meter.step(name):
            yield

    def _warnings(self) -> tuple[str, ...]:
        made = self._facts.backfill
        if made is None:
            return ()
        early = self._facts.evidence.early if self._facts.evidence else 0
        return (
            *([f"of the training span, {early_verdicts(early)}"] if early else []),
            *(f"{day}: the source has no event of this day" for day in made.empty),
            *made.warnings,
        )

    def _read(self, cut: Slices, training: Training) -> Dataset:
        first = self._layout.published()[0]
        if first > day_of(cut.span.start_us):
            raise EvidenceError(
                f"{self._layout.root} begins at {first}, and this run trains on {cut.span}; "
                "choose a later --as-of or a shorter training.span, or begin earlier with --since "
                "in another --out"
            )
        data = load_dataset(
            self._spec,
            self._layout,
            cut.span.start_us,
            cut.span.end_us,
            self._as_of_us,
            training.train_rows,
        )
        if not len(data):
            raise EvidenceError(
                f"there is no scored event from {cut.span} under {self._layout.root}; is the "
                "source complete, and is --as-of the night that is meant?"
            )
        return data

    def _analyse(self, training: Training, where: TimeRange, data: Dataset, graph: Path) -> None:
        """Workers read the fit slice's events of the sample from the published days."""
        mask = pa.array(where.mask(data.times))
        hashes = sample_hashes(data.events.column(EVENT_ID).filter(mask))
        if not len(hashes):
            raise EvidenceError(
                f"no rows to analyse: there is no scored event from {where}; choose a later "
                "--as-of or a longer training.span"
            )
        analyze_days(
            self._spec,
            published_parts(self._layout, where.start_us, where.end_us),
            where.start_us,
            where.end_us,
            sample_limit(hashes, training.analyse_rows),
            graph,
            Running(self._request.workers or 1, self._request.flags),
        )

    def _beside(self, fitted: Fitted, judged: Dataset, graph: Path, cut: Slices) -> Beside | None:
        """The candidate beside the bundle that serves; None where none does."""
        name = self._facts.serving = self._store.serving()
        if name is None:
            return None
        parts = self._parts(fitted, graph, GateResult(False, ()), cut)
        if fingerprint_parts(parts, self._layout.work) == name:
            return Beside(cut.gate, same=True)
        training, _ = sections(self._spec)
        serving = load_bundle(self._store.path(name), CATALOG)
        return stand_beside(self._spec, fitted, judged, cut.gate, serving, training.seed)

    def _require_parity(self, gate: GateResult, bundle: str) -> None:
        """The last rule of the gate, asked of the scorer that would take the bundle over."""
        request, layout = self._request, self._layout
        rule = check_parity(
            self._spec.gate.parity_us,
            request.scorer,
            layout.bundles,
            request.source,
            layout.report(request.as_of),
        )
        self._facts.gate = dataclasses.replace(
            gate, passed=gate.passed and rule.passed, rules=(*gate.rules, rule)
        )
        if not rule.passed:
            raise GateError(
                f"bundle {bundle} is kept and not promoted: {rule.words} What serves now stays. "
                "See docs/parity.md; once parity is clean, run the night again, or promote the "
                "bundle by hand with `lockstep bundle promote`"
            )

    def _parts(self, fitted: Fitted, graph: Path, gate: GateResult, cut: Slices) -> BundleParts:
        training, _ = sections(self._spec)
        return BundleParts(
            config=self._request.config,
            spec=self._spec,
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
                "as_of": str(self._request.as_of),
                "config_fingerprint": fingerprint(self._spec),
                "versions": library_versions(),
                **fitted.notes,
            },
        )

    def _tell(self, outcome: str, summary: str) -> tuple[Path, NightlyReport]:
        spec, facts = self._spec, self._facts
        kinds = count_kinds(spec, self._layout, facts.cut, self._as_of_us) if facts.cut else ()
        report = make_report(
            spec, self._request.source, self._layout, self._as_of_us, outcome, summary, facts,
            kinds, self._meter.usage,
        )  # fmt: skip
        return write_report(self._layout.report(self._request.as_of), report), report

    def _tell_failure(self, outcome: str, summary: str) -> None:
        """A page of what went wrong; none at all rather than one that is no longer true."""
        try:
            self._tell(outcome, summary)
        except OSError:
            remove_report(self._layout.report(self._request.as_of))
