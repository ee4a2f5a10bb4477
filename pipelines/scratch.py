"""An exchange outside the engine: batches in scratch files, tokens through the engine.

The embedded runner keeps whole shuffles in memory, 2.4 KB an event; with this exchange it keeps
tokens. On an engine with several machines the folder must be one that all of them see.
"""

from __future__ import annotations

import dataclasses

import pyarrow as pa

from pipelines.failures import reported
from pipelines.files import read_arrow_batch, unique_path, write_arrow

_TOKEN = pa.schema({"scratch_path": pa.string(), "first": pa.int64(), "last": pa.int64()})


@dataclasses.dataclass(frozen=True)
class InFiles:
    """Batches go to files of a folder.

    Args:
      folder: of one attempt, on any Beam filesystem; whoever made it removes it.
      attempt: the attempt's folder, where failures are written down.
    """

    folder: str
    attempt: str

    def put(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """Writes the batch; a token of its path."""
        with reported(self.attempt):
            path = unique_path(self.folder, "batch.arrow")
            write_arrow(batch, path)
        return _token(path, 0, batch.num_rows)

    def cut(self, token: pa.RecordBatch, first: int, last: int) -> pa.RecordBatch:
        """A token of a part."""
        if not _is_token(token):
            return token.slice(first, last - first)
        begin = token.column(1)[0].as_py()
        return _token(token.column(0)[0].as_py(), begin + first, begin + last)

    def get(self, token: pa.RecordBatch) -> pa.RecordBatch:
        """Maps the rows into memory."""
        if not _is_token(token):
            return token
        path, first, last = (column[0].as_py() for column in token.columns)
        with reported(self.attempt):
            return read_arrow_batch(path).slice(first, last - first)


def row_count(batch: pa.RecordBatch) -> int:
    """Rows of a batch, or of what a token stands for."""
    if not _is_token(batch):
        return int(batch.num_rows)
    return int(batch.column(2)[0].as_py() - batch.column(1)[0].as_py())


def _token(path: str, first: int, last: int) -> pa.RecordBatch:
    return pa.RecordBatch.from_arrays(
        [pa.array([path]), pa.array([first]), pa.array([last])], schema=_TOKEN
    )


def _is_token(batch: pa.RecordBatch) -> bool:
    return bool(batch.schema.names == _TOKEN.names)
