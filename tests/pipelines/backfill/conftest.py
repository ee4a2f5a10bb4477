"""Fixtures of the backfill tests: the tiny spec, a writer of events, a runner."""

import json

import pytest
from backfill_world import CONFIG

from configs.loader import loads
from pipelines.backfill import BackfillRequest, backfill
from pipelines.layout import Days
from transforms.catalog import CATALOG


@pytest.fixture(scope="session")
def spec():
    return loads(CONFIG, "tiny.yaml", CATALOG)


@pytest.fixture
def write(tmp_path):
    """Writes events to one JSON Lines file and returns its folder."""

    def write_events(events, name="events.jsonl", folder="input"):
        target = tmp_path / folder
        target.mkdir(exist_ok=True)
        (target / name).write_text("".join(json.dumps(event) + "\n" for event in events))
        return str(target)

    return write_events


@pytest.fixture
def run(spec, tmp_path):
    """Runs a backfill over some days; keyword arguments go to the request."""

    def run_backfill(source, days="2026-03-01..2026-03-03", out="out", **request):
        return backfill(
            BackfillRequest(
                spec=request.pop("spec", spec),
                source=source,
                out=tmp_path / out,
                days=Days.parse(days),
                **request,
            )
        )

    return run_backfill
