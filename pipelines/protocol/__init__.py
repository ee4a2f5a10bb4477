"""Protocols of published benchmarks, run: `lockstep evaluate --protocol FILE --input DATA`."""

from pipelines.protocol.fit import score_fold
from pipelines.protocol.read import ScoredRows
from pipelines.protocol.run import ProtocolRequest, ProtocolResult, ResultRow, run_protocol

__all__ = [
    "ProtocolRequest",
    "ProtocolResult",
    "ResultRow",
    "ScoredRows",
    "run_protocol",
    "score_fold",
]
