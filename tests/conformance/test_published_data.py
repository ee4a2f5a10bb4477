"""Days of published data on every runner: real ties, one key with a third of the events."""

import datetime as dt

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from backfill_world import tree_bytes
from bundle_world import written
from conformance_world import assert_golden, digests, golden
from engines import ROOT, at_parallelism

from configs.loader import load, shipped
from pipelines.backfill import BackfillRequest, backfill
from pipelines.layout import DAY_US, Days
from transforms.catalog import CATALOG

# Data set -> file, its time column, the days that are taken, at most so many rows of them.
SLICES = {
    "darpa_edges": ("darpa-edges/edges.parquet", "time", "1998-06-01..1998-06-03", 20_000),
    "card_fraud": ("fraud-handbook/transactions.parquet", "TX_DATETIME", "2018-04-01..2018-04-09",
                   20_000),
}  # fmt: skip


def write_slice(data, name, folder, untied=False):
    """Some rows of a data set as two files, the later half first.

    Args:
      data: folder of the data sets.
      untied: leave one row of each time of day, so that no rule of ties decides, also not between
        an event and a verdict that comes days after its own.
    """
    path, time, days, rows = SLICES[name]
    table = pq.read_table(data / path, partitioning=None)
    end = dt.datetime.combine(Days.parse(days).last + dt.timedelta(days=1), dt.time())
    limit = pa.scalar(end).cast(table.schema.field(time).type)
    table = table.filter(pc.less(table.column(time), limit))
    if untied:
        times = table.column(time).cast(pa.timestamp("us")).cast(pa.int64()).to_numpy() % DAY_US
        table = table.take(np.sort(np.unique(times, return_index=True)[1]))
    table = table.take(pa.array(range(0, len(table), -(-len(table) // rows))))
    folder.mkdir()
    half = len(table) // 2
    pq.write_table(table.slice(half), folder / "a.parquet")
    pq.write_table(table.slice(0, half), folder / "b.parquet")


@pytest.fixture(scope="module")
def slices(shared_data, tmp_path_factory):
    """A function from a data set to its spec, a bundle, its slice, and its days."""
    folder, made = tmp_path_factory.mktemp("slices"), set()

    def slice_of(name, untied=False):
        place = folder / f"{name}{'-untied' if untied else ''}"
        if place not in made:
            write_slice(shared_data, name, place, untied)
            made.add(place)
        config = ROOT / "benchmarks" / f"{name}.yaml"
        config = config if config.exists() else shipped(name)
        spec, bundle = load(config, CATALOG), written(config=config)
        return spec, bundle, place, Days.parse(SLICES[name][2])

    return slice_of


@pytest.fixture(scope="module")
def expected(slices, tmp_path_factory):
    """A function from a data set to what the embedded runner makes: a folder."""
    folder = tmp_path_factory.mktemp("published")

    def of(name, untied=False):
        spec, bundle, source, days = slices(name, untied)
        if not (folder / source.name).exists():
            backfill(BackfillRequest(spec, str(source), folder / source.name, days, bundle=bundle))
        return folder / source.name

    return of


@pytest.mark.parametrize("name", SLICES)
def test_what_the_last_release_made(name, slices, expected):
    source = slices(name, untied=True)[2]
    assert_golden(digests(expected(name, untied=True), source), golden()["published"][name])


@pytest.mark.parametrize("name", SLICES)
@pytest.mark.slow
def test_two_workers_give_the_same_bytes(name, tmp_path, slices, expected):
    spec, bundle, source, days = slices(name)
    out = tmp_path / "out"
    backfill(BackfillRequest(spec, str(source), out, days, bundle=bundle, workers=2))
    assert tree_bytes(out) == tree_bytes(expected(name))


@pytest.mark.parametrize("name", SLICES)
@pytest.mark.parametrize("runner", ["prism", "flink"])
@pytest.mark.slow
def test_published_data_gives_the_same_bytes(runner, name, request, tmp_path, slices, expected):
    flags = request.getfixturevalue(runner)
    spec, bundle, source, days = slices(name)
    backfill(BackfillRequest(spec, str(source), tmp_path / "out", days, bundle=bundle, flags=flags))
    actual, there = tree_bytes(tmp_path / "out"), tree_bytes(expected(name))
    assert sorted(actual) == sorted(there)
    assert [file for file in actual if actual[file] != there[file]] == []


@pytest.mark.slow
def test_other_files_order_and_parallelism_give_the_same_values(flink, tmp_path, slices, expected):
    """Minutes with hundreds of connections: which comes first is decided by no file or worker."""
    spec, bundle, source, days = slices("darpa_edges")
    table = pq.read_table(source)
    table = table.take(np.random.default_rng(5).permutation(len(table)))
    (tmp_path / "in").mkdir()
    for n, rows in enumerate(np.array_split(np.arange(len(table)), 5)):
        pq.write_table(table.take(rows), tmp_path / "in" / f"{n}.parquet")
    backfill(BackfillRequest(spec, str(tmp_path / "in"), tmp_path / "out", days, bundle=bundle,
                             flags=at_parallelism(flink, 1)))  # fmt: skip
    assert digests(tmp_path / "out", tmp_path / "in") == digests(expected("darpa_edges"), source)
