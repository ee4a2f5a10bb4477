"""A scorer's snapshot with as many keys as are asked for, for the start-up benchmark."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow as pa

from benchmarks.world import stamp
from configs.schema import Spec
from pipelines.streaming.journal import save_snapshot
from pipelines.streaming.restore import snapshot_files
from scoring.engine import Engine, Resident
from transforms.decode import decode_json

_ROWS = 20_000


def write_snapshot(spec: Spec, state: Path, keys: int, from_us: int) -> int:
    """Folds events of ever new authors and texts, and saves the state; returns its keys."""
    engine, number = Engine(spec, Resident.empty(spec), None), 0
    while sum(map(len, engine.resident.states.values())) < keys:
        begin = from_us + number
        records = [
            json.dumps(
                {
                    "event_id": f"warm-{number + i}",
                    "sent_at": stamp(begin + i),
                    "kind": "message",
                    "author_id": f"author-{number + i}",
                    "channel_id": f"channel-{(number + i) % 5000}",
                    "text": f"nobody else wrote {chr(97 + i % 26)}{number + i:b} "
                    f"see https://shop.example{i % 100}.com/",
                }
            ).encode()
            for i in range(_ROWS)
        ]
        batch: pa.RecordBatch = decode_json(spec, records, "warm").batch
        engine.step(batch, np.zeros(batch.num_rows, bool))
        number += _ROWS
    state.mkdir(parents=True)
    save_snapshot(state, -1, snapshot_files(spec, engine.resident, -1))
    return sum(map(len, engine.resident.states.values()))
