"""Helpers of tests of decisions that name campaigns: events, snapshots of three days, a bundle."""

import datetime as dt
import json
import zlib
from types import SimpleNamespace

from bundle_world import make_parts
from campaign_world import AS_OF, CONFIG, DAY, PUBLISHED, make_events

from configs.loader import loads
from pipelines.campaigns import make_campaigns
from pipelines.layout import day_us
from pipelines.shard_files import SnapshotRequest
from scoring.bundle import write_bundle
from scoring.decision import DecisionPolicy, Threshold
from scoring.store import Store
from transforms.catalog import CATALOG

POLICY = "policy: {actions: {block: {min_precision: 0.8}}}\n"
LIMITED = (
    "policy: {actions: {block: {min_precision: 0.9, limit: {per: who, count: 1, in: 1d}}, "
    "hide: {min_precision: 0.8}}}\n"
)
NAMED = "  name_decisions: true\n"
DAYS = tuple(AS_OF + dt.timedelta(days=days) for days in (-2, -1, 0))


def text_of(more=NAMED, policy=POLICY):
    return CONFIG.replace("SHARDS", "4").replace("MORE", more) + policy


def promote(root, text):
    """A bundle that does something to all events; it serves."""
    root.mkdir(parents=True, exist_ok=True)
    path = root.parent / f"rings-{zlib.crc32(text.encode())}.yaml"  # parts are made once a path
    path.write_text(text)
    spec = loads(text, "rings.yaml", CATALOG)
    actions = tuple(Threshold(one.name, 0.0, 0.8) for one in spec.policy.actions)
    policy = DecisionPolicy(actions, spec.policy.default)
    Store(root).promote(write_bundle(make_parts(path=path, policy=policy), root).name)
    return spec


def make_named(folder, text):
    """An output folder with a bundle that serves and the snapshots of three days; its events."""
    events = sorted(make_events(), key=lambda one: (one["event_time"], one["event_id"]))
    (folder / "in").mkdir(parents=True)
    (folder / "in" / "all.jsonl").write_text("".join(json.dumps(one) + "\n" for one in events))
    out = folder / "out"
    spec = promote(out / "bundles", text)
    make_campaigns(SnapshotRequest(spec, str(folder / "in"), out, AS_OF, PUBLISHED), DAYS)
    start = day_us(DAYS[0])
    events = [one for one in events if start <= one["event_time"] < day_us(AS_OF) + DAY]
    return SimpleNamespace(spec=spec, out=out, events=events, store=Store(out / "bundles"))
