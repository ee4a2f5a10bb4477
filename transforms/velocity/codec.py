"""Varints and the clock of packed state, for the kernel.

LEB128 varints (DWARF 5, section 7.6), signed ones as zigzag (Protocol Buffers' encoding).
"""

# numba compiles these; annotations would be lost on it.
# mypy: disable-error-code="no-untyped-def,no-untyped-call,assignment"

from __future__ import annotations

import numba
import numpy as np

_jit = numba.njit(cache=True, nogil=True)


@_jit
def put_unsigned(buffer, at, value):
    """Writes a varint; returns the place after it."""
    value = np.uint64(value)
    while value >= np.uint64(128):
        buffer[at] = np.uint8((value & np.uint64(127)) | np.uint64(128))
        value >>= np.uint64(7)
        at += 1
    buffer[at] = np.uint8(value)
    return at + 1


@_jit
def get_unsigned(buffer, at):
    """Reads a varint; returns it and the place after it."""
    value = np.uint64(0)
    shift = np.uint64(0)
    while buffer[at] >= 128:
        value |= np.uint64(buffer[at] & 127) << shift
        shift += np.uint64(7)
        at += 1
    value |= np.uint64(buffer[at]) << shift
    return value, at + 1


@_jit
def put_signed(buffer, at, value):
    """Writes a zigzag varint; returns the place after it."""
    zigzag = (np.uint64(value) << np.uint64(1)) ^ np.uint64(np.int64(value) >> np.int64(63))
    return put_unsigned(buffer, at, zigzag)


@_jit
def get_signed(buffer, at):
    """Reads a zigzag varint; returns it and the place after it."""
    zigzag, at = get_unsigned(buffer, at)
    value = np.int64(zigzag >> np.uint64(1)) ^ -np.int64(zigzag & np.uint64(1))
    return value, at


@_jit
def put_clock(buffer, at, value):
    """Writes the clock, little endian."""
    bits = np.uint64(value)
    for i in range(8):
        buffer[at + i] = np.uint8((bits >> np.uint64(8 * i)) & np.uint64(255))
    return at + 8


@_jit
def get_clock(buffer, at):
    """Reads the clock."""
    bits = np.uint64(0)
    for i in range(8):
        bits |= np.uint64(buffer[at + i]) << np.uint64(8 * i)
    return np.int64(bits)
