"""Records in a file that is only appended to: length, checksum, payload; pure, bytes in and out.

The shape is that of the logs that databases trust: etcd's wal (a length and a CRC before each
record, files named by their first index, a torn record is one with a sector of zeros), LevelDB's
and RocksDB's log (a checksum that covers where the record belongs, so that an old block cannot pass
for a new one), Kafka's segments (named by the first offset, dropped whole from the front), SQLite's
WAL (what is behind the first bad frame does not count). docs/decisions/0009 has what was chosen.

    segment := magic(8) first(u64) crc32(u32)  record*
    record  := length(u32) crc32(u32) crc32-of-these-two(u32)  payload(length)

All integers are little-endian. A record's checksum begins with its segment's first number and its
own offset.

*Torn* is what a writer leaves that ended in the middle: the file ends inside the last record, or
the filesystem had made room for it and never filled it (zeros). That was never confirmed, so it is
cut. *Damaged* is everything else, and is never passed over.
"""

from __future__ import annotations

import dataclasses
import struct
import zlib

MAGIC = b"LSlog\x00\x00\x01"
_HEAD = struct.Struct("<8sQI")
_RECORD = struct.Struct("<II")
_PLACE = struct.Struct("<QQ")
_CHECK = struct.Struct("<I")
_FRAME = _RECORD.size + _CHECK.size
_SECTOR = 512  # the least that a disk writes whole
_LEAST_HOLE = 32  # fewer zeros at the end of a record may be its own
HEAD_BYTES = _HEAD.size
MOST_BYTES = (1 << 32) - 1


class DamagedError(Exception):
    """Bytes that no writer left, and where.

    Attributes:
      offset: of the record, or of the segment's head, in the file.
      expected, found: checksums; `expected` is the one that the file has.
    """

    def __init__(self, offset: int, expected: int, found: int) -> None:
        super().__init__(f"byte {offset}: checksum {expected:08x}, found {found:08x}")
        self.offset, self.expected, self.found = offset, expected, found


@dataclasses.dataclass(frozen=True)
class Segment:
    """What a segment's file holds.

    Attributes:
      first: the number that its head names; None: the head itself is torn.
      payloads: of whole records, in order.
      end: bytes up to the last whole record; what is behind it is torn.
    """

    first: int | None
    payloads: tuple[memoryview, ...]
    end: int


def begin_segment(first: int) -> bytes:
    """The head of a segment.

    >>> read_segment(begin_segment(7)).first
    7
    """
    return _HEAD.pack(MAGIC, first, zlib.crc32(MAGIC + struct.pack("<Q", first)))


def frame(payload: bytes, first: int, offset: int) -> bytes:
    """A record as it is appended.

    Args:
      payload: fewer than 2**32 bytes.
      first: of the segment.
      offset: where the record begins in the file.

    >>> data = begin_segment(7)
    >>> data += frame(b"one", 7, len(data))
    >>> data += frame(b"two", 7, len(data))
    >>> [bytes(one) for one in read_segment(data[:-1]).payloads]
    [b'one']
    """
    head = _RECORD.pack(len(payload), _checksum(payload, first, offset))
    return head + _CHECK.pack(zlib.crc32(head)) + payload


def read_segment(data: bytes) -> Segment:
    """The whole records of a segment, without a torn end.

    Raises:
      DamagedError: something is neither whole nor torn.
    """
    if len(data) < _HEAD.size or not any(data):
        return Segment(None, (), 0)
    magic, first, check = _HEAD.unpack_from(data)
    found = zlib.crc32(data[: _HEAD.size - _CHECK.size])
    if magic != MAGIC or check != found:
        raise DamagedError(0, check, found)
    return read_records(memoryview(data)[_HEAD.size :], first, _HEAD.size)


def read_records(data: bytes | memoryview, first: int, begins: int) -> Segment:
    """The whole records of a segment from a place on, for a reader that goes on where it was.

    Args:
      data: the file's bytes from there on.
      first: of the segment.
      begins: the place, where a record begins.

    >>> data = begin_segment(7) + frame(b"one", 7, HEAD_BYTES)
    >>> read_records(data[HEAD_BYTES:], 7, HEAD_BYTES) == read_segment(data)
    True

    Raises:
      DamagedError: something is neither whole nor torn.
    """
    view, payloads, at = memoryview(data), [], 0
    while len(data) - at >= _FRAME:
        length, check = _RECORD.unpack_from(data, at)
        (of_head,) = _CHECK.unpack_from(data, at + _RECORD.size)
        found = zlib.crc32(view[at : at + _RECORD.size])
        if of_head != found:
            if not any(view[at:]):
                break
            raise DamagedError(begins + at, of_head, found)
        start, ends = at + _FRAME, at + _FRAME + length
        if ends > len(data):
            break
        found = _checksum(view[start:ends], first, begins + at)
        if check != found:
            if ends == len(data) and has_hole(view, start, ends, begins):
                break
            raise DamagedError(begins + at, check, found)
        payloads.append(view[start:ends])
        at = ends
    return Segment(first, tuple(payloads), begins + at)


def _checksum(payload: bytes | memoryview, first: int, offset: int) -> int:
    return zlib.crc32(payload, zlib.crc32(_PLACE.pack(first, offset)))


def has_hole(view: memoryview, start: int, ends: int, begins: int) -> bool:
    """Whether a sector was never filled: all of it is zeros, or what the record has of the last.

    Sectors are the file's, in which the view begins at `begins`.
    """
    first = -(-(begins + start) // _SECTOR) * _SECTOR - begins
    sectors = range(first, ends - _LEAST_HOLE, _SECTOR)
    return any(not any(view[at : min(at + _SECTOR, ends)]) for at in sectors)
