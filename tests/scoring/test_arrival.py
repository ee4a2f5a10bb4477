"""A look changes nothing, sees what a fold in order will see, and its score stands if it did."""

import dataclasses
import itertools

import numpy as np
import pyarrow as pa
from arrival_world import ROW, bits, engine
from fold_world import SPEC, batch
from hypothesis import given, settings
from hypothesis import strategies as st

from scoring.arrival import Decided, Waiting, look, unseen
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
    waiting, decided = Waiting.none(SPEC, ahead.plans), Decided()
    held, firsts, finals = [], {}, {}
    folded, again = 0, 0

    def fold(take):
        nonlocal waiting, held, folded, again
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
        ids = chosen.column("event_id")
        waiting = waiting.without(ids)
        decided.forget(ids.to_pylist())
        held = [one for one in held if one not in set(take)]
        folded += len(take)

    for first, last in itertools.pairwise(cuts):
        some = came[first:last]
        fresh = unseen(ahead, waiting, events.take(pa.array([*some, *some], pa.int64())))
        assert fresh.num_rows == len(some)
        before = str(bits(ahead.resident))
        outcome, waiting = look(ahead, waiting, fresh)
        assert str(bits(ahead.resident)) == before
        decided.add(SPEC, outcome)
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


def test_waiting_keeps_rows_and_events_together():
    plans = engine().plans
    events = batch([("x", 1, "a", 1.0, "p"), (None, 2, "a", 2.0, "p"), ("y", 3, "b", 3.0, "q")])
    ids = events.column("event_id")
    one = Waiting.of(SPEC, plans, events.slice(0, 2)).plus(Waiting.of(SPEC, plans, events.slice(2)))
    assert one.holds(ids).all() and len(one) == 3
    left = one.without(ids[:1])
    assert left.events.column("event_id").to_pylist() == ids[1:].to_pylist()
    again = Waiting.of(SPEC, plans, events.slice(1))
    for entity in plans:
        for field in dataclasses.fields(again.rows[entity]):
            found, wanted = (
                getattr(left.rows[entity], field.name),
                getattr(again.rows[entity], field.name),
            )
            np.testing.assert_array_equal(found, wanted)
    assert left.places.equals(again.places)
