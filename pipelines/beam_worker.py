"""A worker process of the embedded runner: Beam's own, which ends with its launcher.

Beam's worker waits for ever for a launcher that was killed. This one is killed by the kernel with
the process that started it (Linux), uses one core, since processes are the parallelism, and keeps
the memory of arrays.
"""

from __future__ import annotations

import ctypes
import gc
import os
import signal
import sys

LAUNCHER = "LOCKSTEP_LAUNCHER"
"""Environment variable: the process that a worker must not outlive."""


def command() -> str:
    """The command line that starts a worker of this process; `exec`, so no shell is in between."""
    return f"exec env {LAUNCHER}={os.getpid()} {sys.executable} -m pipelines.beam_worker"


def main() -> None:
    """Becomes Beam's worker."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the launcher's to handle
    _end_with_launcher()
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS"):
        os.environ[name] = "1"
    os.environ["TF_NUM_INTRAOP_THREADS"] = os.environ["TF_NUM_INTEROP_THREADS"] = "1"
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
    keep_memory()
    from apache_beam.runners.worker import sdk_worker_main

    sdk_worker_main.main(sys.argv)


def keep_memory() -> None:
    """Collects cycles seldom, and keeps the memory of arrays for the next ones."""
    # Steps make arrays, not cycles: looking for those every 700 objects took 4 % of a backfill.
    gc.set_threshold(50_000, 20, 100)
    if sys.platform == "linux":
        libc = ctypes.CDLL(None)
        if hasattr(libc, "mallopt"):  # zeroing fresh pages took 8 %
            trim_threshold, mmap_threshold = -1, -3  # <malloc.h>
            libc.mallopt(mmap_threshold, 32 << 20)
            libc.mallopt(trim_threshold, 256 << 20)


def _end_with_launcher() -> None:
    if sys.platform == "linux":
        pr_set_pdeathsig = 1  # <sys/prctl.h>
        ctypes.CDLL(None).prctl(pr_set_pdeathsig, signal.SIGKILL)
    if os.getppid() != int(os.environ.get(LAUNCHER, os.getppid())):  # it is gone already
        sys.exit("the launcher is gone")


if __name__ == "__main__":
    main()
