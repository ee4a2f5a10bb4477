"""`python -m benchmarks.parity`: one real stream on every path, bit for bit.

The stream is `darpa-edges` of ../shared/data (or of `LOCKSTEP_DATA`): 4,554,344 connections in
46,567 distinct minutes, 36 % of them to one destination. A nightly run trains a bundle on days
of it whose attacks are known. Then all is backfilled, with model inputs and scores, on the embedded
runner and on Flink, and every file is compared; and it goes through Pub/Sub to the embedded scorer,
whose log `lockstep parity` replays as it was served and in total order. Prints what differs, which
has to be nothing; exits 1 if something does. Flink is that of `make flink`, or where `--flag` says.
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

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from benchmarks.parity_scorer import check_scorer
from configs.loader import load
from configs.schema import Spec
from pipelines.backfill import BackfillRequest, backfill
from pipelines.layout import Days, Layout
from pipelines.nightly import NightlyRequest, nightly
from scoring.store import Store
from transforms.catalog import CATALOG

ROOT = Path(__file__).parents[1]
CONFIG = ROOT / "benchmarks" / "darpa_edges.yaml"
DAYS = Days(dt.date(1998, 6, 1), dt.date(1998, 8, 1))
NIGHT = dt.date(1998, 6, 26)
LEARNT = Days(dt.date(1998, 6, 15), dt.date(1998, 6, 25))
"""What the nightly run reads: the first floods and the days around them."""
PARTS = ("engines", "scorer")


def main(given: Sequence[str] | None = None) -> int:
    """Runs it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, default=0, help="the first so many; 0: all")
    parser.add_argument("--flag", action="append", default=[], help="of Beam, for the other runner")
    parser.add_argument("--only", choices=PARTS, help="one of the two comparisons")
    arguments = parser.parse_args(given)
    parts = (arguments.only,) if arguments.only else PARTS
    clean = True
    with tempfile.TemporaryDirectory(prefix="lockstep-parity-") as folder:
        root = Path(folder)
        source, days = _source(root, arguments.events)
        bundles = _train(root)
        if "engines" in parts:
            clean &= _check_engines(root, source, days, bundles, arguments.flag)
        if "scorer" in parts:
            clean &= check_scorer(root, load(CONFIG, CATALOG), bundles, source)
    return 0 if clean else 1


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


def with_verdicts(table: pa.Table) -> pa.Table:
    """Connections with what `darpa_edges.yaml` makes verdicts of: known a day later."""
    known = pc.add(table.column("time"), pa.scalar(dt.timedelta(days=1)))
    return table.append_column("known", known).append_column(
        "is_attack", pc.not_equal(table.column("attack"), "-")
    )


def _published() -> Path:
    folder = Path(os.environ.get("LOCKSTEP_DATA", ROOT.parent / "shared" / "data"))
    return folder / "darpa-edges" / "edges.parquet"


def _source(root: Path, events: int) -> tuple[Path, Days]:
    if not events:
        return _published(), DAYS
    table = pq.read_table(_published()).slice(0, events)
    pq.write_table(table, root / "edges.parquet")
    return root / "edges.parquet", Days(DAYS.first, table.column("time")[-1].as_py().date())


def _train(root: Path) -> Path:
    """The store of a nightly run; its bundle serves."""
    start = dt.datetime.combine(LEARNT.first, dt.time())
    end = dt.datetime.combine(LEARNT.last + dt.timedelta(days=1), dt.time())
    chosen = (pc.field("time") >= start) & (pc.field("time") < end)
    table = pq.read_table(_published(), filters=chosen)
    pq.write_table(with_verdicts(table), root / "learnt.parquet")
    asked = NightlyRequest(
        _spec(), CONFIG.read_text(), str(root / "learnt.parquet"), root / "trained", NIGHT,
        since=LEARNT.first,
    )  # fmt: skip
    began = time.monotonic()
    made = nightly(asked)
    print(f"bundle {made.bundle}: trained as of {NIGHT} on {table.num_rows:,} connections, "
          f"{time.monotonic() - began:.0f} s", flush=True)  # fmt: skip
    return Layout(root / "trained").bundles


def _check_engines(
    root: Path, source: Path, days: Days, bundles: Path, flags: Sequence[str]
) -> bool:
    """Whether Flink publishes what the embedded runner does, byte for byte."""
    made = {}
    bundle = Store(bundles).path("serving")
    with _flink(root, flags) as there:
        for name, given in (("embedded", ()), ("Flink", there)):
            request = BackfillRequest(
                _spec(), str(source), root / name, days, bundle=bundle, flags=tuple(given)
            )
            began = time.monotonic()
            report = backfill(request)
            seconds = time.monotonic() - began
            made[name] = hashes(root / name)
            print(f"{name}: {report.events:,} events, {report.scored:,} scored, {len(days)} days, "
                  f"{seconds:.0f} s", flush=True)  # fmt: skip
    different = mismatches(made["embedded"], made["Flink"])
    print(f"{len(made['embedded']):,} files compared (features, model inputs and scores, verdicts, "
          f"states, markers, dead letters): {len(different)} mismatches", flush=True)  # fmt: skip
    for name in different[:20]:
        print(f"  differs: {name}")
    return not different


def _spec() -> Spec:
    return load(CONFIG, CATALOG)


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
