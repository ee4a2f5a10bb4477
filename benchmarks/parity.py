"""`python -m benchmarks.parity`: one real stream on the embedded runner and on Flink, bit for bit.

The stream is `darpa-edges` of ../shared/data (or of `LOCKSTEP_DATA`): 4,554,344 connections in
46,567 distinct minutes, 36 % of them to one destination. Prints what differs, which has to be
nothing; exits 1 if something does. Flink is that of `make flink`, or where `--flag` says.
"""

from __future__ import annotations

import argparse
import contextlib
import datetime as dt
import hashlib
import importlib
import os
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pyarrow.parquet as pq

from configs.loader import load
from pipelines.backfill import BackfillRequest, backfill
from pipelines.layout import Days
from transforms.catalog import CATALOG

ROOT = Path(__file__).parents[1]
CONFIG = ROOT / "benchmarks" / "darpa_edges.yaml"
DAYS = Days(dt.date(1998, 6, 1), dt.date(1998, 8, 1))


def main(given: Sequence[str] | None = None) -> int:
    """Runs it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, default=0, help="the first so many; 0: all")
    parser.add_argument("--flag", action="append", default=[], help="of Beam, for the other runner")
    arguments = parser.parse_args(given)
    with tempfile.TemporaryDirectory(prefix="lockstep-parity-") as folder:
        root = Path(folder)
        source, days = _source(root, arguments.events)
        made, seconds = {}, {}
        with _flink(root, arguments.flag) as flags:
            for name, given_flags in (("embedded", ()), ("Flink", flags)):
                request = BackfillRequest(
                    load(CONFIG, CATALOG), str(source), root / name, days, flags=tuple(given_flags)
                )
                began = time.monotonic()
                report = backfill(request)
                made[name], seconds[name] = hashes(root / name), time.monotonic() - began
                print(f"{name}: {report.events:,} events, {report.scored:,} scored, "
                      f"{len(days)} days, {seconds[name]:.0f} s", flush=True)  # fmt: skip
        different = mismatches(made["embedded"], made["Flink"])
    print(f"{len(made['embedded']):,} files compared (features, verdicts, states, markers, dead "
          f"letters): {len(different)} mismatches")  # fmt: skip
    for name in different[:20]:
        print(f"  differs: {name}")
    return 1 if different else 0


def hashes(out: Path) -> dict[str, str]:
    """SHA-256 of every published file, by its path."""
    return {
        str(path.relative_to(out)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(out.rglob("*"))
        if path.is_file() and path.name != ".lock"
    }


def mismatches(one: dict[str, str], other: dict[str, str]) -> list[str]:
    """Files that differ, or that only one has.

    >>> mismatches({"a": "1", "b": "2"}, {"b": "3"})
    ['a', 'b']
    """
    return [name for name in sorted({*one, *other}) if one.get(name) != other.get(name)]


def _source(root: Path, events: int) -> tuple[Path, Days]:
    folder = Path(os.environ.get("LOCKSTEP_DATA", ROOT.parent / "shared" / "data"))
    source = folder / "darpa-edges" / "edges.parquet"
    if not events:
        return source, DAYS
    table = pq.read_table(source).slice(0, events)
    pq.write_table(table, root / "edges.parquet")
    return root / "edges.parquet", Days(DAYS.first, table.column("time")[-1].as_py().date())


@contextlib.contextmanager
def _flink(root: Path, flags: Sequence[str]) -> Iterator[Sequence[str]]:
    if flags:
        yield flags
        return
    sys.path.append(str(ROOT / "tests"))
    with importlib.import_module("engines").running_flink(root / "flink") as made:
        yield made


if __name__ == "__main__":
    sys.exit(main())
