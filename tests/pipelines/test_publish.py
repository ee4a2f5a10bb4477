"""Publishing: disorder on request, the same for the same seed, and nothing lost on the way."""

import datetime as dt
import itertools
import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from backfill_world import CONFIG, make_events
from hypothesis import given
from hypothesis import strategies as st

from configs.errors import InputError
from configs.loader import load, loads, shipped
from pipelines.publish import PublishSettings, disorder, publish, simulated
from pipelines.sources import parquet as parquet_files
from transforms.catalog import CATALOG
from transforms.decode import decode_json

SPEC = loads(CONFIG, "tiny.yaml", CATALOG)
S = 1_000_000


@given(
    st.lists(st.integers(0, 100), max_size=50).map(sorted),
    st.floats(0, 30),
    st.floats(0, 1),
    st.integers(0, 5),
)
def test_every_event_goes_out_and_no_further_than_asked(times, shuffle, duplicates, seed):
    events = [(t * S, str(i).encode()) for i, t in enumerate(times)]
    settings = PublishSettings(shuffle_s=shuffle, duplicates=duplicates, seed=seed)
    sent = list(disorder(events, settings))
    assert set(sent) == {payload for _, payload in events}
    assert sent == list(disorder(events, settings))
    latest = 0
    for payload in sent:
        moment = times[int(payload)]
        assert moment >= latest - shuffle
        latest = max(latest, moment)


def test_late_events_come_later_than_the_shuffle():
    events = [(i * S, str(i).encode()) for i in range(1000)]
    sent = list(disorder(events, PublishSettings(late=0.1, late_s=60)))
    overtaken = sum(int(a) > int(b) for a, b in itertools.pairwise(sent))
    assert overtaken > 50


@pytest.mark.parametrize("kind", ["jsonl", "parquet"])
def test_files_become_messages(tmp_path, kind):
    events = sorted(make_events(50), key=lambda event: event["at"])
    path = tmp_path / f"events.{kind}"
    if kind == "jsonl":
        path.write_text("".join(json.dumps(event) + "\n" for event in events))
    else:
        pq.write_table(pa.Table.from_pylist(events), path)
    sent = []
    count = publish(str(path), SPEC, lambda batch: sent.extend(batch), PublishSettings())
    assert count == len(events) == len(sent)
    assert [json.loads(one)["id"] for one in sent] == [event["id"] for event in events]


def test_other_files_are_refused(tmp_path):
    (tmp_path / "events.csv").write_text("id,at\n1,2\n")
    with pytest.raises(InputError, match="only JSON Lines and Parquet"):
        publish(str(tmp_path / "events.csv"), SPEC, print, PublishSettings())


def test_simulated_events_become_messages_the_same_for_the_same_seed():
    chat, start = load(shipped("chat"), CATALOG), dt.date(2026, 4, 1)
    sent = []
    for seed in (3, 3, 4):
        with simulated(2000, 2, start, seed) as source:
            some = []
            count = publish(source, chat, some.extend, PublishSettings(shuffle_s=60, seed=seed))
            assert count == len(some) > 1500
        assert not Path(source).exists()
        sent.append(some)
    assert sent[0] == sent[1] != sent[2]
    days = {json.loads(one)["sent_at"][:10] for one in sent[0]}
    assert days == {"2026-04-01", "2026-04-02"}


def test_streams_of_other_days_share_no_id():
    ids = []
    for start in (dt.date(2026, 4, 1), dt.date(2026, 4, 2)):
        with simulated(500, 1, start, 3) as source:
            [path] = Path(source).rglob("*.jsonl")
            ids.append({json.loads(line)["event_id"] for line in path.read_text().splitlines()})
    assert len(ids[0]) > 400 and not ids[0] & ids[1]


def test_settings_that_make_no_stream_are_refused():
    with pytest.raises(InputError, match="0 days"), simulated(10, 0, dt.date(2026, 4, 1), 1):
        pass


def test_a_parquet_file_of_several_splits_is_sent_once(tmp_path, monkeypatch):
    monkeypatch.setattr(parquet_files, "_SPLIT_ROWS", 10)
    events = sorted(make_events(50), key=lambda event: event["at"])
    path = tmp_path / "events.parquet"
    pq.write_table(pa.Table.from_pylist(events), path, row_group_size=7)
    sent = []
    publish(str(path), SPEC, lambda batch: sent.extend(batch), PublishSettings())
    assert [json.loads(one)["id"] for one in sent] == [event["id"] for event in events]


def test_what_is_published_says_what_the_file_meant(tmp_path):
    """Times on local clocks stay so, moments have their Z, and text is in UTF-8."""
    text = CONFIG.replace("kind: kind,", "kind: kind, time_zone: Europe/Berlin, encoding: latin-1,")
    spec = loads(text, "tiny.yaml", CATALOG)
    noon = dt.datetime(2026, 7, 1, 12)
    rows = [{"id": "1", "kind": "post", "who": "J\u00f6rg", "at": noon}]
    zoned = pa.table(
        {
            **pa.Table.from_pylist(rows).to_pydict(),
            "at": pa.array([noon], pa.timestamp("us", "UTC")),
        }
    )
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "a.parquet")
    pq.write_table(zoned, tmp_path / "b.parquet")
    rows[0]["at"] = "2026-07-01 12:00:00"
    (tmp_path / "c.jsonl").write_bytes(json.dumps(rows[0], ensure_ascii=False).encode("latin-1"))
    sent = []
    publish(str(tmp_path), spec, lambda batch: sent.extend(batch), PublishSettings())
    made = decode_json(spec, sent, "x").batch
    hours = [(t // 3_600_000_000) % 24 for t in made.column("event_time").to_pylist()]
    assert sorted(hours) == [10, 10, 12]
    assert made.column("who").to_pylist() == ["J\u00f6rg"] * 3
