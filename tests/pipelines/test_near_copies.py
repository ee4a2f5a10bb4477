"""Distinct authors of near copies within an hour: as defined, in days and in the stream."""

import json
import random
import string

import numpy as np
import polars as pl
import pyarrow as pa
from as_of_world import make_service, micro_batch
from bundle_world import make_parts

from configs.loader import load
from pipelines.backfill import BackfillRequest, backfill
from pipelines.layout import Days, day_us, parse_day
from pipelines.parity import check_ideal
from pipelines.streaming.journal import Journal
from scoring.bundle import write_bundle
from scoring.store import Store
from transforms.catalog import CATALOG
from transforms.derive.near_duplicate import NearDuplicate
from transforms.inputs import numeric_names

BANDS = (1, 2, 3, 4)
DAY, HOUR, MINUTE = parse_day("2026-03-10"), 3_600_000_000, 60_000_000
_BANDS = "\n".join(f"  band_{n}: {{op: near_duplicate, of: clean, band: {n}}}" for n in BANDS)
_COPIES = "\n".join(
    f"  copies_{n}: {{key: {{message: [band_{n}]}}, aggregates: "
    "{authors: {op: distinct, of: message, column: author, windows: [1h]}}}"
    for n in BANDS
)
CONFIG = f"""
lockstep: 1
name: copies
shards: 3
columns:
  author: {{type: string, private: true}}
  text: {{type: string, private: true}}
  subject: {{type: string}}
  bad: {{type: boolean}}
kinds:
  message: {{scored: true, required: [author, text]}}
  verdict: {{required: [subject, bad]}}
derive:
  clean: {{op: normalize_text, of: text}}
{_BANDS}
entities:
{_COPIES}
inputs:
  computed:
    nearly_this_1h: "max({", ".join(f"copies_{n}_authors_1h" for n in BANDS)})"
labels: {{kind: verdict, subject: subject, positive: "bad == 1", maturity: 1d}}
policy: {{actions: {{block: {{min_precision: 0.8}}}}}}
"""


def make_messages(count=240):
    """Eleven authors copy four texts with a letter changed here and there; others write their own.

    A message every two minutes, so that a window of an hour holds some and drops others.
    """
    rng = random.Random(2)
    lures = ["".join(rng.choices(string.ascii_lowercase + "   ", k=90)) for _ in range(4)]
    made = []
    for number in range(count):
        text = list(rng.choice(lures))
        for place in rng.sample(range(90), rng.randint(0, 3)):
            text[place] = rng.choice(string.digits)
        own = "".join(rng.choices(string.ascii_lowercase, k=90))
        made.append(
            {
                "event_id": f"m{number:03d}",
                "event_time": day_us(DAY) + number * 2 * MINUTE,
                "kind": "message",
                "author": f"a{rng.randrange(11)}",
                "text": "".join(text) if rng.random() < 0.6 else own,
                "subject": None,
                "bad": None,
            }
        )
    return made


def expected(events):
    """By a loop: of each event, the most authors who share one of its bands, the hour before it.

    An hour is sixty tiles of a minute: from the tile 59 before the event's own on.
    """
    batch = pa.RecordBatch.from_pydict({"t": [" ".join(one["text"].split()) for one in events]})
    keys = [NearDuplicate("t", band).apply(batch).to_pylist() for band in BANDS]
    found = {}
    for at, event in enumerate(events):
        first = (event["event_time"] // MINUTE - 59) * MINUTE
        near = [i for i in range(at) if events[i]["event_time"] >= first]
        most = max(len({events[i]["author"] for i in near if band[i] == band[at]}) for band in keys)
        found[event["event_id"]] = float(most)
    return found


def test_authors_of_near_copies_are_those_of_the_definition_in_days_and_stream(tmp_path):
    config, source = tmp_path / "copies.yaml", tmp_path / "events.jsonl"
    config.write_text(CONFIG)
    events, spec = make_messages(), load(config, CATALOG)
    source.write_text("".join(json.dumps(one) + "\n" for one in events))
    wanted = expected(events)
    assert max(wanted.values()) >= 5
    assert min(wanted.values()) == 0
    backfill(BackfillRequest(spec, str(source), tmp_path / "out", Days(DAY, DAY)))
    frame = pl.read_parquet(str(tmp_path / "out" / "features" / "**" / "*.parquet"))
    estimates = np.rint(frame["nearly_this_1h"].to_numpy())  # of a sketch, near to such numbers
    assert dict(zip(frame["event_id"], estimates, strict=True)) == wanted

    bundle = write_bundle(make_parts(path=config), tmp_path / "out" / "bundles")
    Store(tmp_path / "out" / "bundles").promote(bundle.name)
    service = make_service(spec, tmp_path / "out", tmp_path / "state")
    for number, first in enumerate(range(0, len(events), 7)):
        service.process(micro_batch(spec, events[first : first + 7], number))
    service.close()
    place = numeric_names(spec).index("nearly_this_1h")
    logged = [row for step in Journal(tmp_path / "state").steps() for row in step.batch.to_pylist()]
    served = {row["event_id"]: row["numeric"][place] for row in logged}
    assert served == dict(zip(frame["event_id"], frame["nearly_this_1h"], strict=True))
    report = check_ideal(tmp_path / "state", tmp_path / "out" / "bundles")
    assert report.events == len(events)
    report.require()
