"""Splits of a source's files, by their formats.

Formats go by the name's ending: `.parquet`, `.jsonl` (`.ndjson`, `.json`), `.csv`, `.tsv`, `.eml`,
`.mbox`, each but Parquet also with `.gz`; `.tar`, `.tar.gz` and `.tgz` hold raw mails. A file with
another ending, or none, is taken for mails if it begins as they do, and refused otherwise.
"""

from __future__ import annotations

import os

from apache_beam.io.filesystem import CompressionTypes
from apache_beam.io.filesystems import FileSystems

from configs.errors import ConfigError, InputError
from configs.schema import Spec
from pipelines.sources.listing import list_files
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
    ".tsv": "tsv",
    ".mbox": "mail",
    ".tar": "mail",
    ".tgz": "mail",
    ".eml": "mail",
}


def open_source(pattern: str, spec: Spec) -> list[Split]:
    """The splits of a source, in a fixed order.

    Args:
      pattern: file, folder or glob, on any filesystem that Beam knows.
      spec: for the name of the time column, whose statistics narrow a split's days.

    Raises:
      InputError: nothing is there, or a file has an ending that no reader knows.
      ConfigError: the config says how to read files of which there are none.
    """
    splits: list[Split] = []
    files = list_files(pattern)
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
    _check_settings(pattern, spec, {split.format for split in splits})
    return splits


def _check_settings(pattern: str, spec: Spec, formats: set[str]) -> None:
    events = spec.events
    without = {
        "header": (events.header != (), ("csv", "tsv"), "CSV or TSV files"),
        "separator": (events.separator != "", ("csv", "tsv"), "CSV or TSV files"),
        "encoding": (events.encoding != "utf-8", ("csv", "tsv", "jsonl"), "files of text"),
    }
    for name, (said, its, what) in without.items():
        if said and not formats & set(its):
            raise ConfigError(
                f"events.{name} means nothing here: it is for {what}, and the input {pattern} has "
                "none. Leave it out, or look whether this is the right input"
            )


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
