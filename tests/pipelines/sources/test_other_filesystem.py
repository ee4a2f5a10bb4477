"""Sources on a filesystem of Beam's that is not the local one: an object store in memory."""

import gzip
import io

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from apache_beam.io.filesystem import CompressionTypes, FileMetadata, FileSystem

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
OBJECTS = {}


class Kept(FileSystem):
    """Objects by name, as stores have them: no folders, listing by prefix, reading only."""

    @classmethod
    def scheme(cls):
        return "kept"

    def join(self, basepath, *paths):
        return "/".join([basepath.rstrip("/"), *paths])

    def split(self, path):
        head, _, tail = path.rpartition("/")
        return head, tail

    def has_dirs(self):
        return False

    def _list(self, prefix):
        for path, data in OBJECTS.items():
            if path.startswith(prefix):
                yield FileMetadata(path, len(data))

    def open(self, path, mime_type="", compression_type=CompressionTypes.AUTO):
        if path not in OBJECTS:
            raise FileNotFoundError(path)
        data = OBJECTS[path]
        if compression_type == CompressionTypes.GZIP:
            data = gzip.decompress(data)
        return io.BytesIO(data)

    def exists(self, path):
        return path in OBJECTS

    def size(self, path):
        return len(OBJECTS[path])

    def last_updated(self, path):
        return 0.0

    def metadata(self, path):
        return FileMetadata(path, len(OBJECTS[path]))

    def refuse(self, *given, **more):
        raise AssertionError("a source is read only")

    mkdirs = create = copy = rename = delete = checksum = refuse


@pytest.fixture
def bucket(monkeypatch):
    rows = [{"id": f"{n}", "at": 1_772_366_400_000_000 + n, "who": "w"} for n in range(6)]
    parquet = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(rows[:2]), parquet)
    lines = "".join(f'{{"id": "{r["id"]}", "at": {r["at"]}, "who": "w"}}\n' for r in rows[2:4])
    table = "id,at,who\n" + "".join(f"{r['id']},{r['at']},w\n" for r in rows[4:])
    found = {
        "kept://bucket/ev/a.parquet": parquet.getvalue(),
        "kept://bucket/ev/deep/b.jsonl": lines.encode(),
        "kept://bucket/ev/deep/c.csv.gz": gzip.compress(table.encode()),
        "kept://bucket/ev/_SUCCESS": b"",
        "kept://bucket/event-notes.txt": b"",
    }
    for path, data in found.items():
        monkeypatch.setitem(OBJECTS, path, data)
    return "kept://bucket/ev"


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
        ("/deep/b.jsonl", "23"),
        ("/deep/*.csv.gz", "45"),
    ],
)
def test_file_folder_and_glob(bucket, pattern, ids):
    assert "".join(read(bucket + pattern)) == ids


def test_what_is_not_there(bucket):
    with pytest.raises(InputError, match="kept://bucket/none matches no file"):
        open_source("kept://bucket/none", spec)
