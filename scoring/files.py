"""Files that are seen whole or not at all, and one writer at a time.

What enters: paths and bytes. What leaves: files on disk, flushed; digests of files.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

LOCK = ".lock"


def sha256_of(path: Path) -> str:
    """The SHA-256 of a file's bytes, in hex."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def files_below(folder: Path) -> list[str]:
    """Every file below a folder, by its path from there, sorted."""
    return sorted(path.relative_to(folder).as_posix() for path in _walk(folder))


def replace_file(path: Path, text: str) -> None:
    """Writes a text file aside, flushes it, and renames it into place."""
    handle, aside = tempfile.mkstemp(prefix=f".{path.name}-", dir=path.parent)
    try:
        with open(handle, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(aside, 0o644)
        os.replace(aside, path)
    finally:
        Path(aside).unlink(missing_ok=True)
    sync(path.parent)


def publish(aside: Path, target: Path) -> None:
    """Flushes a finished folder and renames it; `target` must not exist."""
    for path in aside.rglob("*"):
        sync(path)
    os.chmod(aside, 0o755)
    sync(aside)
    os.rename(aside, target)
    sync(target.parent)


def sync(path: Path) -> None:
    """Flushes a file or a folder's entries to disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextlib.contextmanager
def exclusive(folder: Path) -> Iterator[None]:
    """Makes the folder, and waits until no other process writes to it.

    The lock is the kernel's (flock): a killed process leaves none behind.
    """
    folder.mkdir(parents=True, exist_ok=True)
    handle = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def _walk(folder: Path) -> Iterator[Path]:
    for path in folder.rglob("*"):
        if path.is_symlink() or not path.is_dir():
            yield path
