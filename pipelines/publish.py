"""Sends events to a topic, as disorderly as is asked: for demos, tests and load.

What enters: JSON Lines or Parquet files of events, or a wish for simulated ones. What leaves:
messages on a topic, at a given rate, shuffled within a span of event time, some of them twice, some
of them late. Equal settings give the same messages in the same order.
"""

from __future__ import annotations

import contextlib
import dataclasses
import datetime as dt
import heapq
import random
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

import msgspec
import pyarrow as pa
import pyarrow.compute as pc

from configs.errors import InputError
from configs.schema import Spec
from pipelines.files import open_parquet
from pipelines.progress import Progress
from pipelines.simulate import SimulateSettings, simulate
from pipelines.simulate.run import require_stream
from pipelines.sources import Split, open_source
from pipelines.sources.parquet import parquet_batches
from pipelines.sources.read import open_text
from transforms.decode import decode_json

BATCH = 500
_BATCH_BYTES = 8 * 1024 * 1024


@dataclasses.dataclass(frozen=True)
class PublishSettings:
    """How events are sent.

    Attributes:
      rate: messages a second; 0: as fast as the server takes them.
      shuffle_s: an event may be overtaken by others up to so many seconds of event time later.
      duplicates: share of events that are sent twice.
      late: share of events that come later than they should.
      late_s: by how many seconds of event time.
      seed: same seed, same order.
    """

    rate: float = 0.0
    shuffle_s: float = 0.0
    duplicates: float = 0.0
    late: float = 0.0
    late_s: float = 0.0
    seed: int = 0


def disorder(events: Iterable[tuple[int, bytes]], settings: PublishSettings) -> Iterator[bytes]:
    """Payloads in the order in which they are sent.

    Args:
      events: (event time in microseconds, payload), in order of time.
      settings: how far from that order they go.

    >>> list(disorder([(0, b"a"), (1, b"b")], PublishSettings(duplicates=1.0)))
    [b'a', b'a', b'b', b'b']
    """
    rng = random.Random(settings.seed)
    waiting: list[tuple[float, int, bytes]] = []
    furthest = (settings.shuffle_s + (settings.late_s if settings.late else 0.0)) * 1e6
    count = 0
    for moment, payload in events:
        while waiting and waiting[0][0] <= moment:
            yield heapq.heappop(waiting)[2]
        copies = 2 if rng.random() < settings.duplicates else 1
        for _ in range(copies):
            at = moment + rng.random() * settings.shuffle_s * 1e6
            if rng.random() < settings.late:
                at += settings.late_s * 1e6
            count += 1
            if furthest == 0:
                yield payload
            else:
                heapq.heappush(waiting, (at, count, payload))
    while waiting:
        yield heapq.heappop(waiting)[2]


def read_events(source: str, spec: Spec) -> Iterator[tuple[int, bytes]]:
    """Events of a source as (time, JSON), file after file; what has no readable time goes at once.

    Raises:
      InputError: the source is not there, or is neither JSON Lines nor Parquet.
    """
    for split in open_source(source, spec):
        if split.format == "jsonl":
            payloads = _lines(split, spec)
        elif split.format == "parquet":
            payloads = _rows(split, spec)
        else:
            raise InputError(f"{split.path}: only JSON Lines and Parquet files can be published")
        clock = 0
        for batch in payloads:
            made = decode_json(spec, batch, split.path)
            times = dict(
                zip(
                    made.positions.tolist(),
                    made.batch.column("event_time").to_pylist(),
                    strict=True,
                )
            )
            for number, payload in enumerate(batch):
                clock = times.get(number, clock)
                yield clock, payload


@contextlib.contextmanager
def simulated(
    events: int, days: int, start: dt.date, seed: int, progress: Progress | None = None
) -> Iterator[str]:
    """A simulated chat stream as a source, on disk for as long as this context lasts.

    Another start gives events of other ids, so that a scorer that has seen the first ones does not
    take the second for copies.

    Args:
      events: about how many.
      days, start: over how many days, from the first one on.
      seed: same seed and start, same events; 0 to 2**63 - 1.

    Raises:
      InputError: these settings make no stream.
    """
    require_stream("jsonl", seed, start, days)
    drawn = (seed + (start.toordinal() << 32)) % 2**63
    with tempfile.TemporaryDirectory(prefix="lockstep-publish-") as folder:
        out = Path(folder) / "events"
        simulate(SimulateSettings(out, events, days, start, drawn, format="jsonl"), progress)
        yield str(out)


def publish(
    source: str,
    spec: Spec,
    send: Callable[[Sequence[bytes]], object],
    settings: PublishSettings,
    on_sent: Callable[[int], None] = lambda count: None,
) -> int:
    """Sends a source; returns how many messages were sent.

    Args:
      send: publishes some payloads, and returns when the server has them.
      on_sent: told of each batch.
    """
    started, sent = time.monotonic(), 0
    batch: list[bytes] = []
    size = BATCH if settings.rate == 0 else max(1, min(BATCH, int(settings.rate / 20)))

    def flush() -> None:
        nonlocal sent
        send(batch)
        sent += len(batch)
        on_sent(len(batch))
        batch.clear()
        if settings.rate:
            time.sleep(max(0.0, started + sent / settings.rate - time.monotonic()))

    for payload in disorder(read_events(source, spec), settings):
        batch.append(payload)
        if len(batch) >= size:
            flush()
    if batch:
        flush()
    return sent


def _lines(split: Split, spec: Spec) -> Iterator[list[bytes]]:
    held: list[bytes] = []
    with open_text(split, spec) as file:
        while line := file.readline():
            if line.strip():
                held.append(line.rstrip(b"\r\n"))
            if len(held) >= BATCH:
                yield held
                held = []
    if held:
        yield held


def _rows(split: Split, spec: Spec) -> Iterator[list[bytes]]:
    names = frozenset(open_parquet(split.path).schema_arrow.names)
    is_utc = spec.events.time_zone == "UTC"
    for batch in parquet_batches(split, names, BATCH, _BATCH_BYTES):
        plain = [_as_json(column, is_utc) for column in batch.columns]
        rows = pa.RecordBatch.from_arrays(plain, batch.schema.names).to_pylist()
        yield [msgspec.json.encode({k: v for k, v in row.items() if v is not None}) for row in rows]


def _as_json(column: pa.Array, is_utc: bool) -> pa.Array:
    """Times as RFC 3339 text, without a zone where they have none and it matters; others as is."""
    if pa.types.is_timestamp(column.type):
        text = pc.strftime(column.cast(pa.timestamp("us")), "%Y-%m-%dT%H:%M:%S")
        return pc.binary_join_element_wise(
            text, pa.scalar("Z" if is_utc or column.type.tz else ""), pa.scalar("")
        )
    return column
