"""Runs tasks as Beam pipelines on FnApiRunner, in this process or in several beside each other.

What enters: a function at module level and a list of tasks, which are frozen dataclasses that
name their inputs and outputs as files. What leaves: one small JSON-able result per task, in the
order of the tasks. Data goes through files, never through these results: a task can be repeated,
and memory is bounded by a task.

The runner is named outright: `DirectRunner` would try to fetch another engine and fall back to a
third one, so a laptop and CI would run different code (DESIGN section 5).
"""

from __future__ import annotations

import concurrent.futures
import concurrent.futures.process
import ctypes
import dataclasses
import errno
import gc
import json
import logging
import multiprocessing
import os
import shutil
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.runners.portability.fn_api_runner import FnApiRunner

from configs import errors
from pipelines import signals

Result = dict[str, Any]
OnDone = Callable[[Result], None]

_SHARES_PER_WORKER = 3  # small enough to balance, large enough to amortise a pipeline's start
_POLL_SECONDS = 0.1
_FAILED = "failed.json"


class Workers:
    """A pool of processes, each of which runs Beam pipelines over its share of the tasks.

    Args:
      count: processes; 1 runs in this process, which notebooks and debuggers like.
      scratch: a folder for results; None: the system's temporary folder.
    """

    def __init__(self, count: int, scratch: Path | None = None) -> None:
        if count < 1:
            raise errors.InputError(f"--workers {count}: at least one worker is needed")
        self.count = count
        self._scratch = scratch
        self._pool: concurrent.futures.ProcessPoolExecutor | None = None

    def __enter__(self) -> Workers:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close(at_once=kind is not None)

    def close(self, at_once: bool = False) -> None:
        """Ends the processes; at once when the run has failed."""
        if self._pool is None:
            return
        if at_once:
            for process in list((self._pool._processes or {}).values()):
                process.kill()
        self._pool.shutdown(wait=True, cancel_futures=True)
        self._pool = None

    def run(
        self,
        step: str,
        function: Callable[[Any], Result],
        tasks: Sequence[Any],
        on_done: OnDone | None = None,
    ) -> list[Result]:
        """Runs `function` on every task, as the Beam step `step`; results in order of tasks.

        Raises:
          LockstepError: what a task raised, or a full disk, in words.
        """
        if not tasks:
            return []
        folder = Path(tempfile.mkdtemp(prefix="step-", dir=self._scratch))
        watch = _Watch(folder, on_done)
        try:
            numbered = list(enumerate(tasks))
            if self.count == 1:
                with signals.held():
                    run_share(step, function, numbered, str(folder))
            else:
                self._run_apart(step, function, numbered, folder)
            _raise_failure(folder)
            watch.stop()
            return [_read(folder / f"{number}.json") for number, _ in numbered]
        finally:
            watch.stop()
            shutil.rmtree(folder, ignore_errors=True)

    def _run_apart(
        self,
        step: str,
        function: Callable[[Any], Result],
        numbered: list[tuple[int, Any]],
        folder: Path,
    ) -> None:
        if self._pool is None:
            self._pool = concurrent.futures.ProcessPoolExecutor(
                self.count,
                mp_context=multiprocessing.get_context("spawn"),
                initializer=_start_worker,
            )
        shares = min(len(numbered), self.count * _SHARES_PER_WORKER)
        futures = [
            self._pool.submit(run_share, step, function, numbered[i::shares], str(folder))
            for i in range(shares)
        ]
        try:
            for future in concurrent.futures.as_completed(futures):
                future.result()
        except concurrent.futures.process.BrokenProcessPool as error:
            raise errors.InputError(
                f"a worker process died in step {step!r}; the usual cause is too little memory: "
                "use fewer --workers. In a script of your own: call this below `if __name__ == "
                "'__main__':`, since workers import the script. What was published stays; the "
                "next run goes on there"
            ) from error


def run_share(
    step: str, function: Callable[[Any], Result], numbered: list[tuple[int, Any]], folder: str
) -> None:
    """One Beam pipeline over some tasks, in this process; results go to files in `folder`."""
    logging.getLogger("apache_beam").setLevel(logging.ERROR)
    _TASKS[folder] = dict(numbered)
    try:
        with beam.Pipeline(runner=FnApiRunner(), options=PipelineOptions([])) as pipeline:
            _ = (
                pipeline
                | f"{step}: tasks" >> beam.Create(list(_TASKS[folder]), reshuffle=False)
                | step >> beam.ParDo(RunTask(function, folder))
            )
    finally:
        del _TASKS[folder]


_TASKS: dict[str, dict[int, Any]] = {}
"""Of the pipelines that run in this process, as FnApiRunner does: a task names files and holds a
spec, and Beam would pickle and compress each."""


class RunTask(beam.DoFn):
    """Runs one task and leaves its result, or its failure in words, in `folder`."""

    def __init__(self, function: Callable[[Any], Result], folder: str) -> None:
        self._function = function
        self._folder = folder
        self._done = beam.metrics.Metrics.counter("lockstep", "tasks")

    def process(self, number: int) -> None:
        """Does nothing once a task of the same step has failed, or the run is to end."""
        folder = Path(self._folder)
        if signals.pending() or (folder / _FAILED).exists():
            return
        started = time.perf_counter()
        try:
            result = self._function(_TASKS[self._folder][number])
        except (OSError, errors.LockstepError) as error:
            ours = explain_os_error(error) if isinstance(error, OSError) else error
            _write(folder / _FAILED, {"type": type(ours).__name__, "message": str(ours)})
            return
        result = {**result, "seconds": time.perf_counter() - started}
        _write(folder / f"{number}.json", result)
        self._done.inc()


def explain_os_error(error: OSError) -> errors.LockstepError:
    """An operating system's error as one of ours: what happened, where, what to do.

    >>> explain_os_error(OSError(errno.ENOSPC, "No space left on device", "/out/x")).exit_code
    4
    """
    where = f" ({error.filename})" if error.filename else ""
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG) or "No space" in str(error):
        return errors.InputError(
            f"the disk is full{where}; nothing half-written was left. Free space and run again: "
            "it goes on at the first day that is missing"
        )
    return errors.InputError(f"reading or writing failed{where}: {error.strerror or error}")


@dataclasses.dataclass
class _Watch:
    """Calls `on_done` for results as they appear, from a thread of its own."""

    folder: Path
    on_done: OnDone | None

    def __post_init__(self) -> None:
        self._seen: set[str] = set()
        self._stopped = threading.Event()
        self._thread: threading.Thread | None = None
        if self.on_done:
            self._thread = threading.Thread(target=self._watch, daemon=True)
            self._thread.start()

    def stop(self) -> None:
        """Reports what is left, once."""
        if self._thread and not self._stopped.is_set():
            self._stopped.set()
            self._thread.join()
            self._look()

    def _watch(self) -> None:
        while not self._stopped.wait(_POLL_SECONDS):
            self._look()

    def _look(self) -> None:
        for path in sorted(self.folder.glob("[0-9]*.json")):
            if path.name not in self._seen and self.on_done:
                self._seen.add(path.name)
                self.on_done(_read(path))


def _write(path: Path, value: Result) -> None:
    aside = path.with_name(f".{path.name}-{os.getpid()}")
    aside.write_text(json.dumps(value))
    os.replace(aside, path)


def _read(path: Path) -> Result:
    result: Result = json.loads(path.read_text())
    return result


def _raise_failure(folder: Path) -> None:
    if (folder / _FAILED).exists():
        failure = _read(folder / _FAILED)
        raise getattr(errors, failure["type"], errors.LockstepError)(failure["message"])


def _start_worker() -> None:
    """A worker dies with its parent (Linux), and uses one core: the pool is the parallelism."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS"):
        os.environ[name] = "1"
    os.environ["TF_NUM_INTRAOP_THREADS"] = os.environ["TF_NUM_INTEROP_THREADS"] = "1"
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
    # Tasks make arrays, not cycles: looking for those every 700 objects took 4 % of a backfill.
    gc.set_threshold(50_000, 20, 100)
    if sys.platform == "linux":
        libc = ctypes.CDLL(None)
        pr_set_pdeathsig, trim_threshold, mmap_threshold = 1, -1, -3  # <sys/prctl.h>, <malloc.h>
        libc.prctl(pr_set_pdeathsig, signal.SIGKILL)
        if hasattr(libc, "mallopt"):  # keeps arrays' memory: zeroing fresh pages took 8 %
            libc.mallopt(mmap_threshold, 32 << 20)
            libc.mallopt(trim_threshold, 256 << 20)
