"""The scorer's own work per event, without Pub/Sub; and what a flooded key costs.

Beside it, on the same model and inputs: `Scorer.score` alone, and Beam's `RunInference` with its
XGBoost handler, which does none of the decoding, folding and transforming.
"""

from __future__ import annotations

import functools
import json
import sys
import time
import types
from collections.abc import Callable, Iterable
from pathlib import Path

import apache_beam as beam
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import xgboost
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.runners.portability.fn_api_runner import FnApiRunner

from configs.campaigns import CampaignLink, CampaignRules
from configs.loader import load, shipped
from pipelines.streaming.decisions import encode_decisions
from scoring.bundle import load_bundle
from scoring.engine import Engine, Outcome, Resident, log_batch
from scoring.manifest import BOOSTER
from scoring.scorer import Scorer
from scoring.store import Store
from transforms.campaigns.lookup import CampaignIndex, CampaignsAsOf
from transforms.catalog import CATALOG
from transforms.decode import decode_json
from transforms.derive import derive

SIZES = (50, 200, 1000)
_WARM_STEPS = 5

Floats = npt.NDArray[np.float32]


def load_scorer(bundles: Path) -> Scorer:
    """The serving bundle's."""
    return Scorer(load_bundle(Store(bundles).path("serving"), CATALOG))


def report(bundles: Path, payloads: list[bytes]) -> None:
    """Prints CPU time per event by part, and the neighbours."""
    scorer = load_scorer(bundles)
    print("| micro-batch | decode | fold, TFT, model | decisions | log | events/s/core |")
    print("|---|---|---|---|---|---|")
    inputs: list[Floats] = []
    for size in SIZES:
        parts, inputs = _parts(scorer, payloads, size)
        count = len(payloads) - _WARM_STEPS * size
        cells = " | ".join(f"{one / count * 1e6:.1f} µs" for one in parts)
        print(f"| {size:,} events | {cells} | {count / sum(parts):,.0f} |", flush=True)
    print("\n| the model alone, on the same inputs | rows | rows/s |\n|---|---|---|")
    booster = str(Store(bundles).path("serving") / BOOSTER)
    rows = np.concatenate(inputs)
    blocks = np.array_split(rows, max(1, len(rows) // SIZES[-1]))
    singles = [row[None] for row in rows[:5000]]
    model = scorer.bundle.models.booster
    assert model is not None
    for name, count, work in (
        ("`BoosterModel.score`", len(rows), lambda: [model.score(block) for block in blocks]),
        (f"Beam `RunInference`, {SIZES[-1]:,} rows an element", len(rows),
         lambda: _run_inference(booster, blocks)),
        ("Beam `RunInference`, a row an element", len(singles),
         lambda: _run_inference(booster, singles)),
    ):  # fmt: skip
        seconds = _timed(work)
        print(f"| {name} | {count:,} | {count / seconds:,.0f} |", flush=True)


def report_flood(bundles: Path, payloads: list[bytes]) -> None:
    """Prints what an event costs in an ordinary stream, and when one author sends all of them."""
    scorer = load_scorer(bundles)
    plain = [json.loads(payload) for payload in payloads]
    flood = [
        {**event, "author_id": "attacker", "channel_id": "room"}
        for event in plain
        if event["kind"] == "message"
    ]
    print("| stream | events | time per event | state per event | state |\n|---|---|---|---|---|")
    for name, events in (("ordinary", plain), ("one author, one channel", flood)):
        records = [json.dumps(event).encode() for event in events]
        engine = Engine(scorer.bundle.spec, Resident.empty(scorer.bundle.spec), scorer)
        parts, _ = _parts(scorer, records, 500, engine)
        counted = len(records) - _WARM_STEPS * 500
        state = sum(one.nbytes for one in engine.resident.states.values())
        print(
            f"| {name} | {len(records):,} | {sum(parts) / counted * 1e6:.0f} µs | "
            f"{state / len(records):.0f} B | {state / 1e6:.1f} MB |",
            flush=True,
        )


def report_campaigns(payloads: list[bytes], accounts: int = 1_000_000) -> None:
    """Prints what it costs to name campaigns, with a snapshot of a million accounts in them."""
    rules = CampaignRules("author_id", ("message",), {
        "text": CampaignLink("text", ("band_1", "band_2", "band_3", "band_4")),
        "site": CampaignLink("site", ("link_domain",)),
    })  # fmt: skip
    spec = load(shipped("chat_full"), CATALOG)
    names = pa.array([f"2026-03-01-{number:06d}" for number in range(accounts // 10)])
    of = names.take(pa.array(np.arange(accounts) % len(names)))
    hashes = np.random.default_rng(1).integers(0, 2**64, accounts, np.uint64)
    columns = pa.array(np.arange(accounts) % len(rules.columns), pa.int32())
    ids = pa.array([f"member-{number}" for number in range(accounts)])
    tables = {
        "members": pa.table({"account": ids, "campaign": of}),
        "values": pa.table({"column": columns, "value": hashes, "campaign": of}),
    }
    snapshot = types.SimpleNamespace(name="bench", known_from=0, read=tables.__getitem__)
    began = time.process_time()
    index = CampaignIndex.of(rules, snapshot)
    print(f"Prepared in {time.process_time() - began:.1f} s: {accounts:,} accounts and values.\n")
    seen = CampaignsAsOf(rules, "", ("bench",), np.zeros(1, np.int64), {0: index})
    print("| micro-batch | a campaign's name costs |\n|---|---|")
    for size in SIZES:
        batches = [
            derive(spec, decode_json(spec, payloads[start : start + size], "bench").batch)
            for start in range(0, len(payloads), size)
        ]
        seen.look(batches[0])
        began = time.process_time()
        for batch in batches:
            seen.look(batch)
        spent = (time.process_time() - began) / sum(one.num_rows for one in batches)
        print(f"| {size:,} events | {spent * 1e6:.2f} µs an event |", flush=True)


def _parts(
    scorer: Scorer, payloads: list[bytes], size: int, engine: Engine | None = None
) -> tuple[list[float], list[Floats]]:
    """CPU seconds of decoding, scoring, encoding and logging, and the model inputs that came by."""
    spec = scorer.bundle.spec
    engine = engine or Engine(spec, Resident.empty(spec), scorer)
    parts, inputs = [0.0] * 4, []
    for step, start in enumerate(range(0, len(payloads), size)):
        clock = [time.process_time()]
        decoded = decode_json(spec, payloads[start : start + size], "bench")
        clock.append(time.process_time())
        outcome: Outcome = engine.step(decoded.batch, np.zeros(decoded.batch.num_rows, bool))
        clock.append(time.process_time())
        decisions = encode_decisions(spec, outcome, scorer)
        clock.append(time.process_time())
        log_batch(outcome, step, decisions).serialize()
        clock.append(time.process_time())
        if outcome.scored is not None:
            inputs.append(outcome.scored.inputs)
        if step >= _WARM_STEPS:
            parts = [sum(pair) for pair in zip(parts, np.diff(clock).tolist(), strict=True)]
    return parts, inputs


def _run_inference(booster: str, elements: Iterable[Floats]) -> None:
    # The handler's module imports this package for another input format, and for nothing else.
    stand_in = types.ModuleType("datatable")
    stand_in.__dict__["Frame"] = type("Frame", (), {})
    sys.modules.setdefault("datatable", stand_in)
    from apache_beam.ml.inference.base import RunInference
    from apache_beam.ml.inference.xgboost_inference import XGBoostModelHandlerNumpy

    # With `xgboost.Booster` its results hold a DMatrix, which Beam cannot pickle.
    model = functools.partial(xgboost.XGBRegressor, n_jobs=1)
    handler = XGBoostModelHandlerNumpy(model_class=model, model_state=booster)
    with beam.Pipeline(runner=FnApiRunner(), options=PipelineOptions([])) as pipeline:
        _ = (
            pipeline
            | beam.Create(list(elements), reshuffle=False)
            | RunInference(handler, inference_args={"validate_features": False})
        )


def _timed(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began
