"""The files of a source: a file, a folder (searched to the bottom) or a glob.

Names that begin with `.` or `_` are bookkeeping, as in Hive and Spark, and passed over. A path that
exists is itself, whatever characters it has; only then is it a pattern, and so is each folder above
one. On local disks symbolic
links are followed, and a file that is reached in several ways is read once, under its own name if
the source holds that; a link to nothing, and what is no file (a pipe, a device), is an error.
"""

from __future__ import annotations

import glob
import os
import re
import stat
from collections.abc import Callable, Iterator

from apache_beam.io.filesystem import BeamIOError, FileMetadata, FileSystem
from apache_beam.io.filesystems import FileSystems

from configs.errors import InputError

_HIDDEN = (".", "_")
_MAGIC = re.compile(r"[*?[]")
_FILE = re.compile(  # what no folder's name ends with; `domain=example.com` is a folder
    r"\.(parquet|jsonl|ndjson|json|csv|tsv|mbox|tar|tgz|eml|gz|bz2|zst|xz|zip|txt|tmp)$", re.I
)


def list_files(pattern: str) -> list[FileMetadata]:
    """Path, size and time of the last change of each file, in a fixed order.

    Raises:
      InputError: nothing is there; a link leads nowhere; something is no regular file.
    """
    files = _list_remote(pattern) if "://" in pattern else list(_once(_list_local(pattern)))
    if not files:
        hidden = [] if "://" in pattern else [p for p in glob.glob(pattern) if os.path.isfile(p)]
        if hidden:
            raise InputError(
                f"the input {pattern} matches only names that begin with '.' or '_' ({hidden[0]}), "
                "which are bookkeeping and passed over; name such a file outright, or rename it"
            )
        is_glob = "://" not in pattern and not os.path.lexists(pattern)
        folders = is_glob and any(map(os.path.isdir, glob.iglob(pattern)))
        raise InputError(
            f"the input {pattern} matches folders, but no file; add /** for all that they hold"
            if folders
            else f"the input {pattern} matches no file; give a file, a folder or a glob such as "
            "'events/*.parquet'"
        )
    return sorted(files, key=lambda file: str(file.path))


def would_hold(pattern: str, path: str) -> bool:
    """Whether a source holds a file of that path, or would if there were one.

    >>> would_hold("/data/in", "/data/in/a/b.csv"), would_hold("/data/*.csv", "/data/a/b.csv")
    (True, False)
    """
    within, below = "", pattern.rstrip("/")
    if "://" not in pattern:
        pattern, path = os.path.abspath(pattern), os.path.abspath(path)
        within, below = _split(pattern)
    pattern = pattern.rstrip("/")
    if path == pattern or path.startswith(f"{pattern}/"):
        return True
    return path.startswith(within) and _matcher(below)(path[len(within) :])


def require_apart(pattern: str, out: str) -> None:
    """Does nothing if a source and an output folder have nothing of each other in them.

    Raises:
      InputError: they have; the next run would read what this one writes.
    """
    if "://" in pattern:
        whole, real_in, real_out = pattern, _MAGIC.split(pattern)[0], out.rstrip("/")
    else:
        plain = os.path.lexists(pattern) or not _MAGIC.search(pattern)
        root, below = (pattern, "") if plain else _split(pattern)
        real_in, real_out = os.path.realpath(root or "."), os.path.realpath(out)
        whole = os.path.join(real_in, below) if below else real_in
    made = f"{real_out}/features/date=2026-03-01/part-0000-0123456789abcdef.parquet"
    if would_hold(whole, made) or f"{real_in}/".startswith(f"{real_out}/"):
        raise InputError(
            f"--out {out} and the input {pattern} are one folder, or one is within the other: the "
            "next run would take what this one writes for events; choose an --out apart from it"
        )


def _list_local(pattern: str) -> Iterator[str]:
    """Paths, those behind links last."""
    if os.path.isdir(pattern):
        folder = pattern.rstrip("/") or "/"
        paths = list(_walk(folder))
        if not paths:
            raise InputError(f"the input folder {folder} holds no files")
        yield from (path for path in paths if not is_hidden(path[len(folder) :]))
    elif os.path.lexists(pattern):
        yield pattern
    elif _MAGIC.search(pattern):
        within, rest = _split(pattern)
        matches = _matcher(rest)
        deep = None if "**" in rest else rest.count("/")
        root = within.rstrip("/") or within or "."
        for path in _walk(root, deep):
            path = path if within else path.removeprefix("./")
            below = path[len(within) :]
            if (matches(below) or _lost_folder(rest, path, below)) and not is_hidden(below):
                yield path


def _lost_folder(pattern: str, path: str, below: str) -> bool:
    """Whether a link to nothing may have been a folder that a pattern looks into.

    Args:
      pattern: below the folder that is named outright.
      path, below: of the link; and the same from that folder on.
    """
    if not os.path.islink(path) or os.path.exists(path) or _FILE.search(path):
        return False
    above = pattern.split("/")[:-1]
    if "**" in pattern:
        return any(_matcher("/".join(above[:n]))(below) for n in range(1, len(above) + 1))
    return _matcher("/".join(above[: below.count("/") + 1]))(below)


def _split(pattern: str) -> tuple[str, str]:
    """The folder that a pattern names outright, with its slash, and the pattern below it.

    Args:
      pattern: of a local disk.

    >>> _split("src//2026/*.csv"), _split("*.csv"), _split("/*/a.csv")
    (('src/2026/', '*.csv'), ('', '*.csv'), ('/', '*/a.csv'))
    """
    parts = re.sub("/+", "/", pattern).split("/")
    at = 0
    while at < len(parts) - 1:
        if _MAGIC.search(parts[at]) and not os.path.isdir("/".join(parts[: at + 1])):
            break
        at += 1
    return "".join(f"{part}/" for part in parts[:at]), "/".join(parts[at:])


def _matcher(pattern: str) -> Callable[[str], bool]:
    """What matches a pattern, in which `**/` is any number of folders, none too.

    >>> [_matcher("in/**/*.csv")(one) for one in ("in/a.csv", "in/b/c/d.csv", "a.csv")]
    [True, True, False]
    """
    ways = [re.compile(FileSystem.translate_pattern(way)).match for way in _ways(pattern)]
    return lambda path: any(way(path) for way in ways)


def _ways(pattern: str) -> list[str]:
    """A pattern as Beam, for which `**/` is one folder at least, is to be asked for it.

    >>> _ways("**/a/**/*.csv")
    ['**/a/**/*.csv', '**/a/*.csv', 'a/**/*.csv', 'a/*.csv']
    """
    ways = [""]
    for part in re.split(r"((?:(?<=/)|^)\*\*/)", pattern):
        ways = [way + one for way in ways for one in ([part, ""] if part == "**/" else [part])]
    return ways


def _walk(root: str, deep: int | None = None) -> Iterator[str]:
    """Files below a folder, at most so many folders deep; links after what is there itself."""
    waiting, seen = [root], set()
    while waiting:
        top = waiting.pop(0)
        links = []
        for folder, folders, names in os.walk(top):
            if os.path.realpath(folder) in seen:
                folders.clear()
                continue
            seen.add(os.path.realpath(folder))
            if deep is not None and folder[len(root) :].count("/") >= deep:
                folders.clear()
            folders[:] = sorted(one for one in folders if not one.startswith(_HIDDEN))
            waiting += [p for one in folders if os.path.islink(p := os.path.join(folder, one))]
            for name in sorted(names):
                path = os.path.join(folder, name)
                if os.path.islink(path):
                    links.append(path)
                else:
                    yield path
        yield from links


def _once(paths: Iterator[str]) -> Iterator[FileMetadata]:
    seen = set()
    for path in paths:
        try:
            found = os.stat(path)
        except OSError as error:
            raise InputError(
                f"{path} is a link to {_target(path)}, which cannot be read ({error.strerror}); "
                "fetch what it stands for, or remove the link"
            ) from error
        if not stat.S_ISREG(found.st_mode):
            raise InputError(
                f"{path} is no regular file, but a pipe or a device; an input is read more than "
                "once: write it to a file first"
            )
        real = os.path.realpath(path)
        if real not in seen:
            seen.add(real)
            yield FileMetadata(path, found.st_size, found.st_mtime)


def _target(path: str) -> str:
    return os.readlink(path) if os.path.islink(path) else "something"


def _list_remote(pattern: str) -> list[FileMetadata]:
    """What Beam finds on a filesystem that is not the local one."""
    try:
        if glob.has_magic(pattern) and FileSystems.exists(pattern):
            return [FileSystems.get_filesystem(pattern).metadata(pattern)]
        scheme, _, rest = pattern.partition("://")
        whole = f"{scheme}://{rest.rstrip('/')}"
        files = [] if rest.endswith("/") else _match_all(pattern)
        if not files and not glob.has_magic(pattern):
            files = _match(f"{whole}/**")
    except (BeamIOError, ValueError) as error:
        raise InputError(f"cannot list the input {pattern}: {error}") from error
    return files


def _match_all(pattern: str) -> list[FileMetadata]:
    """What matches, by one listing, however many `**/` there are: stores list by what is named."""
    above, stars, _ = pattern.partition("**/")
    if not stars:
        return _match(pattern)
    matches = _matcher(pattern)
    return [one for one in _match(f"{above}**") if matches(one.path)]


def _match(pattern: str) -> list[FileMetadata]:
    named, *magic = _MAGIC.split(pattern)
    below = len(named.rpartition("/")[0] if magic else named)
    [match] = FileSystems.match([pattern])
    return [one for one in match.metadata_list if not is_hidden(one.path[below:])]


def is_hidden(below: str) -> bool:
    """Whether a part of a path, below what was named outright, is bookkeeping."""
    parts = (part for part in below.split("/") if part not in (".", ".."))
    return any(part.startswith(_HIDDEN) for part in parts)
