"""Where tiles are exact, windows equal DuckDB's: another engine, another language."""

import random

import duckdb
import numpy as np
import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from configs.loader import loads
from transforms.catalog import CATALOG
from transforms.decode import event_schema
from transforms.velocity import ShardState, entity_rows, finish, fold, make_plan

SPEC = loads(
    """
lockstep: 1
columns: {key: {type: string}, amount: {type: integer}}
kinds: {a: {scored: true}}
entities:
  k:
    key: {a: [key]}
    windows: [1h]
    aggregates:
      n: {op: count}
      total: {op: sum, column: amount}
      low: {op: min, column: amount}
      high: {op: max, column: amount}
""",
    "exact.yaml",
    CATALOG,
)
PLAN = make_plan(SPEC, "k")


@given(st.integers(0, 2**31))
def test_minutes_in_an_hour_of_sixty_tiles(seed):
    """Whole, different minutes per key: an hour then is the 59 minutes before, exactly."""
    rng = random.Random(seed)
    rows = sorted(
        {(rng.randrange(300), rng.choice("xyz")): rng.randrange(-50, 50) for _ in range(80)}.items()
    )
    minutes = [minute for (minute, _), _ in rows]
    table = pa.table(
        {"minute": minutes, "key": [key for (_, key), _ in rows], "amount": [v for _, v in rows]}
    )
    connection = duckdb.connect()
    connection.register("events", table)
    expected = connection.sql(
        "select count(*) over w, coalesce(sum(amount) over w, 0), min(amount) over w, "
        "max(amount) over w from events window w as (partition by key order by minute "
        "range between 59 preceding and 1 preceding) order by minute, key"
    ).fetchall()
    batch = pa.RecordBatch.from_pydict(
        {
            "event_id": [f"{i:04d}" for i in range(len(rows))],
            "event_time": [minute * 60_000_000 for minute in minutes],
            "kind": ["a"] * len(rows),
            "key": table.column("key").to_pylist(),
            "amount": table.column("amount").to_pylist(),
        },
        schema=event_schema(SPEC),
    )
    features = finish(PLAN, fold(PLAN, ShardState.empty(PLAN), entity_rows(PLAN, batch)).outputs)
    wanted = [[np.nan if value is None else value for value in row] for row in expected]
    np.testing.assert_array_equal(features, np.array(wanted, np.float32))
