import datetime as dt
import json

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from configs.loader import loads
from transforms.catalog import CATALOG
from transforms.dead_letter import Reason
from transforms.decode import decode_columns, decode_json, event_schema, file_label
from transforms.json_records import read_json

PLAIN = """
lockstep: 1
name: plain
events: {id: id, time: at, kind: what, aliases: {ts: at}}
columns:
  who: {type: string, max_bytes: 40}
  count: {type: integer, minimum: 0}
  share: {type: number}
  good: {type: boolean}
  seen: {type: timestamp}
kinds:
  act: {scored: true, required: [who]}
  note: {}
"""
ROWS = """
lockstep: 1
name: rows
events: {aliases: {Sum: sum}}
ingest:
  - {kind: sale, id: number, time: at, columns: {amount: sum}}
  - kind: claim
    id: number
    time: claimed
    delay: 1h
    subject: {about: sale}
    columns: {fraud: bad}
    where: "not is_null(fraud)"
columns:
  amount: {type: number}
  about: {type: string}
  fraud: {type: boolean}
kinds:
  sale: {scored: true, required: [amount]}
  claim: {required: [about, fraud]}
"""
UNNAMED = """
lockstep: 1
name: unnamed
ingest:
  - {kind: sale, id: null, time: at}
columns:
  amount: {type: number}
kinds:
  sale: {scored: true}
"""
NOON = 1_772_366_400_000_000  # 2026-03-01T12:00:00Z
HOUR = 3_600_000_000


def spec_of(text):
    return loads(text, "test.yaml", CATALOG)


plain, rows, unnamed = map(spec_of, (PLAIN, ROWS, UNNAMED))


def fates(decoded):
    """Position -> reason and column of each dead letter."""
    return {one.position: (str(one.reason), one.column) for one in decoded.dead}


def json_of(spec, facts, **options):
    return decode_json(spec, [json.dumps(fact).encode() for fact in facts], "f", **options)


def table_of(spec, facts, **options):
    names = dict.fromkeys(name for fact in facts for name in fact)
    table = pa.table({name: [fact.get(name) for fact in facts] for name in names})
    return decode_columns(spec, table, "f", **options)


def act(**changes):
    return {"id": "a", "at": NOON, "what": "act", "who": "w"} | changes


@pytest.mark.parametrize("decode", [json_of, table_of])
class TestBothWays:
    def test_an_event_has_all_columns_in_order(self, decode):
        decoded = decode(plain, [act(count=3, share=0.5, good=True, seen="1970-01-01", more=1)])
        assert decoded.batch.schema == event_schema(plain)
        assert decoded.batch.to_pylist() == [
            {
                "event_id": "a",
                "event_time": NOON,
                "kind": "act",
                "who": "w",
                "count": 3,
                "share": 0.5,
                "good": True,
                "seen": 0,
            }
        ]
        assert decoded.dead == ()

    def test_a_faulty_row_dies_alone_with_its_first_fault(self, decode):
        facts = [act(), act(count=-1, share="x"), act(who=None), act(what="dance"), act(id="b")]
        decoded = decode(plain, facts, first_position=10)
        assert fates(decoded) == {
            11: ("out_of_range", "count"),
            12: ("missing_column", "who"),
            13: ("unknown_kind", "kind"),
        }
        assert decoded.positions.tolist() == [10, 14]

    def test_a_kind_need_not_have_what_another_needs(self, decode):
        assert decode(plain, [act(what="note", who=None)]).batch.num_rows == 1

    def test_no_rows(self, decode):
        decoded = decode(plain, [])
        assert decoded.batch.schema == event_schema(plain)
        assert decoded.batch.num_rows == len(decoded.positions) == len(decoded.dead) == 0

    def test_a_missing_column_kills_each_row(self, decode):
        decoded = decode(plain, [{"at": NOON, "what": "act"}] * 2)
        assert fates(decoded) == dict.fromkeys((0, 1), ("missing_column", "event_id"))

    def test_an_alias_stands_in(self, decode):
        fact = {"id": "a", "ts": NOON, "what": "note"}
        assert decode(plain, [fact]).batch.column("event_time").to_pylist() == [NOON]

    def test_positions_need_not_follow_each_other(self, decode):
        decoded = decode(plain, [act(), act(count="x")], positions=np.array([5, 50]))
        assert decoded.positions.tolist() == [5]
        assert fates(decoded) == {50: ("wrong_type", "count")}

    def test_a_row_makes_an_event_per_rule(self, decode):
        fact = {"number": 7, "at": NOON, "claimed": NOON + HOUR, "sum": 2.5, "bad": True}
        decoded = decode(rows, [fact])
        assert decoded.batch.to_pylist() == [
            {
                "event_id": "sale:7",
                "event_time": NOON,
                "kind": "sale",
                "amount": 2.5,
                "about": None,
                "fraud": None,
            },
            {
                "event_id": "claim:7",
                "event_time": NOON + 2 * HOUR,
                "kind": "claim",
                "amount": None,
                "about": "sale:7",
                "fraud": True,
            },
        ]
        assert decoded.positions.tolist() == [0, 0]

    def test_a_row_that_a_rule_does_not_want_is_not_its_fault(self, decode):
        fact = {"number": 7, "at": NOON, "claimed": None, "sum": 2.5, "bad": None}
        decoded = decode(rows, [fact, fact | {"claimed": "never"}])
        assert decoded.dead == ()
        assert decoded.batch.column("event_id").to_pylist() == ["sale:7", "sale:7"]

    def test_whether_a_rule_wants_a_row_must_be_plain(self, decode):
        facts = [{"number": i, "at": NOON, "claimed": NOON, "sum": 1, "bad": bad}
                 for i, bad in enumerate(["1", "0", "maybe"])]  # fmt: skip
        decoded = decode(rows, facts)
        assert fates(decoded) == {2: ("wrong_type", "fraud")}
        assert decoded.batch.column("event_id").to_pylist() == [
            "sale:0", "sale:1", "sale:2", "claim:0", "claim:1",
        ]  # fmt: skip

    def test_a_row_faulty_for_both_rules_is_one_dead_letter(self, decode):
        fact = {"number": None, "at": NOON, "claimed": NOON, "sum": 1.0, "bad": True}
        assert fates(decode(rows, [fact])) == {0: ("missing_column", "event_id")}

    def test_an_alias_of_a_rules_column(self, decode):
        fact = {"number": 7, "at": NOON, "Sum": 2.5}
        assert decode(rows, [fact]).batch.column("amount").to_pylist() == [2.5]

    def test_rows_without_a_name_are_named_by_file_and_position(self, decode):
        decoded = decode(unnamed, [{"at": NOON, "amount": 1.0}] * 2, first_position=70)
        assert decoded.batch.column("event_id").to_pylist() == ["sale:f#70", "sale:f#71"]


def test_the_file_label_keeps_hive_partitions():
    assert file_label("/a/b=1/c/date=2026-03-01/hour=2/x.parquet") == (
        "date=2026-03-01/hour=2/x.parquet"
    )
    assert file_label("x") == "x"


def test_columns_of_the_types_that_files_have():
    moment = dt.datetime(2026, 3, 1, 12, tzinfo=dt.UTC)
    table = pa.table(
        {
            "id": pa.chunked_array([pa.array([1], pa.int32()), pa.array([2], pa.int32())]),
            "at": pa.array([moment, moment], pa.timestamp("ns", "UTC")),
            "what": pa.array(["act", "act"]).dictionary_encode(),
            "who": pa.array(["x", "y"], pa.large_string()),
            "count": pa.array([1.0, None]),
            "share": pa.array([1, None], pa.int8()),
            "good": pa.array([1, 0], pa.int64()),
            "seen": pa.array([dt.date(1970, 1, 2), None]),
        }
    )
    decoded = decode_columns(plain, table, "f")
    assert decoded.dead == ()
    assert decoded.batch.to_pylist()[0] == {
        "event_id": "1",
        "event_time": NOON,
        "kind": "act",
        "who": "x",
        "count": 1,
        "share": 1.0,
        "good": True,
        "seen": 24 * HOUR,
    }


def test_of_two_columns_with_one_name_the_first_counts():
    table = pa.Table.from_arrays(
        [pa.array(["a"]), pa.array([NOON]), pa.array(["note"]), pa.array(["b"])],
        ["id", "at", "what", "id"],
    )
    assert decode_columns(plain, table, "f").batch.column("event_id").to_pylist() == ["a"]


def test_times_outside_of_what_the_config_allows():
    narrow = spec_of(
        PLAIN.replace("kind: what", "kind: what, earliest: 2026-01-01, latest: 2026-12-31")
    )
    decoded = json_of(narrow, [act(), act(at="2025-12-31T23:59:59.999999Z"), act(at="2027-02-01")])
    assert fates(decoded) == dict.fromkeys((1, 2), ("bad_time", "event_time"))


times = st.one_of(
    st.integers(NOON, NOON + 10**12),
    st.datetimes(dt.datetime(2026, 1, 1), dt.datetime(2027, 1, 1)).map(dt.datetime.isoformat),
    st.sampled_from([None, -1, "soon", ""]),
)
facts = st.fixed_dictionaries(
    {
        "id": st.one_of(st.none(), st.text(max_size=5)),
        "at": times,
        "what": st.sampled_from(["act", "note", "dance", None]),
        "who": st.one_of(st.none(), st.text(max_size=12), st.just("w" * 41)),
        "count": st.one_of(st.none(), st.integers(-3, 2**63 - 1)),
        "share": st.one_of(st.none(), st.floats(allow_nan=False, allow_infinity=False)),
        "good": st.one_of(st.none(), st.booleans()),
        "seen": st.one_of(st.none(), st.integers(0, 2**50)),
    }
)


def as_text(fact):
    """The fact as CSV has it: everything is text, and nothing is an empty field."""
    texts = {
        name: json.dumps(value) if isinstance(value, bool) else str(value)
        for name, value in fact.items()
        if value is not None
    }
    return {name: text for name, text in texts.items() if text != ""}


@given(st.lists(facts, min_size=1, max_size=8))
def test_the_same_facts_are_the_same_events(drawn):
    for fact in drawn:  # CSV cannot tell an empty text from none
        fact |= {name: fact[name] or None for name in ("id", "at", "who")}
    typed = [fact | {"at": str(fact["at"]) if fact["at"] is not None else None} for fact in drawn]
    names = {name: pa.string() for name in ("id", "at", "what", "who")}
    native = pa.schema(
        names | {"count": pa.int64(), "share": pa.float64(), "good": pa.bool_(), "seen": pa.int64()}
    )
    from_parquet = decode_columns(plain, pa.Table.from_pylist(typed, native), "f")
    text = pa.schema({name: pa.string() for name in native.names})
    from_csv = decode_columns(plain, pa.Table.from_pylist(list(map(as_text, drawn)), text), "f")
    from_json = json_of(plain, drawn)
    for other in (from_csv, from_json):
        assert other.batch.equals(from_parquet.batch)
        assert other.positions.tolist() == from_parquet.positions.tolist()
        assert fates(other) == fates(from_parquet)


literals = st.one_of(
    st.from_regex(r"\A-?(0|[1-9][0-9]{0,20})(\.[0-9]{1,3})?([eE][+-]?[0-9]{1,3})?\Z"),
    st.integers(-(2**70), 2**70).map(str),
    st.sampled_from(["-0", "-0.0", "1.0", "1e0", "1.00", "0.0", "1e999", "1E400", "5e-324"]),
    st.sampled_from(["12345678901234567.0", "1767225600000000.0", "1.7672256e15", "1e18", "1e19"]),
)


@given(st.sampled_from(["count", "share", "good", "seen", "at"]), literals)
def test_a_number_is_the_same_in_json_and_in_csv(column, literal):
    """Bit for bit, or the same fault; text is another matter (docs/input.md)."""
    record = json.dumps(act() | {column: "HERE"}).replace('"HERE"', literal).encode()
    from_json = decode_json(plain, [record], "f")
    table = pa.table({name: [str(value)] for name, value in (act() | {column: literal}).items()})
    from_csv = decode_columns(plain, table, "f")
    assert fates(from_json) == fates(from_csv)
    assert repr(from_json.batch.to_pylist()) == repr(from_csv.batch.to_pylist())


@pytest.mark.parametrize(
    ("at", "unit"),
    [
        (1_772_366_400, "s"),
        (1_772_366_400_000, "ms"),
        ("1772366400", "s"),
        (1_772_366_400_000_000_000, "ns"),
        ("1772366400.5", "s"),
        (1_772_366_400.5, "s"),
    ],
)
def test_numbers_of_another_unit_are_refused_with_the_setting_that_says_so(at, unit):
    [letter] = json_of(plain, [act(at=at)]).dead
    assert (letter.reason, letter.column) == (Reason.BAD_TIME, "event_time")
    assert f"say `events: {{time_unit: {unit}}}`" in letter.detail
    assert "microseconds since 1970" in letter.detail and "1772" not in letter.detail


@pytest.mark.parametrize("at", ["1998-05-05", "1970-01-21T12:00:00Z"])
def test_a_time_that_no_unit_brings_within_is_refused_with_the_bounds(at):
    [letter] = json_of(plain, [act(at=at)]).dead
    assert "say `events: {earliest: 1990-01-01}`" in letter.detail
    assert "time_unit: " not in letter.detail


def test_what_is_not_utf8_is_refused_with_the_setting_that_names_an_encoding():
    [letter] = decode_json(plain, [b'{"name": "M\xfcller"}'], "f").dead
    assert letter.reason == Reason.NOT_UTF8 and "`events.encoding`" in letter.detail


def test_a_huge_number_in_a_member_that_nobody_named_is_ignored():
    record = json.dumps(act()).replace("}", ', "more": 1e999, "share": 0.5}').encode()
    decoded = decode_json(plain, [record, record.replace(b"0.5", b"1e999")], "f")
    assert decoded.batch.column("share").to_pylist() == [0.5]
    assert fates(decoded) == {1: ("not_finite", "share")}


@pytest.fixture
def bomb(monkeypatch):
    """A decoder with a bug: it fails on any call that holds this text."""

    def read(records, *rest, **options):
        if any(b"bomb" in record for record in records):
            raise ValueError("bomb of an account")
        return read_json(records, *rest, **options)

    monkeypatch.setattr("transforms.decode.read_json", read)


def test_a_record_that_makes_the_decoder_fail_dies_alone(bomb):
    names = ["a", "b", "bomb", "c", "d", "bomb", "e"]
    decoded = json_of(plain, [act(id=name) for name in names], first_position=10)
    assert decoded.batch.column("event_id").to_pylist() == ["a", "b", "c", "d", "e"]
    assert decoded.positions.tolist() == [10, 11, 13, 14, 16]
    assert fates(decoded) == {at: ("internal_error", None) for at in (12, 15)}
    assert all("ValueError" in one.detail and "bomb" not in one.detail for one in decoded.dead)
    assert fates(json_of(plain, [act(id="bomb")])) == {0: ("internal_error", None)}


def test_a_decoder_that_fails_on_everything_is_no_records_fault(bomb):
    with pytest.raises(ValueError, match="bomb"):
        json_of(plain, [act(id="bomb")] * 20)


def test_want_of_memory_is_no_records_fault(monkeypatch):
    def read(*given, **options):
        raise MemoryError

    monkeypatch.setattr("transforms.decode.read_json", read)
    with pytest.raises(MemoryError):
        json_of(plain, [act()])


@given(st.lists(facts, min_size=1, max_size=12), st.integers(1, 5))
def test_any_cut_gives_the_same(drawn, size):
    whole = json_of(plain, drawn)
    parts = [
        json_of(plain, drawn[i : i + size], first_position=i) for i in range(0, len(drawn), size)
    ]
    assert [row for part in parts for row in part.batch.to_pylist()] == whole.batch.to_pylist()
    assert [letter for part in parts for letter in part.dead] == list(whole.dead)


JUDGED = """
lockstep: 1
name: judged
columns: {who: {type: string}, spam: {type: boolean}, of: {type: string}}
kinds: {post: {scored: true}, report: {}, verdict: {}}
ingest:
  - {kind: post, id: id, time: at, delay: 1s}
  - {kind: report, id: id, time: at}
  - {kind: verdict, id: id, time: known, subject: {of: post}}
entities: {who: {key: {post: [who]}, windows: [1d], aggregates: {n: {op: count, of: post}}}}
labels: {kind: verdict, subject: of, positive: "spam == 1"}
"""


def judged(known):
    spec = loads(JUDGED, "judged.yaml", CATALOG)
    row = {"id": "1", "at": "2026-03-01T00:00:05", "known": known, "who": "a", "spam": True}
    return decode_json(spec, [json.dumps(row).encode()], "a.jsonl")


def test_only_the_verdict_gets_the_label_of_a_row():
    batch = judged("2026-03-02T00:00:00").batch
    assert batch.column("kind").to_pylist() == ["post", "report", "verdict"]
    assert batch.column("spam").to_pylist() == [None, None, True]
    assert batch.column("who").to_pylist() == ["a", "a", "a"]


def test_a_verdict_that_is_earlier_than_what_it_judges_is_dead_lettered():
    assert judged("2026-03-01T00:00:06").dead == ()
    made = judged("2026-03-01T00:00:05")
    assert made.batch.column("kind").to_pylist() == ["post", "report"]
    assert [(one.reason, one.column) for one in made.dead] == [(Reason.BAD_TIME, "event_time")]


def test_folders_of_a_path_are_columns():
    path = "in/who=a%20b/count=7/day=2026-03-01/good=__HIVE_DEFAULT_PARTITION__/seen=1.csv"
    rows = {
        "id": ["1", "2"],
        "at": ["2026-03-01"] * 2,
        "what": ["act", "act"],
        "share": [0.5, None],
    }
    table = decode_columns(spec_of(PLAIN), pa.table(rows), path)
    lines = [json.dumps({name: rows[name][row] for name in rows}).encode() for row in (0, 1)]
    for made in (table, decode_json(spec_of(PLAIN), lines, path)):
        assert made.dead == ()
        assert made.batch.column("who").to_pylist() == ["a b", "a b"]
        assert made.batch.column("count").to_pylist() == [7, 7]
        assert made.batch.column("good").null_count == made.batch.column("seen").null_count == 2
        assert made.columns == {"id", "at", "what", "share", "who", "count"}
    own = decode_columns(spec_of(PLAIN), pa.table({**rows, "who": ["x", "y"]}), path)
    assert own.batch.column("who").to_pylist() == ["x", "y"], "a file's own column goes first"
    member = decode_json(spec_of(PLAIN), [lines[0][:-1] + b', "who": "x"}', lines[1]], path)
    assert member.batch.column("who").to_pylist() == ["x", "a b"]
