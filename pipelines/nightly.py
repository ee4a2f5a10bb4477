"""The nightly job: yesterday's events in, a better model served, or nothing changed.

What enters: a config, a source and a night. What leaves: new days of features, and a bundle that
serves if it passed its gate; always a page that tells what happened. Whatever fails, at whatever
stage, the serving pointer stays as it was and the command exits non-zero: it is moved by the last
act of all, in one atomic step.
"""

from __future__ import annotations

import contextlib
import dataclasses
import datetime as dt
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from configs.errors import BundleError, EvidenceError, GateError, InputError, LockstepError
from configs.fingerprint import fingerprint
from configs.schema import Spec, Training
from pipelines.analyze import analyze
from pipelines.backfill import (
    BackfillReport,
    BackfillRequest,
    backfill_locked,
    make_backfill_plan,
)
from pipelines.dataset import Dataset, load_dataset
from pipelines.layout import DAY_US, Days, Layout, day_of, day_us, locked, write_bytes
from pipelines.meter import Meter
from pipelines.parity.gate import check_parity
from pipelines.progress import Progress, Quiet
from pipelines.report import (
    DeadCount,
    Fact,
    KindCount,
    NightlyReport,
    Parts,
    SliceCount,
    SourceCount,
    StageCost,
    render,
)
from pipelines.sources import open_source
from pipelines.versions import library_versions
from pipelines.workers import explain_os_error
from scoring.bundle import Bundle, BundleParts, load_bundle, write_bundle
from scoring.explanation import input_meanings
from scoring.scorer import Scorer
from scoring.store import Store
from training.by_slice import evaluate_by_slice
from training.dataset import Slices, TimeRange, slices
from training.evaluate import Metrics, evaluate
from training.fit import Fitted, Span, fit
from training.gate import GateResult, check_gate
from training.importance import rank_importance
from transforms.catalog import CATALOG
from transforms.executor import Executor
from transforms.inputs import numeric_names

STAGES = (
    "backfill", "read", "analyse", "transform", "train", "compare", "gate", "bundle", "promote",
)  # fmt: skip


@dataclasses.dataclass(frozen=True)
class NightlyRequest:
    """What a scheduler asks for.

    Attributes:
      config: the YAML text, which the bundle keeps.
      source: events; must hold every day up to the night.
      as_of: the night: nothing that became known on or after this day is used.
      since: the first day of a first run; None: as far back as training and windows reach.
      promote: whether a bundle that passes the gate serves at once.
      scorer: the state folder of the scorer, whose log the gate's `parity` asks for.
    """

    spec: Spec
    config: str
    source: str
    out: Path
    as_of: dt.date
    workers: int = 1
    threads: int = 2
    since: dt.date | None = None
    promote: bool = True
    keep_states: int = 14
    scorer: Path | None = None


@dataclasses.dataclass(frozen=True)
class NightlyOutcome:
    """What a nightly has made.

    Attributes:
      bundle: fingerprint of the new bundle; folder: where it is.
      page: the HTML page.
      report: the same facts.
    """

    bundle: str
    folder: Path
    page: Path
    report: NightlyReport


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
        self._facts: dict[str, Any] = {}
        self._as_of_us = day_us(request.as_of)

    def run(self) -> NightlyOutcome:
        try:
            return self._run()
        except (LockstepError, OSError) as error:
            if not isinstance(error, OSError):
                refused = self._facts.get("gate") is not None and not self._facts["gate"].passed
                self._write_page("refused" if refused else "failed", str(error))
            raise

    def _run(self) -> NightlyOutcome:
        training = self._training()
        cut = slices(training, self._as_of_us)
        with self._stage("backfill"):
            self._backfill(cut)
        with self._stage("read"):
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
        graph = self._layout.work / "transform_graph"
        with self._stage("analyse"):
            rows = np.flatnonzero(cut.fit.mask(data.times))
            analyze(self._spec, data.numeric[rows], data.events.take(pa.array(rows)), graph)
        with self._stage("transform"):
            transformed = Executor(graph, self._spec).transform(data.numeric, data.batch())
        with self._stage("train"):
            span = Span(transformed, data.times, data.labels, data.group(self._spec))
            fitted = fit(self._spec, span, cut, self._request.threads)
            self._remember(fitted, cut, data)
        with self._stage("compare"):
            serving, bundle = self._serving_metrics(data, cut.gate)
        with self._stage("gate"):
            gate = check_gate(
                self._spec.gate,
                fitted.metrics,
                serving,
                _trained(bundle) if bundle else None,
                cut.gate,
            )
            self._facts["gate"] = gate
            gate.require()
        with self._stage("bundle"):
            folder = write_bundle(self._parts(fitted, graph, gate, cut), self._layout.bundles)
            load_bundle(folder, CATALOG)
            self._facts["bundle_fingerprint"] = folder.name
        summary = f"bundle {folder.name} passed the gate"
        if self._request.promote:
            if self._spec.gate.parity_us:
                with self._stage("parity"):
                    self._require_parity(gate, folder.name)
            with self._stage("promote"):
                self._store.promote(folder.name)
            summary += " and serves"
        page, report = self._write_page("promoted", summary)
        return NightlyOutcome(folder.name, folder, page, report)

    @contextlib.contextmanager
    def _stage(self, name: str) -> Iterator[None]:
        self._progress.say(f"{name} …")
        with self._meter.step(name):
            yield

    def _training(self) -> Training:
        if self._spec.training is None or self._spec.labels is None:
            raise InputError(
                f"the config {self._spec.name!r} has no training or no labels section; a nightly "
                "needs both"
            )
        return self._spec.training

    def _backfill(self, cut: Slices) -> None:
        request = self._request
        published = self._layout.published()
        last = request.as_of - dt.timedelta(days=1)
        first = published[0] if published else request.since or self._first_day(cut)
        if last < first:
            raise InputError(
                f"--as-of {request.as_of} lies before the first day, {first}; nothing to train on"
            )
        plan = make_backfill_plan(
            BackfillRequest(
                spec=self._spec,
                source=request.source,
                out=request.out,
                days=Days(first, last),
                workers=request.workers,
                keep_states=request.keep_states,
            )
        )
        report = backfill_locked(plan, self._progress)
        self._facts["backfill"] = report

    def _first_day(self, cut: Slices) -> dt.date:
        """As far back as the windows of the first training event reach, or the source does."""
        windows = [
            window.length_us
            for entity in self._spec.entities.values()
            for aggregate in entity.aggregates
            for window in aggregate.windows
        ]
        reach = day_of(cut.span.start_us - max(windows, default=DAY_US))
        times = [split.min_us for split in open_source(self._request.source, self._spec)]
        known = [time for time in times if time is not None]
        return max(reach, day_of(min(known))) if times and len(known) == len(times) else reach

    def _remember(self, fitted: Fitted, cut: Slices, data: Dataset) -> None:
        spec = self._spec
        ranges = {"fit": cut.fit, "validation": cut.validation, "gate": cut.gate, "span": cut.span}
        self._facts |= {
            "metrics": fitted.metrics,
            "baseline": fitted.baseline,
            "thresholds": fitted.thresholds,
            "features": rank_importance(fitted.gains, input_meanings(spec)),
            "slices": tuple(
                SliceCount(
                    name,
                    where.start_us,
                    where.end_us,
                    fitted.counts[name].positives,
                    fitted.counts[name].negatives,
                    fitted.counts[name].unlabelled,
                )
                for name, where in ranges.items()
            ),
            "notes": fitted.notes,
        }
        columns = [one.column for one in spec.inputs.categorical if not _private(spec, one.column)]
        if columns:
            rows = np.flatnonzero(cut.gate.mask(data.times))
            part = fitted.judged
            sample = data.take(rows)
            graph = Executor(self._layout.work / "transform_graph", spec)
            made = graph.transform(sample.numeric, sample.batch())
            training = self._training()
            raw = part.raw(training.model, made, part.text_scores(made))
            scores = fitted.calibration.apply(raw)
            self._facts["parts"] = tuple(
                Parts(name, evaluate_by_slice(scores, sample.labels, sample.events.column(name)))
                for name in columns
            )

    def _serving_metrics(
        self, data: Dataset, gate: TimeRange
    ) -> tuple[Metrics | None, Bundle | None]:
        """The serving bundle on the gate slice; None where none serves or it reads other inputs."""
        name = self._store.serving()
        if name is None:
            return None, None
        self._facts["serving_fingerprint"] = name
        bundle = load_bundle(self._store.path(name), CATALOG)
        rows = np.flatnonzero(gate.mask(data.times))
        sample = data.take(rows)
        ours = numeric_names(self._spec)
        theirs = numeric_names(bundle.spec)
        needed = [one.column for one in bundle.spec.inputs.categorical]
        needed += [bundle.spec.inputs.text.column] if bundle.spec.inputs.text else []
        missing = [n for n in theirs if n not in ours]
        missing += [n for n in needed if n not in sample.events.column_names]
        if missing:
            self._progress.say(
                f"  the serving bundle {name} reads {missing[0]!r}, which these days lack; it is "
                "not compared"
            )
            return None, None
        numeric = sample.numeric[:, [ours.index(n) for n in theirs]]
        scored = Scorer(bundle).score(np.ascontiguousarray(numeric), sample.batch())
        made = evaluate(
            scored.score,
            sample.labels,
            sample.times,
            ranks=scored.raw,
            groups=sample.group(self._spec),
            top=self._spec.evaluation.top,
            seed=self._training().seed,
        )
        self._facts["serving"] = made
        return made, bundle

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
        self._facts["gate"] = dataclasses.replace(
            gate, passed=gate.passed and rule.passed, rules=(*gate.rules, rule)
        )
        if not rule.passed:
            raise GateError(
                f"bundle {bundle} is kept and not promoted: {rule.words} What serves now stays. "
                "See docs/parity.md; once parity is clean, run the night again, or promote the "
                "bundle by hand with `lockstep bundle promote`"
            )

    def _parts(self, fitted: Fitted, graph: Path, gate: GateResult, cut: Slices) -> BundleParts:
        return BundleParts(
            config=self._request.config,
            spec=self._spec,
            graph=graph,
            models=fitted.models,
            model=self._training().model,
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

    def _write_page(self, outcome: str, summary: str) -> tuple[Path, NightlyReport]:
        facts, spec = self._facts, self._spec
        made: BackfillReport | None = facts.get("backfill")
        report = NightlyReport(
            name=spec.name,
            about=spec.about,
            as_of_us=self._as_of_us,
            outcome=outcome,
            summary=summary,
            spec_fingerprint=fingerprint(spec),
            bundle_fingerprint=facts.get("bundle_fingerprint"),
            serving_fingerprint=facts.get("serving_fingerprint"),
            sources=(SourceCount(self._request.source, made.read),) if made else (),
            rows=made.read if made else 0,
            kinds=self._kinds(),
            dead=tuple(DeadCount("decode", r, n) for r, n in made.dead.items()) if made else (),
            max_dead_share=spec.events.max_dead_share,
            slices=facts.get("slices", ()),
            metrics=facts.get("metrics"),
            baseline=facts.get("baseline"),
            serving=facts.get("serving"),
            gate=facts.get("gate"),
            thresholds=facts.get("thresholds", ()),
            features=facts.get("features", ()),
            parts=facts.get("parts", ()),
            stages=tuple(
                StageCost(one.step, one.seconds, one.peak_bytes) for one in self._meter.usage
            ),
            facts=tuple(Fact(k, str(v)) for k, v in self._provenance(made).items()),
        )
        folder = self._layout.report(self._request.as_of)
        write_bytes(folder / "report.html", render(report).encode())
        write_bytes(folder / "report.json", report.to_json())
        return folder / "report.html", report

    def _kinds(self) -> tuple[KindCount, ...]:
        """Events of the days that the night may look at, duplicates included, by kind."""
        start = day_of(slices(self._training(), self._as_of_us).span.start_us)
        counts: Counter[str] = Counter({kind: 0 for kind in self._spec.kinds})
        for day in self._layout.published():
            if start <= day < self._request.as_of:
                counts.update(self._layout.read_marker(day).get("kinds", {}))
        scored = self._spec.scored_kinds
        return tuple(KindCount(kind, count, kind in scored) for kind, count in counts.items())

    def _provenance(self, made: BackfillReport | None) -> dict[str, Any]:
        facts: dict[str, Any] = {}
        if made is not None:
            facts["days made"] = f"{made.days[0]} to {made.days[-1]}" if made.days else "none"
            facts["events of these days"] = f"{made.events:,}"
            facts["duplicates"] = f"{made.duplicates:,}"
            facts["live keys"] = ", ".join(f"{k} {n:,}" for k, n in made.keys.items()) or "0"
        notes = self._facts.get("notes", {})
        facts |= {k.replace("_", " "): v for k, v in notes.items() if not k.endswith("_us")}
        return facts | library_versions()


def _trained(bundle: Bundle) -> TimeRange:
    notes = bundle.provenance
    try:
        return TimeRange(int(notes["trained_from_us"]), int(notes["trained_until_us"]))
    except (KeyError, TypeError, ValueError) as error:
        raise BundleError(
            f"{bundle.fingerprint}: provenance.json does not say what it was trained on"
        ) from error


def _private(spec: Spec, column: str) -> bool:
    """Whether a column's values must not be shown: declared so, or derived from one that is."""
    if column in spec.columns:
        return spec.columns[column].private
    arguments = spec.derived[column].arguments if column in spec.derived else {}
    sources = [str(one) for one in arguments.values() if isinstance(one, str)]
    return any(_private(spec, one) for one in sources if one in spec.columns or one in spec.derived)
