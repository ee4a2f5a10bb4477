"""An intake over a client that gives what it is told to, with a clock that only waiting moves."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from configs.loader import loads
from pipelines.pubsub.client import RawMessage
from pipelines.pubsub.intake import Clocks, Intake
from pipelines.pubsub.micro_batch import MicroBatch
from pipelines.pubsub.settings import SourceSettings
from transforms.catalog import CATALOG
from transforms.dead_letter import DeadLetter, Reason, Stage
from transforms.decode import Decoded

S = 1_000_000
SUBSCRIPTION = "projects/p/subscriptions/sub"
SETTINGS = SourceSettings(SUBSCRIPTION, disorder_us=5 * S, ahead_us=None, batch_events=10)
SPEC = loads(
    """
lockstep: 1
name: intake
columns: {who: {type: string}}
kinds: {k: {scored: true}}
entities: {who: {key: {k: [who]}, windows: [1d], aggregates: {n: {op: count, of: k}}}}
""",
    "intake.yaml",
    CATALOG,
)


def decode(records: Sequence[bytes]) -> Decoded:
    """A list of [id, seconds] per record: several events of a message; anything else is dead."""
    ids, times, positions, dead = [], [], [], []
    for position, record in enumerate(records):
        try:
            for name, seconds in json.loads(record):
                ids.append(name)
                times.append(seconds * S)
                positions.append(position)
        except ValueError:
            letter = DeadLetter(Stage.DECODE, Reason.NOT_JSON, SUBSCRIPTION, position)
            dead.append(letter)
    batch = pa.RecordBatch.from_pydict(
        {
            "event_id": pa.array(ids, pa.string()),
            "event_time": pa.array(times, pa.int64()),
            "kind": pa.array(["k"] * len(ids), pa.string()),
            "who": pa.nulls(len(ids), pa.string()),
        }
    )
    return Decoded(batch, np.array(positions, np.int64), tuple(dead))


@dataclasses.dataclass
class Script:
    """A client that gives what it is told to, and moves the clock when it has nothing."""

    now_us: int = 1_000 * S
    connected: bool = True
    throttled: bool = False
    unsettled: bool = False
    doubtful_s: float = -1.0
    waiting: list[RawMessage] = dataclasses.field(default_factory=list)
    acked: list[str] = dataclasses.field(default_factory=list)
    forgotten: list[str] = dataclasses.field(default_factory=list)
    closed: bool = False

    def send(self, name: str, payload: object, ack: str = "") -> None:
        data = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
        self.waiting.append(RawMessage(ack or f"ack-{name}", name, self.now_us, data))

    def take(self, most: int, timeout_s: float) -> list[RawMessage]:
        if not self.waiting:
            self.now_us += max(1, int(timeout_s * S))  # a float of less than 1 µs must end too
        some, self.waiting = self.waiting[:most], self.waiting[most:]
        return some

    def acknowledge(self, ack_ids: Sequence[str]) -> None:
        self.acked += ack_ids

    def forget(self, ack_ids: Sequence[str]) -> None:
        self.forgotten += ack_ids

    def close(self) -> None:
        self.closed = True


def intake(script: Script, settings: SourceSettings = SETTINGS, at_arrival: bool = False) -> Intake:
    clocks = Clocks(lambda: script.now_us, lambda: script.now_us / S)
    return Intake(SPEC, settings, decode, script, clocks, at_arrival=at_arrival)


def ids(batch: MicroBatch | None) -> list[str]:
    return [] if batch is None else batch.batch.column("event_id").to_pylist()
