"""A log is ordered as its events were, though no rule makes its rows."""

import pyarrow as pa
import pytest

from configs.loader import loads
from pipelines.parity.recompute import archive_spec
from transforms.catalog import CATALOG
from transforms.decode import decode_columns, decode_json
from transforms.order import order_events, places

CONFIG = """
lockstep: 1
name: archive
events: {%(names)s%(events)s}
columns: {who: {type: string}, n: {type: integer}, bad: {type: boolean}, of: {type: string}}
kinds: {post: {scored: true}, judged: {}}
entities: {who: {key: {post: [who]}, windows: [1d], aggregates: {n: {op: count, of: post}}}}
labels: {kind: judged, subject: of, positive: "bad == 1"}
"""
INGEST = """
ingest:
  - {kind: post, id: %(id)s, time: t}
  - {kind: judged, id: %(id)s, time: t, subject: {of: post}}
"""


@pytest.mark.parametrize("ingest", ["", "n", "id", "null"])
@pytest.mark.parametrize("events", ["", ", sequence: n"])
def test_a_decoded_event_has_the_same_place(ingest, events):
    names = "time: t" if ingest else "id: id, time: t, kind: kind"
    text = CONFIG % {"names": names, "events": events}
    text += INGEST % {"id": ingest} if ingest else ""
    spec = loads(text, "archive.yaml", CATALOG)
    records = [
        b'{"id": "%d", "n": %d, "t": "2026-03-01T00:00:00", "kind": "post", "who": "a"}'
        % (n, 30 - n)
        for n in range(8, 13)
    ]
    batch = decode_json(spec, records, "a.jsonl").batch
    again = decode_columns(archive_spec(spec), pa.Table.from_batches([batch]), "log").batch
    assert again.equals(batch)
    assert places(archive_spec(spec), again).equals(places(spec, batch))
    assert order_events(archive_spec(spec), again).tolist() == order_events(spec, batch).tolist()
