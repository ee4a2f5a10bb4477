"""One writer at a time in a folder, on this machine's disk or in an object store.

On a disk the lock is the kernel's (flock): a killed process leaves none behind.

In an object store there is no lock, and Beam's filesystems have no conditional write. So a run puts
an object of its own into `FOLDER/.lock/`, then lists that folder: whoever sees another's object
takes its own away and gives up. Stores list what was written before, so of two runs at least one
sees the other, and never both go on. The object is renewed while the run lasts; one that was not
renewed for `EXPIRY_SECONDS` is a dead run's, and the next run removes it. A run that slept so long
finds its object gone (`Held.require`) and ends before it publishes anything. What is left is the
moment between that look and the write; a scheduler that starts one run at a time closes it.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import socket
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

from configs.errors import BusyError
from scoring.files import Place, delete_files, is_local, join, list_files, read_file, replace_file

LOCK = ".lock"
EXPIRY_SECONDS = 900.0  # of clocks that agree within minutes
_RENEWAL_SECONDS = 60.0
_WAIT_SECONDS = 1.0
_MOMENT_S = 1.0

Require = Callable[[], None]
"""Raises BusyError if the folder is held no longer."""


@contextlib.contextmanager
def exclusive(folder: Place, wait: bool = True, option: str = "--out") -> Iterator[Require]:
    """Makes the folder, and holds it alone; gives what checks that it is still held.

    Args:
      folder: what is written to.
      wait: until no other process holds it; else another one is an error.
      option: that named the folder on the command line, for messages.

    Raises:
      BusyError: another process holds it, and `wait` is false.
    """
    hold = _flock(Path(folder), wait, option) if is_local(folder) else None
    with hold or _lock_object(str(folder), wait, option) as require:
        yield require


@contextlib.contextmanager
def _flock(folder: Path, wait: bool, option: str) -> Iterator[Require]:
    folder.mkdir(parents=True, exist_ok=True)
    handle = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        try:
            _hold(handle, wait)
        except BlockingIOError as error:
            holder = os.pread(handle, 32, 0).decode(errors="replace").strip() or "unknown"
            raise _busy(folder, f"process {holder}", option) from error
        os.ftruncate(handle, 0)
        os.pwrite(handle, f"{os.getpid()}\n".encode(), 0)
        try:
            yield lambda: None
        finally:
            os.ftruncate(handle, 0)  # nobody holds it now; and equal folders are equal
    finally:
        os.close(handle)


def _hold(handle: int, wait: bool) -> None:
    """Not to wait is to ask for a moment: who only looks whether it is held has it as long."""
    ends = time.monotonic() + _MOMENT_S
    while True:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
            return
        except BlockingIOError:
            if time.monotonic() >= ends:
                raise
        time.sleep(_MOMENT_S / 50)


@contextlib.contextmanager
def _lock_object(folder: str, wait: bool, option: str) -> Iterator[Require]:
    place = join(folder, LOCK)
    own = join(place, f"{uuid.uuid4().hex}.json")
    ended = threading.Event()

    def require() -> None:
        if own not in list_files(place):
            raise BusyError(
                f"{folder} was taken over by another run, since this one had not been heard of for "
                f"{EXPIRY_SECONDS:.0f} s; nothing more is published. Run again when that one ends"
            )

    def renew() -> None:
        while not ended.wait(_RENEWAL_SECONDS):
            with contextlib.suppress(Exception):  # away for now: the next one may succeed
                if own in list_files(place):
                    _write_lock(own)

    while (holder := _take(place, own)) is not None:
        if not wait:
            raise _busy(folder, holder, option)
        time.sleep(_WAIT_SECONDS)
    thread = threading.Thread(target=renew, name="lock-renewal", daemon=True)
    thread.start()
    try:
        yield require
    finally:
        ended.set()
        thread.join()
        delete_files([own])


def _take(place: str, own: str) -> str | None:
    """Puts our object there; who holds the folder, in words, if it is not us."""
    _write_lock(own)
    for other in list_files(place):
        if other == own:
            continue
        try:
            facts = json.loads(read_file(other))
        except FileNotFoundError:
            continue  # just let go
        except ValueError:  # half written by a process that died
            facts = {"renewed": 0.0}
        if time.time() - facts["renewed"] > EXPIRY_SECONDS:
            delete_files([other])
            continue
        delete_files([own])
        return f"process {facts['process']} on {facts['host']}"
    return None


def _write_lock(path: str) -> None:
    facts = {"host": socket.gethostname(), "process": os.getpid(), "renewed": time.time()}
    replace_file(path, json.dumps(facts).encode())


def _busy(folder: Place, holder: str, option: str) -> BusyError:
    return BusyError(
        f"{folder} is in use by another run ({holder}); wait for it to end, or give this run "
        f"another {option}"
    )
