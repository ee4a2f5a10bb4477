"""Blocks: the rows of a tick as bytes, as they travel and wait in a runner's state.

A block is a header (what it holds, of which tick, under which schema) and an Arrow message without
its schema, which both sides know: with hundreds of small blocks in a Beam bundle, the schema would
be most of the bytes and of the time. Whoever only keeps a block reads its header. Blocks of several
ticks travel to a shard as one element (`pack_blocks`), which is cut there without reading the rows.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import xxhash

from configs.errors import StateError

_MAGIC = b"LSB\x01"
_PACK_MAGIC = b"LSK\x01"
_HEADER = struct.Struct("<4sB3xqQ")  # 24 bytes: what follows stays aligned, and is not copied
_PACK = struct.Struct("<4sI")

Int64s = npt.NDArray[np.int64]


class BlockHeader(NamedTuple):
    """What a block says of itself.

    Attributes:
      kind: a number of the stage that reads it.
      tick: in which its rows are folded.
      schema: hash of the schema.
    """

    kind: int
    tick: int
    schema: int


class Blocks:
    """Writes and reads the blocks of one stage.

    Args:
      name: of the stage, for errors.
      schemas: by kind.

    >>> blocks = Blocks("ids", [pa.schema({"a": pa.int64()})])
    >>> block = blocks.write(0, pa.RecordBatch.from_pydict({"a": [1, 2]}), 7)
    >>> read_header(block).tick, blocks.read(block).to_pydict()
    (7, {'a': [1, 2]})
    """

    def __init__(self, name: str, schemas: Sequence[pa.Schema]) -> None:
        self._name = name
        self.schemas = tuple(schema.remove_metadata() for schema in schemas)
        self._hashes = tuple(
            xxhash.xxh64_intdigest(schema.serialize().to_pybytes()) for schema in self.schemas
        )

    def write(self, kind: int, rows: pa.RecordBatch, tick: int) -> bytes:
        """Rows of a kind as a block.

        Raises:
          ValueError: the rows have other columns than the kind.
        """
        schema = self.schemas[kind]
        if not rows.schema.equals(schema):
            raise ValueError(
                f"rows for the {self._name} have columns {rows.schema.names}, expected "
                f"{schema.names}"
            )
        return _HEADER.pack(_MAGIC, kind, tick, self._hashes[kind]) + bytes(rows.serialize())

    def read(self, block: bytes) -> pa.RecordBatch:
        """The rows of a block, not copied.

        Raises:
          StateError: it was written under another spec or by another release.
        """
        header = read_header(block)
        if header.kind >= len(self.schemas) or header.schema != self._hashes[header.kind]:
            raise StateError(
                f"rows that wait for the {self._name} were written under another spec: their "
                "columns are not those that this one needs. Start a job of its own for this spec, "
                "from a night's state and a subscription sought back to its end"
            )
        data = pa.py_buffer(block).slice(_HEADER.size)
        return pa.ipc.read_record_batch(data, self.schemas[header.kind])


def read_header(block: bytes) -> BlockHeader:
    """The header of a block.

    Raises:
      StateError: these bytes are none, or of another release.
    """
    if len(block) < _HEADER.size or block[:4] != _MAGIC:
        raise StateError(
            f"a block of rows begins with {block[:4]!r}, expected {_MAGIC!r}; run launcher and "
            "workers from the same release, and go on from state that it wrote"
        )
    _, kind, tick, schema = _HEADER.unpack_from(block)
    return BlockHeader(kind, tick, schema)


def pack_blocks(blocks: Sequence[bytes]) -> bytes:
    """Blocks as one element; one block is its own.

    >>> unpack_blocks(pack_blocks([b"one", b"two"]))
    [b'one', b'two']
    """
    if len(blocks) == 1:
        return blocks[0]
    lengths = struct.pack(f"<{len(blocks)}I", *map(len, blocks))
    return _PACK.pack(_PACK_MAGIC, len(blocks)) + lengths + b"".join(blocks)


def unpack_blocks(element: bytes) -> list[bytes]:
    """The reverse."""
    if element[:4] != _PACK_MAGIC:
        return [element]
    _, count = _PACK.unpack_from(element)
    at, found = _PACK.size + 4 * count, []
    for length in struct.unpack_from(f"<{count}I", element, _PACK.size):
        found.append(element[at : at + length])
        at += length
    return found


def cut_by(numbers: npt.NDArray[np.integer]) -> list[tuple[int, Int64s]]:
    """Each number that occurs, and where: ascending, int64.

    >>> [(number, where.tolist()) for number, where in cut_by(np.array([5, 3, 5]))]
    [(3, [1]), (5, [0, 2])]
    """
    if len(numbers) == 0:
        return []
    if (numbers == numbers[0]).all():
        return [(int(numbers[0]), np.arange(len(numbers)))]
    order = np.argsort(numbers, kind="stable")
    ordered = numbers[order]
    cuts = np.flatnonzero(ordered[1:] != ordered[:-1]) + 1
    return [(int(numbers[part[0]]), part) for part in np.split(order, cuts)]


def pack_arrays(*arrays: np.ndarray) -> bytes:
    """Arrays of 8 bytes an element, with their lengths.

    >>> [one.tolist() for one in unpack_arrays(pack_arrays(np.array([1, 2]), np.array([3])))]
    [[1, 2], [3]]
    """
    head = struct.pack(f"<H{len(arrays)}I", len(arrays), *map(len, arrays))
    return head + b"".join(np.ascontiguousarray(array).view(np.int64).tobytes() for array in arrays)


def unpack_arrays(data: bytes) -> list[np.ndarray]:
    """The reverse, as int64; what is behind the arrays is left."""
    (count,) = struct.unpack_from("<H", data)
    lengths = struct.unpack_from(f"<{count}I", data, 2)
    at, made = 2 + 4 * count, []
    for length in lengths:
        made.append(np.frombuffer(data, np.int64, length, at))
        at += 8 * length
    return made
