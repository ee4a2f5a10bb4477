"""What a scorer pays for a snapshot of the social graph: `python -m benchmarks.snapshots`.

Computes the features of a made-up graph of a million accounts whose activity and popularity are
log-normal, writes the files of a snapshot as `lockstep graph` does, each shard with as many other
accounts of that graph, and lets a process of its own map them and look accounts up, at random over
all of them. `--values random` gives each account values that no other one has: nothing is narrower
than float32 then. Memory is that process's, beyond
what it had before: *its own* is what nobody else can use; *mapped* are pages of the files that it
has touched, which all processes of the machine share and the system takes back when it is short.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa

from configs.social import GRAPH_FEATURES, feature_names
from pipelines.files import arrow_bytes, write_by_content
from pipelines.snapshots import open_shard
from transforms.social import Graph, Standing, make_rows, merge, node_features, transpose
from transforms.social.shard_table import Floats, account_hashes, lookup, shard_table
from transforms.velocity.rows import shard_of

_SHARDS = 16
_LOOKUPS = 1_000_000
_PART = 1_000_000
_GRAPH_ACCOUNTS, _GRAPH_EDGES = 1_000_000, 7_000_000


def main(given: Sequence[str] = ()) -> None:
    """Runs the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--accounts", type=int, default=10_000_000)
    parser.add_argument("--features", type=int, nargs="+", default=[4, 9], help="base features")
    parser.add_argument("--values", choices=["graph", "random"], default="graph")
    parser.add_argument("--look", help=argparse.SUPPRESS)
    arguments = parser.parse_args(given)
    if arguments.look:
        print(json.dumps(_look(Path(arguments.look), arguments.accounts)))
        return
    print(
        "| accounts | features | files | checked and mapped | one at a time | 256 at a time | ",
        end="",
    )
    print("its own memory | mapped memory |\n|---|---|---|---|---|---|---|---|")
    whole = _graph_features() if arguments.values == "graph" else None
    for base in arguments.features:
        with tempfile.TemporaryDirectory() as folder:
            size = _write(Path(folder), arguments.accounts, base, whole)
            command = [sys.executable, "-m", "benchmarks.snapshots", "--look", folder]
            command += ["--accounts", str(arguments.accounts)]
            done = subprocess.run(command, check=True, capture_output=True, text=True)
            found = json.loads(done.stdout)
        columns = len(feature_names(tuple(GRAPH_FEATURES)[:base]))
        cells = [
            f"{arguments.accounts:,}",
            f"{columns}",
            f"{size / 1e6:,.0f} MB",
            f"{found['open']:.1f} s",
            f"{found['one'] * 1e6:,.0f} µs",
            f"{found['many'] * 1e6:,.1f} µs an event",
            f"{found['own'] / 1e6:,.0f} MB",
            f"{found['mapped'] / 1e6:,.0f} MB",
        ]
        print(f"| {' | '.join(cells)} |", flush=True)


def _names(numbers: np.ndarray) -> pa.Array:
    return pa.array([f"user-{number:09d}" for number in numbers.tolist()], pa.string())


def _graph_features() -> Floats:
    """All features of the accounts of a graph: float32 `[n, F]`."""
    rng = np.random.default_rng(3)
    count = _GRAPH_ACCOUNTS
    ends = []
    for _ in range(2):  # how active accounts are, and how popular
        weights = np.cumsum(np.exp(rng.normal(0, 1.3, count)))
        drawn = np.searchsorted(weights, rng.random(_GRAPH_EDGES) * weights[-1])
        ends.append(np.minimum(drawn, count - 1).astype(np.int32))
    asked = ends[0] != ends[1]
    source, target = ends[0][asked], ends[1][asked]
    answered = rng.random(len(source)) < 0.4
    requests = make_rows(source, target, count)
    answers = transpose(make_rows(target[answered], source[answered], count))
    out = merge(requests, transpose(answers))
    into = transpose(out)
    since = np.full(count, 30 * 86_400_000_000)
    times = rng.integers(0, 30 * 86_400_000_000, len(source))
    np.minimum.at(since, source, times)
    np.minimum.at(since, target, times)
    ids = pa.nulls(count, pa.string())
    both = merge(out, into)
    graph = Graph(ids, since, out, into, both, {"ask": requests}, {"ask": answers})
    judged = np.sort(rng.choice(count, count // 200, replace=False))
    standing = Standing(judged[::2], judged[1::2])
    made = node_features(graph, standing, 31 * 86_400_000_000)[both.degrees > 0]
    return made.astype(np.float32)


def _write(folder: Path, accounts: int, base: int, whole: Floats | None) -> int:
    """The files of a snapshot, and how many bytes they have."""
    width = len(feature_names(tuple(GRAPH_FEATURES)[:base]))
    kept = [place for place in range(3 * len(GRAPH_FEATURES)) if place % len(GRAPH_FEATURES) < base]
    parts: list[list[pa.Array]] = [[] for _ in range(_SHARDS)]
    for first in range(0, accounts, _PART):
        ids = _names(np.arange(first, min(first + _PART, accounts)))
        shard = shard_of(account_hashes(ids), _SHARDS)
        for number in range(_SHARDS):
            parts[number].append(ids.filter(pa.array(shard == number)))
    (folder / "graph").mkdir()
    size, rng = 0, np.random.default_rng(1)
    for number in range(_SHARDS):
        ids = pa.concat_arrays(parts[number])
        parts[number] = []
        if whole is None:
            values = rng.random((len(ids), width), np.float32)
        else:
            values = whole[rng.permutation(len(whole))[: len(ids)]][:, kept]
        table = shard_table(ids, values)
        name = f"accounts-{number:03d}.arrow"
        size += write_by_content(str(folder), "graph", name, arrow_bytes(table))["bytes"]
    return size


def _look(folder: Path, accounts: int) -> dict[str, float]:
    files = sorted(map(str, (folder / "graph").glob("*.arrow")))
    rng = np.random.default_rng(2)
    asked = _names(rng.integers(0, accounts, _LOOKUPS))
    lookup([], open_shard, asked.slice(0, 0), [0])
    own, mapped = _memory()
    started = time.perf_counter()
    for path in files:
        open_shard(path)
    opened = time.perf_counter() - started
    wanted = list(range(open_shard(files[0]).width))
    seconds = {}
    for name, size, count in (("one", 1, 2_000), ("many", 256, _LOOKUPS)):
        started = time.perf_counter()
        for first in range(0, count, size):
            made = lookup(files, open_shard, asked.slice(first, size), wanted)
            if np.isnan(made).all(axis=1).any():
                raise RuntimeError("an account that is there was not found")
        seconds[name] = (time.perf_counter() - started) / count
    after = _memory()
    return {"open": opened, **seconds, "own": after[0] - own, "mapped": after[1] - mapped}


def _memory() -> tuple[int, int]:
    """Bytes of this process in memory: its own, and pages of files."""
    lines = Path("/proc/self/status").read_text().splitlines()
    said = {name: rest for name, _, rest in (line.partition(":") for line in lines)}
    own, mapped = (int(said[name].split()[0]) * 1024 for name in ("RssAnon", "RssFile"))
    return own, mapped


if __name__ == "__main__":
    main(sys.argv[1:])
