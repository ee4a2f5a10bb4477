"""Arrow and Parquet files on any filesystem that Beam knows; on a local disk the direct way."""

from __future__ import annotations

import functools
import io
import os
import uuid
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from apache_beam.io.filesystem import CompressionTypes
from apache_beam.io.filesystems import FileSystems

from transforms.batches import one_batch


def is_local(path: str) -> bool:
    """Whether a path is of this machine's own filesystem.

    >>> is_local("/out"), is_local("gs://bucket/out")
    (True, False)
    """
    return "://" not in path


def join(folder: str, *names: str) -> str:
    """A path below a folder of any filesystem."""
    return str(FileSystems.join(folder, *names))


def unique_path(folder: str, name: str) -> str:
    """A path that no other attempt to write the same has.

    Args:
      name: with a suffix, "part.parquet".
    """
    stem, suffix = os.path.splitext(name)
    return join(folder, f"{stem}-{uuid.uuid4().hex}{suffix}")


def write_parquet(table: pa.Table, path: str) -> None:
    """Writes one Parquet file, the same bytes for the same table.

    Strings are dictionary-encoded where that helps; floats are not (it costs time and saves none),
    nor do they have least and largest values, which nobody filters by. LZ4, since writing is the
    largest step of a backfill and zstd takes longer.
    """
    strings = [f.name for f in table.schema if pa.types.is_string(f.type)]
    ordered = [f.name for f in table.schema if not _is_float(f.type)]
    with _sink(path) as sink:
        pq.write_table(
            table, sink, compression="lz4", use_dictionary=strings, write_statistics=ordered
        )


def write_arrow(table: pa.Table | pa.RecordBatch, path: str) -> None:
    """Writes an uncompressed Arrow file, which `read_arrow` maps without copying."""
    with _sink(path) as sink, pa.ipc.new_file(sink, table.schema) as writer:
        if table.num_rows:  # so that a batch and a table without rows give the same bytes
            writer.write(table)


def open_parquet(path: str) -> pq.ParquetFile:
    """Opens a Parquet file for random access; one of a local disk is mapped into memory."""
    if is_local(path):
        return pq.ParquetFile(path, memory_map=True)
    file = FileSystems.open(path, compression_type=CompressionTypes.UNCOMPRESSED)
    return pq.ParquetFile(file)


def read_arrow(path: str) -> pa.Table:
    """Reads an Arrow file; one of a local disk is mapped into memory."""
    if is_local(path):
        with pa.memory_map(path) as source:
            return pa.ipc.open_file(source).read_all()
    with FileSystems.open(path) as file:
        return pa.ipc.open_file(io.BytesIO(file.read())).read_all()


@functools.lru_cache(maxsize=512)
def read_arrow_batch(path: str) -> pa.RecordBatch:
    """The same as one batch, remembered: of files that are never written twice."""
    table = read_arrow(path)
    return one_batch(table.to_batches(), table.schema)


def write_text(path: str, text: str) -> None:
    """Writes a text file; on a local disk it is seen whole or not at all."""
    if not is_local(path):
        with FileSystems.create(path) as file:
            file.write(text.encode())
        return
    aside = f"{path}-{uuid.uuid4().hex}"
    with open(aside, "w", encoding="utf-8") as file:
        file.write(text)
    os.replace(aside, path)


def read_text(path: str) -> str:
    """Reads a text file."""
    with FileSystems.open(path) as file:
        return str(file.read().decode())


def _sink(path: str) -> Any:
    if is_local(path):
        return pa.OSFile(path, "wb")
    return FileSystems.create(path)


def _is_float(kind: pa.DataType) -> bool:
    return bool(pa.types.is_floating(kind) or pa.types.is_fixed_size_list(kind))
