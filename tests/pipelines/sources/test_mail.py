import gzip
import io
import random
import tarfile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from configs.errors import InputError
from configs.loader import load, shipped
from pipelines.sources import mail, open_source, read_split
from pipelines.sources.mail import looks_like_mail, parse_mail
from transforms.catalog import CATALOG

MAIL = load(shipped("mail"), CATALOG)
FINE = b"""Message-ID: <1@a.example>
Date: Mon, 05 Aug 2002 10:00:00 +0100
From: =?utf-8?b?w4Ru?= <an@mail.example.org>
Subject: =?iso-8859-1?q?caf=E9?= one
 two
Content-Type: text/plain; charset=iso-8859-1

caf\xe9
"""


def tar_of(path, mails, mode="w:gz"):
    with tarfile.open(path, mode) as archive:
        folder = tarfile.TarInfo("mails")
        folder.type = tarfile.DIRTYPE
        archive.addfile(folder)
        for number, data in enumerate(mails):
            member = tarfile.TarInfo(f"mails/{number}")
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return path


def read_all(path):
    parts = [part for split in open_source(str(path), MAIL) for part in read_split(split, MAIL)]
    events = [row for part in parts for row in part.batch.to_pylist()]
    return events, {one.position: str(one.reason) for part in parts for one in part.dead}


def test_a_mail():
    assert parse_mail(FINE, "x") == {
        "message_id": "<1@a.example>",
        "date": "2002-08-05T10:00:00+01:00",
        "sender": "\u00c4n <an@mail.example.org>",
        "subject": "caf\u00e9 one two",
        "body": "caf\u00e9\n",
    }


@pytest.mark.parametrize(
    ("date", "expected"),
    [
        # UTC, of a clock whose zone is not told (RFC 5322, section 3.3); without any, local
        (b"Mon, 05 Aug 2002 10:00:00 -0000", "2002-08-05T10:00:00+00:00"),
        (b"Mon, 05 Aug 2002 10:00:00 -0000 (unknown)", "2002-08-05T10:00:00+00:00"),
        (b"Mon, 05 Aug 2002 10:00:00", "2002-08-05T10:00:00"),
        (b"5 Aug 02 10:00 EST", "2002-08-05T10:00:00-05:00"),
        (b"Mon, 32 Aug 2002 10:00:00 +0000", "unreadable"),
        (b"someday", "unreadable"),
        (b"Mon, 05 Aug 2002 10:00:00 +99999999999999999999", "unreadable"),
    ],
)
def test_dates(date, expected):
    assert parse_mail(b"Date: " + date + b"\n\n", "x")["date"] == expected


def test_what_is_not_there():
    assert parse_mail(b"", "x") == {
        "message_id": "x", "date": None, "sender": None, "subject": None, "body": "",
    }  # fmt: skip


def test_text_parts_are_joined_and_others_left_out():
    parts = (
        b"Content-Type: multipart/mixed; boundary=b\n\n--b\nContent-Type: text/html\n\n<p>\n"
        b"--b\nContent-Type: image/png\nContent-Transfer-Encoding: base64\n\niVBOR\n"
        b"--b\nContent-Type: text/plain; charset=none-such\n\n\xe9\n--b--\n"
    )
    assert parse_mail(parts, "x")["body"] == "<p>\n\u00e9"


@pytest.mark.parametrize("mode", ["w", "w:gz"])
def test_a_tar_of_mails(tmp_path, mode):
    path = tar_of(tmp_path / f"m.tar{'.gz' if mode == 'w:gz' else ''}", [FINE, b"", FINE], mode)
    events, dead = read_all(path)
    assert [event["event_id"] for event in events] == ["mail:<1@a.example>"] * 2
    assert dead == {1: "missing_column"}


def test_a_mail_without_id_is_named_by_its_place(tmp_path):
    nameless = FINE.split(b"\n", 1)[1]
    events, _ = read_all(tar_of(tmp_path / "m.tar", [FINE, nameless], "w"))
    assert events[1]["event_id"] == "mail:m.tar#1"


def test_a_folder_of_mails(tmp_path):
    (tmp_path / "0001.abc").write_bytes(FINE)
    (tmp_path / "x.eml").write_bytes(FINE)
    events, _ = read_all(tmp_path)
    assert len(events) == 2


ENVELOPE = b"From a@b.example Mon Aug  5 10:00:00 2002\n"


def mbox(*mails):
    return b"\n".join(ENVELOPE + mail for mail in mails)


@pytest.mark.parametrize("name", ["three.mbox", "Inbox", "three.mbox.gz"])
def test_an_mbox_is_as_many_mails_as_it_holds(tmp_path, name):
    bodies = [b"one\n", b"two\nFrom here it goes on\n", b"three\n>From a@b at 10:00\n"]
    head = FINE.partition(b"\n\n")[0]
    mails = [head.replace(b"<1@", b"<%d@" % n) + b"\n\n" + b for n, b in enumerate(bodies)]
    data = mbox(*mails)
    path = tmp_path / name
    path.write_bytes(gzip.compress(data) if name.endswith(".gz") else data)
    events, dead = read_all(path)
    assert [event["event_id"] for event in events] == [f"mail:<{n}@a.example>" for n in range(3)]
    assert [event["body"].rstrip("\n").encode() for event in events] == [
        body.rstrip(b"\n") for body in bodies
    ]
    assert dead == {}


def test_an_mbox_in_a_tar(tmp_path):
    with tarfile.open(tmp_path / "m.tar", "w") as archive:
        for name in ("two.mbox", "./Inbox", "one.eml", "x/._Inbox", ".DS_Store"):
            data = mbox(FINE, FINE)
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    [split] = open_source(str(tmp_path / "m.tar"), MAIL)
    assert sum(part.batch.num_rows for part in read_split(split, MAIL)) == 5


def test_empty_lines_above_a_mail_and_an_mbox_of_none(tmp_path):
    for name, data in (("a.mbox", b"\n\r\n" + mbox(FINE, FINE)), ("b.eml", b"\n" + FINE)):
        (tmp_path / name).write_bytes(data)
    (tmp_path / "c.mbox").write_bytes(b"")
    assert [len(one) for one in read_all(tmp_path)] == [3, 0]


def test_a_mail_of_an_mbox_that_is_too_large_dies_alone(tmp_path, monkeypatch):
    monkeypatch.setattr(mail, "_MOST_BYTES", 1000)
    (tmp_path / "a.mbox").write_bytes(mbox(FINE, FINE + b"line\n" * 400, FINE))
    events, dead = read_all(tmp_path / "a.mbox")
    assert (len(events), dead) == (2, {1: "too_large"})


def test_a_mail_that_is_too_large_dies_alone(tmp_path, monkeypatch):
    monkeypatch.setattr(mail, "_MOST_BYTES", 1000)
    large = FINE + b"x" * 1000
    events, dead = read_all(tar_of(tmp_path / "m.tar.gz", [FINE, large, FINE]))
    assert (len(events), dead) == (2, {1: "too_large"})
    (tmp_path / "x.eml").write_bytes(large)
    assert read_all(tmp_path / "x.eml") == ([], {0: "too_large"})


def test_batches_are_bounded(tmp_path, monkeypatch):
    monkeypatch.setattr(mail, "_BATCH", 3)
    [split] = open_source(str(tar_of(tmp_path / "m.tgz", [FINE] * 8)), MAIL)
    assert [part.batch.num_rows for part in read_split(split, MAIL)] == [3, 3, 2]


def test_a_damaged_tar_is_an_error_that_names_it(tmp_path):
    path = tar_of(tmp_path / "m.tar.gz", [random.Random(0).randbytes(5000)] * 20)
    path.write_bytes(path.read_bytes()[:3000])
    with pytest.raises(InputError, match=r"m\.tar\.gz cannot be read to its end"):
        read_all(path)
    path.write_bytes(b"no tar at all")
    with pytest.raises(InputError, match=r"m\.tar\.gz cannot be read to its end"):
        read_all(path)


@pytest.mark.parametrize(
    "headers",
    [
        b"Subject: =?utf-8?b?////?=",
        b"Subject: =?utf-8?b?a?=",
        b"Subject: =?none-such?q?=E9?=",
        b"Subject: =?zip?q?=E9?=",
        b"Subject: =?utf-16?b?AA==?=",
        b"From: \xff\xfe <a@b>",
        b"Content-Type: multipart/mixed",
        b"Content-Type: text/plain; charset*=utf-8''%ff; charset=\xff",
        b"Content-Type: text/plain\nContent-Transfer-Encoding: uuencode",
        b"Content-Type: text/plain; charset=unicode_escape",
        b"Date: \x00",
        b"Message-ID: " + b"x" * 5000,
    ],
)
def test_hostile_headers(tmp_path, headers):
    path = tar_of(tmp_path / "m.tar.gz", [headers + b"\n\n\\ud800 \xff\n", FINE])
    events, dead = read_all(path)
    assert len(events) + len(dead) == 2
    assert events[-1]["event_id"] == "mail:<1@a.example>"


def test_parts_within_parts_within_parts(tmp_path):
    deep = b"".join(
        b"Content-Type: multipart/mixed; boundary=b%d\n\n--b%d\n" % (i, i) for i in range(3000)
    )
    events, dead = read_all(tar_of(tmp_path / "m.tar.gz", [deep, FINE]))
    assert len(events) == 1
    assert set(dead) == {0}


mutations = st.lists(st.tuples(st.integers(0, len(FINE)), st.binary(max_size=3)), max_size=5)


@given(mutations)
def test_no_bytes_crash(changes):
    data = FINE
    for at, put in changes:
        data = data[:at] + put + data[at + len(put) :]
    try:
        row = parse_mail(data, "x")
    except mail.UNREADABLE:
        return
    assert all(value is None or value.encode() is not None for value in row.values())


def test_how_mails_begin():
    for start in (b"From a@b Mon Aug 5 10:00:00 2002\n", b"received: by", b"X-Y:z", b"Date:\n"):
        assert looks_like_mail(start)
    for start in (b"", b"id,text\n", b'{"a": 1}', b"name: chat\n", b"PK\x03\x04", b"From here"):
        assert not looks_like_mail(start)
