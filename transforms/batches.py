"""What travels between Beam steps: Arrow record batches, keyed by shard, with coders of our own.

Importing this module registers the coders, so it is imported by whoever declares one of the two
types. Both formats begin with a version, and are read by name: a runner sees opaque bytes, and a
worker finds the coder by its import path.

Beam's fallback coder would pickle a batch, and a pickled slice carries the whole batch that it was
cut from. `CoGroupByKey` forgets declared coders and falls back to it: where several kinds of
batches meet, flatten them into one `GroupByKey` and tell them apart by their schema.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Any, NamedTuple

import pyarrow as pa
from apache_beam import coders

_BATCH = b"LSBATCH\x01"  # 8 bytes: what follows stays aligned, and is read without a copy
_KEY = b"\x01"
_NUMBER = struct.Struct(">q")


class ShardKey(NamedTuple):
    """The key of a shuffle: a shard of an entity's keys, of the event ids, or of a day.

    Attributes:
      group: what is sharded, such as an entity's name.
      shard: its number.
    """

    group: str
    shard: int


class RecordBatchCoder(coders.Coder):
    """Record batches as an Arrow stream with schema and metadata; a slice costs its own size.

    It is not deterministic in Beam's sense (equal batches may differ in the bytes below a null), so
    Beam refuses a batch as a key.

    >>> coder, batch = RecordBatchCoder(), pa.RecordBatch.from_pydict({"a": [1, None]})
    >>> coder.decode(coder.encode(batch)).equals(batch)
    True
    """

    def encode(self, value: pa.RecordBatch) -> bytes:
        """Version, then the stream."""
        sink = pa.BufferOutputStream()
        sink.write(_BATCH)
        with pa.ipc.new_stream(sink, value.schema) as writer:
            writer.write_batch(value)
        encoded: bytes = sink.getvalue().to_pybytes()
        return encoded

    def decode(self, encoded: bytes) -> pa.RecordBatch:
        """The reverse.

        Raises:
          ValueError: written by a release whose format this one does not read.
        """
        if encoded[: len(_BATCH)] != _BATCH:
            raise ValueError(
                f"a batch begins with {encoded[: len(_BATCH)]!r}, expected {_BATCH!r}; run "
                "launcher and workers from the same release"
            )
        with pa.ipc.open_stream(pa.py_buffer(encoded).slice(len(_BATCH))) as reader:
            return reader.read_next_batch()

    def is_deterministic(self) -> bool:
        """No: see the class."""
        return False

    def estimate_size(self, value: pa.RecordBatch) -> int:
        """Bytes of the columns."""
        size: int = value.nbytes
        return size

    def to_type_hint(self) -> type[Any]:
        """What it encodes."""
        return pa.RecordBatch  # type: ignore[no-any-return]

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other)

    def __hash__(self) -> int:
        return hash(type(self))


class ShardKeyCoder(coders.Coder):
    """Shard keys: version, number, name. Equal keys have equal bytes.

    >>> ShardKeyCoder().decode(ShardKeyCoder().encode(ShardKey("author", 3)))
    ShardKey(group='author', shard=3)
    """

    def encode(self, value: ShardKey) -> bytes:
        """Version, number, name in UTF-8."""
        group, shard = value
        return _KEY + _NUMBER.pack(shard) + group.encode()

    def decode(self, encoded: bytes) -> ShardKey:
        """The reverse.

        Raises:
          ValueError: written by a release whose format this one does not read.
        """
        if encoded[:1] != _KEY:
            raise ValueError(
                f"a shard key begins with {encoded[:1]!r}, expected {_KEY!r}; run launcher and "
                "workers from the same release"
            )
        (shard,) = _NUMBER.unpack_from(encoded, 1)
        return ShardKey(encoded[1 + _NUMBER.size :].decode(), shard)

    def is_deterministic(self) -> bool:
        """Yes: it is what a GroupByKey groups by."""
        return True

    def to_type_hint(self) -> type[Any]:
        """What it encodes."""
        return ShardKey

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other)

    def __hash__(self) -> int:
        return hash(type(self))


coders.registry.register_coder(pa.RecordBatch, RecordBatchCoder)
coders.registry.register_coder(ShardKey, ShardKeyCoder)


def one_batch(batches: Sequence[pa.RecordBatch], schema: pa.Schema | None = None) -> pa.RecordBatch:
    """Batches of one schema as one, in their order.

    Args:
      batches: any number.
      schema: of the result where there is no batch.

    Raises:
      ValueError: neither a batch nor a schema.

    >>> one_batch([pa.RecordBatch.from_pydict({"a": [1]})] * 2).num_rows
    2
    """
    if len(batches) == 1:
        return batches[0]
    if batches:
        return pa.concat_batches(batches)
    if schema is None:
        raise ValueError("no batches and no schema: nothing tells the columns of the result")
    return pa.RecordBatch.from_arrays([pa.array([], f.type) for f in schema], schema=schema)
