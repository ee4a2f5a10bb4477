"""Rows become a table in the schema of configs/chat.yaml, and a table becomes files."""

from __future__ import annotations

import contextlib
from pathlib import Path
from types import TracebackType
from typing import BinaryIO

import msgspec
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipelines.simulate.rows import Integers, Kind, Rows, Source
from pipelines.simulate.world import CLIENTS, World

SCHEMA = pa.schema(
    {
        "event_id": pa.string(),
        "sent_at": pa.timestamp("us", "UTC"),
        "kind": pa.string(),
        "author_id": pa.string(),
        "target_id": pa.string(),
        "channel_id": pa.string(),
        "subject_id": pa.string(),
        "text": pa.string(),
        "client": pa.string(),
        "recipients": pa.int64(),
        "account_age": pa.float64(),
        "is_abuse": pa.bool_(),
        "source": pa.string(),
    }
)
_SLICE = 20_000  # rows that are Python objects at a time


def to_table(rows: Rows, texts: pa.Array, world: World) -> pa.Table:
    """The table of events.

    Args:
      rows: of any kinds, with ids.
      texts: string, one per message, in the messages' order.
      world: for channels, clients and when each account was made.
    """
    message = rows.kind == Kind.MESSAGE
    author = np.where(message, rows.author, 0)
    recipients = world.members[np.where(message, rows.channel, 0)]
    age = np.maximum(rows.time - world.created_us[author], 0) / 1e6
    said = rows.verdict >= 0
    return pa.table(
        {
            "event_id": to_hex(rows.id),
            "sent_at": pa.array(rows.time).cast(pa.timestamp("us", "UTC")),
            "kind": pa.array([kind.name.lower() for kind in Kind]).take(pa.array(rows.kind)),
            "author_id": to_names("u", rows.author),
            "target_id": to_names("u", rows.target),
            "channel_id": to_names("c", rows.channel),
            "subject_id": _spread(to_hex(rows.subject[~message]), ~message),
            "text": _spread(texts, message),
            "client": pa.array(CLIENTS).take(pa.array(world.client[author], mask=~message)),
            "recipients": pa.array(recipients, mask=~message),
            "account_age": pa.array(age, mask=~message),
            "is_abuse": pa.array(rows.verdict > 0, mask=~said),
            "source": pa.array([source.name.lower() for source in Source]).take(
                pa.array(rows.source, mask=rows.source < 0)
            ),
        },
        schema=SCHEMA,
    )


def to_hex(ids: npt.NDArray[np.uint64]) -> pa.Array:
    """Ids as 16 hex digits, string `[n]`.

    >>> to_hex(np.array([0, 255], np.uint64)).to_pylist()
    ['0000000000000000', '00000000000000ff']
    """
    pairs = np.frombuffer(b"".join(b"%02x" % i for i in range(256)), np.uint8).reshape(256, 2)
    octets = ids.astype(">u8").view(np.uint8)
    offsets = np.arange(len(ids) + 1, dtype=np.int32) * 16
    return pa.StringArray.from_buffers(
        len(ids), pa.py_buffer(offsets), pa.py_buffer(pairs[octets].tobytes())
    )


def to_names(prefix: str, index: Integers) -> pa.Array:
    """ "u00000012"; null for -1. Ten to the eighth accounts at most."""
    there = index >= 0
    some = index[there]
    letters = np.empty((len(some), 9), np.uint8)
    letters[:, 0] = ord(prefix)
    for place in range(8, 0, -1):
        some, digit = np.divmod(some, 10)
        letters[:, place] = digit + ord("0")
    offsets = np.arange(len(letters) + 1, dtype=np.int32) * 9
    return _spread(
        pa.StringArray.from_buffers(
            len(letters), pa.py_buffer(offsets), pa.py_buffer(letters.tobytes())
        ),
        there,
    )


def _spread(values: pa.Array, where: npt.NDArray[np.bool_]) -> pa.Array:
    """The values, in order, where the mask holds; null elsewhere."""
    if where.all():
        return values
    return values.take(pa.array(np.cumsum(where) - 1, mask=~where))


class Part:
    """One file, written a table at a time; use as a context manager."""

    def __init__(self, path: Path, format_: str) -> None:
        """Opens nothing yet.

        Args:
          path: without its ending.
          format_: "parquet" or "jsonl".
        """
        self._path = path.with_name(f"{path.name}.{format_}")
        self._format = format_
        self._open = contextlib.ExitStack()
        self._parquet: pq.ParquetWriter | None = None
        self._lines: BinaryIO | None = None

    def __enter__(self) -> Part:
        if self._format == "parquet":
            self._parquet = self._open.enter_context(
                pq.ParquetWriter(self._path, SCHEMA, compression="zstd", compression_level=1)
            )
        else:
            self._lines = self._open.enter_context(open(self._path, "wb"))
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._open.close()

    def write(self, table: pa.Table) -> None:
        """Appends the rows."""
        if self._parquet is not None:
            self._parquet.write_table(table)
        elif self._lines is not None:
            for start in range(0, table.num_rows, _SLICE):
                self._lines.write(_to_lines(table.slice(start, _SLICE)))


def _to_lines(table: pa.Table) -> bytes:
    times = pc.strftime(table.column("sent_at"), "%Y-%m-%dT%H:%M:%SZ")
    rows = table.set_column(1, "sent_at", times).to_pylist()
    return msgspec.json.Encoder().encode_lines(
        [{name: value for name, value in row.items() if value is not None} for row in rows]
    )
