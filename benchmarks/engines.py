"""Speed of `Features` on unbounded input, on Prism and Flink (`python -m benchmarks.engines`).

Chat events (four entities) are given out as fast as they are taken, a tick's worth of event time in
some batches, so rates are of the whole pipeline, and a stall is a long time without any row. The
CPU of the engine has its start in it. Workers are processes (`lockstep workers`), one for each slot
of Flink, and one of Prism; with `--threads` they are threads of this process.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import resource
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import apache_beam as beam
import numpy as np
import pyarrow as pa

from benchmarks.paired import cpu_of_session
from benchmarks.scripted import (
    FOUND,
    SCRIPTS,
    CountRows,
    Keep,
    counted_rows,
    read_script,
    run_until,
    write_script,
)
from benchmarks.world import chat, messages, simulated, trained
from pipelines.streaming.decide import Decide
from transforms.decode import decode_json
from transforms.steps import Features
from transforms.ticks import TickSettings

ROOT = Path(__file__).parents[1]
BATCH = 500
START_US = 1_772_323_200_000_000


@dataclasses.dataclass(frozen=True)
class Measured:
    """What a run took.

    Attributes:
      rate: events a second, from the first batch given out to the last row.
      worker_us, engine_us: CPU microseconds an event.
      longest_s: the longest time without a row.
    """

    rate: float
    worker_us: float
    engine_us: float
    longest_s: float


def main(given: Sequence[str] | None = None) -> None:
    """Runs the benchmark, and prints a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, default=60_000)
    parser.add_argument("--rate", type=int, default=3000, help="events in a second of event time")
    parser.add_argument("--tick-ms", type=int, nargs="+", default=[1000])
    parser.add_argument("--shards", type=int, nargs="+", default=[16, 64, 256, 1024])
    parser.add_argument("--homes", type=int, default=16)
    parser.add_argument("--runners", nargs="+", default=["prism", "flink"])
    parser.add_argument("--parallelism", type=int, default=2, help="on Flink")
    parser.add_argument("--threads", action="store_true", help="workers are threads, of it")
    parser.add_argument("--bundle", help="a store of bundles: rows are decided too")
    parser.add_argument("--trained", action="store_true", help="the same, of a small night")
    parser.add_argument("flags", nargs="*", help="of Beam")
    asked = parser.parse_args(given)
    folder = Path(tempfile.mkdtemp(prefix="lockstep-bench-"))
    if asked.trained:
        asked.bundle = str(trained(folder, 20_000))
    script = _script(folder, asked.events, asked.rate)
    print("| runner | shards | tick, s | events/s | worker CPU, us/event | engine CPU | stall, s |")
    print("|---|---|---|---|---|---|---|")
    for runner in asked.runners:
        for shards in asked.shards:
            for tick in asked.tick_ms:
                settings = TickSettings(tick * 1000, homes=asked.homes)
                made = _measure(folder, runner, script, shards, settings, asked)
                print(
                    f"| {runner} | {shards} | {tick / 1000} | {made.rate:,.0f} "
                    f"| {made.worker_us:,.0f} | {made.engine_us:,.0f} | {made.longest_s:.1f} |",
                    flush=True,
                )


def _script(folder: Path, events: int, rate: int) -> list[tuple[int, Any]]:
    """Decoded batches of the simulated chat stream, squeezed to a rate, a little shuffled."""
    records = messages(simulated(folder, events), events)
    batch = decode_json(chat(), records, "bench", 0).batch
    rng = np.random.default_rng(1)
    times = START_US + np.arange(batch.num_rows) * 1_000_000 // rate
    place = batch.schema.get_field_index("event_time")
    batch = batch.set_column(place, "event_time", pa.array(times))
    arrival = np.argsort(times + rng.integers(0, 2_000_000, len(times)), kind="stable")
    script, latest = [], START_US
    for at in range(0, len(arrival), BATCH):
        part = arrival[at : at + BATCH]
        script.append((latest - 5_000_000, batch.take(pa.array(part))))
        latest = max(latest, int(times[part].max()) // 1000 * 1000)
    return [*script, (latest + 10**15, None)]


def _measure(
    folder: Path,
    runner: str,
    script: list[tuple[int, Any]],
    shards: int,
    settings: TickSettings,
    asked: argparse.Namespace,
) -> Measured:
    spec = dataclasses.replace(chat(), shards=shards)
    processes = not asked.threads
    counts = Path(tempfile.mkdtemp(dir=folder))
    name = "events"
    if processes:
        name = str(folder / "events.arrow")
        write_script(name, script)
    else:
        SCRIPTS[name] = script
    wanted = sum(batch.num_rows for _, batch in script if batch is not None)
    seen: list[tuple[float, int]] = []

    def build(pipeline: Any) -> dict[str, Any]:
        made = read_script(pipeline, name) | Features(spec, ticks=settings)
        rows = made.rows
        if asked.bundle is not None:  # as the job does it, with the decisions as they are published
            decided = rows | Decide(spec, asked.bundle)
            rows = decided | beam.Values().with_output_types(pa.RecordBatch)
        return {"rows": rows, "others": made.others, "dead_letters": made.dead_letters}

    def enough(found: dict[str, list[Any]]) -> bool:
        kept = [batch.num_rows for batches in list(found.values()) for batch in list(batches)]
        got = counted_rows(counts) if processes else sum(kept)
        if not seen or seen[-1][1] != got:
            seen.append((time.monotonic(), got))
        return got >= wanted

    children = _cpu(resource.RUSAGE_CHILDREN)
    with _engine(runner, folder, asked.parallelism, processes) as (flags, pool):
        began, used = time.monotonic(), _cpu(resource.RUSAGE_SELF)
        names = ("rows", "others", "dead_letters")
        keep = (lambda name: CountRows(str(counts))) if processes else Keep
        run_until(build, [*flags, *asked.flags], names, enough, 900, keep)
        used = _cpu(resource.RUSAGE_SELF) - used if pool is None else cpu_of_session(pool)
        enough(FOUND)  # what came with the end
    FOUND.clear()
    if not seen or seen[-1][1] < wanted:
        raise RuntimeError(f"{runner} gave {seen[-1][1] if seen else 0} of {wanted} events in time")
    started = next(at for at, got in seen if got)
    gaps = np.diff([at for at, got in seen if got])
    engine = _cpu(resource.RUSAGE_CHILDREN) - children - (used if pool is not None else 0)
    return Measured(
        wanted / (seen[-1][0] - began),
        used / wanted * 1e6,
        engine / wanted * 1e6,
        float(gaps.max()) if len(gaps) else started - began,
    )


def _cpu(who: int) -> float:
    usage = resource.getrusage(who)
    return usage.ru_utime + usage.ru_stime


@contextlib.contextmanager
def _engine(
    runner: str, folder: Path, parallelism: int, processes: bool
) -> Iterator[tuple[tuple[str, ...], int | None]]:
    """Flags, as the conformance suite starts it; and the pool of workers that are processes."""
    sys.path.append(str(ROOT / "tests"))
    from engines import (  # type: ignore[import-not-found]
        running_flink,
        running_prism,
        worker_pool,
    )

    place = Path(tempfile.mkdtemp(dir=folder))
    running = (
        running_prism(place / "prism.log")
        if runner == "prism"
        else running_flink(place / "flink", parallelism)
    )
    with running as flags:
        if not processes:
            yield flags, None
            return
        with worker_pool(place / "workers.log") as (pool, port):
            others = [flag for flag in flags if not flag.startswith("--environment_type")]
            where = ("--environment_type=EXTERNAL", f"--environment_config=127.0.0.1:{port}")
            yield (*others, *where, f"--sdk_worker_parallelism={parallelism}"), pool.pid


if __name__ == "__main__":
    main()
