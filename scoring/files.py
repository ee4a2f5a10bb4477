"""Files that are seen whole or not at all, on this machine's disk or any filesystem of Beam's.

Every file is written once, whole: on a disk aside, then renamed; in an object store, which has no
rename, as one object. Paths with a scheme ("gs://…") are Beam's, all others this machine's own.
"""

from __future__ import annotations

import ctypes
import hashlib
import os
import shutil
import sys
import uuid
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from apache_beam.io.filesystem import BeamIOError, CompressionTypes
from apache_beam.io.filesystems import FileSystems

from configs.errors import InputError

Place = str | Path
"""A path of this machine, or of a filesystem that Beam knows."""
_PLAIN = CompressionTypes.UNCOMPRESSED  # never by the name's ending


def is_local(path: Place) -> bool:
    """Whether a path is of this machine's own filesystem.

    >>> is_local("/out"), is_local("gs://bucket/out")
    (True, False)
    """
    return "://" not in str(path)


def join(folder: Place, *names: str) -> str:
    """A path below a folder of any filesystem.

    >>> join("/out", "days", "a.json")
    '/out/days/a.json'
    """
    if is_local(folder):  # as Beam's does, which looks for the filesystem of each path
        return os.path.join(folder, *names)
    return str(FileSystems.join(str(folder), *names))


def require_known(path: Place) -> None:
    """Does nothing for a path of this machine, or of a filesystem that Beam knows.

    Raises:
      InputError: no filesystem has this scheme.
    """
    try:
        FileSystems.get_filesystem(str(path))
    except ValueError as error:
        raise InputError(
            f"{path}: no filesystem is installed for {str(path).partition('://')[0]}://; give a "
            "path of this machine, or install what Beam needs for it, such as apache-beam[gcp]"
        ) from error


def name_of(path: Place) -> str:
    """The last part of a path.

    >>> name_of("gs://bucket/out/a.json")
    'a.json'
    """
    return str(path).rstrip("/").rpartition("/")[2]


def exists(path: Place) -> bool:
    """Whether there is such a file."""
    return os.path.exists(path) if is_local(path) else bool(FileSystems.exists(str(path)))


def files_below(folder: Place) -> list[str]:
    """Every file below a folder, by its path from there, sorted; none where nothing is."""
    if is_local(folder):
        return sorted(_walk(str(folder)))
    below = f"{str(folder).rstrip('/')}/"
    [match] = FileSystems.match([f"{below}**"])
    return sorted(str(found.path).removeprefix(below) for found in match.metadata_list)


def list_files(folder: Place) -> list[str]:
    """The same, by their whole paths."""
    return [f"{str(folder).rstrip('/')}/{name}" for name in files_below(folder)]


def stamps(path: Place) -> tuple[tuple[str, int, float], ...]:
    """Path, size and time of change of a file, or of each below a folder: whether they changed."""
    if not is_local(path):
        patterns = [str(path), f"{path}/**"]
        found = [one for match in FileSystems.match(patterns) for one in match.metadata_list]
        return tuple(
            (str(one.path), int(one.size_in_bytes), float(one.last_updated_in_seconds or 0))
            for one in found
        )
    there = []
    for name in [str(path)] if os.path.isfile(path) else list_files(path):
        try:
            stat = os.stat(name)
        except OSError:  # dropped meanwhile
            continue
        there.append((name, stat.st_size, float(stat.st_mtime_ns)))
    return tuple(there)


def read_file(path: Place) -> bytes:
    """All of a file.

    Raises:
      FileNotFoundError: it is not there.
    """
    if is_local(path):
        return Path(path).read_bytes()
    try:
        with FileSystems.open(str(path), compression_type=_PLAIN) as file:
            return bytes(file.read())
    except BeamIOError as error:
        if FileSystems.exists(str(path)):
            raise
        raise FileNotFoundError(str(path)) from error


def replace_file(
    path: Place, data: bytes | memoryview, flush: bool = True, shared: bool = False
) -> None:
    """Writes a file whole: it is seen with its new contents, or as it was.

    Args:
      flush: whether it is on the disk afterwards; false where `replace_files` follows.
      shared: whether others may write the same file at the same time; its folder must be there.
    """
    if not is_local(path):
        with FileSystems.create(str(path), compression_type=_PLAIN) as file:
            file.write(bytes(data))
        return
    path = Path(path)
    if not shared:
        path.parent.mkdir(parents=True, exist_ok=True)
    _put(_write_aside(path, data, flush, uuid.uuid4().hex if shared else ""), path)
    if flush:
        sync(path.parent)


def replace_files(files: Mapping[str, bytes]) -> None:
    """Writes files of one filesystem, each whole, in order, after all that was written before.

    On a disk that is two flushes in all, however many there are: what was written before is on the
    disk when the first of them is seen, and they are when this returns.
    """
    if not files or not is_local(next(iter(files))):
        for path, data in files.items():
            replace_file(path, data)
        return
    for folder in {Path(path).parent for path in files}:
        folder.mkdir(parents=True, exist_ok=True)
    aside = {path: _write_aside(Path(path), data, flush=False) for path, data in files.items()}
    flush_all(next(iter(aside.values())).parent)
    for path, written in aside.items():
        _put(written, path)
    flush_all(Path(next(iter(files))).parent)


def delete_files(paths: Iterable[str]) -> None:
    """Removes files; those that are gone are passed over."""
    there = []
    for path in paths:
        if is_local(path):
            Path(path).unlink(missing_ok=True)
        elif exists(path):
            there.append(path)
    if there:
        FileSystems.delete(there)


def remove_folder(path: str) -> None:
    """Removes all below a folder, if it is there."""
    if is_local(path):
        shutil.rmtree(path, ignore_errors=True)
    else:
        delete_files(list_files(path))


def sha256_of(path: Path) -> str:
    """The SHA-256 of a file's bytes, in hex."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def publish(aside: Path, target: Path) -> None:
    """Flushes a finished folder of this machine and renames it; `target` must not exist."""
    target.parent.mkdir(parents=True, exist_ok=True)
    for path in aside.rglob("*"):
        sync(path)
    os.chmod(aside, 0o755)
    sync(aside)
    os.rename(aside, target)
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


def _write_aside(path: Path, data: bytes | memoryview, flush: bool, mark: str = "") -> Path:
    aside = path.with_name(f".{path.name}{mark}.tmp")
    try:
        with open(aside, "wb") as file:
            file.write(data)
            file.flush()
            if flush:
                os.fsync(file.fileno())
    except OSError:
        aside.unlink(missing_ok=True)
        raise
    return aside


def _put(aside: Path, path: str | Path) -> None:
    try:
        os.replace(aside, path)
    except OSError as error:  # such as a folder of that name
        aside.unlink(missing_ok=True)
        error.filename, error.filename2 = str(path), None
        raise


def _walk(folder: str) -> Iterator[str]:
    """Paths of files below a folder, from there; a link is a file, wherever it leads."""
    for at, folders, names in os.walk(folder):
        below = at[len(folder) :].lstrip("/")
        links = [name for name in folders if os.path.islink(os.path.join(at, name))]
        yield from (f"{below}/{name}" if below else name for name in (*names, *links))
