"""What a config says of its files: encoding, header, and what a time means that does not say it."""

import datetime as dt
import decimal
import gzip
import json
import re

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from configs.errors import ConfigError, InputError
from configs.fingerprint import dataset_fingerprint, state_fingerprint
from configs.loader import loads
from pipelines.sources import open_source, read_split
from transforms.catalog import CATALOG
from transforms.decode import concat_decoded, decode_json, event_schema

CONFIG = """
lockstep: 1
name: c
events: {id: id, time: t, kind: kind%s}
columns: {who: {type: string}, seen: {type: timestamp}}
kinds: {m: {scored: true, required: [who]}}
entities: {who: {key: {m: [who]}, windows: [1d], aggregates: {n: {op: count, of: m}}}}
"""


def spec_of(more=""):
    return loads(CONFIG % (f", {more}" if more else ""), "c.yaml", CATALOG)


def read_all(path, spec):
    parts = [part for split in open_source(str(path), spec) for part in read_split(split, spec)]
    return concat_decoded(parts, event_schema(spec))


def us(text):
    return round(dt.datetime.fromisoformat(text).timestamp() * 1e6)


def times(made):
    return made.batch.column("event_time").to_pylist()


def event(time, **more):
    return {"id": "1", "t": time, "kind": "m", "who": "a", **more}


@pytest.mark.parametrize("offset", ["+00", "-00", "+02", "-0330", "+0530"])
def test_offsets_of_databases(tmp_path, offset):
    (tmp_path / "a.csv").write_text(f"id,t,kind,who\n1,2026-03-01 10:00:00.25{offset},m,a\n")
    whole = offset if len(offset) > 3 else f"{offset}00"
    assert times(read_all(tmp_path / "a.csv", spec_of())) == [us(f"2026-03-01T10:00:00.25{whole}")]


def test_a_day_alone_has_no_offset():
    made = decode_json(spec_of(), [json.dumps(event("2026-03-01")).encode()], "x")
    assert times(made) == [us("2026-03-01T00:00:00+00:00")]


def test_ids_of_warehouses_are_decimals(tmp_path):
    large = decimal.Decimal("12345678901234567890123456789")
    for type_, values in [(pa.decimal128(38, 0), [large, None]), (pa.decimal128(20, 2), [7, 8])]:
        table = pa.table({"id": pa.array(values, type_), "t": [us("2026-03-01T00:00:00+00:00")] * 2,
                          "kind": ["m", "m"], "who": ["a", "b"]})  # fmt: skip
        pq.write_table(table, tmp_path / "a.parquet")
        made = read_all(tmp_path / "a.parquet", spec_of())
        ids = [str(value) for value in values if value is not None]
        assert made.batch.column("event_id").to_pylist() == ids


def test_a_decimal_with_a_fraction_is_no_string(tmp_path):
    table = pa.table({"id": pa.array([decimal.Decimal("1.50")]), "t": ["2026-03-01"],
                      "kind": ["m"], "who": ["a"]})  # fmt: skip
    pq.write_table(table, tmp_path / "a.parquet")
    assert [str(one.reason) for one in read_all(tmp_path / "a.parquet", spec_of()).dead] == [
        "wrong_type"
    ]


PER_UNIT = {"s": 1e6, "ms": 1e3, "us": 1, "ns": 1e-3}


@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
def test_numbers_are_in_the_unit_that_the_config_says(tmp_path, unit):
    """The same moment from JSON, CSV and Parquet, as integers, floats and text."""
    spec, noon = spec_of(f"time_unit: {unit}"), us("2026-03-01T12:00:00+00:00")
    number = round(noon / PER_UNIT[unit])
    rows = [event(number), event(str(number)), event("2026-03-01T12:00:00Z")]
    rows += [event(float(number)), event(f"{number}.0")] if unit != "us" else []
    rows = [{**row, "id": str(i), "seen": row["t"]} for i, row in enumerate(rows)]
    (tmp_path / "a.jsonl").write_text("\n".join(map(json.dumps, rows)))
    (tmp_path / "a.csv").write_text(
        "id,t,kind,who,seen\n" + "".join(",".join(map(str, row.values())) + "\n" for row in rows)
    )
    table = pa.table({"id": ["x"], "t": [number], "kind": ["m"], "who": ["a"], "seen": [number]})
    pq.write_table(table, tmp_path / "a.parquet")
    for name, count in (("a.jsonl", len(rows)), ("a.csv", len(rows)), ("a.parquet", 1)):
        made = read_all(tmp_path / name, spec)
        assert times(made) == [noon] * count, name
        assert made.batch.column("seen").to_pylist() == [noon] * count, name
    [split] = open_source(str(tmp_path / "a.parquet"), spec)
    assert abs(split.min_us - noon) <= 1


def test_the_last_nanosecond_of_a_day_is_in_it(tmp_path):
    """In float64 it would be the next day's first microsecond, and the file passed over."""
    midnight = us("2026-03-02T00:00:00+00:00")
    table = pa.table({"id": ["x"], "t": [midnight * 1000 - 1], "kind": ["m"], "who": ["a"]})
    pq.write_table(table, tmp_path / "a.parquet")
    spec = spec_of("time_unit: ns")
    assert times(read_all(tmp_path, spec)) == [midnight - 1]
    [split] = open_source(str(tmp_path), spec)
    assert split.min_us == midnight - 1


def test_seconds_with_a_fraction():
    records = [event(1_772_366_400.25), event("1772366400.000005"), event("1772366400.25 s")]
    made = decode_json(spec_of("time_unit: s"), [json.dumps(one).encode() for one in records], "x")
    noon = us("2026-03-01T12:00:00+00:00")
    assert times(made) == [noon + 250_000, noon + 5]
    assert [str(one.reason) for one in made.dead] == ["bad_time"]


@pytest.mark.parametrize("value", [10**18, -(10**18), 1e300, 9.3e12])
def test_seconds_beyond_64_bits_are_no_time(value):
    record = json.dumps(event(value)).encode()
    assert [
        str(one.reason) for one in decode_json(spec_of("time_unit: s"), [record], "x").dead
    ] == ["bad_time"]


ZONE = "time_zone: Europe/Berlin"


@pytest.mark.parametrize(
    ("local", "moment"),
    [
        ("2026-01-01 00:30:00", "2025-12-31T23:30:00+00:00"),
        ("2026-07-01T00:30:00", "2026-06-30T22:30:00+00:00"),
        ("2026-07-01", "2026-06-30T22:00:00+00:00"),
        ("2026-07-01T00:30:00Z", "2026-07-01T00:30:00+00:00"),
        ("2026-07-01 00:30:00+05", "2026-06-30T19:30:00+00:00"),
        ("2026-10-25 02:30:00", "2026-10-25T00:30:00+00:00"),  # twice: the earlier one
        ("2026-03-29 02:30:00", "2026-03-29T01:00:00+00:00"),  # skipped: the change
    ],
)
def test_times_without_a_zone_are_in_the_config_s(tmp_path, local, moment):
    spec = spec_of(ZONE)
    made = decode_json(spec, [json.dumps(event(local)).encode()], "x")
    assert times(made) == [us(moment)]
    if local[-1] == "Z" or "+" in local or len(local) == 10:
        return
    stamp = pa.array([dt.datetime.fromisoformat(local)], pa.timestamp("us"))
    table = pa.table({"id": ["1"], "t": stamp, "kind": ["m"], "who": ["a"]})
    pq.write_table(table, tmp_path / "a.parquet")
    assert times(read_all(tmp_path / "a.parquet", spec)) == [us(moment)]
    [split] = open_source(str(tmp_path / "a.parquet"), spec)
    assert split.min_us <= us(moment) <= split.max_us


def test_what_is_a_moment_already_stays(tmp_path):
    spec, noon = spec_of(ZONE), us("2026-07-01T12:00:00+00:00")
    aware = pa.array([noon], pa.timestamp("us", "UTC"))
    table = pa.table({"id": ["1"], "t": aware, "kind": ["m"], "who": ["a"]})
    pq.write_table(table, tmp_path / "a.parquet")
    pq.write_table(table, tmp_path / "b.parquet", use_deprecated_int96_timestamps=True)
    for name in ("a.parquet", "b.parquet"):
        assert times(read_all(tmp_path / name, spec)) == [noon]
    assert times(decode_json(spec, [json.dumps(event(noon)).encode()], "x")) == [noon]


NAMES = ["J\u00f6rg", "\u20acva", "a\u0142\u0105"]


@pytest.mark.parametrize(
    ("encoding", "names"),
    [
        ("latin-1", NAMES[:1]),
        ("windows-1252", NAMES[:2]),
        ("utf-16", NAMES),
        ("iso8859-2", NAMES[2:]),
    ],
)
@pytest.mark.parametrize("ending", ["csv", "tsv.gz", "jsonl"])
def test_encodings(tmp_path, encoding, names, ending):
    rows = [event("2026-03-01", id=name, who=name) for name in names]
    if ending == "jsonl":
        text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    else:
        between = "\t" if "tsv" in ending else ","
        text = "".join(between.join(row) + "\n" for row in [rows[0], *(r.values() for r in rows)])
    data = text.encode(encoding)
    path = tmp_path / f"a.{ending}"
    path.write_bytes(gzip.compress(data) if ending.endswith("gz") else data)
    made = read_all(path, spec_of(f"encoding: {encoding}"))
    assert made.batch.column("who").to_pylist() == names
    if encoding != "utf-16":
        assert not made.dead


def test_bytes_that_an_encoding_does_not_have_die_alone(tmp_path):
    (tmp_path / "a.csv").write_bytes(b"id,t,kind,who\n1,2026-03-01,m,\x81\n2,2026-03-01,m,\x80\n")
    made = read_all(tmp_path / "a.csv", spec_of("encoding: windows-1252"))
    assert made.batch.column("who").to_pylist() == ["\u20ac"]
    assert [(one.position, str(one.reason)) for one in made.dead] == [(1, "not_utf8")]


def test_a_file_without_header(tmp_path):
    (tmp_path / "a.csv").write_text("1,m,2026-03-01,a\n\n2,m,2026-03-02,b\n3,m\n")
    made = read_all(tmp_path / "a.csv", spec_of("header: [id, kind, t, who]"))
    assert made.batch.column("event_id").to_pylist() == ["1", "2"]
    assert made.positions.tolist() == [0, 2]
    assert [(one.position, str(one.reason)) for one in made.dead] == [(3, "broken_row")]
    with pytest.raises(InputError, match=r"none of the config's columns.*`events: {header: \["):
        read_all(tmp_path / "a.csv", spec_of())


@pytest.mark.parametrize("own", ["id,kind,t,who", " ID, Kind, Sent At, Author"])
def test_a_header_that_the_config_says_is_not_there(tmp_path, own):
    (tmp_path / "a.csv").write_text(f"\n{own}\n1,m,2026-03-01,a\n2,m,never,b\n")
    (dead, later) = read_all(tmp_path / "a.csv", spec_of("header: [id, kind, t, who]")).dead
    assert (dead.position, str(dead.reason), dead.column) == (1, "broken_row", None)
    assert "this is the file's own header: leave `events.header` out" in dead.detail
    assert (later.position, str(later.reason)) == (3, "bad_time")


@pytest.mark.parametrize(
    ("said", "what", "fine"),
    [
        ("header: [id, kind, t, who]", "CSV or TSV files", ("a.csv", "a.tsv", "a.csv.gz")),
        ("encoding: latin-1", "files of text", ("a.csv", "a.jsonl")),
    ],
)
def test_how_to_read_files_of_which_there_are_none_is_a_mistake(tmp_path, said, what, fine):
    pq.write_table(pa.table({"id": ["1"], "t": ["2026-03-01"]}), tmp_path / "a.parquet")
    with pytest.raises(ConfigError, match=f"means nothing here: it is for {what}, and the input"):
        open_source(str(tmp_path), spec_of(said))
    for name in fine:
        (tmp_path / name).touch()
        assert len(open_source(str(tmp_path), spec_of(said))) == 2  # some of them are
        (tmp_path / name).unlink()
    assert open_source(str(tmp_path), spec_of())


@pytest.mark.parametrize(
    ("said", "message"),
    [
        ("time_unit: minutes", "time_unit: 'minutes' is not known"),
        ("time_zone: Europe/Berlinn", "there is no zone 'Europe/Berlinn'"),
        ("time_zone: CEST", "there is no zone 'CEST'"),
        ("time_zone: localtime", "there is no zone 'localtime'"),
        ("encoding: unicode_escape", "encoding: 'unicode_escape' is not known"),
        ("encoding: idna", "encoding: 'idna' is not known"),
        ("encoding: klingon", "encoding: 'klingon' is not known"),
        ("encoding: base64", "encoding: 'base64' is not known"),
        ("header: [id, t, kind, a, b, a]", "header: names a more than once"),
        ("header: [who]", "no column of it is 'id', the id of events"),
    ],
)
def test_mistakes(said, message):
    with pytest.raises(ConfigError, match=message):
        spec_of(said)


HEADER = "header: [id, t, kind, who]"


def test_they_count_for_what_was_made_with_them():
    plain = spec_of()
    for said in (
        "time_unit: ms",
        ZONE,
        "encoding: latin-1",
        "header: [id, t, kind, who]",
        "separator: ';'",
    ):
        other = spec_of(said)
        assert dataset_fingerprint(other) != dataset_fingerprint(plain)
        assert state_fingerprint(other, "who") != state_fingerprint(plain, "who")
    same = spec_of("time_unit: us, time_zone: UTC, encoding: utf8")
    assert dataset_fingerprint(same) == dataset_fingerprint(plain)
    assert state_fingerprint(same, "who") == state_fingerprint(plain, "who")


@pytest.mark.parametrize(
    ("written", "named"),
    [("utf-16", "utf-16"), ("utf-16-le", "utf-16-le"), ("utf-16-be", "utf-16-be"),
     ("utf-32", "utf-32"), ("utf-32-be", "utf-32-be")],
)  # fmt: skip
@pytest.mark.parametrize("name", ["a.jsonl", "a.csv", "a.tsv.gz"])
def test_another_encoding_of_unicode_is_named(tmp_path, name, written, named):
    text = json.dumps(event("2026-03-01")) if "json" in name else "id\tt\tkind\twho\n"
    data = text.encode(written)
    (tmp_path / name).write_bytes(gzip.compress(data) if name.endswith(".gz") else data)
    with pytest.raises(InputError, match=f"begins as a file in {named} does.*encoding: {named}}}"):
        read_all(tmp_path, spec_of(""))


@pytest.mark.parametrize("name", ["a.csv.gz", "a.jsonl.gz", "a.tsv"])
def test_what_cannot_be_decoded_is_named(tmp_path, name):
    (tmp_path / name).write_bytes(b"id\tt\tkind\n")
    why = "is not in the encoding" if name == "a.tsv" else r"\(BadGzipFile\)"
    with pytest.raises(InputError, match=rf"{name}.*{why}"):
        read_all(tmp_path, spec_of("encoding: utf-16" if name == "a.tsv" else ""))


def test_folders_give_what_a_header_lacks_and_nothing_else_is_lacking(tmp_path):
    spec = spec_of("header: [id, kind, who]")
    folder = tmp_path / "t=2026-03-01"
    folder.mkdir()
    (folder / "a.csv").write_text("1,m,ann\n")
    assert times(read_all(folder / "a.csv", spec)) == [us("2026-03-01T00:00+00:00")]
    (tmp_path / "a.csv").write_text("1,m,ann\n")
    with pytest.raises(InputError, match=r"no 't', their time, and no folder .* gives it \(t=…\)"):
        read_all(tmp_path / "a.csv", spec)


@pytest.mark.parametrize("separator", [";", "|", "\t"])
def test_fields_are_separated_as_the_config_says(tmp_path, separator):
    path = tmp_path / "a.csv"
    path.write_text(separator.join(["id", "kind", "t", "who"]) + "\n" + separator.join(
        ["1", "m", "2026-03-01", "a, b"]) + "\n")  # fmt: skip
    said = json.dumps(separator)
    with pytest.raises(
        InputError, match=re.escape(f"separated by {said}; say `events: {{separato")
    ):
        read_all(path, spec_of())
    made = read_all(path, spec_of(f"separator: {said}"))
    assert made.batch.column("who").to_pylist() == ["a, b"]
    assert made.dead == ()


def test_a_folder_s_value_is_utf_8(tmp_path):
    folder = tmp_path / "who=a%ff"
    folder.mkdir()
    (folder / "a.csv").write_text("id,kind,t\n1,m,2026-03-01\n")
    with pytest.raises(InputError, match=r"folder 'who=a%ff' gives the column 'who'.* no UTF-8"):
        read_all(folder / "a.csv", spec_of())
