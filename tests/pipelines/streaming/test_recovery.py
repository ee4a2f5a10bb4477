"""A step that fails: the state is read from disk again, and nothing is lost or folded twice."""

import contextlib
import dataclasses
import errno

import pytest
from stream_world import after_night, backfilled, hear, logged, publish, request

from configs.errors import InputError, LockstepError, StateError
from pipelines.parity import check_ideal, check_served
from pipelines.pubsub.publisher import TopicPublisher
from pipelines.streaming import run as run_module
from pipelines.streaming import service as service_module
from pipelines.streaming.failures import describe_failure
from pipelines.streaming.journal import Journal
from pipelines.streaming.recovery import Patience
from pipelines.streaming.run import stream
from pipelines.streaming.service import ServiceSettings
from scoring.scorer import Scorer
from transforms.velocity import ShardState

QUICK = Patience(pause_s=0.01)


def failing(monkeypatch, owner, name, *failures, first=2):
    """From the `first` call on, calls of a method raise these, one each; then it works again."""
    real, left, calls = getattr(owner, name), list(failures), []

    def wrapped(*given, **more):
        calls.append(name)
        if len(calls) >= first and left:
            raise left.pop(0)
        return real(*given, **more)

    monkeypatch.setattr(owner, name, wrapped)
    return left


def check(folder, events, state, endpoint, tiny_spec):
    """Every post is decided once, bit for bit as a backfill would, and parity agrees."""
    posts = {event["id"] for event in events if event["kind"] == "post"}
    decisions = {}
    for one in hear(endpoint):
        assert decisions.setdefault(one["decision_id"], one) == one
    assert {one["event_id"] for one in decisions.values()} == posts
    online, offline = logged(state, tiny_spec), backfilled(folder, tiny_spec)
    assert online.keys() == posts
    assert all(online[event][:2] == offline[event] for event in online)
    check_served(state, folder / "house" / "bundles").require()
    assert check_ideal(state, folder / "house" / "bundles").differing == 0


PLACES = {
    "score": [(Scorer, "score", MemoryError("w7")), (Scorer, "score", KeyError("w7"))],
    "between entities": [(ShardState, "update", ValueError("w7"))],
    "log": [(service_module, "log_batch", RuntimeError("w7"))],
    "after the log": [(service_module.Service, "_forget_ids", IndexError("w7"))],
    "publish": [(TopicPublisher, "publish", RuntimeError("w7"))],
    "snapshot": [(service_module.Service, "begin_snapshot", MemoryError("w7"))],
}


@pytest.mark.parametrize("where", PLACES)
def test_a_step_that_fails_is_done_again_from_disk(
    where, stream_house, server, tiny_spec, tmp_path, monkeypatch, caplog
):
    folder, events, _ = stream_house
    live, state = after_night(events)[:400], tmp_path / "state"
    publish(server, live, disorder=1)
    left = [failing(monkeypatch, *one, first=2 + 3 * n) for n, one in enumerate(PLACES[where])]
    asked = request(folder, server, state, patience=QUICK, settings=ServiceSettings(3))
    source = dataclasses.replace(asked.source, batch_events=30)
    report = stream(dataclasses.replace(asked, source=source))
    assert not any(left), "it failed as was asked"
    assert report.counts.events == len(live)
    said = [r.getMessage() for r in caplog.records if "is read from disk again" in r.getMessage()]
    assert len(said) == len(PLACES[where])
    assert "w7" not in caplog.text, "a failure's own text may hold a payload"
    check(folder, live, state, server, tiny_spec)


def test_a_failure_that_stays_ends_the_scorer_and_acknowledges_nothing(
    stream_house, server, tiny_spec, tmp_path, monkeypatch
):
    folder, events, _ = stream_house
    live, state = after_night(events)[:400], tmp_path / "state"
    publish(server, live, disorder=1)
    asked = request(folder, server, state, patience=QUICK)
    source = dataclasses.replace(asked.source, batch_events=30)
    asked = dataclasses.replace(asked, source=source)
    with monkeypatch.context() as patched:
        failing(patched, Scorer, "score", *[KeyError("w7")] * 100, first=3)
        with pytest.raises(LockstepError, match=r"failed 5 times in a row.*KeyError") as raised:
            stream(asked)
    assert raised.value.exit_code
    assert "w7" not in str(raised.value)
    source = dataclasses.replace(asked.source, end_after_idle_s=5.0)
    stream(dataclasses.replace(asked, from_night=None, source=source))
    check(folder, live, state, server, tiny_spec)


def test_failures_with_progress_between_them_are_no_reason_to_end(
    stream_house, server, tiny_spec, tmp_path, monkeypatch
):
    folder, events, _ = stream_house
    live, state = after_night(events)[:400], tmp_path / "state"
    publish(server, live, disorder=1)
    real, calls = Scorer.score, []

    def every_other(self, *given):
        calls.append(1)
        if len(calls) % 2:
            raise MemoryError
        return real(self, *given)

    asked = request(folder, server, state, patience=Patience(attempts=2, pause_s=0.0))
    with monkeypatch.context() as patched:
        patched.setattr(Scorer, "score", every_other)
        stream(asked)
    assert len(calls) > 3
    check(folder, live, state, server, tiny_spec)


def test_a_topic_that_is_gone_ends_it_at_once_with_its_name(stream_house, server, tmp_path, caplog):
    folder, events, _ = stream_house
    publish(server, after_night(events)[:100], disorder=1)
    asked = request(folder, server, tmp_path / "state", decisions="projects/p/topics/none")
    with pytest.raises(InputError, match=r"projects/p/topics/none.*NOT_FOUND"):
        stream(asked)
    assert "again" not in caplog.text


def test_a_failing_recovery_counts_too(stream_house, server, tmp_path, monkeypatch):
    folder, events, _ = stream_house
    publish(server, after_night(events)[:100], disorder=1)
    tried = []

    def restore(spec, journal):
        tried.append(1)
        raise OSError(errno.EIO, "Input/output error")

    failing(monkeypatch, Scorer, "score", KeyError("w7"), first=1)
    monkeypatch.setattr(run_module, "restore", restore)
    with pytest.raises(LockstepError, match=r"5 times in a row.*Input/output error"):
        stream(request(folder, server, tmp_path / "state", patience=QUICK))
    assert len(tried) == 4


def test_nothing_is_processed_after_a_failure_and_no_snapshot_is_left(tmp_path):
    from explorer_world import Killed, World

    world = World(tmp_path, [("x", n, "a", 1.0, "p") for n in range(20)])
    world.arrive(list(range(20)))
    service, before = world.service, sorted((tmp_path / "snapshots").iterdir())
    world.topic.kill = "before publish"
    micro = world.next(5)
    with contextlib.suppress(Killed):
        service.process(micro)
    with pytest.raises(StateError, match="resume the service from disk"):
        service.process(micro)
    service.close()
    assert sorted((tmp_path / "snapshots").iterdir()) == before
    assert [step.number for step in Journal(tmp_path).steps()] == [0]


def test_ours_are_described_by_their_text_others_by_their_place():
    assert describe_failure(InputError("there is no topic")) == "there is no topic"
    try:
        int("an account")
    except ValueError as error:
        said = describe_failure(error)
    assert said.startswith("ValueError at tests/pipelines/streaming/test_recovery.py:")
    assert describe_failure(OSError(28, "No space left on device")).endswith(
        "No space left on device"
    )
