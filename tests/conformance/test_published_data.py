"""Days of published data on every runner: real ties, one key with a third of the events."""

import datetime as dt

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from backfill_world import tree_bytes
from bundle_world import written
from engines import ROOT

from configs.loader import load, shipped
from pipelines.backfill import BackfillRequest, backfill
from pipelines.layout import Days
from transforms.catalog import CATALOG

# Data set -> file, its time column, the days that are taken, at most so many rows of them.
SLICES = {
    "darpa_edges": ("darpa-edges/edges.parquet", "time", "1998-06-01..1998-06-03", 20_000),
    "card_fraud": ("fraud-handbook/transactions.parquet", "TX_DATETIME", "2018-04-01..2018-04-09",
                   20_000),
}  # fmt: skip


@pytest.fixture(scope="module")
def slices(shared_data, tmp_path_factory):
    """A function from a data set to its spec, a bundle, its slice in two files, and its days."""
    folder, made = tmp_path_factory.mktemp("slices"), {}

    def slice_of(name):
        path, time, days, rows = SLICES[name]
        days = Days.parse(days)
        if name not in made:
            made[name] = folder / name
            made[name].mkdir()
            table = pq.read_table(shared_data / path, partitioning=None)
            end = dt.datetime.combine(days.last + dt.timedelta(days=1), dt.time())
            limit = pa.scalar(end).cast(table.schema.field(time).type)
            table = table.filter(pc.less(table.column(time), limit))
            table = table.take(pa.array(range(0, len(table), -(-len(table) // rows))))
            half = len(table) // 2
            pq.write_table(table.slice(half), made[name] / "a.parquet")  # the later half first
            pq.write_table(table.slice(0, half), made[name] / "b.parquet")
        config = ROOT / "benchmarks" / f"{name}.yaml"
        config = config if config.exists() else shipped(name)
        return load(config, CATALOG), written(config=config), made[name], days

    return slice_of


@pytest.fixture(scope="module")
def expected(slices, tmp_path_factory):
    """A function from a data set to what the embedded runner makes."""
    folder, made = tmp_path_factory.mktemp("published"), {}

    def of(name):
        if name not in made:
            spec, bundle, source, days = slices(name)
            backfill(BackfillRequest(spec, str(source), folder / name, days, bundle=bundle))
            made[name] = tree_bytes(folder / name)
        return made[name]

    return of


@pytest.mark.parametrize("name", SLICES)
@pytest.mark.slow
def test_two_workers_give_the_same_bytes(name, tmp_path, slices, expected):
    spec, bundle, source, days = slices(name)
    out = tmp_path / "out"
    backfill(BackfillRequest(spec, str(source), out, days, bundle=bundle, workers=2))
    assert tree_bytes(out) == expected(name)


@pytest.mark.parametrize("name", SLICES)
@pytest.mark.parametrize("runner", ["prism", "flink"])
@pytest.mark.slow
def test_published_data_gives_the_same_bytes(runner, name, request, tmp_path, slices, expected):
    flags = request.getfixturevalue(runner)
    spec, bundle, source, days = slices(name)
    backfill(BackfillRequest(spec, str(source), tmp_path / "out", days, bundle=bundle, flags=flags))
    actual = tree_bytes(tmp_path / "out")
    assert sorted(actual) == sorted(expected(name))
    assert [file for file in actual if actual[file] != expected(name)[file]] == []
