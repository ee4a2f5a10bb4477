"""One contender of a comparison (`benchmarks.paired`), in its own process.

python -m benchmarks.contender backfill SOURCE OUT DAYS WORKERS [BUNDLE]
python -m benchmarks.contender polars|duckdb PREPARED
python -m benchmarks.contender flink SOURCE OUT DAYS
"""

from __future__ import annotations

import datetime as dt
import importlib.util
import json
import resource
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pipelines.commands import collect_seldom

collect_seldom()  # before what follows is imported, as the command does

from benchmarks.paired import cpu_of_session  # noqa: E402
from benchmarks.world import START, chat  # noqa: E402
from pipelines.backfill import BackfillReport, BackfillRequest, backfill  # noqa: E402
from pipelines.layout import Days  # noqa: E402
from pipelines.runners import forked_workers  # noqa: E402

ROOT = Path(__file__).parents[1]


def main() -> None:
    """Runs what the arguments say; the last line is JSON."""
    what, *arguments = sys.argv[1:]
    print(json.dumps(_KINDS[what](*arguments)))


def _backfill(
    source: str, out: str, days: str, workers: str, bundle: str | None = None
) -> dict[str, Any]:
    count = int(workers) or None
    with forked_workers(count):  # as the command does
        report = _run(source, out, days, workers=count, bundle=bundle)
    return {
        "events": report.events,
        "peak": max(one.peak_bytes for one in report.usage),
        **{f"{one.step}_s": one.seconds for one in report.usage},
    }


def _flink(source: str, out: str, days: str) -> dict[str, Any]:
    """On a Flink in one Java process, with two workers of a pool (`lockstep workers`)."""
    engines, began = _engines(), time.monotonic()
    with (
        tempfile.TemporaryDirectory() as folder,
        engines.running_flink(Path(folder)) as threads,
        engines.worker_pool(Path(folder) / "workers.log") as (pool, port),
    ):
        others = [flag for flag in threads if not flag.startswith("--environment_type")]
        where = ("--environment_type=EXTERNAL", f"--environment_config=127.0.0.1:{port}")
        flags = (*others, *where, "--sdk_worker_parallelism=2")
        start_s = time.monotonic() - began
        # Batches go through files, as embedded; Flink is on this machine.
        report = _run(source, out, days, flags=flags, exchange="files")
        workers = cpu_of_session(pool.pid)
    ours, others_s = (
        sum(resource.getrusage(who)[:2]) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    )
    return {
        "events": report.events,
        "start_s": start_s,
        "python_s": ours + workers,
        "java_s": others_s - workers,
    }


def _run(source: str, out: str, days: str, **rest: Any) -> BackfillReport:
    shutil.rmtree(out, ignore_errors=True)
    last = START + dt.timedelta(days=int(days) - 1)
    if rest.get("bundle"):
        rest["bundle"] = Path(rest["bundle"])
    return backfill(BackfillRequest(chat(), source, Path(out), Days(START, last), **rest))


def _engines() -> Any:
    """The tests' module that starts engines; `tests` is no package that is installed."""
    found = importlib.util.spec_from_file_location("engines", ROOT / "tests" / "engines.py")
    if found is None or found.loader is None:
        raise FileNotFoundError("tests/engines.py")
    module = importlib.util.module_from_spec(found)
    found.loader.exec_module(module)
    return module


def _polars(prepared: str) -> dict[str, Any]:
    from benchmarks.neighbours import polars_rolling

    return {"events": polars_rolling(chat(), Path(prepared))}


def _duckdb(prepared: str) -> dict[str, Any]:
    from benchmarks.neighbours import duckdb_windows

    return {"events": duckdb_windows(chat(), Path(prepared))}


_KINDS: dict[str, Callable[..., dict[str, Any]]] = {
    "backfill": _backfill,
    "flink": _flink,
    "polars": _polars,
    "duckdb": _duckdb,
}

if __name__ == "__main__":
    main()
