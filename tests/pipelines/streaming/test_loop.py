"""The scorer's loop: what ends it, what fails, what comes again."""

import json

import numpy as np
import pyarrow as pa
import pytest
from fold_world import SPEC

from configs.errors import InputError
from pipelines.pubsub.client import RawMessage
from pipelines.pubsub.intake import Intake
from pipelines.pubsub.settings import SourceSettings
from pipelines.streaming.loop import run_loop
from transforms.decode import Decoded

SETTINGS = SourceSettings(
    "projects/p/subscriptions/s",
    disorder_us=0,
    ahead_us=None,
    batch_events=4,
    latency_s=0.0,
    idle_s=0.05,
    end_after_idle_s=0.1,
)


class Client:
    """A subscription that is a list."""

    connected, throttled, unsettled, closed = True, False, False, False
    doubtful_s = -1.0

    def __init__(self, count):
        self.waiting = [
            RawMessage(f"a{i}", f"m{i}", i, json.dumps(i).encode()) for i in range(count)
        ]
        self.acked, self.broken = [], None

    def take(self, most, timeout_s):
        if self.broken is not None:
            raise self.broken
        taken, self.waiting = self.waiting[:most], self.waiting[most:]
        return taken

    def acknowledge(self, ack_ids):
        self.acked += ack_ids

    def forget(self, ack_ids):
        pass

    def close(self):
        pass


def decode(payloads):
    numbers = [json.loads(one) for one in payloads]
    batch = pa.RecordBatch.from_pydict(
        {
            "event_id": pa.array([f"e{n:03d}" for n in numbers]),
            "event_time": pa.array(numbers, pa.int64()),
        }
    )
    return Decoded(batch, np.arange(len(numbers)), ())


HANDED, FAILURES = [], []


def process(micro):
    """Notes what it is handed; fails with what is next in `FAILURES` (None: it does not)."""
    HANDED.append((micro.sequence, micro.batch.column("event_id").to_pylist()))
    failure = FAILURES.pop(0) if FAILURES else None
    if failure is not None:
        raise failure


@pytest.fixture
def client():
    HANDED.clear()
    FAILURES.clear()
    return Client(12)


def intake_of(client):
    return Intake(SPEC, SETTINGS, decode, client)


def events():
    return [event for _, some in HANDED for event in some]


ALL = [f"e{n:03d}" for n in range(12)]


def test_each_micro_batch_is_acknowledged_before_the_next_is_processed(client):
    acked = []
    run_loop(intake_of(client), lambda micro: acked.append(len(client.acked)) or process(micro))
    assert events() == ALL
    sizes = [len(some) for _, some in HANDED]
    assert acked == [sum(sizes[:n]) for n in range(len(sizes))]
    assert client.acked == [f"a{n}" for n in range(12)]


@pytest.mark.parametrize(
    "failure", [RuntimeError("x"), KeyError("x"), MemoryError(), ValueError("x"), OSError(5, "x")]
)
def test_whatever_processing_raises_it_comes_again(client, failure):
    told = []

    def go_on(raised):
        told.append(raised)
        assert len(client.acked) == len(HANDED[0][1]) > 0, "what came before it, and no more"
        return True

    FAILURES.extend([None, failure])
    run_loop(intake_of(client), process, go_on)
    assert len(told) == 1
    (twice,) = {one for one, _ in HANDED if [n for n, _ in HANDED].count(one) > 1}
    first, again = (some for number, some in HANDED if number == twice)
    assert first == again
    assert sorted(set(events())) == ALL
    assert sorted(client.acked) == sorted(f"a{n}" for n in range(12))


def test_what_fails_at_the_end_of_the_stream_is_not_left_out(client):
    FAILURES.extend([None, None, MemoryError()])
    run_loop(intake_of(client), process, lambda failure: True)
    assert sorted(client.acked) == sorted(f"a{n}" for n in range(12))


def test_a_failure_ends_it_where_nobody_recovers(client):
    FAILURES.append(KeyError("x"))
    with pytest.raises(KeyError):
        run_loop(intake_of(client), process)
    assert client.acked == []


def test_it_ends_quietly_where_recovery_says_so(client):
    FAILURES.extend([None, KeyError("x")])
    run_loop(intake_of(client), process, lambda failure: False)
    assert len(client.acked) == len(HANDED[0][1]) > 0


def test_where_nothing_comes_it_is_idle_and_recovers_from_what_that_raises(client):
    told, calls = [], []

    def idle():
        calls.append(len(client.acked))
        if len(calls) == 1:
            raise OSError(5, "x")

    run_loop(intake_of(client), process, lambda failure: told.append(failure) or True, idle=idle)
    assert calls[0] < 12, "the last event is held until nothing has come for long enough"
    assert [type(one) for one in told] == [OSError]
    assert sorted(client.acked) == sorted(f"a{n}" for n in range(12))


def test_a_subscription_that_cannot_be_read_is_an_error_of_its_own(client):
    client.broken = InputError("projects/p/subscriptions/s: NOT_FOUND")
    told = []
    with pytest.raises(InputError, match="NOT_FOUND"):
        run_loop(intake_of(client), process, lambda failure: told.append(failure) or True)
    assert not told, "trying again would not help"


def test_what_cannot_be_taken_in_ends_it_and_names_no_payload(client):
    def fails(payloads):
        raise KeyError("an account")

    told = []
    intake = Intake(SPEC, SETTINGS, fails, client)
    with pytest.raises(InputError, match=r"KeyError.*start the scorer again") as raised:
        run_loop(intake, process, lambda failure: told.append(failure) or True)
    assert "an account" not in str(raised.value)
    assert not told and client.acked == []
