import csv
import gzip
import io
import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hostile import hostile_records
from hypothesis import given
from hypothesis import strategies as st

from configs.errors import InputError
from configs.loader import load, loads, shipped
from pipelines.sources import Split, open_source, read, read_split
from transforms.catalog import CATALOG
from transforms.decode import concat_decoded, event_schema

CHAT = load(shipped("chat"), CATALOG)
SMALL = loads(
    """
lockstep: 1
name: small
events: {id: id, time: at, kind: what, aliases: {Ident: id}}
columns:
  who: {type: string, max_bytes: 60}
  count: {type: integer}
  share: {type: number}
  good: {type: boolean}
kinds: {act: {scored: true, required: [who]}, note: {}}
""",
    "small.yaml",
    CATALOG,
)
UNNAMED = loads(
    """
lockstep: 1
name: unnamed
ingest: [{kind: act, id: null, time: at}]
columns: {who: {type: string}}
kinds: {act: {scored: true}}
""",
    "unnamed.yaml",
    CATALOG,
)
NOON = 1_772_366_400_000_000
NAMES = ("id", "at", "what", "who", "count", "share", "good")


def read_all(path, spec=SMALL):
    """All of a source as one `Decoded`."""
    parts = [part for split in open_source(str(path), spec) for part in read_split(split, spec)]
    return concat_decoded(parts, event_schema(spec))


def fates(decoded):
    return {one.position: str(one.reason) for one in decoded.dead}


def fact(**changes):
    return {"id": "a", "at": NOON, "what": "act", "who": "w"} | changes


def write_lines(path, facts):
    text = "".join(json.dumps(one) + "\n" for one in facts).encode()
    path.write_bytes(gzip.compress(text) if path.suffix == ".gz" else text)
    return path


def write_csv(path, facts):
    out = io.StringIO()
    rows = csv.writer(out)
    rows.writerow(NAMES)
    for one in facts:
        values = [one.get(name) for name in NAMES]
        rows.writerow(["" if value is None else value for value in values])
    text = out.getvalue().encode()
    path.write_bytes(gzip.compress(text) if path.suffix == ".gz" else text)
    return path


def write_parquet(path, facts):
    schema = pa.schema(
        {"id": pa.string(), "at": pa.int64(), "what": pa.string(), "who": pa.string(),
         "count": pa.int64(), "share": pa.float64(), "good": pa.bool_()}
    )  # fmt: skip
    pq.write_table(pa.Table.from_pylist(facts, schema), path, row_group_size=3)
    return path


WRITERS = {
    "a.jsonl": write_lines,
    "a.ndjson.gz": write_lines,
    "a.csv": write_csv,
    "a.csv.gz": write_csv,
    "a.parquet": write_parquet,
}
words = st.text(st.characters(codec="utf-8", exclude_characters="\x00"), min_size=1, max_size=20)
facts = st.fixed_dictionaries(
    {
        "id": st.one_of(st.none(), words),
        "at": st.one_of(st.none(), st.integers(NOON - 10**9, NOON + 10**9), st.just(-1)),
        "what": st.sampled_from(["act", "note", "dance"]),
        "who": st.one_of(st.none(), words, st.just("w" * 61)),
        "count": st.one_of(st.none(), st.integers(-(2**63), 2**63 - 1)),
        "share": st.one_of(st.none(), st.floats(allow_nan=False, allow_infinity=False)),
        "good": st.one_of(st.none(), st.booleans()),
    }
)


@given(drawn=st.lists(facts, min_size=1, max_size=10))
def test_every_format_gives_the_same_events(tmp_path_factory, drawn):
    folder = tmp_path_factory.mktemp("formats")
    due = None
    for name, write in WRITERS.items():
        got = read_all(write(folder / name, drawn))
        due = due or got
        assert got.batch.equals(due.batch), name
        assert list(fates(got).values()) == list(fates(due).values()), name


def test_positions_are_rows_or_lines(tmp_path):
    drawn = [fact(), fact(count="x"), fact(who="one\nother\nthird"), fact(what="dance")]
    lines = read_all(write_lines(tmp_path / "a.jsonl", drawn))
    assert (lines.positions.tolist(), fates(lines)) == (
        [0, 2],
        {1: "wrong_type", 3: "unknown_kind"},
    )
    text = read_all(write_csv(tmp_path / "a.csv", drawn))
    assert (text.positions.tolist(), fates(text)) == (
        [1, 3],
        {2: "wrong_type", 6: "unknown_kind"},
    )


def test_blank_lines_count_and_say_nothing(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_text("\n" + json.dumps(fact()) + "\n  \n" + "{}\n")
    got = read_all(path)
    assert (got.positions.tolist(), fates(got)) == ([1], {3: "missing_column"})


def test_a_byte_order_mark_is_no_fault(tmp_path):
    for name in ("a.jsonl", "a.csv"):
        path = WRITERS[name](tmp_path / name, [fact()])
        path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
        assert read_all(path).batch.num_rows == 1


def test_batches_are_bounded_and_rows_keep_their_names(tmp_path, monkeypatch):
    monkeypatch.setattr(read, "BATCH_ROWS", 7)
    drawn = [{"at": NOON + i, "who": f"w{i}"} for i in range(40)]
    table = pa.Table.from_pylist(drawn)
    pq.write_table(table, tmp_path / "a.parquet", row_group_size=11)
    write_lines(tmp_path / "b.jsonl", drawn)
    (tmp_path / "c.csv").write_text("at,who\n" + "".join(f"{r['at']},{r['who']}\n" for r in drawn))
    for name, first in (("a.parquet", 0), ("b.jsonl", 0), ("c.csv", 1)):
        [split] = open_source(str(tmp_path / name), UNNAMED)
        parts = list(read_split(split, UNNAMED))
        assert max(part.batch.num_rows for part in parts) <= 7
        ids = [one for part in parts for one in part.batch.column("event_id").to_pylist()]
        assert ids == [f"act:{name}#{first + i}" for i in range(40)]


def test_batches_of_large_texts_are_small(tmp_path, monkeypatch):
    monkeypatch.setattr(read, "_BATCH_BYTES", 4000)
    drawn = [fact(id=str(i), who="w" * 50) for i in range(400)]
    for name, write in WRITERS.items():
        parts = [
            part
            for split in open_source(str(write(tmp_path / name, drawn)), SMALL)
            for part in read_split(split, SMALL)
        ]
        assert sum(part.batch.num_rows for part in parts) == 400
        assert len(parts) > 4, name


def test_some_row_groups_of_a_file(tmp_path):
    path = write_parquet(tmp_path / "a.parquet", [fact(id=str(i)) for i in range(9)])
    split = Split(str(path), "parquet", row_groups=(1, 2), first_row=3)
    [part] = read_split(split, SMALL)
    assert part.batch.column("event_id").to_pylist() == ["3", "4", "5", "6", "7", "8"]
    assert part.positions.tolist() == [3, 4, 5, 6, 7, 8]


def test_a_line_without_end(tmp_path, monkeypatch):
    monkeypatch.setattr(read, "most_bytes", lambda spec: 200)
    path = tmp_path / "a.jsonl"
    path.write_bytes(b'{"who": "' + b"x" * 5000 + b'"}\n' + json.dumps(fact()).encode())
    got = read_all(path)
    assert (got.positions.tolist(), fates(got)) == ([1], {0: "too_large"})


def test_hostile_lines_die_where_they_stand(tmp_path):
    pairs = [(reason, one) for reason, one in hostile_records(4000, seed=8) if b"\n" not in one]
    path = tmp_path / "a.jsonl"
    path.write_bytes(b"".join(one + b"\n" for _, one in pairs))
    due = {i: str(reason) for i, (reason, one) in enumerate(pairs) if reason and one.strip()}
    assert fates(read_all(path, CHAT)) == due


@pytest.mark.parametrize("name", ["a.jsonl", "a.csv"])
def test_no_bytes_crash(tmp_path, name):
    rng = np.random.default_rng(1)
    path = WRITERS[name](tmp_path / name, [fact()])
    noise = rng.integers(0, 256, 200_000, np.uint8).tobytes()
    path.write_bytes(path.read_bytes() + noise + b"\n" + path.read_bytes().split(b"\n")[-2])
    got = read_all(path)
    assert got.batch.num_rows == 2
    assert set(fates(got).values()) <= {"not_utf8", "broken_row", "not_json", "not_an_object"}


@pytest.mark.parametrize("name", list(WRITERS))
def test_an_empty_file_or_one_without_rows(tmp_path, name):
    got = read_all(WRITERS[name](tmp_path / name, []))
    assert (got.batch.num_rows, got.dead) == (0, ())
    if not name.endswith("parquet"):
        (tmp_path / name).write_bytes(gzip.compress(b"") if name.endswith(".gz") else b"")
        assert read_all(tmp_path / name).batch.num_rows == 0


@pytest.mark.parametrize("name", ["a.ndjson.gz", "a.csv.gz"])
def test_a_truncated_archive_is_an_error_that_names_it(tmp_path, name):
    drawn = [fact(id=str(i), who=str(np.random.default_rng(i).random())) for i in range(2000)]
    path = WRITERS[name](tmp_path / name, drawn)
    path.write_bytes(path.read_bytes()[:-5000])
    with pytest.raises(InputError, match=rf"{name} cannot be read to its end \(EOFError\)"):
        read_all(path)


def test_what_is_no_archive(tmp_path):
    path = tmp_path / "a.jsonl.gz"
    path.write_text("{}")
    with pytest.raises(InputError, match=r"a\.jsonl\.gz cannot be read to its end"):
        read_all(path)


def test_a_file_that_went_away(tmp_path):
    for name in ("a.csv", "a.parquet"):
        path = WRITERS[name](tmp_path / name, [fact()])
        [split] = open_source(str(path), SMALL)
        path.unlink()
        with pytest.raises(InputError, match="out of reach"):
            list(read_split(split, SMALL))


def test_damage_within_a_parquet_file(tmp_path):
    path = write_parquet(tmp_path / "a.parquet", [fact(id=str(i)) for i in range(3000)])
    splits = open_source(str(path), SMALL)
    data = bytearray(path.read_bytes())
    data[4:20_000] = bytes(len(data[4:20_000]))
    path.write_bytes(data)
    with pytest.raises(InputError, match=r"a\.parquet cannot be read to its end"):
        for split in splits:
            list(read_split(split, SMALL))


@pytest.mark.parametrize("name", ["a.csv", "a.parquet"])
def test_a_file_of_something_else(tmp_path, name):
    path = tmp_path / name
    if name == "a.csv":
        path.write_text("x,y\n1,2\n")
    else:
        pq.write_table(pa.table({"x": [1]}), path)
    with pytest.raises(InputError, match=r"none of the config's columns \(Ident, at, count, good"):
        read_all(path)


@pytest.mark.parametrize("name", ["a.csv", "a.parquet"])
def test_one_name_twice(tmp_path, name):
    path, names = tmp_path / name, ["id", "at", "what", "who", "who"]
    if name == "a.csv":
        path.write_text(",".join(names) + "\n")
    else:
        pq.write_table(pa.Table.from_arrays([pa.array(["x"])] * 5, names=names), path)
    with pytest.raises(InputError, match="more than one column 'who'"):
        read_all(path)


def test_an_alias_in_a_header(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text(f"Ident,at,what\nx,{NOON},note\n")
    assert read_all(path).batch.column("event_id").to_pylist() == ["x"]


def test_an_error_holds_nothing_of_the_file(tmp_path):
    path = tmp_path / "a.csv"
    path.write_bytes(b"\xffsecret,name\n")
    with pytest.raises(InputError) as caught:
        read_all(path)
    assert "secret" not in str(caught.value)


ARRAY = json.dumps([fact(id=str(i)) for i in range(3)])


@pytest.mark.parametrize(
    ("text", "what"),
    [
        (ARRAY, "an array"),
        (ARRAY + "\n", "an array"),
        ("\n" + ARRAY.replace("}, ", "},\n"), "an array"),
        (json.dumps(json.loads(ARRAY), indent=1), "an array"),
        ("[" + "".join(f"\n {json.dumps(one)}," for one in json.loads(ARRAY)), "an array"),
        (json.dumps(fact(), indent=2), "an object that goes over several lines"),
        (json.dumps(fact()).replace(", ", ",\n"), "an object that goes over several lines"),
        ("[" + ARRAY[1:-1].replace("}, ", "}, " + " " * 500_000) + "]", "an array"),
    ],
)
@pytest.mark.parametrize("ending", ["json", "jsonl.gz"])
def test_json_that_is_not_one_object_a_line(tmp_path, text, what, ending):
    path = tmp_path / f"a.{ending}"
    data = text.encode()
    path.write_bytes(gzip.compress(data) if ending.endswith("gz") else data)
    with pytest.raises(InputError, match=f"this is {what}, and one JSON object a line is"):
        read_all(path)


def test_an_array_among_lines_dies_alone(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_text(f"[{{}}]\n{json.dumps(fact())}\n[1]\n")
    made = read_all(path)
    assert made.batch.num_rows == 1
    assert fates(made) == {0: "not_an_object", 2: "not_an_object"}


def test_a_csv_file_with_blank_lines_above_a_header_of_several_lines(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text(f'\n\nid,at,what,who,"notes\n(optional)"\na,{NOON},act,w,x\n\nb,{NOON},act,,\n')
    made = read_all(path)
    assert made.batch.column("event_id").to_pylist() == ["a"]
    assert made.positions.tolist() == [4]
    assert fates(made) == {6: "missing_column"}


def test_tabs_separate_the_fields_of_tsv(tmp_path):
    path = tmp_path / "a.tsv"
    path.write_text(f'id\tat\twhat\twho\na\t{NOON}\tact\t"w, or v"\n')
    assert read_all(path).batch.column("who").to_pylist() == ["w, or v"]
