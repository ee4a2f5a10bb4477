"""Verdicts of a stream: of their events no more is derived than they ask."""

import json

import pyarrow as pa
import pytest
from backfill_world import CONFIG, make_events

from configs.loader import loads
from transforms.catalog import CATALOG
from transforms.decode import decode_json, event_schema
from transforms.derive import derive
from transforms.live import routes
from transforms.live.routes import verdicts_of
from transforms.selection import verdict_mask, verdict_rows
from transforms.ticks import EVENT

DERIVED = CONFIG.replace(
    "derive:\n", "derive:\n  hour: {op: hour_of_day, of: event_time}\n"
).replace('positive: "bad == 1"', 'positive: "hour > 12"')


@pytest.mark.parametrize(("config", "asked"), [(CONFIG, 0), (DERIVED, 1)])
def test_verdicts_are_those_of_derived_events(config, asked, monkeypatch):
    spec = loads(config, "tiny.yaml", CATALOG)
    records = [json.dumps(one).encode() for one in make_events(400)]
    batch = decode_json(spec, records, "s", 0).batch.select(event_schema(spec).names)
    derivations = []
    monkeypatch.setattr(routes, "derive", lambda *given: derivations.append(1) or derive(*given))
    events = pa.StructArray.from_arrays(batch.columns, fields=list(batch.schema))
    made = verdicts_of(spec, pa.RecordBatch.from_pydict({EVENT: events}))
    derived = derive(spec, batch)
    expected = verdict_rows(spec, derived.filter(pa.array(verdict_mask(spec, derived))))
    assert made.equals(expected) and made.num_rows > 10
    assert len(set(made.column("positive").to_pylist())) == 2
    assert len(derivations) == asked
