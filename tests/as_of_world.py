"""A world whose scored events see snapshots of the social graph: days, a bundle, a scorer."""

import datetime as dt
import json
from types import SimpleNamespace

import numpy as np
import polars as pl
from bundle_world import make_parts
from social_world import AS_OF, CONFIG, DAY, PUBLISHED, make_events

from configs.loader import loads
from pipelines.graph import make_snapshots
from pipelines.layout import day_us
from pipelines.pubsub.micro_batch import MicroBatch
from pipelines.shard_files import SnapshotRequest
from pipelines.snapshots import seen_by
from pipelines.streaming.journal import Journal
from pipelines.streaming.service import Service
from scoring.bundle import load_bundle, write_bundle
from scoring.controls import NONE
from scoring.engine import Engine, Resident
from scoring.scorer import Scorer
from scoring.store import Store
from transforms.catalog import CATALOG
from transforms.decode import decode_json

POLICY = "policy: {actions: {block: {min_precision: 0.8}}}\n"
SEEN = """  accounts: {author: who, other: whom}
inputs:
  exclude: [other_graph_clustering]
  computed: {days_known: "author_graph_age / 86400"}
"""
DAYS = tuple(AS_OF + dt.timedelta(days=days) for days in (-2, -1, 0))
"""Days whose events see snapshots: the first one's early events see none."""


def text_of(shards=4, seen=SEEN):
    return CONFIG.replace("SHARDS", str(shards)) + seen + POLICY


def seeing_spec(shards=4):
    return loads(text_of(shards), "friends.yaml", CATALOG)


def make_world(folder):
    """Events of eleven days, the snapshots of the last three, and a promoted bundle."""
    spec, source = seeing_spec(), folder / "in"
    source.mkdir()
    events = sorted(make_events(2000), key=lambda one: (one["event_time"], one["event_id"]))
    (source / "events.jsonl").write_text("".join(json.dumps(one) + "\n" for one in events))
    config = folder / "friends.yaml"
    config.write_text(text_of())
    asked = SnapshotRequest(spec, str(source), folder / "out", DAYS[0], PUBLISHED)
    made = make_snapshots(asked, DAYS)
    bundle = write_bundle(make_parts(path=config), folder / "out" / "bundles")
    Store(folder / "out" / "bundles").promote(bundle.name)
    return SimpleNamespace(
        spec=spec, events=events, source=str(source), out=folder / "out", snapshots=made
    )


def rows_of(out):
    """What a backfill wrote, in one order."""
    frame = pl.read_parquet(str(out / "features" / "**" / "*.parquet"))
    return frame.sort("event_time", "event_id")


def of_days(world, days=DAYS):
    """Events of some days, in order."""
    start, end = day_us(days[0]), day_us(days[-1]) + DAY
    return [one for one in world.events if start <= one["event_time"] < end]


def run_scorer(world, out, state, between=None, size=7):
    """A cold scorer decides all days' events in order; what it published is kept in its log.

    Args:
      out: with `bundles` and `graph`.
      between: called with the time of the next event, between two micro-batches.
    """
    service = make_service(world.spec, out, state)
    events = of_days(world)
    for number, first in enumerate(range(0, len(events), size)):
        some = events[first : first + size]
        if between is not None:
            between(some[0]["event_time"])
        service.watch.look()
        service.process(micro_batch(world.spec, some, number))
    service.close()
    return service


def make_service(spec, out, state):
    """A cold scorer with what serves."""
    store = Store(out / "bundles")
    scorer = Scorer(load_bundle(store.path("serving"), CATALOG)).under(NONE)
    engine = Engine(spec, Resident.empty(spec), scorer, seen_by(spec, store.root))
    topic = SimpleNamespace(publish=lambda data: [])
    return Service(engine, Journal(state), 0, topic, store=store)


def micro_batch(spec, events, number):
    batch = decode_json(spec, [json.dumps(one).encode() for one in events], "test").batch
    count = batch.num_rows
    none = np.zeros(count, np.int64)
    return MicroBatch(number, batch, np.zeros(count, bool), (), none, (), None)
