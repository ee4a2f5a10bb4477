"""`lockstep control` under a job of an engine: in force at the next batch, in its log, replayed."""

import json

import pytest
from backfill_world import CONFIG, make_events
from live_world import World
from serving_world import make_store

from configs.loader import loads
from pipelines.parity import check_served
from pipelines.streaming.decide import _Decide
from pipelines.streaming.sinks import segment_bytes, steps_of, write_file
from scoring.controls import NONE, OFF, Controls, change_controls, decided_by
from scoring.engine import ACTION, BUNDLE, WITHHELD
from transforms.catalog import CATALOG
from transforms.decode import decode_json
from transforms.ticks import TickSettings

SPEC = loads(CONFIG, "tiny.yaml", CATALOG)
HOUR = 3_600_000_000
TICKS = TickSettings(tick_us=HOUR, homes=1)


@pytest.fixture(scope="module")
def folded():
    """Batches as `Features` gives them, a tick each."""
    records = [json.dumps(one).encode() for one in make_events(600) if one["kind"] == "post"]
    given = decode_json(SPEC, records, "s", 0).batch
    return [one for scored, one in World(SPEC, TICKS).fold([(0, given)]) if scored]


def test_a_switch_and_an_allow_list_are_in_force_at_the_next_batch_and_replayed(folded, tmp_path):
    store, names = make_store(tmp_path / "bundles")
    decide = _Decide(SPEC, str(store.root), scored=True, poll_seconds=0.0)
    decide.setup()
    switches = (
        NONE,
        Controls(off=("block",)),
        Controls(allow={"who": tuple(f"w{number}" for number in range(5))}),
        NONE,
    )
    decided, share = [], len(folded) // len(switches)
    for number, wanted in enumerate(switches):
        change_controls(store.root, lambda now, wanted=wanted: wanted, {})
        for batch in folded[number * share : (number + 1) * share]:
            [(_, rows)] = decide.process(batch)
            assert set(rows.column(BUNDLE).to_pylist()) == {decided_by(names[0], wanted)}
            decided.append(rows)
    made, _ = steps_of(decided, 1 << 40, 0, None, HOUR)
    for _, rows in made:
        name = f"segment-{rows.column('step')[0].as_py():012d}.arrows"
        write_file(str(tmp_path / "state" / "log" / "date=2026-03-01" / name), segment_bytes(rows))
    actions = [[one.as_py() for rows in decided[n * share : (n + 1) * share]
                for one in rows.column(ACTION)] for n in range(4)]  # fmt: skip
    held = [[one.as_py() for rows in decided[n * share : (n + 1) * share]
             for one in rows.column(WITHHELD)] for n in range(4)]  # fmt: skip
    assert "block" in actions[0] and "block" in actions[3]
    assert "block" not in actions[1] and any(held[1]) and OFF in str(held[1])
    assert any(held[2]) and not any(held[0]) and not any(held[3])
    served = check_served(tmp_path / "state", store.root)
    assert (served.by_cause, served.faults) == ({}, ())
    assert served.events == sum(map(len, actions))
