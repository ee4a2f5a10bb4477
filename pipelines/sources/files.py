"""Lists a source: a file, a folder (searched to the bottom) or a glob, as splits.

Formats go by the name's ending: `.parquet`, `.jsonl` (`.ndjson`, `.json`), `.csv`, `.eml`, each but
Parquet also with `.gz`; `.tar`, `.tar.gz` and `.tgz` hold raw mails. A file with another ending, or
none, is taken for a mail if it begins as one, and refused otherwise. Parquet files are split by row
groups, and their statistics tell which days a split may touch.
"""

from __future__ import annotations

import glob
import os
from collections.abc import Iterator

from apache_beam.io.filesystem import BeamIOError, CompressionTypes, FileMetadata
from apache_beam.io.filesystems import FileSystems

from configs.errors import InputError
from configs.schema import Spec
from pipelines.sources.mail import looks_like_mail
from pipelines.sources.parquet import parquet_splits
from pipelines.sources.splits import Split
from transforms.decode import file_label

_ENDINGS = {
    ".parquet": "parquet",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".json": "jsonl",
    ".csv": "csv",
    ".tar": "mail",
    ".tgz": "mail",
    ".eml": "mail",
}
_HIDDEN = (".", "_")  # as in Hive and Spark: bookkeeping, not data


def open_source(pattern: str, spec: Spec) -> list[Split]:
    """The splits of a source, in a fixed order.

    Args:
      pattern: file, folder or glob, on any filesystem that Beam knows.
      spec: for the name of the time column, whose statistics narrow a split's days.

    Raises:
      InputError: nothing is there, or a file has an ending that no reader knows.
    """
    splits: list[Split] = []
    files = _list_files(pattern)
    if any(rule.id is None for rule in spec.ingest):
        _check_labels([file.path for file in files])
    for file in files:
        format_, compression = _format(file.path)
        if format_ == "parquet":
            splits.extend(parquet_splits(file, spec))
        else:
            splits.append(
                Split(
                    path=file.path,
                    format=format_,
                    compression=compression,
                    size=file.size_in_bytes,
                    file_bytes=file.size_in_bytes,
                    modified=file.last_updated_in_seconds,
                )
            )
    return splits


def _list_files(pattern: str) -> list[FileMetadata]:
    if os.path.isdir(pattern):
        pattern = os.path.join(pattern, "**")
        if not any(True for _ in _walk(os.path.dirname(pattern))):
            raise InputError(f"the input folder {os.path.dirname(pattern)} holds no files")
    elif pattern.endswith("/"):
        pattern += "**"
    elif glob.has_magic(pattern.partition("/")[0]):
        pattern = os.path.abspath(pattern)  # Beam finds nothing where the first name is a wildcard
    files = _match(pattern)
    if not files and not glob.has_magic(pattern):
        files = _match(f"{pattern}/**")  # a folder of a filesystem that is not the local one
    if not files:
        raise InputError(
            f"the input {pattern} matches no file; give a file, a folder or a glob such as "
            "'events/*.parquet'"
        )
    return sorted(files, key=lambda file: str(file.path))


def _match(pattern: str) -> list[FileMetadata]:
    """What Beam finds, but for bookkeeping files and local folders."""
    try:
        [match] = FileSystems.match([pattern])
    except (BeamIOError, ValueError) as error:
        raise InputError(f"cannot list the input {pattern}: {error}") from error
    return [
        file
        for file in match.metadata_list
        if not any(part.startswith(_HIDDEN) for part in _parts(file.path, pattern))
        and not os.path.isdir(file.path)
    ]


def _walk(folder: str) -> Iterator[str]:
    for _, _, names in os.walk(folder):
        yield from names


def _parts(path: str, pattern: str) -> list[str]:
    """The parts of a path below what the pattern names outright."""
    root = pattern.split("*")[0]
    return [part for part in path[len(root) :].split("/") if part]


def _check_labels(paths: list[str]) -> None:
    """Rows that are named by file and position need files that can be told apart."""
    seen: dict[str, str] = {}
    for path in paths:
        other = seen.setdefault(file_label(path), path)
        if other != path:
            raise InputError(
                f"{other} and {path} have the same name, and this config names events by file "
                "and row (`ingest` without `id`), so one would pass for a duplicate of the other; "
                "rename one, or give `ingest` a column as `id`"
            )


def _format(path: str) -> tuple[str, str]:
    name, compression = path.lower(), ""
    if name.endswith(".gz"):
        name, compression = name.removesuffix(".gz"), "gzip"
    ending = os.path.splitext(name)[1]
    if ending in _ENDINGS:
        return _ENDINGS[ending], compression
    if not compression and _begins_like_mail(path):
        return "mail", ""
    raise InputError(
        f"{path}: files ending in {ending or 'nothing'} are not read; expected "
        f"{', '.join(sorted(_ENDINGS))}, all but Parquet also with .gz"
    )


def _begins_like_mail(path: str) -> bool:
    with FileSystems.open(path, compression_type=CompressionTypes.UNCOMPRESSED) as file:
        return looks_like_mail(file.read(1000))
