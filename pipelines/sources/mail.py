"""Raw mails (RFC 5322): a file, or a tar of files, one event each.

What enters: bytes of mails, as broken as they come. What leaves: rows with `message_id`, `date`,
`sender`, `subject` and `body`, which a config maps like the columns of any other file. A mail
without a readable date has none; whether that is a dead letter is the config's to say.
"""

from __future__ import annotations

import email.message
import email.parser
import email.policy
import email.utils
import io
import tarfile
from collections.abc import Iterator

import pyarrow as pa
from apache_beam.io.filesystem import CompressionTypes
from apache_beam.io.filesystems import FileSystems

from configs.schema import Spec
from transforms.dead_letter import DeadLetter, Reason, Stage
from transforms.decode import Decoded, decode_columns

_BATCH = 4096
_MOST_BODY = 1 << 20
COLUMNS = ("message_id", "date", "sender", "subject", "body")


def read_mails(path: str, spec: Spec) -> Iterator[Decoded]:
    """Decodes the mails of a file or of a tar, in its order."""
    rows: list[dict[str, str | None]] = []
    numbers: list[int] = []
    dead: list[DeadLetter] = []
    for number, data in enumerate(_each(path)):
        try:
            rows.append(parse_mail(data, f"{path}#{number}"))
            numbers.append(number)
        except (ValueError, LookupError, AttributeError, TypeError, IndexError):
            # What the standard library's parser raises on hostile headers; each is one mail.
            dead.append(DeadLetter(Stage.READ, Reason.BROKEN_ROW, path, number))
        if len(rows) >= _BATCH:
            yield _decoded(spec, rows, numbers, dead, path)
            rows, numbers, dead = [], [], []
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
        "body": _body(mail)[:_MOST_BODY],
    }


def _each(path: str) -> Iterator[bytes]:
    with FileSystems.open(path, compression_type=CompressionTypes.UNCOMPRESSED) as file:
        data = file.read()
    if not path.endswith((".tar", ".tgz", ".tar.gz")):
        yield data
        return
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        for member in archive:
            content = archive.extractfile(member) if member.isfile() else None
            if content is not None:
                yield content.read()


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
        return email.utils.parsedate_to_datetime(str(value)).isoformat()
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
    except (LookupError, UnicodeDecodeError, ValueError):
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
    table = pa.table({name: pa.array([r[name] for r in rows], pa.string()) for name in COLUMNS})
    made = decode_columns(spec, table, path)
    return made.renumbered(numbers, tuple(dead))
