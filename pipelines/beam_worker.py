"""Worker processes of the embedded runner: one for each core, started once, forked from one.

`WorkerPool` starts a process that imports Beam and the steps, and becomes the workers by forking
itself before anything has made a thread; TensorFlow is imported later, by whom needs it. A command,
whose process is its own, forks them from itself and so saves the imports
(`runners.forked_workers`). A worker serves one pipeline after the other, so a run of many chunks
pays for imports, compiled kernels and the bundle once. Where a worker dies, what waits for it is
told, and does not wait for ever.

Beam's own subprocesses start anew with every pipeline (6 CPU seconds each), and wait for ever for a
launcher that was killed; these are killed by the kernel with the process that started them (Linux).
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import json
import logging
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from multiprocessing import get_context
from typing import IO

import pyarrow as pa

from scoring.booster import import_xgboost_alone
from transforms.hashing import hash_text

LAUNCHER = "LOCKSTEP_LAUNCHER"
"""Environment variable: the process that a worker must not outlive."""

Environment = Mapping[str, str]
"""What Beam's worker reads from environment variables: where its runner listens."""


class WorkerPool:
    """Processes that wait for pipelines.

    Args:
      count: how many.
      fork: whether the first is forked from this process.
    """

    def __init__(self, count: int, fork: bool = False) -> None:
        self.count = count
        ours, theirs = zip(*(socket.socketpair() for _ in range(count)), strict=True)
        numbers = [one.fileno() for one in theirs]
        self._first: subprocess.Popen[bytes] | _Fork
        if fork:
            self._first = _Fork(numbers, ours)
        else:
            self._first = subprocess.Popen(
                [sys.executable, "-m", "pipelines.beam_worker", *map(str, numbers)],
                pass_fds=numbers,
                stdin=subprocess.DEVNULL,
                env={**os.environ, LAUNCHER: str(os.getpid())},
            )
        self._lines = [one.makefile("rw", encoding="utf-8") for one in ours]
        for one in (*ours, *theirs):
            one.close()
        self._idle = list(range(count))
        self._lock = threading.Lock()
        self._lost = False

    def begin(self, environment: Environment) -> int:
        """Gives a pipeline to an idle worker: its number, for `wait`."""
        with self._lock:
            worker = self._idle.pop()
        with contextlib.suppress(BrokenPipeError):  # it died: `wait` says so
            self._lines[worker].write(json.dumps(dict(environment)) + "\n")
            self._lines[worker].flush()
        return worker

    def wait(self, worker: int) -> bool:
        """Waits until a worker has done with its pipeline; False: it has died."""
        with contextlib.suppress(ConnectionResetError):
            if self._lines[worker].readline():
                with self._lock:
                    self._idle.append(worker)
                return True
        self._lost = True
        return False

    @property
    def loss(self) -> str | None:
        """That a worker has died, and by which signal if that is known; None: none has."""
        if not self._lost:
            return None
        ended = self._first.poll() or 0
        how = f" ({signal.Signals(-ended).name})" if ended < 0 else ""
        return f"a worker process has died{how}"

    @property
    def whole(self) -> bool:
        """Whether every worker waits for a pipeline."""
        return len(self._idle) == self.count and self._first.poll() is None

    def close(self) -> None:
        """Ends the processes."""
        for line in self._lines:
            with contextlib.suppress(OSError):
                line.close()
        try:
            self._first.wait(timeout=5)
        except subprocess.TimeoutExpired:  # a signal came in the middle of a pipeline
            self._first.kill()  # and the kernel the others with it
            self._first.wait()


class _Fork:
    """A copy of this process that becomes workers; with what is used of `subprocess.Popen`."""

    def __init__(self, numbers: Sequence[int], others: Sequence[socket.socket]) -> None:
        launcher = os.getpid()

        def become() -> None:
            for one in others:
                one.close()
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            end_with(launcher)
            _become(numbers)

        self._process = get_context("fork").Process(target=become, daemon=True)
        self._process.start()
        self.kill = self._process.kill

    def poll(self) -> int | None:
        return self._process.exitcode

    def wait(self, timeout: float | None = None) -> None:
        self._process.join(timeout)
        if self._process.exitcode is None:
            raise subprocess.TimeoutExpired("a worker", timeout or 0)


_open: list[WorkerPool] = []


def core_count() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1


@contextlib.contextmanager
def worker_pool(count: int, fork: bool = False) -> Iterator[WorkerPool]:
    """Workers for the pipelines that are run within; those of an outer block where it has them."""
    for pool in _open:
        if pool.count >= count and pool.whole:
            yield pool
            return
    pool = WorkerPool(count, fork)
    _open.append(pool)
    try:
        yield pool
    finally:
        _open.remove(pool)
        pool.close()


def main() -> None:
    """Becomes the workers: arguments are the numbers of their sockets."""
    end_with(int(os.environ[LAUNCHER]))
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS"):
        os.environ[name] = "1"  # processes are the parallelism
    import_steps()
    gc.collect()
    _become([int(number) for number in sys.argv[1:]])


def import_steps() -> None:
    """Imports what workers need."""
    import pipelines.backfill.build  # and what they import  # noqa: F401

    import_xgboost_alone()
    hash_text("")  # loads numba's own tables, which every worker would load for itself


def _become(numbers: Sequence[int]) -> None:
    """Becomes the workers of some sockets."""
    os.environ["TF_NUM_INTRAOP_THREADS"] = os.environ["TF_NUM_INTEROP_THREADS"] = "1"
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
    keep_memory()
    gc.freeze()  # the pages stay shared
    mine, others = numbers[0], list[int]()
    for number in numbers[1:]:
        first = os.getpid()
        other = os.fork()
        if other == 0:
            end_with(first)
            mine, others = number, []
            break
        others.append(other)
    for number in numbers:
        if number != mine:
            os.close(number)
    with socket.socket(fileno=mine) as connection, connection.makefile("rw") as lines:
        _serve(lines)
    for other in others:  # their launcher gave them up too; waited for, their CPU time is counted
        os.waitpid(other, 0)


def keep_memory() -> None:
    """Collects cycles seldom, and keeps the memory of arrays for the next ones."""
    # Steps make arrays, not cycles: looking for those every 700 objects took 4 % of a backfill.
    gc.set_threshold(50_000, 20, 100)
    if sys.platform == "linux":
        # Arrow's own allocator gives pages back soon, and gets them zeroed anew: 8 % as well.
        pa.set_memory_pool(pa.system_memory_pool())
        libc = ctypes.CDLL(None)
        if hasattr(libc, "mallopt"):  # zeroing fresh pages took 8 %
            trim_threshold, mmap_max, arena_max = -1, -4, -8  # <malloc.h>
            libc.mallopt(mmap_max, 0)  # else blocks of more than 32 MB are unmapped when freed
            libc.mallopt(trim_threshold, 1 << 30)
            # Arenas of other threads are unmapped as soon as they are empty: 4 %.
            libc.mallopt(arena_max, 1)


def _serve(lines: IO[str]) -> None:
    from apache_beam.runners.worker.sdk_worker_main import create_harness

    logging.getLogger("apache_beam").setLevel(logging.CRITICAL)  # the launcher raises what fails
    for line in lines:
        _, harness, _ = create_harness(json.loads(line))
        logging.getLogger().setLevel(logging.WARNING)  # it asks for more
        harness.run()
        lines.write("done\n")
        lines.flush()


def end_with(parent: int) -> None:
    """Of whoever works for a process: ends with it, and leaves Ctrl-C to it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if sys.platform == "linux":
        pr_set_pdeathsig = 1  # <sys/prctl.h>
        ctypes.CDLL(None).prctl(pr_set_pdeathsig, signal.SIGKILL)
    if os.getppid() != parent:  # it is gone already
        sys.exit("the launcher is gone")


if __name__ == "__main__":
    main()
