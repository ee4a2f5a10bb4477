"""Files that are seen whole or not at all, and one writer at a time."""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import hashlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path

from configs.errors import BusyError

LOCK = ".lock"


def sha256_of(path: Path) -> str:
    """The SHA-256 of a file's bytes, in hex."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def files_below(folder: Path) -> list[str]:
    """Every file below a folder, by its path from there, sorted."""
    return sorted(path.relative_to(folder).as_posix() for path in _walk(folder))


def replace_file(path: Path, data: bytes, flush: bool = True) -> None:
    """Writes a file aside, flushes it to disk and renames it into place; makes its folder.

    Args:
      flush: false where `flush_all` follows.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(f".{path.name}.tmp")
    try:
        with open(aside, "wb") as file:
            file.write(data)
            file.flush()
            if flush:
                os.fsync(file.fileno())
        os.replace(aside, path)
    except OSError:
        aside.unlink(missing_ok=True)
        raise
    if flush:
        sync(path.parent)


def publish(aside: Path, target: Path, flush: bool = True) -> None:
    """Flushes a finished folder and renames it; `target` must not exist.

    Args:
      flush: false where `flush_all` was called before and follows.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    for path in aside.rglob("*") if flush else ():
        sync(path)
    os.chmod(aside, 0o755)
    if flush:
        sync(aside)
    os.rename(aside, target)
    if flush:
        sync(target.parent)


def flush_all(folder: Path) -> None:
    """Flushes all that was written to a folder's filesystem: one call for thousands of files."""
    libc = ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None
    if libc is None or not hasattr(libc, "syncfs"):
        os.sync()
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        if libc.syncfs(handle) != 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number), str(folder))
    finally:
        os.close(handle)


def sync(path: Path) -> None:
    """Flushes a file or a folder's entries to disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextlib.contextmanager
def exclusive(folder: Path, wait: bool = True, option: str = "--out") -> Iterator[None]:
    """Makes the folder, and holds it alone.

    The lock is the kernel's (flock): a killed process leaves none behind.

    Args:
      folder: what is written to.
      wait: until no other process holds it; else another one is an error.
      option: that named the folder on the command line, for messages.

    Raises:
      BusyError: another process holds it, and `wait` is false.
    """
    folder.mkdir(parents=True, exist_ok=True)
    handle = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError as error:
            holder = os.pread(handle, 32, 0).decode(errors="replace").strip() or "unknown"
            raise BusyError(
                f"{folder} is in use by another run (process {holder}); wait for it to end, "
                f"or give this run another {option}"
            ) from error
        os.ftruncate(handle, 0)
        os.pwrite(handle, f"{os.getpid()}\n".encode(), 0)
        yield
    finally:
        os.close(handle)


def _walk(folder: Path) -> Iterator[Path]:
    for path in folder.rglob("*"):
        if path.is_symlink() or not path.is_dir():
            yield path
