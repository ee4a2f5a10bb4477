"""What is due and not done: a kill switch, an allow list, a hold-out; and what is known of it."""

import functools
import json

import numpy as np
import pyarrow as pa
from swap_world import fires_always

from pipelines.parity import check_served
from pipelines.streaming.at_arrival import AtArrival
from scoring.bundle import load_bundle
from scoring.controls import OFF, Controls, Withheld, change_controls
from scoring.controls import POINTER as CONTROLS
from scoring.engine import DECISION, WITHHELD, Engine, Resident
from scoring.hold_out import is_held_out
from scoring.scorer import Scorer
from transforms.catalog import CATALOG
from transforms.decode import decode_json


def test_a_kill_switch_and_an_allow_list_hold_at_the_next_look_and_are_replayed(scoring):
    name, store = fires_always(scoring), scoring.store.root

    def decided(controls=None):
        if controls is not None:
            change_controls(store, lambda now: Controls.of(controls), {"why": "a test"})
        by = scoring.decide()
        row = list(scoring.journal.steps())[-1].batch
        return by, json.loads(row.column(DECISION)[0].as_py()), row.column(WITHHELD)[0].as_py()

    assert decided()[1]["action"] == "block"
    off = Controls(off=("block",))
    by, decision, withheld = decided(off.plain())
    assert by == f"{name}+{off.digest}"
    assert (decision["bundle"], decision["controls"]) == (name, off.digest)
    assert (decision["action"], decision["threshold"], withheld) == ("allow", None, "switched off")
    assert decision["withheld"] == {"action": "block", "by": "switched off"}
    who = scoring.events[scoring.sequence + 1]["who"]
    _, decision, withheld = decided({"off": [], "allow": {"who": [who]}})
    assert (decision["action"], withheld) == ("allow", "allow list")
    # A damaged file changes nothing: what was in force stays so.
    right = (store / CONTROLS).read_bytes()
    (store / CONTROLS).write_text("{")
    assert decided()[0] == f"{name}+{Controls(allow={'who': (who,)}).digest}"
    (store / CONTROLS).write_bytes(right)
    by, decision, withheld = decided({})
    assert (by, decision["action"], withheld) == (name, "block", None)
    assert "controls" not in decision and "withheld" not in decision
    report = check_served(scoring.journal.root, store)
    assert report.clean and report.events == 5 and len(report.versions) == 3


def test_the_hold_out_lets_a_share_through_with_its_propensity_and_is_replayed(scoring):
    store = scoring.store
    name = fires_always(scoring, "{share: 0.5, salt: here}")
    made = []
    for _ in range(12):
        assert scoring.decide() == name
        row = list(scoring.journal.steps())[-1].batch
        made.append((json.loads(row.column(DECISION)[0].as_py()), row.column(WITHHELD)[0].as_py()))
    ids = pa.array([decision["event_id"] for decision, _ in made])
    through = is_held_out(ids, 0.5, "here").tolist()
    assert 0 < sum(through) < 12
    for (decision, withheld), let in zip(made, through, strict=True):
        assert decision["propensity"] == 0.5
        if let:
            assert (decision["action"], withheld) == ("allow", "hold-out")
            assert decision["threshold"] is None
            assert decision["withheld"] == {"action": "block", "by": "hold-out"}
        else:
            assert (decision["action"], withheld) == ("block", None)
            assert "withheld" not in decision
    # Of what people have switched off nothing is let through: it was not due.
    change_controls(store.root, lambda now: Controls(off=("block",)), {"why": "a test"})
    for _ in range(6):
        scoring.decide()
        row = list(scoring.journal.steps())[-1].batch
        assert row.column(WITHHELD)[0].as_py() == OFF
        assert json.loads(row.column(DECISION)[0].as_py())["propensity"] == 1.0
    report = check_served(scoring.journal.root, store.root)
    assert report.clean and report.events == 18
    # Whoever only measures a bundle sees what it would do by itself.
    bundle = load_bundle(store.path(name), CATALOG)
    assert Scorer(bundle).hold_out is None
    acting = Scorer(bundle).under(Controls())
    assert acting.hold_out == bundle.spec.policy.hold_out
    assert acting.reads == ("event_id",) and Scorer(bundle).reads == ()


def test_what_was_held_back_at_arrival_is_still_known_after_a_restart(scoring, tmp_path):
    bundle = load_bundle(scoring.store.path(fires_always(scoring)), CATALOG)
    scorer = Scorer(bundle).under(Controls(off=("block",)))
    engine = Engine(scoring.spec, Resident.empty(scoring.spec), scorer)
    payload = json.dumps(scoring.events[0]).encode()
    batch = decode_json(scoring.spec, [payload], "test").batch

    def starts():
        return AtArrival(tmp_path / "first", lambda data: None, lambda what, write: write())

    first, made = starts(), []
    first.decide(engine, [batch], 0, made.append)
    first.settle()
    assert made[0].scored.withheld == {0: Withheld("block", OFF)}
    first.close()
    again = starts()
    assert again.decide(engine, [batch], 0) is None
    score = functools.partial(again.decided.score, engine)
    folded = engine.step(batch, np.zeros(1, np.bool_), score=score)
    assert folded.scored.withheld == {0: Withheld("block", OFF)}
    assert again.decided.revisions(folded) == [None]
    # Switched on again meanwhile: it is decided anew, and revised.
    on = Engine(scoring.spec, Resident.empty(scoring.spec), scorer.under(Controls()))
    score = functools.partial(again.decided.score, on)
    revised = on.step(batch, np.zeros(1, np.bool_), score=score)
    assert revised.scored.actions().to_pylist() == ["block"]
    assert again.decided.revisions(revised) == [1]
