"""Writes the days of a world: its events, and, apart from them, its truth."""

from __future__ import annotations

import dataclasses
import datetime as dt
import itertools
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from configs.errors import InputError
from configs.world import WorldSettings
from pipelines.progress import Progress, Quiet
from pipelines.simulate.aside import aside
from pipelines.simulate.days import simulate_days
from pipelines.simulate.enforcement import Policy
from pipelines.simulate.rows import Kind
from pipelines.simulate.run import require_stream
from pipelines.simulate.table import Part

_FILE_EVENTS = 250_000


@dataclasses.dataclass(frozen=True)
class WorldRequest:
    """What is written.

    Attributes:
      world: its settings (`configs.world.load_world`).
      out: the folder of events to make; truth: that of the truth; None: OUT.truth beside it.
      days: how many, from `start`, UTC. More days add to fewer, and change none of them.
      seed: same seed, same bytes; 0 to 2**63 - 1.
      format: of the events, "parquet" or "jsonl".
      policy: in place of the world's own (`pipelines.simulate.enforcement.Policy`).
    """

    world: WorldSettings
    out: Path
    truth: Path | None = None
    days: int = 10
    start: dt.date = dt.date(2026, 3, 1)
    seed: int = 7
    format: str = "parquet"
    policy: Policy | None = None


def simulate_world(request: WorldRequest, progress: Progress | None = None) -> dict[str, int]:
    """Writes ``out/date=D/part-NNNN.parquet`` and ``truth/date=D/part-0000.parquet``.

    Both are written aside and renamed, the truth first: where there are events, there is truth.

    Returns:
      Events by kind.

    Raises:
      InputError: a folder is there and not empty, the truth would be among the events, or the
        settings make no stream.
      BusyError: another run writes there.
    """
    out = request.out.absolute()  # "." has no name
    truth = request.truth or out.with_name(f"{out.name}.truth")
    _check(request, truth)
    counts = {kind.name.lower(): 0 for kind in Kind}
    shown = (progress or Quiet()).step("simulate", request.days, "days")
    with aside(out) as events, aside(truth) as apart, shown as step:
        days = simulate_days(request.world, request.start, request.seed, request.policy)
        for made in itertools.islice(days, request.days):
            _write_day(events / f"date={made.date}", made.events, request.format)
            folder = apart / f"date={made.date}"
            folder.mkdir()
            pq.write_table(made.truth, folder / "part-0000.parquet", compression="zstd")
            for kind, count in made.counts.items():
                counts[kind] += count
            step.advance(1)
    return counts


def read_truth(folder: Path) -> pa.Table:
    """The truth of all days that were written (`pipelines.simulate.days.TRUTH`), in time order."""
    paths = sorted(folder.glob("date=*/*.parquet"))
    if not paths:
        raise InputError(f"there is no truth in {folder}; lockstep simulate --world writes it")
    return pa.concat_tables([pq.read_table(path, partitioning=None) for path in paths])


def _check(request: WorldRequest, truth: Path) -> None:
    require_stream(request.format, request.seed, request.start, request.days)
    out, apart = request.out.resolve(), truth.resolve()
    if out == apart or out in apart.parents or apart in out.parents:
        raise InputError(
            f"--truth {truth} and --out {request.out} lie in each other; a run that reads the "
            "events would find the truth, so give it a folder apart"
        )


def _write_day(folder: Path, events: pa.Table, format_: str) -> None:
    folder.mkdir()
    for number, first in enumerate(range(0, max(events.num_rows, 1), _FILE_EVENTS)):
        with Part(folder / f"part-{number:04d}", format_) as part:
            part.write(events.slice(first, _FILE_EVENTS))
