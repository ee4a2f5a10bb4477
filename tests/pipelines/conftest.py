"""Fixtures that several driver tests share: a house with a promoted night, and a server."""

import datetime as dt
import json

import pytest
from backfill_world import CONFIG, make_events
from nightly_world import request as night_request
from nightly_world import write_events
from pubsub_world import NO_EMULATOR, emulator_command, running_emulator
from stream_world import NIGHT, after_night, set_up_topics
from swap_world import Scoring

from configs.loader import loads
from pipelines.backfill import BackfillRequest, backfill
from pipelines.layout import Days
from pipelines.nightly import NightlyRequest, nightly
from pipelines.pubsub_server.server import running_server
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


@pytest.fixture(scope="session")
def night_house(tmp_path_factory):
    """A source of ten days, and an output folder in which one night has been promoted.

    Tests that write into the folder do so in a copy (`nightly_world.copy_of`).
    """
    folder = tmp_path_factory.mktemp("night")
    source = write_events(folder / "input", make_events(3000, days=10))
    return source, folder / "out", nightly(night_request(source, folder / "out"))


@pytest.fixture
def scoring(stream_house, tiny_spec, tmp_path):
    folder, events, _ = stream_house
    return Scoring(
        folder, [e for e in after_night(events) if e["kind"] == "post"], tiny_spec, tmp_path
    )


@pytest.fixture
def server():
    with running_server() as running:
        set_up_topics(running.endpoint)
        yield running.endpoint


@pytest.fixture(scope="session")
def lockstep_server():
    with running_server() as running:
        yield running.endpoint


@pytest.fixture(scope="session")
def google_emulator():
    """Endpoint of Google's emulator, in its own process, where its jar and Java are."""
    command = emulator_command()
    if command is None:
        pytest.skip(NO_EMULATOR)
    with running_emulator(command) as endpoint:
        yield endpoint


@pytest.fixture(params=["lockstep", "google"])
def endpoint(request):
    """Our server, then Google's emulator; both may hold other tests' topics."""
    name = "lockstep_server" if request.param == "lockstep" else "google_emulator"
    return request.getfixturevalue(name)


@pytest.fixture
def either_server(endpoint):
    """Each of both servers, with empty topics."""
    set_up_topics(endpoint)
    return endpoint
