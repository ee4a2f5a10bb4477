"""The streaming job as a command, on Prism and Flink, over a real subscription, from a night.

Shuffled arrival, copies, records that cannot be read, an idle source whose watermark jumps over
months, and then events that are late: all are decided once, and parity finds no other cause.
"""

import pytest
from limited_world import bundle, limited
from stream_job_world import (
    SPEC,
    Listener,
    assert_decided_once,
    await_log,
    engine_flags,
    from_night,
    make_house,
    running_job,
)
from stream_world import EVENTS, after_night, publish

from pipelines.parity import check_ideal, check_served
from pipelines.pubsub.publisher import TopicPublisher
from scoring.limits import LIMITED, LIMITS

POISON = [b"{", b"\xff", b"[1]", b"null"]
LATE = 12


@pytest.fixture(scope="module")
def house(request, tmp_path_factory):
    """With a bundle without limits of actions, or with."""
    folder = tmp_path_factory.mktemp("job")
    if request.param == "plain":
        return make_house(folder)
    return make_house(folder, bundle=lambda store: store / bundle(store, limited()))


# With the soak tests: each takes one to three minutes of a machine of two cores.
@pytest.mark.soak
@pytest.mark.parametrize(
    ("engine", "house"),
    [("prism", "plain"), ("flink-1", "plain"), ("flink-2", "plain"), ("flink-2", "limited")],
    indirect=["house"],
)
def test_what_arrives_anyhow_is_decided_once_and_parity_is_clean(engine, server, house, tmp_path):
    folder, events = house
    live = after_night(events)
    late = live[10 : 10 + 2 * LATE : 2]
    in_time = [event for event in live if event not in late]
    scored = [event["id"] for event in live if SPEC.kinds[event["kind"]].scored]
    state, listener = tmp_path / "state", Listener(server)
    # A reader takes all that is there as one batch, in which nothing is late.
    options = ("--tick-ms", "2000", "--latency-ms", "3000", *from_night(folder))
    with engine_flags(engine, tmp_path) as flags:
        publish(server, in_time, disorder=20, duplicates=0.1)
        with TopicPublisher(EVENTS, server) as publisher:
            publisher.publish(POISON)
        with running_job(folder, server, state, flags, *options) as process:
            await_log(state, [event["id"] for event in in_time], process)
            publish(server, late, duplicates=0.5)
            rows = await_log(state, [event["id"] for event in live], process)
            listener.await_all(scored, process)
    listener.close()
    assert_decided_once(listener, rows, scored)
    marked = rows.filter(rows.column("lockstep_late")).column("event_id").to_pylist()
    assert set(marked) >= {event["id"] for event in late}
    letters = [line for path in (state / "dead_letters").glob("*/*") for line in path.open()]
    assert len(letters) == len(POISON)
    withheld = rows.column("withheld").to_pylist().count(LIMITED)
    assert (withheld > 0) == (LIMITS in rows.schema.names), "where there are limits only"
    bundles = folder / "house" / "bundles"
    served, ideal = check_served(state, bundles), check_ideal(state, bundles)
    assert (served.by_cause, served.faults) == ({}, ()), served
    assert set(ideal.by_cause) <= {"late"} and ideal.faults == (), ideal
    assert served.events == ideal.events == len(scored)
