"""Callbacks that somebody kept in a file become verdicts, as if they had just been sent.

A line is an object: `body`, the text of the body as it came; `signature`, its `Coop-Signature`; and
`received`, when it came (RFC 3339). Without `received` it became known now. Of callbacks that came
in one microsecond, as clocks of whole seconds say, each is a microsecond after the line before it.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
from pathlib import Path

import msgspec

from configs.errors import InputError
from pipelines.coop.callbacks import Refused, Rules, Signatures, Verdict, read_callback
from pipelines.coop.ledger import Ledger

_EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)


@dataclasses.dataclass(frozen=True)
class Imported:
    """Lines of a file: new verdicts, those that were known, those that say nothing."""

    added: int
    known: int
    ignored: int


class _Kept(msgspec.Struct):
    body: str
    signature: str
    received: dt.datetime | None = None


def import_callbacks(
    path: Path, ledger: Ledger, signatures: Signatures, rules: Rules, now_us: int
) -> Imported:
    """Adds the callbacks of a file, in its order; a file that has a bad line adds nothing.

    Args:
      path: JSON Lines.
      ledger: where verdicts go.
      signatures: verifies each line.
      rules: what actions and types mean.
      now_us: of the clock; what was received later is refused.

    Raises:
      InputError: the file cannot be read, or a line is refused, by its number.
    """
    try:
        lines = path.read_bytes().splitlines()
    except OSError as error:
        raise InputError(f"--from {path}: {error.strerror}") from error
    ready = []
    for number, line in enumerate(lines, 1):
        try:
            kept = msgspec.json.decode(line, type=_Kept)
            body = kept.body.encode()
            signatures.verify(body, kept.signature)
            ready.append((read_callback(body, rules), _moment(kept.received, now_us)))
        except (msgspec.DecodeError, Refused, ValueError) as error:
            raise InputError(
                f"{path}, line {number}: {error}. Expected a callback a line, such as "
                '{"body": "…", "signature": "…", "received": "2026-03-01T10:00:00Z"}; nothing of '
                "the file was taken"
            ) from error
    verdicts = _apart([(verdict, known) for verdict, known in ready if verdict is not None])
    added = sum([ledger.add(verdict, known) for verdict, known in verdicts])
    return Imported(added, len(verdicts) - added, len(ready) - len(verdicts))


def _apart(verdicts: list[tuple[Verdict, int | None]]) -> list[tuple[Verdict, int | None]]:
    """Those of one time one after the other: else their ids would say which one stands."""
    used: set[int] = set()
    made = []
    for verdict, known_us in verdicts:
        while known_us in used:
            known_us += 1
        if known_us is not None:
            used.add(known_us)
        made.append((verdict, known_us))
    return made


def _moment(received: dt.datetime | None, now_us: int) -> int | None:
    if received is None:
        return None
    if received.tzinfo is None:
        raise ValueError("received names no zone; end it with Z for UTC")
    time_us = round((received - _EPOCH) / dt.timedelta(microseconds=1))
    if time_us > now_us:
        raise ValueError("received is later than now")
    if time_us < 0:  # a time that was never set, as some languages write it: the year 1
        raise ValueError("received is before 1970")
    return time_us
