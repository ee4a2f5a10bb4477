"""`lockstep serve` as its callers have it: answers, refusals by status, health, metrics, docs."""

import json
import re
import time
import urllib.request
from pathlib import Path

import grpc
import pytest
from serve_world import asked, serving
from stream_world import NIGHT

from pipelines.pubsub.client import RawMessage
from pipelines.serve import decide_pb2
from pipelines.serve.client import METHOD, DecisionClient
from pipelines.streaming.arrivals import ArrivalLog, Done
from pipelines.streaming.decisions import encode_decisions
from pipelines.streaming.journal import Journal
from pipelines.streaming.restore import restore
from pipelines.streaming.start import begin
from scoring.arrival import Waiting, look
from scoring.bundle import load_bundle
from scoring.engine import Engine
from scoring.scorer import Scorer
from scoring.store import Store
from transforms.catalog import CATALOG
from transforms.decode import decode_json

ROOT = Path(__file__).parents[3]
AT = "2026-03-09T12:00:0{}Z"


def post(number, **changes):
    event = {"id": f"ask{number}", "at": AT.format(number), "kind": "post", "who": "w1"}
    return json.dumps(
        event | {"where": "a", "amount": 3, "text": "win money now"} | changes
    ).encode()


@pytest.fixture(scope="module")
def served(stream_house, tiny_spec, tmp_path_factory):
    """A state from a night with one event that has arrived; a server on it."""
    folder, _, _ = stream_house
    state = tmp_path_factory.mktemp("served") / "state"
    begin(tiny_spec, Journal(state), folder / "house", NIGHT)
    arrivals = ArrivalLog(state)
    arrivals.recover(Done())
    arrivals.append([RawMessage("", "m1", 0, post(1))], time.time_ns() // 1000)
    options = ("--most-events", "5", "--most-waiting", "4", "--most-bytes", "10000")
    with serving(state, folder / "house" / "bundles", *options) as (port, metrics, channel):
        yield folder, state, port, metrics, channel


def refused(channel, *events, timeout=60):
    with pytest.raises(grpc.RpcError) as error:
        asked(channel, *events, timeout=timeout)
    return error.value.code().name, error.value.details()


def test_answers_are_those_of_an_arrival_on_the_same_state(served, tiny_spec):
    folder, state, _, _, channel = served
    scorer = Scorer(load_bundle(Store(folder / "house" / "bundles").path("serving"), CATALOG))
    spec = scorer.bundle.spec
    engine = Engine(spec, restore(spec, Journal(state)).resident, scorer)
    waiting = Waiting.of(spec, engine.plans, decode_json(spec, [post(1)], "").batch)
    verdict = {"id": "v", "at": AT.format(3), "kind": "verdict", "subject": "ask1", "bad": True}
    events = [post(2), json.dumps(verdict).encode(), post(1), post(3)]
    made = asked(channel, *events)
    assert made.state.waiting == 1 and made.state.steps == 0
    assert [len(one.decisions) for one in made.answers] == [1, 0, 1, 1]
    for event, answer in zip(events, made.answers, strict=True):
        if event == post(1):
            continue  # it waits, and is decided as if it did not
        outcome, _ = look(engine, waiting, decode_json(spec, [event], "").batch)
        assert list(answer.decisions) == encode_decisions(spec, outcome, scorer, [0])
    with_it = json.loads(made.answers[0].decisions[0])
    assert with_it["event_id"] == "ask2" and with_it["revision"] == 0


def test_what_cannot_be_decided_is_refused_by_status_without_its_contents(served):
    *_, channel = served
    code, said = refused(channel, post(2), post(3, amount="secret words"), b"{")
    assert code == "INVALID_ARGUMENT" and "secret" not in said
    assert "event 1: wrong_type, column amount: " in said and "event 2: not_json" in said
    code, said = refused(channel, post(4, at="2999-01-01T00:00:00Z"))
    assert code == "INVALID_ARGUMENT" and "bad_time, column event_time" in said
    assert refused(channel)[0] == "INVALID_ARGUMENT"
    assert refused(channel, *[post(2)] * 6) == (
        "INVALID_ARGUMENT",
        "6 events; expected 1 to 5 in a request",
    )
    assert refused(channel, post(2, at="2026-02-01T00:00:00Z"))[0] == "ALREADY_EXISTS"
    assert refused(channel, *[post(n) for n in range(5)])[0] == "RESOURCE_EXHAUSTED"
    assert refused(channel, b"x" * 20_000)[0] == "RESOURCE_EXHAUSTED"
    assert refused(channel, post(2), timeout=1e-4)[0] == "DEADLINE_EXCEEDED"


def test_metrics_count_by_status_and_name_nobody(served):
    *_, metrics, channel = served
    asked(channel, post(5))
    with urllib.request.urlopen(f"http://127.0.0.1:{metrics}/metrics", timeout=60) as answer:
        text = answer.read().decode()
    assert re.search(r'lockstep_serve_requests_total\{code="OK"\} [1-9]', text)
    for name in ("serve_decisions_total", "serve_seconds_count", "buffer_events", "serve_age"):
        assert f"lockstep_{name}" in text
    assert "w1" not in text and "ask5" not in text
    with urllib.request.urlopen(f"http://127.0.0.1:{metrics}/readyz", timeout=60) as answer:
        assert answer.status == 200


def test_the_client_of_the_docs_gets_a_decision(served, capsys):
    _, _, port, *_ = served
    text = (ROOT / "docs" / "serve.md").read_text()
    [block] = re.findall(r"<!-- run beside a server -->\n```python\n(.*?)```", text, re.DOTALL)
    assert "127.0.0.1:9188" in block
    exec(block.replace("127.0.0.1:9188", f"127.0.0.1:{port}").replace("=0.5", "=60"), {})
    action, score, _ = capsys.readouterr().out.split()
    assert action and 0 <= float(score) <= 1
    with DecisionClient(f"127.0.0.1:{port}", 60) as client:
        assert client.decide([post(6), post(7)])[1][0]["event_id"] == "ask7"


def test_the_generated_code_is_of_the_documented_protocol():
    """`protoc` is not needed to see that a message or field was changed in one of both only."""
    text = re.sub(r"//.*", "", (ROOT / "pipelines/serve/decide.proto").read_text())
    declared = {
        name: {field: int(number) for field, number in re.findall(r"(\w+) = (\d+);", body)}
        for name, body in re.findall(r"message (\w+) \{(.*?)\}", text, re.DOTALL)
    }
    made = decide_pb2.DESCRIPTOR
    assert f"package {made.package};" in text
    assert declared == {
        name: {field.name: field.number for field in message.fields}
        for name, message in made.message_types_by_name.items()
    }
    [(service, described)] = made.services_by_name.items()
    assert f"/{made.package}.{service}/{described.methods[0].name}" == METHOD
