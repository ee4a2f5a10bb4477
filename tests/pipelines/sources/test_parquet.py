"""Parquet as other writers make it: INT96, page checksums, encrypted columns."""

import base64
import datetime as dt
import json
import subprocess
import sys

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pyarrow.parquet.encryption as pe
import pytest

from configs.errors import InputError
from configs.loader import loads
from pipelines.sources import open_source, read_split
from transforms.catalog import CATALOG
from transforms.decode import concat_decoded, event_schema

SPEC = loads(
    """
lockstep: 1
name: c
events: {id: id, time: t, kind: kind, earliest: 0001-01-01, latest: 9999-01-01}
columns: {who: {type: string}, seen: {type: timestamp}}
kinds: {m: {scored: true, required: [who]}}
""",
    "c.yaml",
    CATALOG,
)
NOON = dt.datetime(2026, 3, 1, 12, tzinfo=dt.UTC)


def read_all(path, spec=SPEC):
    parts = [part for split in open_source(str(path), spec) for part in read_split(split, spec)]
    return concat_decoded(parts, event_schema(spec))


def table(times, seen=None):
    count = len(times)
    return pa.table(
        {
            "secret": [f"s{i}" for i in range(count)],
            "id": [str(i) for i in range(count)],
            "t": pa.array(times, pa.timestamp("us", "UTC")),
            "kind": ["m"] * count,
            "who": [f"w{i}" for i in range(count)],
            "seen": pa.array(seen or [None] * count, pa.timestamp("us", "UTC")),
        }
    )


@pytest.mark.parametrize("year", [1, 1600, 1969, 2026, 2263, 2610, 9998])
def test_int96_is_what_the_other_formats_say(tmp_path, year):
    times = [NOON, NOON.replace(year=year, microsecond=123_456), NOON]
    made = table(times, [None, times[1], NOON])
    pq.write_table(made, tmp_path / "old.parquet", use_deprecated_int96_timestamps=True)
    pq.write_table(made, tmp_path / "new.parquet")
    rows = made.drop_columns(["secret"]).to_pylist()
    lines = [json.dumps(row, default=lambda value: value.isoformat()) for row in rows]
    (tmp_path / "a.jsonl").write_text("\n".join(lines))
    old, new, text = (read_all(tmp_path / n) for n in ("old.parquet", "new.parquet", "a.jsonl"))
    assert old.batch.equals(new.batch)
    assert old.batch.equals(text.batch)
    assert old.batch.num_rows == 3


@pytest.mark.parametrize("day", [150_000_000, 2_461_101 + 213_503_982])
def test_int96_beyond_microseconds_is_a_bad_time(tmp_path, day):
    """400,000 years from now microseconds wrap around too; after 584,554 they are a time again."""
    path = tmp_path / "a.parquet"
    pq.write_table(table([NOON] * 3), path, use_deprecated_int96_timestamps=True,
                   use_dictionary=False, compression="none")  # fmt: skip
    data = bytearray(path.read_bytes())
    julian = (2_440_588 + (NOON.date() - dt.date(1970, 1, 1)).days).to_bytes(4, "little")
    found = data.index(julian)
    data[found : found + 4] = day.to_bytes(4, "little")
    path.write_bytes(data)
    made = read_all(path)
    assert [(one.position, str(one.reason), one.column) for one in made.dead] == [
        (0, "bad_time", "event_time")
    ]
    assert made.batch.column("event_time").to_pylist() == [1_772_366_400_000_000] * 2


@pytest.mark.parametrize("dictionary", [True, False])
def test_a_flipped_bit_is_seen_where_pages_have_checksums(tmp_path, dictionary):
    path = tmp_path / "a.parquet"
    pq.write_table(table([NOON] * 50), path, write_page_checksum=True, compression="none",
                   use_dictionary=dictionary)  # fmt: skip
    assert read_all(path).batch.num_rows == 50
    data = bytearray(path.read_bytes())
    at = data.index(b"w42")
    data[at + 2] ^= 1
    path.write_bytes(data)
    with pytest.raises(InputError, match=r"a\.parquet .*checksum differs in column 'who'\)"):
        read_all(path)


class _Kms(pe.KmsClient):
    def __init__(self, _):
        super().__init__()

    def wrap_key(self, key, _):
        return base64.b64encode(key)

    def unwrap_key(self, key, _):
        return base64.b64decode(key)


def write_encrypted(path, columns, made):
    config = pe.EncryptionConfiguration(
        footer_key="footer", column_keys={"key": columns}, plaintext_footer=True
    )
    factory = pe.CryptoFactory(_Kms)
    keys = factory.file_encryption_properties(pe.KmsConnectionConfig(), config)
    with pq.ParquetWriter(path, made.schema, encryption_properties=keys) as writer:
        writer.write_table(made)


def in_a_process(path):
    """Reads apart, as what goes wrong here ends the process: what it prints, and its exit code."""
    code = (
        "import sys; sys.path[:0] = sys.argv[2:]; import test_parquet as t\n"
        "try: print(t.read_all(sys.argv[1]).batch.num_rows)\n"
        "except t.InputError as error: print(error)"
    )
    folder = __file__.rpartition("/")[0]
    done = subprocess.run(
        [sys.executable, "-c", code, str(path), folder], capture_output=True, text=True, check=False
    )
    return done.stdout.strip(), done.returncode


def test_an_encrypted_column_that_nobody_reads_does_not_matter(tmp_path):
    path = tmp_path / "a.parquet"
    write_encrypted(path, ["secret"], table([NOON, NOON]))
    assert in_a_process(path) == ("2", 0)
    [split] = open_source(str(path), SPEC)
    assert split.min_us is not None, "the statistics of the others are used"


@pytest.mark.parametrize("column", ["t", "who"])
def test_an_encrypted_column_that_is_read_is_an_error(tmp_path, column):
    path = tmp_path / "a.parquet"
    write_encrypted(path, [column], table([NOON, NOON]))
    said, code = in_a_process(path)
    assert code == 0
    assert "a.parquet cannot be read to its end" in said
    assert "encrypted" in said


def test_batches_of_int96_keep_their_rows_together(tmp_path, monkeypatch):
    from pipelines.sources import read

    monkeypatch.setattr(read, "BATCH_ROWS", 7)
    times = [NOON + dt.timedelta(microseconds=i) for i in range(50)]
    path = tmp_path / "a.parquet"
    pq.write_table(table(times), path, use_deprecated_int96_timestamps=True, row_group_size=20)
    made = read_all(path)
    assert np.diff(made.batch.column("event_time").to_numpy()).tolist() == [1] * 49
    assert made.positions.tolist() == list(range(50))
