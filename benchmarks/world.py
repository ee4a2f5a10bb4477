"""What the benchmarks run on: a simulated chat stream, and the bundle of a small nightly run."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import msgspec
import pyarrow.parquet as pq

from configs.loader import load, shipped
from configs.schema import Spec
from pipelines.simulate import SimulateSettings, simulate
from transforms.catalog import CATALOG

START = dt.date(2026, 3, 1)
DAYS = 10


def chat() -> Spec:
    """The shipped chat config."""
    return load(shipped("chat"), CATALOG)


def simulated(root: Path, events: int, days: int = DAYS) -> Path:
    """A folder of about so many events over the days from `START` on; made once."""
    folder = root / f"input-{events}-{days}"
    if not folder.exists():
        simulate(SimulateSettings(folder, events=events, days=days, start=START))
    return folder


def trained(root: Path, events: int = 100_000, workers: int = 2) -> Path:
    """The store of a small nightly run, whose bundle serves: a graph and a model of real size."""
    from pipelines.nightly import NightlyRequest, nightly  # which contenders do not need

    out = root / "trained"
    if not out.exists():
        source = root / "training"
        simulate(SimulateSettings(source, events=events, days=14, start=START, seed=3))
        night = START + dt.timedelta(days=11)
        config = shipped("chat").read_text()
        nightly(NightlyRequest(chat(), config, str(source), out, night, workers=workers))
    return out / "bundles"


def second_night(root: Path) -> str:
    """A bundle of the nightly run after `trained`'s, in the same store; it does not serve yet."""
    from pipelines.nightly import NightlyRequest, nightly

    night = START + dt.timedelta(days=12)
    config = shipped("chat").read_text()
    source, out = str(root / "training"), root / "trained"
    asked = NightlyRequest(chat(), config, source, out, night, workers=2, promote=False)
    return nightly(asked).bundle


def stamp(time_us: int) -> str:
    """A time in microseconds UTC as events carry it.

    >>> stamp(1_772_323_200_000_001)
    '2026-03-01T00:00:00.000001+00:00'
    """
    seconds, fraction = divmod(time_us, 1_000_000)
    moment = dt.datetime.fromtimestamp(seconds, dt.UTC).replace(microsecond=fraction)
    return moment.isoformat(timespec="microseconds")


def messages(source: Path, count: int) -> list[bytes]:
    """The first events of a simulated folder as JSON, as a producer publishes them."""
    encode, found = msgspec.json.Encoder().encode, []
    for path in sorted(source.rglob("*.parquet")):
        for row in pq.read_table(path, partitioning=None).to_pylist():
            found.append(encode({key: value for key, value in row.items() if value is not None}))
            if len(found) == count:
                return found
    return found
