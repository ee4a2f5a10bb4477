"""Arrow and Parquet files on any filesystem that Beam knows; on a local disk the direct way."""

from __future__ import annotations

import hashlib
import io
import os
import re
import threading
import uuid
from collections.abc import Callable
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from apache_beam.io.filesystem import BeamIOError, CompressionTypes
from apache_beam.io.filesystems import FileSystems
from cachetools import LRUCache, cached

from configs.errors import InputError, LockstepError
from scoring.files import is_local, join, read_file, replace_file, stamps
from transforms.batches import one_batch

_DIGEST = re.compile(r"-([0-9a-f]{16})\.(?:parquet|arrow)$")
_ANEW = "remove the marker of its day and of all later days, and run again"
_MAPPED_BYTES = 256 << 20
_checked: set[tuple[tuple[str, int, float], ...]] = set()
"""Stamps of published files that are as they were written."""


def unique_path(folder: str, name: str) -> str:
    """A path that no other attempt to write the same has.

    Args:
      name: with a suffix, "part.parquet".
    """
    stem, suffix = os.path.splitext(name)
    return join(folder, f"{stem}-{uuid.uuid4().hex}{suffix}")


def write_by_content(root: str, folder: str, name: str, data: pa.Buffer) -> dict[str, Any]:
    """Writes a file under a name that its contents decide, which is never written otherwise.

    So two attempts that make the same write the same file, and what another made is another file:
    nobody overwrites what someone reads, and who reads it can tell that it is whole
    (`open_published`).

    Args:
      root: of all.
      folder: below it.
      name: with a suffix, "part.parquet".

    Returns:
      name; path below `root`; bytes; sha256.
    """
    digest = hashlib.sha256(data).hexdigest()
    stem, suffix = os.path.splitext(name)
    path = f"{folder}/{stem}-{digest[:16]}{suffix}"
    replace_file(join(root, *path.split("/")), memoryview(data), flush=False, shared=True)
    return {"name": name, "path": path, "bytes": data.size, "sha256": digest}


def parquet_bytes(table: pa.Table) -> pa.Buffer:
    """One Parquet file, the same bytes for the same table.

    Strings are dictionary-encoded where that helps; floats are not (it costs time and saves none),
    nor do they have least and largest values, which nobody filters by. LZ4, since writing is the
    largest step of a backfill and zstd takes longer.
    """
    strings = [f.name for f in table.schema if pa.types.is_string(f.type)]
    ordered = [f.name for f in table.schema if not _is_float(f.type)]
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, compression="lz4", use_dictionary=strings, write_statistics=ordered)
    return sink.getvalue()


def arrow_bytes(table: pa.Table | pa.RecordBatch) -> pa.Buffer:
    """An uncompressed Arrow file, which `read_arrow` maps without copying."""
    sink = pa.BufferOutputStream()
    _write_ipc(table, sink)
    return sink.getvalue()


def write_arrow(table: pa.Table | pa.RecordBatch, path: str) -> None:
    """The same, written straight to a path that nobody else knows."""
    if is_local(path):
        with pa.OSFile(path, "wb") as sink:
            _write_ipc(table, sink)
    else:
        replace_file(path, memoryview(arrow_bytes(table)))


def open_parquet(path: str, unit: str = "us") -> pq.ParquetFile:
    """A Parquet file of any Beam filesystem; local ones are mapped into memory.

    Args:
      path: the file.
      unit: of the timestamps that INT96 values become.

    Raises:
      InputError: it is no whole Parquet file, or its footer is encrypted.
    """
    return _open_parquet(path, open_file, unit)


def open_published(path: str) -> pq.ParquetFile:
    """A Parquet file that `write_by_content` wrote, and that is as it was written.

    Raises:
      InputError: it is not there, or holds other bytes.
    """
    return _open_parquet(path, checked_file)


def read_published(
    path: str, error: type[LockstepError] = InputError, anew: str = _ANEW
) -> pa.Table:
    """All of an Arrow file that `write_by_content` wrote, and that is as it was written.

    Args:
      path: the file.
      error: what is raised.
      anew: how such a file is made again, for the message.

    Raises:
      error: it holds other bytes.
    """
    return pa.ipc.open_file(checked_file(path, error, anew)).read_all()


def checked_file(path: str, error: type[LockstepError] = InputError, anew: str = _ANEW) -> Any:
    """A published file for random access, if its bytes have the digest that its name ends with.

    Each process looks once at each file, and again where the file has changed since.
    Names of earlier builds have no digest: such files are opened as they are.

    Raises:
      error: it holds other bytes.
    """
    named = _DIGEST.search(path)
    stamp = stamps(path)
    if named is None or not stamp or stamp in _checked:
        return open_file(path)
    file = open_file(path) if is_local(path) else pa.BufferReader(read_file(path))
    digest = hashlib.sha256(file.read_buffer()).hexdigest()
    file.seek(0)
    if not digest.startswith(named[1]):
        raise error(
            f"{path} is damaged: the SHA-256 of its {file.size():,} bytes begins with "
            f"{digest[:16]}, and a file of this name was published with {named[1]}. Bring it back "
            f"from a copy; or {anew}"
        )
    _checked.add(stamp)
    return file


def _open_parquet(path: str, opened: Callable[[str], Any], unit: str = "us") -> pq.ParquetFile:
    try:
        return pq.ParquetFile(
            opened(path), page_checksum_verification=True, coerce_int96_timestamp_unit=unit
        )
    except (FileNotFoundError, BeamIOError) as error:
        raise InputError(f"{path} is out of reach ({type(error).__name__})") from error
    except (pa.ArrowInvalid, OSError) as error:
        raise InputError(f"{path} is not a whole Parquet file: {error}") from error


def open_file(path: str) -> Any:
    """A file for random access; a local one is mapped into memory."""
    if is_local(path) or os.path.exists(path):
        return pa.memory_map(path)
    return FileSystems.open(path, compression_type=CompressionTypes.UNCOMPRESSED)


def read_arrow(path: str) -> pa.Table:
    """Reads an Arrow file; one of a local disk is mapped into memory."""
    if is_local(path):
        with pa.memory_map(path) as source:
            return pa.ipc.open_file(source).read_all()
    with FileSystems.open(path, compression_type=CompressionTypes.UNCOMPRESSED) as file:
        return pa.ipc.open_file(io.BytesIO(file.read())).read_all()


@cached(LRUCache(_MAPPED_BYTES, getsizeof=lambda batch: batch.nbytes + 1), lock=threading.Lock())
def read_arrow_batch(path: str) -> pa.RecordBatch:
    """The same as one batch, remembered: of files that are never written twice.

    The last ones only: a file that is mapped keeps its pages in memory, also once it is deleted.
    """
    table = read_arrow(path)
    return one_batch(table.to_batches(), table.schema)


def _write_ipc(table: pa.Table | pa.RecordBatch, sink: Any) -> None:
    with pa.ipc.new_file(sink, table.schema) as writer:
        if table.num_rows:  # so that a batch and a table without rows give the same bytes
            writer.write(table)


def _is_float(kind: pa.DataType) -> bool:
    return bool(pa.types.is_floating(kind) or pa.types.is_fixed_size_list(kind))
