"""The streaming job on Prism, as a command, from a night: decided once, and parity is clean."""

import pytest
from engines import prism_binary
from stream_job_world import (
    Listener,
    assert_clean,
    assert_decided_once,
    await_log,
    from_night,
    running_job,
)
from stream_world import after_night, publish


# With the soak tests: it takes minutes and has only been seen to pass by hand so far.
@pytest.mark.soak
def test_a_shuffled_stream_with_copies_is_decided_once_with_clean_parity(
    server, stream_house, tiny_spec, tmp_path
):
    flags = ("--runner=PrismRunner", f"--prism_location={prism_binary()}")
    folder, events, _ = stream_house
    live = after_night(events)
    publish(server, live, disorder=20, duplicates=0.1)
    state, listener = tmp_path / "state", Listener(server)
    ids = [event["id"] for event in live]
    scored = [event["id"] for event in live if tiny_spec.kinds[event["kind"]].scored]
    options = ("--tick-ms", "21600000", *from_night(folder))
    with running_job(folder, server, state, flags, *options) as process:
        rows = await_log(state, ids, process)
        listener.await_all(scored, process)
    listener.close()
    assert_decided_once(listener, rows, scored)
    assert_clean(state, folder)
