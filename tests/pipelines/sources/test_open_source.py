import datetime as dt

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from configs.errors import InputError
from configs.loader import loads
from pipelines.sources import Split, open_source
from pipelines.sources import parquet as parquet_files
from transforms.catalog import CATALOG

CONFIG = """
lockstep: 1
name: small
ingest:
  - {kind: act, id: %s, time: at}
  - {kind: late, id: %s, time: at, delay: 1h}
columns: {who: {type: string}}
kinds: {act: {scored: true}, late: {}}
"""
spec = loads(CONFIG % ("id", "id"), "small.yaml", CATALOG)
unnamed = loads(CONFIG % ("null", "null"), "small.yaml", CATALOG)
HOUR = 3_600_000_000


def names(splits):
    return [split.path.rsplit("/", 1)[-1] for split in splits]


@pytest.fixture
def folder(tmp_path):
    for name in ("b.csv", "a.jsonl", "sub/c.csv.gz", "_SUCCESS", ".hidden.csv", "sub/.tmp/d.csv"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("id,at\n")
    return tmp_path


def test_a_folder_is_searched_to_the_bottom_in_a_fixed_order(folder):
    splits = open_source(str(folder), spec)
    assert names(splits) == ["a.jsonl", "b.csv", "c.csv.gz"]
    assert [(split.format, split.compression) for split in splits] == [
        ("jsonl", ""), ("csv", ""), ("csv", "gzip"),
    ]  # fmt: skip
    assert [split.size for split in splits] == [6, 6, 6]
    assert open_source(f"{folder}/", spec) == splits


def test_a_glob_and_a_file(folder):
    assert names(open_source(f"{folder}/*.csv", spec)) == ["b.csv"]
    assert names(open_source(str(folder / "b.csv"), spec)) == ["b.csv"]
    assert names(open_source(f"{folder}/**", spec)) == ["a.jsonl", "b.csv", "c.csv.gz"]


def test_a_relative_glob_that_begins_with_a_wildcard(folder, monkeypatch):
    monkeypatch.chdir(folder)
    assert names(open_source("*.csv", spec)) == ["b.csv"]
    assert names(open_source("*/c.csv.gz", spec)) == ["c.csv.gz"]


def test_what_is_not_there(tmp_path):
    with pytest.raises(InputError, match=r"none\.csv matches no file; give a file, a folder or"):
        open_source(str(tmp_path / "none.csv"), spec)
    with pytest.raises(InputError, match="holds no files"):
        open_source(str(tmp_path), spec)
    (tmp_path / "_SUCCESS").touch()
    with pytest.raises(InputError, match="matches no file"):
        open_source(str(tmp_path), spec)


def test_a_filesystem_that_beam_does_not_know():
    with pytest.raises(InputError, match="cannot list the input nope://x"):
        open_source("nope://x", spec)


@pytest.mark.parametrize("name", ["a.xlsx", "a", "a.xlsx.gz"])
def test_an_ending_that_no_reader_knows(tmp_path, name):
    (tmp_path / name).write_text("id,at\n")
    with pytest.raises(InputError, match=r"are not read; expected \.csv, \.eml, \.json"):
        open_source(str(tmp_path), spec)


def test_a_file_that_begins_like_a_mail_is_one(tmp_path):
    (tmp_path / "0001.ea7e79d3").write_text("Return-Path: <a@b.example>\n\nyes\n")
    (tmp_path / "mails.tar.gz").touch()
    (tmp_path / "x.eml").touch()
    assert [split.format for split in open_source(str(tmp_path), spec)] == ["mail"] * 3


def parquet(path, times, **options):
    table = pa.table({"id": [str(i) for i in range(len(times))], "at": times})
    pq.write_table(table, path, **options)
    return str(path)


def test_parquet_is_split_by_row_groups(tmp_path, monkeypatch):
    monkeypatch.setattr(parquet_files, "_SPLIT_ROWS", 20)
    times = np.arange(55, dtype=np.int64) * 1000
    path = parquet(tmp_path / "a.parquet", times, row_group_size=10)
    splits = open_source(path, spec)
    assert [(s.row_groups, s.first_row, s.rows) for s in splits] == [
        ((0, 1), 0, 20), ((2, 3), 20, 20), ((4, 5), 40, 15),
    ]  # fmt: skip
    assert len({split.name for split in splits}) == 3


@pytest.mark.parametrize(
    "type_", [pa.int64(), pa.timestamp("us", "UTC"), pa.timestamp("ms"), pa.timestamp("ns")]
)
def test_statistics_tell_the_days(tmp_path, type_):
    first = 20_513 * 24  # hours until 2026-03-01
    hours = pa.array([first + 1, first + 5], pa.int64())
    scale = {"ms": HOUR // 1000, "ns": HOUR * 1000}.get(getattr(type_, "unit", "us"), HOUR)
    times = pa.compute.multiply(hours, scale).cast(type_)
    [split] = open_source(parquet(tmp_path / "a.parquet", times), spec)
    # The second rule's events are known an hour later.
    assert split.min_us == (first + 1) * HOUR
    assert (first + 6) * HOUR <= split.max_us <= (first + 6) * HOUR + 1
    [split] = open_source(parquet(tmp_path / "b.parquet", pa.compute.subtract(hours, first)), spec)
    assert split.min_us is split.max_us is None, "dead letters are of no day"


@pytest.mark.parametrize(
    "times",
    [["1970-01-01", "1970-01-02"], [dt.date(1970, 1, 1), None], [None, None], [1.5, 2.5]],
)
def test_times_that_statistics_do_not_tell(tmp_path, times):
    [split] = open_source(parquet(tmp_path / "a.parquet", times), spec)
    assert (split.min_us, split.max_us) == (None, None)


@pytest.mark.parametrize("absurd", [-9 * 10**18, 9 * 10**18, 1_768_000_000_000_000_000])
def test_statistics_of_an_absurd_time_tell_nothing(tmp_path, absurd):
    """A clock of the year 58,000, or nanoseconds taken for microseconds: days may be anywhere."""
    events = spec.events
    times = pa.array([absurd, events.earliest_us + HOUR, events.latest_us - 3 * HOUR], pa.int64())
    [split] = open_source(parquet(tmp_path / "a.parquet", times), spec)
    assert (split.min_us, split.max_us) == (None, None)
    stamps = times.cast(pa.timestamp("us", "UTC"))
    [split] = open_source(parquet(tmp_path / "b.parquet", stamps), spec)
    assert (split.min_us, split.max_us) == (None, None)


def test_parquet_without_statistics(tmp_path):
    path = parquet(tmp_path / "a.parquet", [1, 2], write_statistics=False)
    [split] = open_source(path, spec)
    assert (split.min_us, split.max_us) == (None, None)


def test_parquet_without_rows(tmp_path):
    splits = open_source(parquet(tmp_path / "a.parquet", pa.array([], pa.int64())), spec)
    assert [split.rows for split in splits] == [0]


@pytest.mark.parametrize("cut", [0, 10, -10])
def test_parquet_that_is_damaged(tmp_path, cut):
    path = tmp_path / "a.parquet"
    parquet(path, [1, 2])
    path.write_bytes(path.read_bytes()[:cut])
    with pytest.raises(InputError, match=r"a\.parquet is not a whole Parquet file"):
        open_source(str(path), spec)


def test_rows_named_by_file_need_files_with_different_names(tmp_path):
    for day in ("date=2026-03-01", "date=2026-03-02"):
        (tmp_path / day).mkdir()
        (tmp_path / day / "part.csv").write_text("at\n")
    assert len(open_source(str(tmp_path), unnamed)) == 2
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "part.csv").write_text("at\n")
    assert len(open_source(str(tmp_path), spec)) == 4
    with pytest.raises(InputError, match="have the same name, and this config names events by"):
        open_source(str(tmp_path), unnamed)


def test_a_splits_name_is_stable():
    split = Split("/data/a.parquet", "parquet", row_groups=(1, 2))
    assert split.name == Split("/data/a.parquet", "parquet", row_groups=(1, 2), size=9).name
    assert split.name != Split("/data/b/a.parquet", "parquet", row_groups=(1, 2)).name
