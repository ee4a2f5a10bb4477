"""What a shadow costs the scorer beside which it scores: events a second, and latency.

`python -m benchmarks.shadow` runs the scorer without a shadow and with one (a later bundle, at the
usual share of a core), in turns, so that both meet the same machine. Each run decides a backlog as
fast as it can, and then live events at a rate, at arrival (`benchmarks.at_arrival`). Printed: each
run, and medians.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

from benchmarks import streaming
from benchmarks.at_arrival import run_live
from benchmarks.world import messages, second_night, simulated, trained
from pipelines.streaming.shadow import FOLDER, SHARE
from scoring.store import Store

_DISORDER_S = 0.1


def main(given: Sequence[str] = ()) -> None:
    """Runs the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--events", type=int, default=100_000, help="of a backlog")
    parser.add_argument("--rate", type=int, default=500, help="events a second, live")
    parser.add_argument("--seconds", type=float, default=40)
    arguments = parser.parse_args(given)
    root = Path(tempfile.mkdtemp(prefix="lockstep-bench-"))
    try:
        bundles = trained(root)
        live = int(arguments.rate * arguments.seconds)
        most = max(arguments.events, live)
        payloads = messages(simulated(root, 2 * most, 2), most)
        challenger = str(Store(bundles).path(second_night(root)))
        print("| turn | shadow | events/s | shadow saw | live p50 | p99 | p99.9 | shadow saw |")
        print("|---|---|---|---|---|---|---|---|")
        made: dict[str, list[list[float]]] = {"none": [], f"{SHARE:g} of a core": []}
        for turn in range(1, arguments.turns + 1):
            for name, options in zip(made, ((), ("--shadow", challenger)), strict=True):
                state = root / "state"
                backlog = payloads[: arguments.events]
                speed = streaming.run_backlog(bundles, state, backlog, *options)
                cells = [speed, _seen(state) / len(backlog)]
                shutil.rmtree(state)
                waits, _, _ = run_live(
                    bundles, state, payloads[:live], arguments.rate, _DISORDER_S, *options
                )
                cells += [*np.percentile(waits, [50, 99, 99.9]), _seen(state) / live]
                shutil.rmtree(state)
                made[name].append(cells)
                _print(str(turn), name, cells)
        for name, rows in made.items():
            _print("median", name, np.median(rows, axis=0).tolist())
    finally:
        shutil.rmtree(root, ignore_errors=True)


def _print(turn: str, name: str, cells: Sequence[float]) -> None:
    speed, saw, *waits, live_saw = cells
    shown = " | ".join(f"{one:.0f} ms" for one in waits)
    print(f"| {turn} | {name} | {speed:,.0f} | {saw:.0%} | {shown} | {live_saw:.0%} |", flush=True)


def _seen(state: Path) -> int:
    """Events that the shadow scored, by its log."""
    files = (state / FOLDER).glob("date=*/*.parquet")
    return sum(pq.read_metadata(one).num_rows for one in files)


if __name__ == "__main__":
    main(sys.argv[1:])
