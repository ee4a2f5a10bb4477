"""Every record of the published data is typed or dead-lettered with a reason; none is lost."""

import csv
import gzip
import tarfile

import pyarrow.parquet as pq
import pytest

from configs.loader import load, shipped
from pipelines.backfill import BackfillRequest, backfill
from pipelines.layout import Days, Layout, day_of
from pipelines.sources import open_source, read_split
from transforms.catalog import CATALOG
from transforms.dead_letter import DeadLetter, Reason
from transforms.derive import derive


def walk(name, source):
    """(events derived, dead letters, positions of both by file) of a source."""
    spec = load(shipped(name), CATALOG)
    events, dead, seen = 0, [], set()
    for split in open_source(str(source), spec):
        for decoded in read_split(split, spec):
            batch = derive(spec, decoded.batch)
            batch.validate(full=True)
            events += batch.num_rows
            dead.extend(decoded.dead)
            seen |= {(split.path, at) for at in decoded.positions.tolist()}
            seen |= {(split.path, letter.position) for letter in decoded.dead}
    assert all(isinstance(one, DeadLetter) and one.reason in Reason for one in dead)
    return events, dead, seen


def test_every_mail_is_typed_or_has_a_reason(shared_data):
    events, dead, seen = walk("mail", shared_data / "spamassassin")
    mails = 0
    for path in (shared_data / "spamassassin").glob("*.tar.gz"):
        with tarfile.open(path) as archive:
            mails += sum(member.isfile() for member in archive)
    assert mails == 6046
    assert len(seen) == events + len(dead) == mails
    assert len(dead) < 0.02 * mails
    assert {letter.reason for letter in dead} <= {Reason.BAD_TIME, Reason.MISSING_COLUMN}


def test_every_unlabelled_comment(shared_data):
    path = shared_data / "youtube-spam" / "unlabelled" / "comments.csv.gz"
    events, dead, seen = walk("video_comments", path)
    with gzip.open(path, "rt", encoding="utf-8-sig", newline="") as file:
        rows = sum(1 for _ in csv.reader(file)) - 1
    assert rows == 81_158
    assert len(seen) == events + len(dead) == rows


@pytest.mark.slow
@pytest.mark.timeout(1500)  # some 2,000 days, each published by itself
def test_a_backfill_over_every_unlabelled_comment(shared_data, tmp_path):
    """As docs/results.md reports: every row of 2008 to 2013 is typed, and has its features."""
    path = shared_data / "youtube-spam" / "unlabelled" / "comments.csv.gz"
    spec = load(shipped("video_comments"), CATALOG)
    (split,) = open_source(str(path), spec)
    times = [one.batch.column("event_time").to_numpy() for one in read_split(split, spec)]
    first, last = (day_of(edge(map(edge, times))) for edge in (min, max))
    report = backfill(BackfillRequest(spec, str(path), tmp_path / "out", Days(first, last)))
    assert (report.read, report.outside) == (81_158, 0)
    assert report.events + report.duplicates + sum(report.dead.values()) == report.read
    assert report.dead == {}
    markers = list(Layout(tmp_path / "out").published())
    assert len(markers) == (last - first).days + 1
    scored = pq.ParquetDataset(tmp_path / "out" / "features").read(["event_id"])
    assert scored.num_rows == report.scored == report.events


def test_every_labelled_comment_and_its_verdict(shared_data):
    events, dead, seen = walk("video_comments", shared_data / "youtube-spam" / "labelled")
    assert len(seen) == 1956
    assert events + 2 * len(dead) == 2 * 1956


def test_a_broken_row_among_comments_dies_alone(shared_data, tmp_path):
    path = shared_data / "youtube-spam" / "unlabelled" / "comments.csv.gz"
    with gzip.open(path, "rb") as file:
        lines = [file.readline() for _ in range(3001)]
    broken = {500: b'x,"an open quote\n', 1000: b"too,few\n", 1500: b"\xff," * 6 + b"\n"}
    for at, line in broken.items():
        lines.insert(at, line)
    (tmp_path / "c.csv").write_bytes(b"".join(lines))
    events, dead, _ = walk("video_comments", tmp_path / "c.csv")
    whole, none, _ = walk("video_comments", _written(tmp_path / "w.csv", lines, broken))
    fates = {letter.position: str(letter.reason) for letter in dead}
    assert [fates.get(at) for at in broken] == ["broken_row", "broken_row", "not_utf8"]
    assert (events, len(dead)) == (whole, len(none) + 3)


def _written(path, lines, without):
    path.write_bytes(b"".join(line for at, line in enumerate(lines) if at not in without))
    return path


def test_every_payment_and_its_verdict(shared_data):
    path = shared_data / "fraud-handbook" / "transactions.parquet"
    events, dead, seen = walk("card_fraud", path)
    assert dead == []
    assert len(seen) == pq.ParquetFile(path).metadata.num_rows == 1_754_155
    assert events == 2 * 1_754_155
