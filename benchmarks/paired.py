"""Contenders side by side: each a process of its own, in turns (A B C, A B C, …), medians.

A machine that others use is slower at one time than at another. So what is compared runs in turns,
CPU seconds (of the process and all that it started) stand beside wall time, and the load of the
machine beside both. Both count from the start of the process: imports are in them.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path


@dataclasses.dataclass(frozen=True)
class Contender:
    """What runs.

    Attributes:
      name: for the table.
      command: prints a line of JSON at its end: `events`, and `peak` in bytes where it knows it.
      cores: how many it may use; None: all.
    """

    name: str
    command: tuple[str, ...]
    cores: int | None = None


@dataclasses.dataclass(frozen=True)
class Run:
    """What one run took: seconds of wall time and of CPU, bytes at the peak."""

    events: int
    wall: float
    cpu: float
    peak: int
    load: float
    facts: dict[str, float]


def contender(name: str, what: str, *arguments: str, cores: int | None = None) -> Contender:
    """One of `benchmarks.contender`."""
    command = (sys.executable, "-m", "benchmarks.contender", what, *arguments)
    return Contender(name, command, cores)


def compare(contenders: Sequence[Contender], rounds: int) -> dict[str, list[Run]]:
    """Runs each of them once a round, and prints the medians as a table.

    A contender that fails is left out, and what it said is printed.
    """
    found: dict[str, list[Run]] = {one.name: [] for one in contenders}
    for _ in range(rounds):
        for one in contenders:
            run = run_once(one)
            if run is not None:
                found[one.name].append(run)
    print("| what | cores | events | wall | events/s | CPU | CPU per event | peak memory | load |")
    print("|---|---|---|---|---|---|---|---|---|")
    for one in contenders:
        if found[one.name]:
            print(_row(one, found[one.name]), flush=True)
    return found


def run_once(one: Contender) -> Run | None:
    """Runs a contender; None if it fails."""
    load, began = os.getloadavg()[0], time.monotonic()
    with tempfile.TemporaryFile("w+") as errors:
        process = subprocess.Popen(
            one.command,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            preexec_fn=lambda: _keep_to(one.cores),
        )
        output = process.stdout.read() if process.stdout is not None else ""
        _, status, used = os.wait4(process.pid, 0)
        wall = time.monotonic() - began
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            errors.seek(0)
            print(f"\n{one.name} was not run: {errors.read().strip().splitlines()[-1:]}\n")
            return None
    facts = json.loads(output.strip().splitlines()[-1])
    return Run(
        events=facts.pop("events"),
        wall=wall,
        cpu=used.ru_utime + used.ru_stime,
        peak=max(used.ru_maxrss * 1024, facts.pop("peak", 0)),
        load=load,
        facts=facts,
    )


def _keep_to(cores: int | None) -> None:
    if cores is not None:
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:cores])


def _row(one: Contender, runs: Sequence[Run]) -> str:
    wall = statistics.median(run.wall for run in runs)
    cpu = statistics.median(run.cpu for run in runs)
    loads = sorted(run.load for run in runs)
    events = runs[0].events
    cores = len(os.sched_getaffinity(0)) if one.cores is None else one.cores
    peak = max(run.peak for run in runs) / 1e9
    return (
        f"| {one.name} | {cores} | {events:,} | {wall:.1f} s | {events / wall:,.0f} | "
        f"{cpu:.1f} s | {cpu / events * 1e6:.1f} µs | {peak:.2f} GB | "
        f"{loads[0]:.1f} to {loads[-1]:.1f} |"
    )


def temporian_python(root: Path) -> str | None:
    """A Python that has Temporian, in an environment of its own; None where it does not install.

    Not in ours: it wants other versions of what we pin.
    """
    folder = root / "temporian"
    python = folder / "bin" / "python"
    pip = [str(python), "-m", "pip", "install", "--quiet", "temporian==0.9.0", "pyarrow"]
    if python.exists():
        return str(python)
    try:
        subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True, timeout=600)
        subprocess.run(pip, check=True, timeout=600, capture_output=True)
    except (subprocess.SubprocessError, OSError) as error:
        print(f"\nTemporian was not run: it does not install here ({type(error).__name__})\n")
        return None
    return str(python)


def cpu_of_session(leader: int) -> float:
    """CPU seconds of the processes of a session that live, and of those that they waited for."""
    ticks = 0
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):  # it has ended
            fields = stat.read_text().rpartition(")")[2].split()
            ticks += sum(map(int, fields[11:15])) if int(fields[3]) == leader else 0
    return ticks / os.sysconf("SC_CLK_TCK")
