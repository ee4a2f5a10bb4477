"""Verdicts from Coop (roostorg/coop): its signed callbacks become verdict events in files.

`callbacks` says what a callback means, `ledger` keeps it, `receiver` takes it over HTTP, `imports`
from a file.
"""

from pipelines.coop.callbacks import Refused, Rules, Signatures, Verdict, read_callback
from pipelines.coop.imports import Imported, import_callbacks
from pipelines.coop.ledger import Ledger
from pipelines.coop.receiver import ReceiveRequest, receive

__all__ = [
    "Imported",
    "Ledger",
    "ReceiveRequest",
    "Refused",
    "Rules",
    "Signatures",
    "Verdict",
    "import_callbacks",
    "read_callback",
    "receive",
]
