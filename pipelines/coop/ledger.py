"""A folder of verdicts, a line of JSON each, in a file per UTC day of when they became known.

    TO/day=2026-03-01/coop.jsonl

A verdict that was added is on the disk, whole, and there once, whatever comes again: the ids of
all that is there are kept in memory (some 100 bytes each). Times rise strictly from one to the
next, so that the order of arrival is the total order, even where the machine's clock is set back.
One process writes a folder; what a killed one left half-written is cut off.
"""

from __future__ import annotations

import contextlib
import dataclasses
import datetime as dt
import os
from collections.abc import Callable
from pathlib import Path
from types import TracebackType

import msgspec

from configs.errors import InputError
from pipelines.coop.callbacks import Verdict
from scoring.files import sync
from scoring.locks import exclusive
from transforms.ticks import DAY_US

FILE = "coop.jsonl"
KIND, ACCOUNT_KIND = "verdict", "account_verdict"


class _Line(msgspec.Struct):
    event_id: str
    event_time: dt.datetime


class Ledger:
    """Appends verdicts, each once; a context that holds the folder alone.

    Args:
      root: the folder; it is made.
      now_us: the clock, microseconds UTC.

    Raises:
      BusyError: on entering, another process holds the folder.
      InputError: on entering, it cannot be written, or a line in it is not one of these.
    """

    def __init__(self, root: Path, now_us: Callable[[], int]) -> None:
        self.root = root
        self._now_us = now_us
        self._known: set[bytes] = set()
        self._last_us = 0
        self._held = contextlib.ExitStack()

    def __enter__(self) -> Ledger:
        with contextlib.ExitStack() as opened:
            try:
                opened.enter_context(exclusive(self.root, wait=False, option="--to"))
            except OSError as error:
                raise InputError(
                    f"cannot write to {self.root} ({error.strerror}); give --to a writable folder"
                ) from error
            for path in sorted(self.root.glob(f"day=*/{FILE}")):
                self._load(path)
            self._held = opened.pop_all()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._held.close()

    @property
    def verdicts(self) -> int:
        """How many there are."""
        return len(self._known)

    @property
    def ahead_us(self) -> int:
        """How far the last verdict is ahead of the clock: it was set back, or was wrong before."""
        return max(0, self._last_us - self._now_us())

    def add(self, verdict: Verdict, known_us: int | None = None) -> bool:
        """Adds a verdict, and returns once it is on the disk; false if it was there already.

        Args:
          verdict: what became known.
          known_us: when, where that is recorded; None: now, and later than all before it.

        Raises:
          OSError: the disk is full or gone; nothing of it stays, and it may be added again.
        """
        key = _key(verdict.id)
        if key in self._known:
            return False
        time_us = max(self._now_us(), self._last_us + 1) if known_us is None else known_us
        line = encode_line(verdict, time_us)
        _append(self.root / f"day={_day(time_us)}" / FILE, line)
        self._known.add(key)
        self._last_us = max(self._last_us, time_us)
        return True

    def _load(self, path: Path) -> None:
        data = path.read_bytes()
        whole = data.rfind(b"\n") + 1
        if whole < len(data):
            os.truncate(path, whole)
            sync(path)
        for number, line in enumerate(data[:whole].splitlines(), 1):
            try:
                read = msgspec.json.decode(line, type=_Line)
                time_us = round((read.event_time - _EPOCH) / dt.timedelta(microseconds=1))
                self._known.add(_key(read.event_id))
            except (msgspec.DecodeError, ValueError, TypeError) as error:
                raise InputError(
                    f"{path}, line {number}, is no verdict of `lockstep labels receive`; mend or "
                    "move the file, or give another --to"
                ) from error
            self._last_us = max(self._last_us, time_us)


_EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)


def encode_line(verdict: Verdict, time_us: int) -> bytes:
    """A verdict as a line; what is absent is left out.

    >>> encode_line(Verdict("coop-0a", "m1", None, True, "appeal", "message"), 0).decode()[:62]
    '{"event_id":"coop-0a","event_time":"1970-01-01T00:00:00.000000'
    """
    moment = _EPOCH + dt.timedelta(microseconds=time_us)
    row = {
        "event_id": verdict.id,
        "event_time": moment.strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
        "kind": ACCOUNT_KIND if verdict.subject_id is None else KIND,
    }
    said = {name: value for name, value in dataclasses.asdict(verdict).items() if name != "id"}
    return msgspec.json.encode({**row, **{k: v for k, v in said.items() if v is not None}}) + b"\n"


def _append(path: Path, line: bytes) -> None:
    path.parent.mkdir(exist_ok=True)
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    try:
        before = os.fstat(handle).st_size
        try:
            if os.write(handle, line) != len(line):
                raise OSError(28, "the disk took part of a line", str(path))
            os.fsync(handle)
            if not before:  # also where an earlier write failed once the file was made
                for folder in (path.parent, path.parent.parent):
                    sync(folder)
        except OSError:
            with contextlib.suppress(OSError):
                os.ftruncate(handle, before)
            raise
    finally:
        os.close(handle)


def _key(event_id: str) -> bytes:
    return bytes.fromhex(event_id.removeprefix("coop-"))


def _day(time_us: int) -> dt.date:
    return dt.date(1970, 1, 1) + dt.timedelta(days=time_us // DAY_US)
