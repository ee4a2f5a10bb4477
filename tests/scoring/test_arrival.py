"""A look changes nothing, sees what a fold in order will see, and its score stands if it did."""

import dataclasses
import itertools

import numpy as np
import pyarrow as pa
from arrival_world import ROW, bits, engine
from fold_world import SPEC, batch
from hypothesis import given, settings
from hypothesis import strategies as st

from scoring.arrival import Arrived, Decided, Waiting, look, unseen
from scoring.controls import OFF, Withheld
from scoring.hold_out import HELD_OUT
from transforms.order import order_events


def cuts_of(draw, count):
    return sorted({0, count, *draw(st.lists(st.integers(0, count), max_size=5))})


@settings(max_examples=60, deadline=None)
@given(st.data(), st.lists(ROW, min_size=1, max_size=40))
def test_a_look_is_the_fold_in_order_and_state_is_as_without_it(data, rows):
    """Arrival in any order; a bound of `hold` events; each step folds the earliest that wait."""
    events = batch(rows)
    came = data.draw(st.permutations(range(len(rows))))
    hold = data.draw(st.integers(0, 12))
    cuts = cuts_of(data.draw, len(rows))
    ahead, plain = engine(), engine()
    waiting, decided = Waiting(SPEC, ahead.plans), Decided()
    held, firsts, finals = [], {}, {}
    folded, again = 0, 0

    def fold(take):
        nonlocal held, folded, again
        chosen = events.take(pa.array(take, pa.int64()))
        late = np.zeros(len(take), bool)
        before = ahead.scorer.scored
        made = ahead.step(
            chosen, late, score=lambda numeric, asked: decided.score(ahead, numeric, asked)
        )
        again += ahead.scorer.scored - before
        other = plain.step(chosen, late)
        assert made.numeric.tobytes() == other.numeric.tobytes()
        if made.scored is not None:
            for name in ("inputs", "raw", "score", "action"):
                one, two = getattr(made.scored, name), getattr(other.scored, name)
                assert one.tobytes() == two.tobytes() and one.dtype == two.dtype
            scored = made.events.filter(made.events.column("lockstep_scored"))
            revisions = decided.revisions(made)
            for row, event in enumerate(scored.column("event_id").to_pylist()):
                finals[event] = made.numeric[row].tobytes()
                changed = firsts[event][1] != made.scored.actions()[row].as_py()
                assert revisions[row] == (1 if changed else None)
        assert str(bits(ahead.resident)) == str(bits(plain.resident))
        ids = chosen.column("event_id").to_pylist()
        waiting.forget(ids)
        decided.forget(ids)
        held = [one for one in held if one not in set(take)]
        folded += len(take)

    for first, last in itertools.pairwise(cuts):
        some = came[first:last]
        fresh = unseen(ahead, waiting, events.take(pa.array([*some, *some], pa.int64())))
        assert fresh.num_rows == len(some)
        before = str(bits(ahead.resident))
        outcome, arrived = look(ahead, waiting, fresh)
        waiting.add(arrived)
        assert str(bits(ahead.resident)) == before
        decided.add(SPEC, outcome, arrived)
        held += some
        if outcome.scored is not None:
            scored = outcome.events.filter(outcome.events.column("lockstep_scored"))
            for row, event in enumerate(scored.column("event_id").to_pylist()):
                firsts[event] = (
                    outcome.numeric[row].tobytes(),
                    outcome.scored.actions()[row].as_py(),
                )
        order = [held[i] for i in order_events(SPEC, events.take(pa.array(held, pa.int64())))]
        if len(order) > hold:
            fold(order[: len(order) - hold])
        assert not unseen(ahead, waiting, fresh).num_rows
    if held:
        fold([held[i] for i in order_events(SPEC, events.take(pa.array(held, pa.int64())))])
    assert folded == len(rows) and not len(waiting) and not len(decided)
    # In the order of arrival each event's predecessors in total order were there: nothing changes.
    whole = order_events(SPEC, events).tolist()
    right = [
        f"e{one:05d}"
        for at, one in enumerate(whole)
        if all(came.index(before) <= came.index(one) for before in whole[:at])
    ]
    assert all(firsts[one][0] == finals[one] for one in right if one in firsts)
    assert again == sum(firsts[one][0] != finals[one] for one in firsts)


def test_what_waits_is_found_by_id_and_by_key_and_is_gone_when_folded():
    plans = engine().plans
    rows = [(f"k{n % 7}", n, "a", float(n), "p") for n in range(3000)]
    events = batch([*rows, (None, 3000, "a", 2.0, "p")])
    ids = events.column("event_id").to_pylist()
    waiting, asked = Waiting(SPEC, plans), batch([("k3", 5000, "a", 1.0, "p")])
    asked = asked.set_column(0, "event_id", pa.array(["asked"]))
    for first in range(0, 3001, 100):  # many growths, and most of what came is folded meanwhile
        waiting.add(Arrived.of(SPEC, plans, events.slice(first, 100)))
        waiting.forget([*ids[max(0, first - 100) : first], "never seen"])
    assert len(waiting) == 1 and ids[-1] in waiting and ids[-2] not in waiting
    waiting.add(Arrived.of(SPEC, plans, events.slice(0, 20)))
    assert waiting.events().column("event_id").to_pylist() == [ids[-1], *ids[:20]]
    again = Arrived.of(SPEC, plans, events.take(pa.array([3, 10, 17])))
    for entity, found in waiting.beside(Arrived.of(SPEC, plans, asked)).items():
        assert found.row.tolist() == [-1, -1, -1, 0] and found.query.tolist() == [False] * 3 + [
            True
        ]
        for field in dataclasses.fields(found):
            if field.name not in ("row", "query"):
                one, two = getattr(found, field.name), getattr(again.rows[entity], field.name)
                np.testing.assert_array_equal(one[..., :3], two)


def test_what_the_hold_out_lets_through_by_one_decision_alone_is_revised():
    def decide(through):
        ahead, events = engine(), batch([("k", 1, "a", 1.0, "p")])
        made = ahead.step(events, np.zeros(1, bool))
        held = {0: Withheld("block", through)} if through else {}
        scored = dataclasses.replace(
            made.scored, action=np.zeros(1, np.int8), names=("allow", "block"), withheld=held
        )
        return dataclasses.replace(made, scored=scored)

    for first, then, revision in (
        (HELD_OUT, None, 1),
        (None, HELD_OUT, 1),
        (HELD_OUT, HELD_OUT, None),
        (None, None, None),
        (OFF, None, None),  # nothing was due, and nothing is done
    ):
        decided = Decided()
        decided.add(SPEC, decide(first))
        assert decided.revisions(decide(then)) == [revision], (first, then)
