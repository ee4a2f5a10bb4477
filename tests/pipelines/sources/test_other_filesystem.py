"""Sources on a filesystem of Beam's that is not the local one: an object store in memory."""

import gzip
import io

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from apache_beam.io.filesystems import FileSystems
from memory_files import memory_files

from configs.errors import InputError
from configs.loader import loads
from pipelines.sources import open_source, read_split
from transforms.catalog import CATALOG

CONFIG = """
lockstep: 1
name: small
columns: {who: {type: string}}
ingest: [{kind: act, id: id, time: at}]
kinds: {act: {scored: true}}
"""
spec = loads(CONFIG, "small.yaml", CATALOG)
MEMORY = memory_files()


@pytest.fixture
def bucket(monkeypatch):
    rows = [{"id": f"{n}", "at": 1_772_366_400_000_000 + n, "who": "w"} for n in range(6)]
    parquet = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(rows[:2]), parquet)
    lines = "".join(f'{{"id": "{r["id"]}", "at": {r["at"]}, "who": "w"}}\n' for r in rows[2:4])
    table = "id,at,who\n" + "".join(f"{r['id']},{r['at']},w\n" for r in rows[4:])
    found = {
        "lockstep-memory://bucket/ev/a.parquet": parquet.getvalue(),
        "lockstep-memory://bucket/ev/deep/b.jsonl": lines.encode(),
        "lockstep-memory://bucket/ev/deep/c.csv.gz": gzip.compress(table.encode()),
        "lockstep-memory://bucket/ev/_SUCCESS": b"",
        "lockstep-memory://bucket/event-notes.txt": b"",
    }
    for path, data in found.items():
        monkeypatch.setitem(MEMORY.objects, path, data)
        monkeypatch.setitem(MEMORY.times, path, 0.0)
    return "lockstep-memory://bucket/ev"


def read(pattern):
    made = [part.batch for one in open_source(pattern, spec) for part in read_split(one, spec)]
    return sorted(row["event_id"][-1] for batch in made for row in batch.to_pylist())


@pytest.mark.parametrize(
    ("pattern", "ids"),
    [
        ("", "012345"),
        ("/", "012345"),
        ("/**", "012345"),
        ("/*.parquet", "01"),
        ("/**/*.parquet", "01"),
        ("/deep/b.jsonl", "23"),
        ("/deep/*.csv.gz", "45"),
    ],
)
def test_file_folder_and_glob(bucket, pattern, ids):
    assert "".join(read(bucket + pattern)) == ids


def test_a_prefix_is_listed_once_however_many_folders_may_be_between(bucket, monkeypatch):
    asked, match = [], FileSystems.match
    monkeypatch.setattr(FileSystems, "match", lambda ways: asked.extend(ways) or match(ways))
    assert "".join(read(f"{bucket}/**/**/*.parquet")) == "01"
    assert asked == [f"{bucket}/**"]


def test_what_is_not_there(bucket):
    with pytest.raises(InputError, match="lockstep-memory://bucket/none matches no file"):
        open_source("lockstep-memory://bucket/none", spec)
