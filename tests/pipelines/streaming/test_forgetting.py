"""When ids of folded events are forgotten: not before their message may have come again."""

import json

import numpy as np
import pytest
from stream_world import after_night

from pipelines.pubsub.micro_batch import MicroBatch
from pipelines.streaming import service as module
from pipelines.streaming.journal import Journal
from pipelines.streaming.service import Service, ServiceSettings
from scoring.bundle import load_bundle
from scoring.engine import Engine, Resident
from scoring.scorer import Scorer
from transforms.catalog import CATALOG
from transforms.decode import decode_json


class Topic:
    def publish(self, data):
        return [""] * len(data)


class Clock:
    def __init__(self):
        self.now = 0.0

    def monotonic(self):
        return self.now

    perf_counter = time = monotonic


@pytest.fixture
def clock(monkeypatch):
    made = Clock()
    monkeypatch.setattr(module, "time", made)
    return made


def process(service, spec, sequence, events, doubtful_s=-1.0):
    """One micro-batch, cut long before the watermark, which is days ahead."""
    batch = decode_json(spec, [json.dumps(event).encode() for event in events], "s", 0).batch
    times = batch.column("event_time").to_numpy()
    none = np.zeros(batch.num_rows, np.bool_)
    ids = ("m",) * batch.num_rows
    far = int(times[-1]) + 10 * 86_400_000_000
    service.process(MicroBatch(sequence, batch, none, ids, times, (), far, doubtful_s=doubtful_s))


def test_a_copy_in_a_later_micro_batch_is_known_and_forgotten_in_the_end(
    stream_house, tiny_spec, tmp_path, clock
):
    _, events, made = stream_house
    live = after_night(events)
    engine = Engine(tiny_spec, Resident.empty(tiny_spec), Scorer(load_bundle(made.folder, CATALOG)))
    service = Service(engine, Journal(tmp_path), 0, Topic(), settings=ServiceSettings(10**9))
    recent = engine.resident.recent
    half = len(live) // 2
    process(service, tiny_spec, 0, live[:half])
    recent.prune(np.iinfo(np.int64).min)  # what forgetting does when room is needed
    process(service, tiny_spec, 1, live[half - 50 : half])
    assert service.counts.duplicates == 50
    clock.now += 60.0  # a lease
    process(service, tiny_spec, 2, live[half:])
    recent.prune(np.iinfo(np.int64).min)
    process(service, tiny_spec, 3, live[half - 50 : half])
    assert service.counts.duplicates == 100
    clock.now += 100.0
    process(service, tiny_spec, 4, [live[-1] | {"id": "last"}], doubtful_s=clock.now - 10.0)
    before = len(recent)
    recent.prune(np.iinfo(np.int64).min)
    assert len(recent) == before, "the server may not have had the acks"
    clock.now += 100.0
    process(service, tiny_spec, 5, [live[-1] | {"id": "very last"}], doubtful_s=clock.now - 110.0)
    recent.prune(np.iinfo(np.int64).min)
    assert len(recent) < before / 2
