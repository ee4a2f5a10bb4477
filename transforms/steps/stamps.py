"""Where the rows of an event batch come from, and the code that names each of them in a run.

A source stamps its batches with `stamp`: a column of positions, and in the schema's metadata the
source and the number of the batch. Batches without a stamp get a number from their contents.
"""

from __future__ import annotations

import json
from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import xxhash

from transforms.batches import RecordBatchCoder

POSITION, CODE = "lockstep_position", "code"
TAGS = b"lockstep.tags"
_SOURCE, _NUMBER = b"lockstep.source", b"lockstep.batch"
_ROW_BITS, NUMBER_BITS = 24, 39

Int64s = npt.NDArray[np.int64]


def stamp(batch: pa.RecordBatch, source: str, number: int, positions: Int64s) -> pa.RecordBatch:
    """Says where a batch's rows come from.

    Args:
      batch: events `[n]`.
      source: the file or the subscription.
      number: unique among the batches of a run, and the same whenever they are read again.
      positions: int64 `[n]`, rows, lines or messages of the source.
    """
    batch = batch.append_column(POSITION, pa.array(positions, pa.int64()))
    return batch.replace_schema_metadata({_SOURCE: source, _NUMBER: str(number)})


def source_of(batch: pa.RecordBatch) -> str:
    """The source of a batch; "" if it does not tell."""
    return bytes((batch.schema.metadata or {}).get(_SOURCE, b"")).decode()


def positions_of(batch: pa.RecordBatch) -> Int64s:
    """Positions in the source; of a batch without a stamp its own rows: int64 `[n]`."""
    if POSITION in batch.schema.names:
        return np.asarray(batch.column(POSITION).to_numpy(), np.int64)
    return np.arange(batch.num_rows, dtype=np.int64)


def row_codes(batch: pa.RecordBatch) -> Int64s:
    """A number for each row, ascending, which no other row of the run has: int64 `[n]`.

    A batch without a stamp is numbered by 39 bits of the hash of its contents.

    Raises:
      ValueError: more rows than a code has room for.

    >>> batch = pa.RecordBatch.from_pydict({"a": [1, 2]})
    >>> codes = row_codes(stamp(batch, "a.jsonl", 3, np.array([0, 1])))
    >>> (codes >> 24).tolist(), (codes & 0xFFFFFF).tolist()
    ([3, 3], [0, 1])
    """
    if batch.num_rows >> _ROW_BITS:
        raise ValueError(
            f"a batch of {batch.num_rows:,} events; cut it into batches below {1 << _ROW_BITS:,}"
        )
    number = (batch.schema.metadata or {}).get(_NUMBER)
    if number is None:
        contents = RecordBatchCoder().encode(batch)
        number = xxhash.xxh64_intdigest(contents) >> (64 - NUMBER_BITS)
    return (int(number) << _ROW_BITS) + np.arange(batch.num_rows, dtype=np.int64)


def batch_numbers(codes: Int64s) -> Int64s:
    """The number of the batch that each row is of: int64 `[n]`."""
    return codes >> _ROW_BITS


def tag_batch(batch: pa.RecordBatch, **tags: str | int) -> pa.RecordBatch:
    """Adds facts about a batch, which travel with it."""
    metadata = dict(batch.schema.metadata or {})
    return batch.replace_schema_metadata({**metadata, TAGS: json.dumps({**tags_of(batch), **tags})})


def tags_of(batch: pa.RecordBatch) -> Mapping[str, str | int]:
    """What `tag_batch` added."""
    tags: Mapping[str, str | int] = json.loads((batch.schema.metadata or {}).get(TAGS, b"{}"))
    return tags
