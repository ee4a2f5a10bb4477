"""One total order: verdicts last, a sequence, numbers as numbers, no name of a kind or a file."""

import itertools
import random

import numpy as np
import pyarrow as pa
import pytest

from configs.errors import ConfigError
from configs.loader import loads
from transforms.catalog import CATALOG
from transforms.decode import decode_json, event_schema
from transforms.order import order_events, places, position_of, total_order

PLAIN = """
lockstep: 1
name: order
events: {id: id, time: t, kind: kind%(events)s}
columns: {who: {type: string}, seq: {type: integer}, bad: {type: boolean}, of: {type: string}%(id)s}
kinds: {post: {scored: true}, judged: {}, added: {}}
entities: {who: {key: {post: [who]}, windows: [1d], aggregates: {n: {op: count, of: post}}}}
labels: {kind: judged, subject: of, positive: "bad == 1"}
"""
ROWS = """
lockstep: 1
name: order
columns: {who: {type: string}, n: {type: integer}}
kinds: {post: {scored: true}, added: {}}
ingest: [{kind: post, time: t%(id)s}, {kind: added, time: t%(id)s}]
entities: {who: {key: {post: [who]}, windows: [1d], aggregates: {n: {op: count, of: post}}}}
"""


def plain(events="", number=False):
    text = PLAIN % {"events": events, "id": ", id: {type: integer}" if number else ""}
    return loads(text, "order.yaml", CATALOG)


def events(spec, *rows):
    """Rows of (id, kind) or (id, kind, other columns), all of one time."""
    made = [{"event_id": row[0], "event_time": 5, "kind": row[1], **dict(*row[2:])} for row in rows]
    return pa.RecordBatch.from_pylist(made, event_schema(spec))


def ids_in_order(spec, batch):
    return batch.column("event_id").take(pa.array(order_events(spec, batch))).to_pylist()


def test_a_verdict_comes_after_all_others_of_its_microsecond():
    spec = plain()
    batch = events(spec, ("a", "judged"), ("b", "added"), ("c", "post"), ("d", "post"))
    assert ids_in_order(spec, batch) == ["c", "d", "b", "a"]


def test_a_verdict_comes_last_whatever_the_sequence_says():
    spec = plain(", sequence: seq")
    batch = events(
        spec, ("a", "judged", {"seq": 1}), ("b", "added", {"seq": 2}), ("c", "post", {"seq": 3})
    )
    assert ids_in_order(spec, batch) == ["b", "c", "a"]


def test_a_sequence_orders_before_ids_and_as_numbers():
    spec = plain(", sequence: seq")
    numbers = {"a": 10, "b": 9, "c": -1, "d": None, "e": 2**62}
    batch = events(spec, *((one, "post", {"seq": n}) for one, n in numbers.items()))
    assert ids_in_order(spec, batch) == ["d", "c", "b", "a", "e"]


def test_all_ties_of_many_events():
    ids = [f"{i:07d}" for i in range(200_000)]
    random.Random(1).shuffle(ids)
    order = total_order(np.zeros(len(ids), np.int64), pa.array([one.encode() for one in ids]))
    assert [ids[i] for i in order] == sorted(ids)


def test_text_ids_order_as_bytes():
    spec = plain()
    names = [
        "b",
        "a",
        "10",
        "9",
        "",
        "a\0",
        "a\1",
        "a\0b",
        "é",
        "a\x02",
        "aa",
        "\U0001f600",
        "\ue000",
    ]
    batch = events(spec, *((name, "post") for name in names))
    texts = sorted((one for one in names if not one.isdigit()), key=str.encode)
    assert ids_in_order(spec, batch) == ["9", "10", *texts]


WHOLE = ["-9223372036854775807", "-10", "-9", "0", "9", "10", "1152921504606846976"]
WHOLE += ["1152921504606846977", "9223372036854775807", "9223372036854775808"]
WHOLE += ["9999999999999999999", "10000000000000000000", "18446744073709551615"]
NOT_WHOLE = ["", "+7", "-", "-0", "-9223372036854775808", "007", "1.0", "10 ", "9a", "a9"]
NOT_WHOLE += ["18446744073709551616", "99999999999999999999", "\u0661"]


@pytest.mark.parametrize("seed", range(3))
def test_ids_that_are_whole_numbers_order_so_without_a_declaration(seed):
    """Before all texts, and whatever the rest of the ids is."""
    spec, names = plain(), [*WHOLE, *NOT_WHOLE]
    random.Random(seed).shuffle(names)
    found = ids_in_order(spec, events(spec, *((name, "post") for name in names)))
    assert found == [*WHOLE, *sorted(NOT_WHOLE, key=str.encode)]


def test_whole_numbers_behind_a_kind_order_so_without_a_declaration():
    text = ROWS.replace("added: {}", "added: {scored: true}") % {"id": ", id: key"}
    spec = loads(text, "order.yaml", CATALOG)
    rows = [("post:10", "post"), ("added:9", "added"), ("post:a", "post"), ("post:100", "post")]
    batch = events(spec, *rows, ("post:b:7", "post"))
    assert ids_in_order(spec, batch) == ["added:9", "post:10", "post:100", "post:a", "post:b:7"]


def test_an_id_orders_the_same_as_a_number_and_as_a_text():
    spec = plain()
    found = []
    for quote in (b"", b'"'):
        record = b'{"id": %s%d%s, "t": "2026-03-01", "kind": "post", "who": "a"}'
        records = [record % (quote, number, quote) for number in (100, 9, 10, 2**62 + 1, 2**62)]
        batch = decode_json(spec, records, "a.jsonl").batch
        found.append(ids_in_order(spec, batch))
    assert found[0] == found[1] == ["9", "10", "100", str(2**62), str(2**62 + 1)]


@pytest.mark.parametrize("first", ["1", "9", "10", "1152921504606846976", "-2", "007"])
def test_integer_ids_order_as_numbers(first):
    spec = plain(number=True)
    names = ["10", "9", "1152921504606846977", "-10", "8"]
    batch = events(spec, *((name, "post") for name in [first, *names]))
    assert ids_in_order(spec, batch) == sorted([first, *names], key=int)


def test_integer_ids_of_ingest_rules_order_as_numbers_without_their_kind():
    spec = loads(ROWS % {"id": ", id: n"}, "order.yaml", CATALOG)
    batch = events(spec, ("post:10", "post"), ("post:9", "post"), ("post:100", "post"))
    assert ids_in_order(spec, batch) == ["post:9", "post:10", "post:100"]


def test_text_ids_of_ingest_rules_order_without_their_kind():
    text = ROWS.replace("added: {}", "added: {scored: true}") % {"id": ", id: key"}
    spec = loads(text, "order.yaml", CATALOG)
    batch = events(spec, ("added:b", "added"), ("post:a", "post"), ("added:c", "added"))
    assert ids_in_order(spec, batch) == ["post:a", "added:b", "added:c"]


def test_rows_without_ids_keep_the_order_of_their_file():
    spec = loads(ROWS % {"id": ""}, "order.yaml", CATALOG)
    records = [b'{"t": "2026-03-01T00:00:00", "who": "%d"}' % n for n in range(12)]
    batch = decode_json(spec, records, "/in/rows.jsonl").batch
    ordered = batch.take(pa.array(order_events(spec, batch)))
    assert ordered.column("who").to_pylist()[:12] == [str(n) for n in range(12)]
    assert ordered.column("kind").to_pylist() == ["post"] * 12 + ["added"] * 12


def test_a_files_name_decides_nothing():
    spec = loads(ROWS % {"id": ""}, "order.yaml", CATALOG)
    found = []
    for names in (("a", "b"), ("b", "a")):
        parts = [
            decode_json(spec, [b'{"t": "2026-03-01T00:00:00", "who": "%s"}' % who], name).batch
            for who, name in zip((b"x", b"y"), names, strict=True)
        ]
        batch = pa.concat_batches(parts)
        ordered = batch.take(pa.array(order_events(spec, batch)))
        found.append(ordered.column("who").to_pylist())
    assert found[0] == found[1]


def test_the_same_id_orders_by_contents_whatever_came_first():
    spec = plain()
    rows = [("1", "post", {"who": who, "seq": n}) for who, n in (("a", 1), ("a", 99), (None, 1))]
    found = {
        tuple(
            (row["who"], row["seq"])
            for row in batch.take(pa.array(order_events(spec, batch))).to_pylist()
        )
        for batch in (events(spec, *some) for some in itertools.permutations(rows))
    }
    assert len(found) == 1


def test_the_order_of_columns_in_the_config_does_not_count():
    spec = plain()
    other = loads(
        (PLAIN % {"events": "", "id": ""})
        .replace("who: {type: string}, ", "", 1)
        .replace("of: {type: string}", "of: {type: string}, who: {type: string}"),
        "order.yaml",
        CATALOG,
    )
    assert other.columns.keys() == spec.columns.keys()
    batch = events(spec, ("1", "post", {"who": "a"}), ("1", "post", {"who": "b", "seq": 3}))
    assert places(spec, batch).equals(places(other, batch))


@pytest.mark.parametrize("spec", [plain(), plain(", sequence: seq"), plain(number=True)])
def test_pieces_sort_together_by_time_and_place(spec):
    rng = np.random.default_rng(7)
    rows = [
        {
            "event_id": str(rng.integers(30)),
            "event_time": int(rng.integers(4)),
            "kind": str(rng.choice(["post", "judged", "added"])),
            "seq": None if rng.random() < 0.2 else int(rng.integers(-2, 3)),
            "who": str(rng.integers(3)),
        }
        for _ in range(400)
    ]
    batch = pa.RecordBatch.from_pylist(rows, event_schema(spec))
    pieces = [batch.slice(at, 57) for at in range(0, 400, 57)]
    place = pa.concat_arrays([places(spec, piece) for piece in pieces])
    time = batch.column("event_time").to_numpy()
    order = total_order(time, place)
    assert order.tolist() == order_events(spec, batch).tolist()
    found = [position_of(spec, batch, int(row)) for row in order]
    positions = [(one.time_us, one.place) for one in found]
    assert positions == sorted(positions)
    assert order.tolist() == sorted(
        range(400), key=lambda row: (int(time[row]), place[row].as_py())
    )


def test_a_sequence_must_be_an_integer_column():
    with pytest.raises(ConfigError, match="sequence: there is no integer column 'who'"):
        plain(", sequence: who")
