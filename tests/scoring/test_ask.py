"""Asked events are decided as if each had arrived alone, and nothing remembers that they were."""

import numpy as np
import pyarrow as pa
from arrival_world import ROW, bits, engine
from fold_world import SPEC, batch
from hypothesis import given, settings
from hypothesis import strategies as st

from scoring.arrival import Waiting, look
from scoring.ask import ask
from transforms.order import order_events


@settings(max_examples=30)
@given(st.data(), st.lists(ROW, min_size=1, max_size=40))
def test_an_answer_is_the_look_at_the_event_alone_and_changes_nothing(data, rows):
    """Some events are folded, some wait, the others are asked about, together and one by one."""
    events = batch(rows)
    order = order_events(SPEC, events)
    folded = data.draw(st.integers(0, len(rows)))
    rest = order[folded:]
    waits = np.array([data.draw(st.booleans()) for _ in rest], bool)
    served = engine()
    served.step(events.take(pa.array(order[:folded])), np.zeros(folded, bool))
    waiting = Waiting.of(SPEC, served.plans, events.take(pa.array(rest[waits])))
    asked = events.take(pa.array(rest[~waits]))
    asked = pa.concat_batches([asked, asked.slice(0, 1)])  # an id twice is asked twice
    before = str(bits(served.resident)), waiting.events()
    together = ask(served, waiting, asked)
    assert (str(bits(served.resident)), waiting.events()) == before
    scored, place = together.events.column("lockstep_scored").to_pylist(), 0
    for row in range(asked.num_rows):
        alone, _ = look(served, waiting, asked.slice(row, 1))
        assert alone.events.equals(together.events.slice(row, 1))
        if not scored[row]:
            continue
        assert alone.numeric[0].tobytes() == together.numeric[place].tobytes()
        assert alone.sequences[0].tolist() == together.sequences[place].tolist()
        for name in ("inputs", "raw", "score", "action"):
            one, two = getattr(alone.scored, name)[0], getattr(together.scored, name)[place]
            assert one.tobytes() == two.tobytes()
        place += 1


def test_an_event_that_waits_does_not_see_itself():
    events = batch([("x", 1, "a", 1.0, "p"), ("x", 2, "a", 2.0, "p")])
    served = engine()
    first = Waiting.of(SPEC, served.plans, events.slice(0, 1))
    both = Waiting.of(SPEC, served.plans, events)
    asked = events.slice(1)
    alone = ask(served, first, asked)
    assert ask(served, both, asked).numeric.tobytes() == alone.numeric.tobytes()
    assert ask(served, Waiting(SPEC, served.plans), asked).numeric.tobytes() != (
        alone.numeric.tobytes()
    )
