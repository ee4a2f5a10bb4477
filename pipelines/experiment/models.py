"""A contender's model of a night: trained as a nightly run does, and what it scored afterwards.

What is kept is named by all that it depends on: the config, the night, the files of the published
days, the libraries. So an experiment that was killed, or that is run again with another challenger,
trains what is missing and nothing else.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import hashlib
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from configs.experiment import Contender
from configs.fingerprint import fingerprint
from configs.policy import Policy
from configs.schema import Evaluation, Gate, Spec
from pipelines.campaign_units import read_units
from pipelines.dataset import published_parts
from pipelines.files import open_parquet, parquet_bytes
from pipelines.layout import FEATURES, VERDICTS, Layout, day_of, day_us, json_bytes
from pipelines.nightly.plan import NightlyRequest, sections
from pipelines.nightly.run import bundle_parts
from pipelines.nightly.sample import analyse_sample, fit_sample
from pipelines.nightly.weighting import INVERSE_PROPENSITY, Weighed
from pipelines.nightly.young import load_weighed, transform_young
from pipelines.progress import Progress
from pipelines.score_days import ScoreRequest, score_days
from pipelines.versions import library_versions
from scoring.bundle import write_bundle
from scoring.files import Place, exists, join, name_of, read_file, replace_file
from scoring.manifest import MANIFEST
from scoring.store import Store
from training.dataset import Slices, slices
from training.gate import check_gate
from transforms.encoder_model import require_encoder
from transforms.executor import Executor


@dataclasses.dataclass(frozen=True)
class ScoredNight:
    """What a model of a night is, and what it scored.

    Attributes:
      bundle: its fingerprint.
      gate: rules of its config's gate that its own held-out events do not pass, in words.
      scores: `[n]` events after the night, in total order: event_id, event_time, raw, score,
        action.
      reused: all of it was there.
    """

    bundle: str
    gate: tuple[str, ...]
    scores: pa.Table
    reused: bool


@dataclasses.dataclass
class ModelMaker:
    """Trains, or finds what was trained.

    Args:
      folder: of bundles and runs; out: the output folder, with snapshots of campaigns.
      scratch: a folder of this machine for analysed graphs, which contenders share.
      source, workers, threads, flags, scorer: as of a nightly run.
      test_us: how long after a night events are scored.
    """

    folder: str
    out: Place
    scratch: Path
    source: str
    test_us: int
    workers: int | None
    threads: int
    flags: tuple[str, ...]
    progress: Progress
    scorer: Path | None = None
    graphs: dict[str, Path] = dataclasses.field(default_factory=dict)

    @property
    def bundles(self) -> str:
        """The store of what was trained."""
        return join(self.folder, "bundles")

    def make(self, contender: Contender, layout: Layout, as_of: dt.date) -> ScoredNight:
        """The model of a night and its scores of the events after it.

        Args:
          layout: whose published days have the contender's features.

        Raises:
          LockstepError: as a nightly run raises.
        """
        spec = contender.spec
        start_us = day_us(as_of)
        key = self._key(contender, layout, as_of)
        facts, scores = (join(self.folder, "runs", f"{key}.{end}") for end in ("json", "parquet"))
        if exists(facts):
            known = json.loads(read_file(facts))
            if exists(join(self.bundles, known["bundle"], MANIFEST)):
                table = open_parquet(scores).read()
                return ScoredNight(known["bundle"], tuple(known["gate"]), table, True)
        bundle, gate = self._train(contender, layout, as_of)
        scored = score_days(
            ScoreRequest(
                dataclasses.replace(spec, evaluation=Evaluation()),
                Store(self.bundles).place(bundle),
                published_parts(layout, start_us, start_us + self.test_us),
                start_us,
                start_us + self.test_us,
            ),
            self._request(contender, layout, as_of).running,
            layout.root,
        )
        replace_file(scores, parquet_bytes(scored).to_pybytes())
        about = {"bundle": bundle, "gate": gate, "as_of": str(as_of), "config": spec.name}
        replace_file(facts, json_bytes(about))
        return ScoredNight(bundle, gate, pq.read_table(pa.BufferReader(read_file(scores))), False)

    def _train(
        self, contender: Contender, layout: Layout, as_of: dt.date
    ) -> tuple[str, tuple[str, ...]]:
        """The bundle's fingerprint, and what the gate says of it."""
        spec, request = contender.spec, self._request(contender, layout, as_of)
        require_encoder(spec)
        cut, weighed = self._sample(contender, layout, as_of)
        data = weighed.data
        for words in weighed.warnings():
            self.progress.say(f"{contender.name}, as of {as_of}: {words}")
        key = self._graph_key(spec, layout, cut, data.share)
        if key not in self.graphs:
            graph = self.scratch / f"graph-{key}"
            analyse_sample(spec, layout, cut.fit, data, graph, request.running)
            self.graphs[key] = graph
        graph = self.graphs[key]
        transformed = Executor(graph, spec).transform(data.numeric, data.batch())
        units = read_units(spec, self.out, as_of)
        young = transform_young(spec, weighed.young, graph, units)
        fitted = fit_sample(
            spec, cut, data, transformed, self.threads, self.progress, units, weighed.weights, young
        )
        gate = check_gate(spec.gate, fitted.metrics, refit=fitted.refit)
        parts = bundle_parts(request, fitted, graph, gate, cut, weighed.notes())
        return name_of(write_bundle(parts, self.bundles)), gate.reasons

    def _sample(
        self, contender: Contender, layout: Layout, as_of: dt.date
    ) -> tuple[Slices, Weighed]:
        """What it is trained on, as its config wants it weighted."""
        spec, request = contender.spec, self._request(contender, layout, as_of)
        cut = slices(sections(spec)[0], request.as_of_us)
        return cut, load_weighed(request, layout, cut)

    def _request(self, contender: Contender, layout: Layout, as_of: dt.date) -> NightlyRequest:
        return NightlyRequest(
            spec=contender.spec,
            config=contender.text,
            source=self.source,
            out=layout.root,
            as_of=as_of,
            workers=self.workers,
            threads=self.threads,
            promote=False,
            flags=self.flags,
            scorer=self.scorer,
        )

    def _key(self, contender: Contender, layout: Layout, as_of: dt.date) -> str:
        """Of all that a model of a night and its scores depend on."""
        spec = contender.spec
        last = day_of(day_us(as_of) + self.test_us - 1)
        files = []
        for day in layout.published():
            if day <= last:
                marker = layout.read_marker(day)
                files += list(layout.named(marker, FEATURES).values())
                files += list(layout.named(marker, VERDICTS).values()) if day < as_of else []
        below = [path.removeprefix(layout.root) for path in files]
        units = read_units(spec, self.out, as_of)
        parts: list[Any] = [fingerprint(spec), str(as_of), self.test_us, below, library_versions()]
        parts += [units.snapshot] if units is not None else []
        labels = spec.labels
        if labels is not None and (labels.weighting == INVERSE_PROPENSITY or labels.subjects):
            _, weighed = self._sample(contender, layout, as_of)
            block = [weighed.data.labels, weighed.weights]  # of the scorer's log, which may grow
            block += [weighed.young.data.labels, weighed.young.weights] if weighed.young else []
            parts.append(
                [hashlib.sha256(one.tobytes()).hexdigest() for one in block if one is not None]
            )
        return _digest(parts)

    def _graph_key(self, spec: Spec, layout: Layout, cut: Slices, share: float) -> str:
        """Of all that an analysed graph depends on; `share` says which sample of the span it is."""
        training, _ = sections(spec)
        rows = (share, training.analyse_rows, cut.fit.start_us, cut.fit.end_us)
        bare = dataclasses.replace(
            spec,
            name="",
            labels=None,
            training=None,
            policy=Policy(),
            gate=Gate(),
            evaluation=Evaluation(),
            campaigns=None,
        )
        return _digest([fingerprint(bare), layout.root, rows, cut.span.start_us, cut.span.end_us])


def _digest(value: object) -> str:
    text = json.dumps(value, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:16]
