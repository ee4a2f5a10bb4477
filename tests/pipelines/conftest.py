"""Fixtures that several driver tests share: a house with a promoted night, and a server."""

import datetime as dt
import json

import pytest
from backfill_world import CONFIG, make_events
from stream_world import DECISIONS, EVENTS, HEARD, NIGHT, SUBSCRIPTION

from configs.loader import loads
from pipelines.backfill import BackfillRequest, backfill
from pipelines.layout import Days
from pipelines.nightly import NightlyRequest, nightly
from pipelines.pubsub.admin import ensure_subscription, ensure_topic
from pipelines.pubsub.server import running_server
from transforms.catalog import CATALOG


@pytest.fixture(scope="session")
def tiny_spec():
    return loads(CONFIG, "tiny.yaml", CATALOG)


@pytest.fixture(scope="session")
def stream_house(tmp_path_factory, tiny_spec):
    """Ten days of events; a house whose night of the ninth is promoted; all days backfilled."""
    spec = tiny_spec
    folder = tmp_path_factory.mktemp("stream")
    events = sorted(make_events(3000, days=10), key=lambda e: (e["at"], e["id"]))
    source = folder / "input"
    source.mkdir()
    (source / "events.jsonl").write_text("".join(json.dumps(e) + "\n" for e in events))
    first = dt.date(2026, 3, 1)
    night = NIGHT + dt.timedelta(days=1)
    made = nightly(NightlyRequest(spec, CONFIG, str(source), folder / "house", night, since=first))
    whole = folder / "whole"
    backfill(
        BackfillRequest(
            spec, str(source), whole, Days(first, dt.date(2026, 3, 10)), bundle=made.folder
        )
    )
    return folder, events, made


@pytest.fixture
def server():
    with running_server() as running:
        endpoint = running.endpoint
        ensure_topic(EVENTS, endpoint)
        ensure_topic(DECISIONS, endpoint)
        ensure_subscription(SUBSCRIPTION, EVENTS, endpoint=endpoint)
        ensure_subscription(HEARD, DECISIONS, endpoint=endpoint)
        yield endpoint
