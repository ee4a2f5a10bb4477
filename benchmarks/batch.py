"""Speed and memory of the batch path, and its neighbours, side by side in one run."""

from __future__ import annotations

import argparse
import datetime as dt
import json
import shutil
import tempfile
import time
from pathlib import Path

from benchmarks.neighbours import comparable, prepare
from benchmarks.paired import Contender, compare, contender, temporian_python
from benchmarks.world import DAYS, START, chat, simulated, trained
from configs.loader import shipped
from configs.schema import Spec
from pipelines.backfill import BackfillRequest, backfill
from pipelines.layout import Days
from pipelines.nightly import NightlyRequest, nightly
from scoring.store import Store


def main() -> None:
    """Runs the benchmarks."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--small", type=int, default=1_000_000, help="events of what is compared")
    parser.add_argument("--events", type=int, default=0, help="of a large run; 0: none")
    parser.add_argument("--rounds", type=int, default=2, help="how often each contender runs")
    parser.add_argument("--night", action="store_true", help="time a nightly run as well")
    parser.add_argument("--flink", action="store_true", help="needs `make flink` and Java")
    parser.add_argument("--without-temporian", action="store_true", help="install nothing")
    parser.add_argument("--keep", type=Path, help="a folder whose inputs are used again")
    arguments = parser.parse_args()
    root = arguments.keep or Path(tempfile.mkdtemp(prefix="lockstep-bench-"))
    try:
        _run(root, arguments)
    finally:
        if arguments.keep is None:
            shutil.rmtree(root, ignore_errors=True)


def _run(root: Path, arguments: argparse.Namespace) -> None:
    spec = chat()
    bundle = Store(trained(root, workers=1)).path("serving")
    source = simulated(root, arguments.small)
    print("## Backfill\n")
    print("chat.yaml: 4 entities, 61 velocity features of 11 kinds, 71 numeric inputs, text, two")
    print("categories; Parquet to features (and model inputs and scores), written.\n")
    out = str(root / "out")
    compare(
        [
            _backfill("features", source, out, 1, cores=1),
            _backfill("features, 2 workers", source, out, 2),
            _backfill("features, model inputs, scores", source, out, 1, bundle, cores=1),
            _backfill("features, model inputs, scores, 2 workers", source, out, 2, bundle),
        ],
        arguments.rounds,
    )
    if arguments.events:
        _large(root, arguments, bundle)
    print("\n## Neighbours, on the same events, one core each\n")
    prepared = prepare(spec, source, root / "prepared")
    contenders = [
        _backfill("Lockstep: all 61 features, decode to files", source, out, 1, cores=1),
        contender("polars `rolling`", "polars", str(prepared), cores=1),
        contender("DuckDB `range between`", "duckdb", str(prepared), cores=1),
    ]
    python = None if arguments.without_temporian else temporian_python(root)
    if python is not None:
        contenders.append(_temporian(spec, python, prepared, root / "features.json"))
    print(f"They make {sum(map(len, comparable(spec).values()))} of the 61 features.\n")
    compare(contenders, arguments.rounds)
    if arguments.flink:
        print("\n## Flink in one Java process, parallelism 2, features alone\n")
        days = str(DAYS)
        found = compare(
            [
                _backfill("embedded, 2 workers", source, out, 2),
                contender("Flink", "flink", str(source), out, days),
            ],
            arguments.rounds,
        )
        for run in found["Flink"]:
            java, python_s = run.facts["java_s"], run.facts["python_s"]
            share = java / (java + python_s)
            print(f"\nFlink: {java:.1f} CPU s in Java ({share:.0%}), {python_s:.1f} in Python")
            start_s = run.facts["start_s"]
            rate = run.events / (run.wall - start_s)
            print(
                f"{start_s:.1f} s of it are the start of Flink and of the pool of workers, which "
                f"a deployment has running: {rate:,.0f} events/s without"
            )
    if arguments.night:
        _night(root, arguments)


def _large(root: Path, arguments: argparse.Namespace, bundle: Path) -> None:
    """Linear in the events, over ten days and in a single one."""
    print(f"\n## Backfill of {arguments.events:,} events\n")
    out = str(root / "out")
    ten, one = (simulated(root, arguments.events, days) for days in (DAYS, 1))
    compare(
        [
            _backfill("features, 2 workers", ten, out, 2),
            _backfill("features, model inputs, scores, 2 workers", ten, out, 2, bundle),
            _backfill("the same of a single day", one, out, 2, bundle, days=1),
        ],
        1,
    )


def _backfill(
    name: str,
    source: Path,
    out: str,
    workers: int,
    bundle: Path | None = None,
    cores: int | None = None,
    days: int = DAYS,
) -> Contender:
    given = [str(source), out, str(days), str(workers), *([str(bundle)] if bundle else [])]
    return contender(name, "backfill", *given, cores=cores)


def _temporian(spec: Spec, python: str, prepared: Path, features: Path) -> Contender:
    asked = [
        [entity, one.name, one.measure, one.op, one.length_us]
        for entity, found in comparable(spec).items()
        for one in found
        if one.op != "ratio"
    ]
    features.write_text(json.dumps(asked))
    script = str(Path(__file__).with_name("temporian_windows.py"))
    return Contender("Temporian", (python, script, str(prepared), str(features)), 1)


def _night(root: Path, arguments: argparse.Namespace) -> None:
    """A nightly run that finds the state of the day before."""
    spec, config = chat(), shipped("chat").read_text()
    count = arguments.events or arguments.small
    source, out = simulated(root, count), root / "night"
    days = Days(START, START + dt.timedelta(days=DAYS - 2))
    backfill(BackfillRequest(spec, str(source), out, days))
    print("\n## A nightly run\n")
    began = time.monotonic()
    made = nightly(
        NightlyRequest(
            spec=spec,
            config=config,
            source=str(source),
            out=out,
            as_of=START + dt.timedelta(days=DAYS),
            promote=False,
        )
    )
    seconds = time.monotonic() - began
    print(
        f"As of day {DAYS}, with the snapshot of the day before, over {count:,} events: "
        f"{seconds:.0f} s in all.\n"
    )
    print("| stage | seconds | peak memory |\n|---|---|---|")
    for stage in made.report.stages:
        print(f"| {stage.stage} | {stage.seconds:.1f} | {stage.peak_bytes / 1e9:.2f} GB |")


if __name__ == "__main__":
    main()
