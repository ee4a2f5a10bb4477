"""Raw mails (RFC 5322): a file, an mbox, or a tar of them, one event a mail.

What enters: bytes of mails, as broken as they come. What leaves: rows with `message_id`, `date`,
`sender`, `subject` and `body`, which a config maps like the columns of any other file. A mail
without a readable date has none; whether that is a dead letter is the config's to say.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import email.errors
import email.header
import email.message
import email.parser
import email.policy
import email.utils
import re
import tarfile
from collections.abc import Iterable, Iterator
from typing import IO

import numpy as np
import pyarrow as pa

from configs.schema import Spec
from pipelines.sources.lines import each_line
from pipelines.sources.listing import is_hidden
from transforms.dead_letter import DeadLetter, Reason, Stage
from transforms.decode import Decoded, decode_columns, file_label, no_events

COLUMNS = ("message_id", "date", "sender", "subject", "body")
_BATCH = 4096
_BATCH_BYTES = 32 * 1024 * 1024
_MOST_BYTES = 64 * 1024 * 1024
_ENVELOPE = re.compile(rb"From \S+ .*\d\d:\d\d")  # above each mail of an mbox
_OF_NO_ZONE = re.compile(r"-00:?00\b")  # UTC, of a clock whose zone is not told (RFC 5322, 3.3)
_BEGINS = re.compile(
    _ENVELOPE.pattern + rb"|"
    rb"(return-path|delivered-to|envelope-to|received|date|from|sender|to|subject|message-id|"
    rb"mime-version|content-type|authentication-results|dkim-signature|arc-[a-z-]+|x-[a-z0-9-]+):",
    re.IGNORECASE,
)
UNREADABLE = (
    # What the standard library's parser raises on hostile headers and charsets.
    ValueError,
    LookupError,
    AttributeError,
    TypeError,
    RecursionError,
    email.errors.MessageError,
)


def read_mails(mails: Iterable[bytes | None], path: str, spec: Spec) -> Iterator[Decoded]:
    """Decodes mails; positions are their numbers in the file.

    Args:
      mails: as `each_mail` gives them.
      path: where they are from.
      spec: the use.
    """
    rows: list[dict[str, str | None]] = []
    numbers: list[int] = []
    dead: list[DeadLetter] = []
    size = 0
    for number, data in enumerate(mails):
        if data is None:
            detail = f"expected at most {_MOST_BYTES} bytes"
            dead.append(DeadLetter(Stage.READ, Reason.TOO_LARGE, path, number, None, detail))
            continue
        try:
            rows.append(parse_mail(data, f"{file_label(path)}#{number}"))
        except UNREADABLE:
            detail = "expected a mail (RFC 5322)"
            dead.append(DeadLetter(Stage.READ, Reason.BROKEN_ROW, path, number, None, detail))
            continue
        numbers.append(number)
        size += len(data)
        if len(rows) >= _BATCH or size >= _BATCH_BYTES:
            yield _decoded(spec, rows, numbers, dead, path)
            rows, numbers, dead, size = [], [], [], 0
    if rows or dead:
        yield _decoded(spec, rows, numbers, dead, path)


def parse_mail(data: bytes, fallback_id: str) -> dict[str, str | None]:
    """One mail as a row of text.

    Args:
      data: the raw mail.
      fallback_id: stands for a missing Message-ID.

    >>> row = parse_mail(b"From: a@b.example\\nSubject: hi\\n\\nyes\\n", "x")
    >>> row["message_id"], row["sender"], row["subject"], row["body"]
    ('x', 'a@b.example', 'hi', 'yes\\n')
    """
    mail = email.parser.BytesParser(policy=email.policy.compat32).parsebytes(data)
    return {
        "message_id": _header(mail, "Message-ID") or fallback_id,
        "date": _date(mail),
        "sender": _header(mail, "From"),
        "subject": _header(mail, "Subject"),
        "body": _body(mail),
    }


def looks_like_mail(start: bytes) -> bool:
    """Whether a file begins as a stored mail does: with a field of its envelope or header.

    >>> looks_like_mail(b"Return-Path: <a@b.example>"), looks_like_mail(b"id,text")
    (True, False)
    """
    return _BEGINS.match(start) is not None


def each_mail(file: IO[bytes], path: str) -> Iterator[bytes | None]:
    """The mails of a file, or of a tar of files, in its order; None for one that is too large.

    A file whose name ends in .mbox, or that begins as one and is no .eml, is an mbox, also within a
    tar: a mail begins at each line `From ADDRESS DATE` after an empty one. Lines quoted as `>From`
    stay as they are. Empty lines above the first mail say nothing.

    Args:
      file: open, of bytes; need not be seekable.
      path: its name, which tells whether it is a tar.

    Raises:
      tarfile.TarError: the tar is damaged.
    """
    if not path.lower().removesuffix(".gz").endswith((".tar", ".tgz")):
        yield from _each(file, path)
        return
    with tarfile.open(fileobj=file, mode="r|*") as archive:
        for member in archive:
            passed = not member.isfile() or is_hidden(member.name)
            content = None if passed else archive.extractfile(member)
            if content is not None:
                yield from _each(content, member.name)


def _each(file: IO[bytes], path: str) -> Iterator[bytes | None]:
    """The mails of an mbox, or the one of any other file."""
    name = path.lower().removesuffix(".gz")
    lines = each_line(file, _MOST_BYTES)
    first = next((line for _, line in lines if line is None or line.strip()), b"")
    begins = not name.endswith(".eml") and _ENVELOPE.match(first or b"") is not None
    several = begins or name.endswith(".mbox")
    if several and first == b"":
        return
    blank, size = False, len(first or b"")
    mail = None if first is None else [first]
    for _, line in lines:
        if several and blank and line is not None and _ENVELOPE.match(line):
            yield None if mail is None else b"".join(mail)
            mail, size = [], 0
        size += len(line or b"")
        if line is None or size > _MOST_BYTES:
            mail = None
        elif mail is not None:
            mail.append(line)
        blank = line is not None and not line.strip()
    yield None if mail is None else b"".join(mail)


def _header(mail: email.message.Message, name: str) -> str | None:
    value = mail.get(name)
    if value is None:
        return None
    parts = []
    for text, charset in email.header.decode_header(str(value)):
        parts.append(_text(text, charset) if isinstance(text, bytes) else text)
    return _clean(" ".join("".join(parts).split())) or None


def _date(mail: email.message.Message) -> str | None:
    value = mail.get("Date")
    if value is None:
        return None
    try:
        moment = email.utils.parsedate_to_datetime(str(value))
        if moment.tzinfo is None and _OF_NO_ZONE.search(str(value)):
            moment = moment.replace(tzinfo=dt.UTC)
        return moment.isoformat()
    except (ValueError, TypeError, IndexError, OverflowError):
        return "unreadable"  # not absent: decode says that the time is bad


def _body(mail: email.message.Message) -> str:
    texts = []
    for part in mail.walk():
        if part.get_content_maintype() != "text":
            continue
        payload = part.get_payload(decode=True)
        if isinstance(payload, bytes):
            texts.append(_text(payload, part.get_content_charset()))
    return _clean("\n".join(texts))


def _text(data: bytes, charset: str | None) -> str:
    try:
        return data.decode(charset or "utf-8")
    except (LookupError, ValueError):
        return data.decode("latin-1")  # every byte means something there


def _clean(text: str) -> str:
    return text.encode("utf-8", "replace").decode("utf-8")


def _decoded(
    spec: Spec,
    rows: list[dict[str, str | None]],
    numbers: list[int],
    dead: list[DeadLetter],
    path: str,
) -> Decoded:
    made = no_events(spec)
    if rows:
        columns = [pa.array([row[name] for row in rows], pa.string()) for name in COLUMNS]
        table = pa.RecordBatch.from_arrays(columns, list(COLUMNS))
        made = decode_columns(spec, table, path, positions=np.array(numbers, np.int64))
    every = sorted([*dead, *made.dead], key=lambda one: one.position)
    return dataclasses.replace(made, dead=tuple(every))
