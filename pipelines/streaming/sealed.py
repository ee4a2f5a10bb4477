"""A step of the log as bytes with a checksum; pure, for writers and readers of segments.

An Arrow message may carry metadata of its own, which readers that do not know it pass over: so logs
of earlier builds, which have none, are read as they are, and earlier builds read these. The
checksum is of the whole message, with zeros in its own place.
"""

from __future__ import annotations

import struct
import zlib

import numpy as np
import pyarrow as pa

_MARK, _DIGITS = b"crc32:", 8
_PREFIX = struct.Struct("<II")  # 0xFFFFFFFF, bytes of the head


def seal(batch: pa.RecordBatch) -> bytes:
    """A batch as an Arrow message; its schema is not in it.

    >>> data = seal(pa.record_batch({"n": pa.array([1, 2])}))
    >>> is_whole(data), is_whole(data.replace(b"\\x02", b"\\x03"))
    (True, False)
    """
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, batch.schema) as writer:
        writer.write_batch(batch, custom_metadata={"checksum": _MARK + b"0" * _DIGITS})
        ends = sink.tell()
    data = bytearray(sink.getvalue()[batch.schema.serialize().size : ends])
    _write(data, b"%08x" % zlib.crc32(data))
    return bytes(data)


def is_whole(data: bytes) -> bool:
    """Whether a message is what was written; one without a checksum is taken to be."""
    given = bytearray(data)
    said = _write(given, b"0" * _DIGITS)
    return not said or said == b"%08x" % zlib.crc32(given)


def step_size(data: bytes | pa.Buffer, schema: pa.Schema | None) -> int:
    """Bytes of the record batch that begins here; 0: none that ends.

    Args:
      data: from its first byte on.
      schema: of the segment; None: the batch's columns are not looked at.
    """
    source = pa.BufferReader(data)
    try:
        message = pa.ipc.read_message(source)
        if message.type != "record batch":
            return 0
        if schema is not None:
            pa.ipc.read_record_batch(message, schema)
        return int(source.tell())
    except (pa.ArrowException, OSError, EOFError):
        return 0


def steps_in(data: bytes, schema: pa.Schema | None) -> bool:
    """Whether a record batch that ends begins anywhere in `data`, at a multiple of eight bytes."""
    words = np.frombuffer(data, "<u4", count=len(data) // 8 * 2).reshape(-1, 2)
    lengths = words[:, 1].astype(np.int64)
    begins = (words[:, 0] == 0xFFFFFFFF) & (lengths > 0) & (lengths < len(data))
    whole = pa.py_buffer(data)
    places = (np.flatnonzero(begins) * 8).tolist()
    return any(step_size(whole.slice(place), schema) for place in places)


def _write(data: bytearray, digits: bytes) -> bytes:
    """Puts other digits in the checksum's place; those that were there, none where it has none."""
    _, head = _PREFIX.unpack_from(data)
    at = data.find(_MARK, _PREFIX.size, _PREFIX.size + head) + len(_MARK)
    if at < len(_MARK):
        return b""
    said = bytes(data[at : at + _DIGITS])
    data[at : at + _DIGITS] = digits
    return said
