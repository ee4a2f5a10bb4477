"""Inputs and digests for the conformance suite: a deterministic stream for any config.

Every event has a time of its own, so no rule of ties decides; the same events, told by another
order, another split into files or another format, must give the same values.
"""

import datetime as dt
import functools
import hashlib
import json
import random
import re
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from bundle_world import written
from numpy._core._multiarray_umath import __cpu_features__

from configs.loader import load, shipped
from configs.schema import ColumnType
from pipelines.layout import Days
from transforms.catalog import CATALOG

START = dt.date(2026, 3, 1)
DAYS = 3
CONFIGS = ("chat", "card_fraud", "video_comments", "mail")
SCORED = ("score", "action", "model_inputs")
"""Columns that a bundle adds."""
_TEXTS = (
    "see you at noon",
    "WIN money now at http://bad.example.com/a?b=1",
    "free coins: www.coins.example and http://bad.example.com",
    "что нового? 42",
    "\uff57\uff49\uff4e \uff4d\uff4f\uff4e\uff45\uff59 \uff4e\uff4f\uff57",
    "",
    "🎉🎉🎉 you won!!! 🎉",
)
# A column that names whom an event is about, and how many of them there are.
_POOLS = {"subject_id": 200, "client": 4, "source": 3, "text": 0, "author": 25, "customer": 30}
_ROW_COLUMNS = {
    "card_fraud": ("TRANSACTION_ID", "TX_DATETIME", "CUSTOMER_ID", "TERMINAL_ID", "TX_AMOUNT",
                   "TX_FRAUD"),
    "video_comments": ("COMMENT_ID", "DATE", "AUTHOR", "VIDEO", "CONTENT", "CLASS"),
}  # fmt: skip


@functools.lru_cache
def spec_of(name):
    """A shipped config."""
    return load(shipped(name), CATALOG)


def bundle_of(name):
    """A bundle of a shipped config, made by rule."""
    return written(config=shipped(name))


def days_of(name):
    """The days of `rows_of`; those of card fraud reach on to where verdicts become known."""
    last = START + dt.timedelta(days=DAYS - 1 + (7 if name == "card_fraud" else 0))
    return Days(START, last)


def rows_of(name, count=3000, seed=11):
    """Rows of a shipped config's input, in the order of their times; the last are dead letters."""
    rng = random.Random(f"{name}-{seed}")
    span = DAYS * 86_400_000_000
    times = sorted(rng.sample(range(span), count))
    make = _mail if name == "mail" else _file_row if name in _ROW_COLUMNS else _event
    rows = [make(name, rng, number, time) for number, time in enumerate(times)]
    again = [dict(rows[n]) for n in range(50, count, 97)]  # deliveries that came twice
    return rows + again + _broken(name, rows[count // 2])


def write_lines(folder, rows, files=3):
    """JSON Lines, cut into so many files of consecutive rows."""
    folder.mkdir(parents=True)
    size = -(-len(rows) // files)
    for n in range(files):
        lines = (json.dumps(row) + "\n" for row in rows[n * size : (n + 1) * size])
        (folder / f"part-{n}.jsonl").write_text("".join(lines))
    return folder


def digests(out, source):
    """What a backfill made, by what it is: a hash of values in total order, not of files.

    Args:
      out: the output folder.
      source: the input, whose path dead letters carry.
    """
    found, order = {}, ["event_time", "event_id"]
    for day in sorted((out / "features").glob("date=*")):
        table = _of_parts(day)
        scored = [name for name in SCORED if name in table.column_names]
        found[f"features/{day.name}"] = digest(table.drop_columns(scored), order)
        if scored and table.num_rows:  # the release before wrote another type where there are none
            found[f"scores/{day.name}"] = digest(table.select([*order, *scored]), order)
    for day in sorted((out / "verdicts").glob("date=*")):
        # That release kept no source of verdicts.
        found[f"verdicts/{day.name}"] = digest(_of_parts(day, without=["source"]), order)
    for day in sorted((out / "state").glob("date=*")):
        groups = {}
        for path in sorted(day.glob("*.arrow")):
            name = re.sub(r"[-_]", "_", re.sub(r"-\d+-[0-9a-f]{16}$", "", path.stem))
            groups.setdefault(name, []).append(_arrow(path))
        for name, tables in groups.items():
            table = pa.concat_tables(tables)
            found[f"state/{day.name}/{name}"] = digest(table, table.column_names[:2])
    dead = [pq.read_table(path, partitioning=None) for path in out.glob("dead_letters/*.parquet")]
    if dead:
        table = pa.concat_tables([one.replace_schema_metadata(None) for one in dead])
        table = table.drop_columns("detail")  # words for people, which may be said better
        relative = pc.replace_substring(table.column("source"), f"{source}/", "")
        table = table.set_column(table.column_names.index("source"), "source", relative)
        found["dead_letters"] = digest(table, ["source", "position", "stage", "reason", "column"])
    return found


def digest(table, order):
    """SHA-256 of a table's names, types, nulls and values, rows sorted by some columns.

    >>> digest(pa.table({"a": [2, 1]}), ["a"]) == digest(pa.table({"a": [1, 2]}), ["a"])
    True
    >>> digest(pa.table({"a": [1.0]}), ["a"]) == digest(pa.table({"a": [-1.0]}), ["a"])
    False
    """
    keys = [(name, "ascending") for name in order if name in table.column_names]
    table = table.sort_by(keys) if keys else table
    total = hashlib.sha256()
    for name in sorted(table.column_names):
        column = table.column(name)
        if pa.types.is_dictionary(column.type):
            column = column.cast(column.type.value_type)
        array = pa.concat_arrays(column.chunks) if column.num_chunks else pa.array([], column.type)
        total.update(f"{name}:{array.type}:{len(array)}".encode())
        total.update(np.packbits(np.asarray(array.is_null())).tobytes())
        total.update(_values(array))
    return total.hexdigest()[:32]


def _values(array):
    if pa.types.is_fixed_size_list(array.type):
        return _values(array.flatten())
    if pa.types.is_floating(array.type) or pa.types.is_integer(array.type):
        filled = array.fill_null(0) if array.null_count else array
        return filled.to_numpy(zero_copy_only=False).tobytes()
    if pa.types.is_boolean(array.type):
        return np.packbits(np.asarray(array.fill_null(False))).tobytes()
    return json.dumps([v.hex() if isinstance(v, bytes) else v for v in array.to_pylist()]).encode()


def _of_parts(folder, without=()):
    parts = sorted(folder.glob("*.parquet"))
    table = pa.concat_tables([pq.read_table(part, partitioning=None) for part in parts])
    return table.drop_columns([name for name in without if name in table.column_names])


def _arrow(path):
    with pa.OSFile(str(path)) as source:
        return pa.ipc.open_file(source).read_all().replace_schema_metadata(None)


def _moment(time_us):
    moment = dt.datetime.combine(START, dt.time(), dt.UTC) + dt.timedelta(microseconds=time_us)
    return moment.isoformat(timespec="microseconds")


def _event(name, rng, number, time_us):
    """An event of a config whose rows are events: of a random kind, its columns by their types."""
    spec = spec_of(name)
    kind = rng.choice([*[k for k, v in spec.kinds.items() if v.scored] * 6, *spec.kinds])
    names = {"event_id": spec.events.id, "event_time": spec.events.time, "kind": spec.events.kind}
    row = {names["event_id"]: f"{kind}-{number}", names["event_time"]: _moment(time_us),
           names["kind"]: kind}  # fmt: skip
    for column in spec.columns.values():
        if column.name in spec.kinds[kind].required or rng.random() < 0.7:
            row[column.name] = _value(rng, column, number)
    return row


def _value(rng, column, number):
    if column.type is ColumnType.BOOLEAN:
        return rng.random() < 0.3
    if column.type is ColumnType.INTEGER:
        return rng.randrange(0, 500)
    if column.type is ColumnType.NUMBER:
        return round(rng.random() * 1e6, 3)
    if column.name == "text":
        return rng.choice(_TEXTS) + (f" {rng.randrange(40)}" if rng.random() < 0.5 else "")
    if column.name == "subject_id":
        return f"message-{rng.randrange(max(number, 1))}"
    return f"{column.name[:2]}{rng.randrange(_POOLS.get(column.name, 20))}"


def _file_row(name, rng, number, time_us):
    """A row of a published file, of which the config makes one or two events."""
    values = {
        "TRANSACTION_ID": number, "COMMENT_ID": f"c{number}",
        "TX_DATETIME": _moment(time_us), "DATE": _moment(time_us),
        "CUSTOMER_ID": rng.randrange(30), "TERMINAL_ID": rng.randrange(12),
        "TX_AMOUNT": round(rng.random() * 300, 2), "TX_FRAUD": int(rng.random() < 0.1),
        "AUTHOR": f"a{rng.randrange(25)}", "VIDEO": f"v{rng.randrange(3)}",
        "CONTENT": rng.choice(_TEXTS) + f" {rng.randrange(40)}", "CLASS": rng.choice([0, 1, None]),
    }  # fmt: skip
    return {column: values[column] for column in _ROW_COLUMNS[name]}


def _mail(name, rng, number, time_us):
    """What `sources.mail` makes of a mail."""
    return {
        "message_id": f"<m{number}@a.example>",
        "date": _moment(time_us),
        "sender": f"A B <s{rng.randrange(9)}@d{rng.randrange(6)}.example>",
        "subject": rng.choice(_TEXTS),
        "body": f"{rng.choice(_TEXTS)} {rng.randrange(40)}",
    }


def _broken(name, like):
    """Records that cannot be used, within what `max_dead_share` allows."""
    spec = spec_of(name)
    bad_time = {**like, spec.events.id: "t1", spec.events.time: "yesterday"}
    ids = _ROW_COLUMNS.get(name, (spec.events.id, spec.events.time))[:2]
    absurd = {**like, ids[0]: 999_999 if name == "card_fraud" else "t2", ids[1]: "1066-10-14"}
    return [bad_time | {ids[1]: "yesterday"}, absurd, {"nothing": "of use"}]


def vectors():
    """Vector instructions that numpy uses here; with others, last bits of a score may differ."""
    return sorted(name for name, there in __cpu_features__.items() if there and "AVX" in name)


def assert_golden(made, expected):
    """Digests are those of the release before; of scores, only with the vector instructions there.

    A score's last bits are those of the machine's vector instructions.
    """
    same = golden()["vectors"] == vectors()
    compared = [name for name in expected if same or not name.startswith("scores/")]
    assert made.keys() == expected.keys()
    assert {name: made[name] for name in compared} == {name: expected[name] for name in compared}
    assert any(name.startswith("scores/") for name in expected)


def golden(path=Path(__file__).parent / "conformance" / "golden" / "digests.json"):
    """The digests of the release before batch was one Beam text, by config."""
    return json.loads(path.read_text())
