"""Time and memory of a run's steps, for its report.

What enters: names of steps as they begin and end. What leaves: seconds and the peak memory of
this process and all below it, as the sum of proportional set sizes (shared pages count once).
"""

from __future__ import annotations

import contextlib
import dataclasses
import threading
import time
from collections.abc import Iterator
from pathlib import Path

_SAMPLE_SECONDS = 0.25
_REST = 50
"""A sample walks the page tables of every process and holds them up: it rests 50 times as long."""


@dataclasses.dataclass(frozen=True)
class Usage:
    """What a step took: seconds of wall time, and the peak of memory in bytes (0: unknown)."""

    step: str
    seconds: float
    peak_bytes: int


class Meter:
    """Measures steps; those of the same name add up."""

    def __init__(self) -> None:
        self._usage: dict[str, Usage] = {}

    @property
    def usage(self) -> tuple[Usage, ...]:
        """Steps in the order of their first beginning."""
        return tuple(self._usage.values())

    @contextlib.contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Measures what happens within."""
        started, peak, ended = time.monotonic(), [tree_memory()], threading.Event()

        def sample() -> None:
            pause = _SAMPLE_SECONDS
            while not ended.wait(pause):
                began = time.monotonic()
                peak[0] = max(peak[0], tree_memory())
                pause = max(_SAMPLE_SECONDS, _REST * (time.monotonic() - began))

        sampler = threading.Thread(target=sample, daemon=True)
        sampler.start()
        try:
            yield
        finally:
            ended.set()
            sampler.join()
            before = self._usage.get(name, Usage(name, 0.0, 0))
            self._usage[name] = Usage(
                name,
                before.seconds + time.monotonic() - started,
                max(before.peak_bytes, peak[0], tree_memory()),
            )


def tree_memory() -> int:
    """Memory of this process and its descendants in bytes; 0 where /proc does not tell."""
    return sum(_memory(process) for process in _tree())


def _tree() -> list[Path]:
    found, waiting = [], [Path("/proc/self").resolve() if Path("/proc/self").exists() else None]
    while waiting:
        process = waiting.pop()
        if process is None:
            continue
        found.append(process)
        for task in process.glob("task/*/children"):
            try:
                waiting.extend(Path("/proc", child) for child in task.read_text().split())
            except OSError:
                continue  # it ended meanwhile
    return found


def _memory(process: Path) -> int:
    try:
        for line in (process / "smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) * 1024
    except (OSError, IndexError, ValueError):
        return 0  # it ended meanwhile, or this system does not tell
    return 0
