"""What others take for parts of the same work: polars, DuckDB, TFT alone.

The windows count events and sum a number per key, strictly before the event, without distinct
counts; exact windows where ours are tiled.
"""

from __future__ import annotations

from pathlib import Path

import duckdb
import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from configs.schema import Spec
from pipelines.meter import Meter
from scoring.bundle import load_bundle
from scoring.scorer import Scorer
from transforms.catalog import CATALOG
from transforms.executor import Executor
from transforms.inputs import numeric_names

WINDOWS = ("1m", "1h", "1d", "10d")
KEYS = ("author_id", "channel_id", "text", "client")


def polars_rolling(source: Path) -> int:
    """Counts and sums by polars' `rolling`, key by key, window by window."""
    frame = (
        pl.scan_parquet(str(source / "**" / "*.parquet"))
        .filter(pl.col("kind") == "message")
        .select("sent_at", "recipients", *KEYS)
        .sort("sent_at")
        .collect()
    )
    rows = 0
    for key in KEYS:
        for window in WINDOWS:
            made = frame.rolling("sent_at", period=window, closed="left", group_by=key).agg(
                pl.len().alias("n"), pl.col("recipients").sum().alias("s")
            )
            rows = len(made)
    return rows


def duckdb_windows(source: Path) -> int:
    """Counts and sums by DuckDB's range windows, all in one query per key."""
    connection = duckdb.connect()
    connection.execute("set threads to 2")
    spans = {"1m": "1 minute", "1h": "1 hour", "1d": "1 day", "10d": "10 days"}
    rows = 0
    for key in KEYS:
        columns = ", ".join(
            f"count(*) over w{name} as n{name}, sum(recipients) over w{name} as s{name}"
            for name in WINDOWS
        )
        windows = ", ".join(
            f"w{name} as (partition by {key} order by sent_at range between interval "
            f"'{spans[name]}' preceding and interval '1 microsecond' preceding)"
            for name in WINDOWS
        )
        query = (
            f"create or replace temp table made as select {columns} from "
            f"read_parquet('{source}/*/*.parquet') where kind = 'message' window {windows}"
        )
        connection.execute(query)
        [(rows,)] = connection.sql("select count(*) from made").fetchall()
    return int(rows)


def graph_alone(bundle: Path, out: Path, meter: Meter) -> int:
    """TFT apply over a published dataset: reading is not measured."""
    loaded = load_bundle(bundle, CATALOG)
    numeric, batch = _dataset(loaded.spec, out)
    executor = Executor(loaded.graph, loaded.spec)
    executor.transform(numeric[:64], batch.slice(0, 64))
    with meter.step("graph"):
        executor.transform(numeric, batch)
    return len(numeric)


def score_alone(bundle: Path, out: Path, meter: Meter) -> int:
    """TFT apply, text model, XGBoost and calibration over a published dataset."""
    loaded = load_bundle(bundle, CATALOG)
    numeric, batch = _dataset(loaded.spec, out)
    scorer = Scorer(loaded)
    scorer.score(numeric[:64], batch.slice(0, 64))
    with meter.step("score"):
        scorer.score(numeric, batch)
    return len(numeric)


def _dataset(spec: Spec, out: Path) -> tuple[np.ndarray, pa.RecordBatch]:  # type: ignore[type-arg]
    parts = sorted((out / "features").rglob("*.parquet"))
    table = pa.concat_tables([pq.read_table(part, partitioning=None) for part in parts])
    table = table.slice(0, 500_000).combine_chunks()
    names = numeric_names(spec)
    numeric = np.stack([table.column(name).to_numpy() for name in names], 1)
    return np.ascontiguousarray(numeric, np.float32), table.to_batches()[0]
