"""Helpers of the tests of a night: its input, its request, a copy of a house to spoil."""

import dataclasses
import datetime as dt
import json
import shutil
import sys
from pathlib import Path

from backfill_world import CONFIG

from configs.loader import loads
from pipelines.nightly import NightlyRequest
from transforms.catalog import CATALOG

NIGHT = dt.date(2026, 3, 9)
LATER = NIGHT + dt.timedelta(days=1)
COMMAND = [sys.executable, "-c", "from pipelines.commands import main; main()"]


def write_events(folder: Path, events):
    folder.mkdir()
    (folder / "events.jsonl").write_text("".join(json.dumps(e) + "\n" for e in events))
    return str(folder)


def request(source, out, config=CONFIG, night=NIGHT, **changes):
    spec = loads(config, "tiny.yaml", CATALOG)
    made = NightlyRequest(
        spec=spec, config=config, source=source, out=out, as_of=night, since=dt.date(2026, 3, 1)
    )
    return dataclasses.replace(made, **changes)


def copy_of(house, tmp_path):
    """Source and a copy of the output folder: the house itself stays as it is for other tests."""
    source, out, _ = house
    return source, Path(shutil.copytree(out, tmp_path / "out"))
