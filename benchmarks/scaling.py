"""What the scorer's state costs as it grows: `python -m benchmarks.scaling`, for docs/scaling.md.

CPU seconds of this process on one thread, so that a busy machine changes little. Events are those
of the chat config; each author writes a text of his own, so an event makes or moves an author, a
text, one of 5,000 channels and one of 100 domains. With "20 events a key" an author writes 20 times
over a day.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa

from benchmarks.world import chat, stamp
from configs.schema import Spec
from pipelines.streaming.journal import Journal, save_snapshot
from pipelines.streaming.restore import restore, snapshot_files
from scoring.engine import Engine, Resident
from transforms.decode import decode_json
from transforms.derive import derive
from transforms.velocity import ShardState, entity_rows, fold, make_plan
from transforms.velocity.rows import shard_of

_ROWS = 20_000
_DAY_US = 86_400_000_000
_BEGIN_US = 1_772_323_200_000_000
_TICK = 4_000  # events that are folded at once, over all shards


def main(given: Sequence[str] = ()) -> None:
    """Runs the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--keys", type=int, nargs="+", default=[10_000, 100_000, 1_000_000])
    parser.add_argument("--per-key", type=int, nargs="+", default=[1, 20], help="events")
    parser.add_argument(
        "--most-events", type=int, default=2_500_000, help="larger rows are left out"
    )
    parser.add_argument("--shards", type=int, nargs="+", default=[1, 16, 64, 256, 1024])
    arguments = parser.parse_args(given)
    spec = chat()
    for micro in (50, 1000):  # kernels are compiled before anything is timed
        _steps(Engine(spec, Resident.empty(spec), None), _batches(spec, 2 * micro, 1), micro)
    print("### State by keys\n")
    print(
        "| keys | events a key | state, bytes/key | in memory, bytes/key | snapshot | written | "
        "restored | fold alone, events/s/core |"
    )
    print("|---|---|---|---|---|---|---|---|")
    for per_key in arguments.per_key:
        for keys in arguments.keys:
            if keys // 2 * per_key <= arguments.most_events:
                print(_by_keys(spec, keys, per_key), flush=True)
    print("\n### Events by entities, 100,000 keys an entity at most\n")
    print("| entities | features | decode, derive and fold, events/s/core |\n|---|---|---|")
    names = list(spec.entities)
    for count in range(1, len(names) + 1):
        print(_by_entities(spec, names[:count]), flush=True)
    print(f"\n### Fold by shards, {_TICK:,} events at once\n")
    print("| shards | rows a shard | author rows/s/core |\n|---|---|---|")
    for row in _by_shards(spec, arguments.shards):
        print(row, flush=True)


def _by_keys(spec: Spec, keys: int, per_key: int) -> str:
    engine = Engine(spec, Resident.empty(spec), None)
    _steps(engine, _batches(spec, keys // 2, per_key), 1000)
    states = engine.resident.states.values()
    count = sum(map(len, states))
    in_memory, packed = sum(map(_memory, states)), sum(one.nbytes for one in states)
    fresh = list(_batches(spec, min(keys // 2, _ROWS), 1, _BEGIN_US + _DAY_US))
    fold_s = _steps(engine, iter(fresh), 1000)
    with tempfile.TemporaryDirectory(prefix="lockstep-bench-") as folder:
        root = Path(folder)
        began = time.process_time()
        save_snapshot(root, -1, snapshot_files(spec, engine.resident, -1))
        written_s = time.process_time() - began
        size = sum(one.stat().st_size for one in (root / "snapshots").rglob("*") if one.is_file())
        began = time.process_time()
        restored = restore(spec, Journal(root))
        restored_s = time.process_time() - began
    if restored is None or sum(map(len, restored.resident.states.values())) < count:
        raise SystemExit("the snapshot does not have what was written")
    events = sum(one.num_rows for one in fresh)
    return (
        f"| {count:,} | {per_key} | {packed / count:,.0f} | {in_memory / count:,.0f} | "
        f"{size / 1e6:,.1f} MB | {written_s:.2f} s | {restored_s:.2f} s | {events / fold_s:,.0f} |"
    )


def _by_entities(spec: Spec, names: list[str]) -> str:
    kept = {name: spec.entities[name] for name in names}
    fewer = dataclasses.replace(spec, entities=kept)
    engine = Engine(fewer, Resident.empty(fewer), None)
    _steps(engine, _batches(spec, 100_000, 1), 1000)
    records = list(_records(20_000, 0, _BEGIN_US + _DAY_US))
    began = time.process_time()
    for first in range(0, len(records), 1000):
        batch = decode_json(spec, records[first : first + 1000], "bench").batch
        rows = {name: entity_rows(plan, derive(spec, batch)) for name, plan in engine.plans.items()}
        for name, plan in engine.plans.items():
            state = engine.resident.states[name]
            state.update(fold(plan, state, rows[name]).delta)
    took_s = time.process_time() - began
    features = sum(len(plan.features) for plan in engine.plans.values())
    return f"| {', '.join(names)} | {features} | {len(records) / took_s:,.0f} |"


def _by_shards(spec: Spec, counts: list[int]) -> Iterator[str]:
    """The author's rows of ticks, by shards as a distributed job cuts them."""
    engine, plan = Engine(spec, Resident.empty(spec), None), make_plan(spec, "author")
    _steps(engine, _batches(spec, 100_000, 1), 1000)
    records = list(_records(5 * _TICK, 0, _BEGIN_US + _DAY_US))
    ticks = [
        entity_rows(plan, derive(spec, decode_json(spec, records[at : at + _TICK], "bench").batch))
        for at in range(0, len(records), _TICK)
    ]
    for count in counts:
        shards = engine.resident.copy().states["author"].split(plan, count)
        began = time.process_time()
        for rows in ticks:
            of = shard_of(rows.key, count)
            order = np.argsort(of, kind="stable")
            ends = np.searchsorted(of[order], np.arange(count + 1))
            for shard in range(count):
                part = rows.take(order[ends[shard] : ends[shard + 1]])
                shards[shard].update(fold(plan, shards[shard], part).delta)
        took_s = time.process_time() - began
        yield f"| {count:,} | {_TICK / count:,.1f} | {len(records) / took_s:,.0f} |"


def _steps(engine: Engine, batches: Iterator[pa.RecordBatch], micro: int) -> float:
    """CPU seconds of steps of so many events: derive, fold, assemble, no model."""
    total = 0.0
    for batch in batches:
        began = time.process_time()
        for first in range(0, batch.num_rows, micro):
            part = batch.slice(first, micro)
            engine.step(part, np.zeros(part.num_rows, np.bool_))
        total += time.process_time() - began
    return total


def _batches(
    spec: Spec, authors: int, per_key: int, from_us: int = _BEGIN_US
) -> Iterator[pa.RecordBatch]:
    for turn in range(per_key):
        begin_us = from_us + turn * (_DAY_US // per_key)
        for first in range(0, authors, _ROWS):
            count = min(_ROWS, authors - first)
            records = list(_records(count, first, begin_us))
            batch: pa.RecordBatch = decode_json(spec, records, "bench").batch
            yield batch


def _records(count: int, first: int, begin_us: int) -> Iterator[bytes]:
    for author in range(first, first + count):
        yield json.dumps(
            {
                "event_id": f"{begin_us}-{author}",
                "sent_at": stamp(begin_us + author),
                "kind": "message",
                "author_id": f"author-{author}",
                "channel_id": f"channel-{author % 5000}",
                "text": f"nobody else wrote {author:b} see https://shop.example{author % 100}.com/",
            }
        ).encode()


def _memory(state: ShardState) -> int:
    """Bytes of a state's objects: a whole number and a bytes object a key, and their mapping."""
    keys: list[int] = state.to_table().column("key").to_pylist()
    values = sum(map(sys.getsizeof, state.get_all(keys))) + sum(map(sys.getsizeof, keys))
    return values + sys.getsizeof(dict.fromkeys(keys))


if __name__ == "__main__":
    main(sys.argv[1:])
