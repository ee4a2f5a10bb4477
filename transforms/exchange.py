"""How the batches of a shuffle travel: through the engine, or outside it.

What is shuffled is put down once (`put`), cut into slices by key (`cut`), grouped by the engine,
and taken up where it is needed (`get`). `InEngine` lets the batches themselves travel. Another
exchange may keep them elsewhere and let tokens travel, which are small batches as well; so the text
of a pipeline is the same for all, and an engine that keeps whole shuffles in memory need not.
"""

from __future__ import annotations

import dataclasses
from typing import Protocol

import pyarrow as pa


class Exchange(Protocol):
    """Where batches are between two steps; pickled with the steps that use it."""

    def put(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """What stands for a batch from now on."""

    def cut(self, token: pa.RecordBatch, first: int, last: int) -> pa.RecordBatch:
        """What stands for the rows from `first` up to `last`, not included."""

    def get(self, token: pa.RecordBatch) -> pa.RecordBatch:
        """The rows that a token stands for; a batch that was never put down is its own token."""


@dataclasses.dataclass(frozen=True)
class InEngine:
    """Batches travel through the engine.

    >>> batch = pa.RecordBatch.from_pydict({"a": [1, 2, 3]})
    >>> InEngine().get(InEngine().cut(InEngine().put(batch), 1, 3)).to_pydict()
    {'a': [2, 3]}
    """

    def put(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """The batch."""
        return batch

    def cut(self, token: pa.RecordBatch, first: int, last: int) -> pa.RecordBatch:
        """A slice, without a copy."""
        return token.slice(first, last - first)

    def get(self, token: pa.RecordBatch) -> pa.RecordBatch:
        """The batch."""
        return token


THROUGH_ENGINE: Exchange = InEngine()
