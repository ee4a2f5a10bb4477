"""A world whose scored events see velocity, language, near copies and the social graph."""

import datetime as dt
import json
import random
import shutil
import string
from types import SimpleNamespace

from bundle_world import make_parts
from social_world import AS_OF, DAY, PUBLISHED
from social_world import make_events as make_edges

from configs.loader import load
from pipelines.graph import make_snapshots
from pipelines.layout import day_us
from pipelines.shard_files import SnapshotRequest
from pipelines.snapshots import GRAPH
from scoring.bundle import write_bundle
from scoring.store import Store
from transforms.catalog import CATALOG

BANDS = (1, 2, 3, 4)
DELAY = 3 * DAY // 24
_BANDS = "\n".join(f"  band_{n}: {{op: near_duplicate, of: clean, band: {n}}}" for n in BANDS)
_COPIES = "\n".join(
    f"  copies_{n}: {{key: {{post: [band_{n}]}}, aggregates: "
    "{authors: {op: distinct, of: post, column: who, windows: [1d]}}}"
    for n in BANDS
)
CONFIG = f"""
lockstep: 1
name: families
shards: 4
events: {{max_dead_share: 0.1}}
columns:
  who: {{type: string, private: true}}
  whom: {{type: string, private: true}}
  text: {{type: string, private: true}}
  subject: {{type: string}}
  bad: {{type: boolean}}
kinds:
  post: {{scored: true, required: [who, text]}}
  ask: {{required: [who, whom]}}
  accept: {{required: [who, whom]}}
  verdict: {{required: [subject, bad]}}
derive:
  clean: {{op: restore_text, of: text}}
  disguises: {{op: count_disguises, of: text}}
  mixed: {{op: count_mixed_words, of: text}}
{_BANDS}
entities:
  who:
    key: {{post: [who]}}
    windows: [1h, 1d]
    aggregates:
      posts: {{op: count, of: post}}
      disguised: {{op: sum, of: post, column: disguises, windows: [1d]}}
{_COPIES}
inputs:
  numeric: [disguises, mixed]
  computed:
    nearly_this_1d: "max({", ".join(f"copies_{n}_authors_1d" for n in BANDS)})"
    distrust_of_copier: "copies_1_authors_1d * author_graph_distrust"
  text: {{column: clean, buckets: 256, char_ngrams: [3, 5]}}
labels: {{kind: verdict, subject: subject, positive: "bad == 1", maturity: 1d}}
graph:
  judged: whom
  delay: 3h
  features: [in_degree, age, trust, distrust]
  edges:
    request: {{of: ask, from: who, to: whom, expires: 5d}}
    friend: {{of: accept, from: who, to: whom, expires: 300d, answers: request}}
    reply: {{of: post, from: who, to: whom, expires: 2d}}
  accounts: {{author: who, other: whom}}
policy: {{actions: {{block: {{min_precision: 0.8}}}}}}
"""
FAMILIES = ("who_posts_1d", "disguises", "nearly_this_1d", "author_graph_distrust")
"""A feature of each family."""
DAYS = tuple(AS_OF + dt.timedelta(days=days) for days in (-2, -1, 0))
"""Days whose events see snapshots: the first one's early events see none."""


def make_events(count):
    """Of eleven days, in order: those of the social world, whose posts now say something.

    Most copy one of four texts with a letter changed, often for one that looks like it.
    """
    rng = random.Random(5)
    lures = ["".join(rng.choices(string.ascii_lowercase + "   ", k=80)) for _ in range(4)]
    looks_like = str.maketrans("aceopx", "\u0430\u0441\u0435\u043e\u0440\u0445")  # Cyrillic
    events = make_edges(count)
    for event in events:
        text = "".join(rng.choices(string.ascii_lowercase + "    ", k=60))
        if rng.random() < 0.6:
            text = list(rng.choice(lures))
            for place in rng.sample(range(80), rng.randint(0, 3)):
                text[place] = text[place].translate(looks_like)
            text = "".join(text)
        event["text"] = text if event["kind"] == "post" else None
        del event["weight"]
    return sorted(events, key=lambda one: (one["event_time"], one["event_id"]))


def make_world(folder, count=2000, text=CONFIG, models=("booster", "linear")):
    """The events, all snapshots, and a bundle of each model, the first of which serves.

    Returns:
      `folder` with `events.jsonl`, `families.yaml` and `house` (bundles, snapshots); the spec, the
      events of `DAYS` in order, the names of the bundles.
    """
    folder.mkdir(parents=True, exist_ok=True)
    config, source, house = folder / "families.yaml", folder / "events.jsonl", folder / "house"
    config.write_text(text)
    spec, events = load(config, CATALOG), make_events(count)
    source.write_text("".join(json.dumps(one) + "\n" for one in events))
    asked = SnapshotRequest(spec, str(source), house, DAYS[0], PUBLISHED)
    make_snapshots(asked, DAYS)
    parts = [make_parts(model, path=config) for model in models]
    bundles = [write_bundle(one, house / "bundles").name for one in parts]
    Store(house / "bundles").promote(bundles[0])
    start, end = day_us(DAYS[0]), day_us(DAYS[-1]) + DAY
    return SimpleNamespace(
        folder=folder, house=house, source=source, spec=spec, bundles=bundles,
        events=[one for one in events if start <= one["event_time"] < end],
    )  # fmt: skip


def copy_world(world, folder):
    """The same with a folder of its own, in which only the first day's snapshot is published.

    Returns:
      the folder, and a function that publishes the snapshot of a day.
    """
    shutil.copytree(world.house, folder / "house")
    snapshots, aside = folder / "house" / GRAPH, folder / "aside"
    aside.mkdir()
    for day in DAYS[1:]:
        (snapshots / f"{day}.json").rename(aside / f"{day}.json")

    def publish(day):
        (aside / f"{day}.json").rename(snapshots / f"{day}.json")

    return folder, publish


def known_from(day):
    """The first event time that sees the snapshot of a day."""
    return day_us(day) + DELAY
