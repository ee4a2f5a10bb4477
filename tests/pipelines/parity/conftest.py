"""Logs of scorers that parity looks at: made once each, whatever file asks for them."""

import pytest
from stream_world import after_night, publish, request

from pipelines.streaming.run import stream


@pytest.fixture(scope="session")
def made_logs(tmp_path_factory):
    """State folders of scorers, by what happened to them."""
    return {}, tmp_path_factory.mktemp("logs")


@pytest.fixture
def scored(made_logs, stream_house, server):
    """Runs a scorer over the events after the night; returns its state folder and the store.

    `live` chooses and changes the events; `parts` runs the scorer that often, over equal parts;
    `cold`: from no state, instead of the night's; `settings`: of the service; other arguments are
    those of `publish`.
    """
    made, root = made_logs
    folder, events, _ = stream_house

    def run(name, live=None, parts=1, cold=False, settings=None, **how):
        if name not in made:
            chosen = after_night(events) if live is None else live(after_night(events))
            size = -(-len(chosen) // parts)
            for part in range(parts):
                publish(server, chosen[part * size : (part + 1) * size], **{"disorder": 1, **how})
                night = {"from_night": None} if cold or part else {}
                kept = {"settings": settings} if settings else {}
                stream(request(folder, server, root / name, **night, **kept))
            made[name] = root / name
        return made[name], folder / "house" / "bundles"

    return run
