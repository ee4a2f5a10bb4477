"""How long a world takes to be simulated, in one process, and how much memory.

`python -m benchmarks.worlds` lets the shipped world, with more people, live for ten days of about
100,000 events (`--events` for all ten), writes it, and prints a row of a Markdown table.
"""

from __future__ import annotations

import argparse
import dataclasses
import resource
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from configs.world import WorldSettings, load_world
from pipelines.simulate import WorldRequest, simulate_world

DAYS = 10


def enlarged(messages: int) -> WorldSettings:
    """The shipped world with so many honest messages a day, and people and moderators to match.

    >>> enlarged(100_000).people.accounts
    20000
    """
    world = load_world("chat")
    times = messages / world.people.messages
    people = dataclasses.replace(
        world.people,
        messages=messages,
        accounts=max(200, round(world.people.accounts * times)),
    )
    capacity = round(world.moderators.capacity * times)
    moderators = dataclasses.replace(world.moderators, capacity=capacity)
    return dataclasses.replace(world, people=people, moderators=moderators)


def main(given: Sequence[str] | None = None) -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, default=1_000_000)
    arguments = parser.parse_args(given)
    world = enlarged(max(1, round(arguments.events / DAYS / 1.05)))
    with tempfile.TemporaryDirectory() as root:
        started, used = time.perf_counter(), time.process_time()
        counts = simulate_world(WorldRequest(world, Path(root) / "events", days=DAYS))
        seconds, used = time.perf_counter() - started, time.process_time() - used
        files = sum(path.stat().st_size for path in Path(root).rglob("*.parquet"))
    events = sum(counts.values())
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    print("| events | seconds | CPU seconds | events/s | peak memory | files |")
    print("|---|---|---|---|---|---|")
    print(
        f"| {events:,} | {seconds:.1f} | {used:.1f} | {events / seconds:,.0f} | {peak:.1f} GB "
        f"| {files / 1e6:.0f} MB |"
    )


if __name__ == "__main__":
    main()
