"""The fold of limits against its definition, over whole histories, however they are cut."""

import copy
import itertools
from types import SimpleNamespace

import numpy as np
import pyarrow as pa
from hypothesis import given as for_any
from hypothesis import strategies as st
from live_world import MemoryCells

from configs.policy import Action, ActionLimit
from scoring.columns import NEVER_US, clock_of
from scoring.controls import NONE, Controls, Withheld
from scoring.decision import DecisionPolicy, Threshold
from scoring.limit_log import ASKS, CHOICES, CHOICES_TYPE, GivenActions, asks_of, give_chosen
from scoring.limits import (
    LIMITED,
    LIMITS,
    Given,
    Rule,
    follow,
    limit_actions,
    rules_of,
    rules_text,
    weaker_actions,
)
from scoring.scorer import Scored
from transforms.live.shard_log import ShardLog
from transforms.ticks import LATE, TickSettings

NAMES = ("allow", "block", "hide", "review")
VALUES = (0.9, 0.6, 0.3)


def scorer(limits, controls=NONE, acts=True, values=VALUES):
    """Of three tiers, each with its limit or None."""
    policy = DecisionPolicy(
        tuple(Threshold(name, one, 0.5) for name, one in zip(NAMES[1:], values, strict=True)),
        NAMES[0],
    )
    actions = tuple(
        Action(name, 0.5, limit=one) for name, one in zip(NAMES[1:], limits, strict=True)
    )
    spec = SimpleNamespace(policy=SimpleNamespace(actions=actions))
    return SimpleNamespace(
        acts=acts, controls=controls, bundle=SimpleNamespace(policy=policy, spec=spec)
    )


def events_of(rows):
    """Rows of (account, channel, time, late, score); those that are in order rise in time."""
    clock, times = 0, []
    for _, _, gap, late, _ in rows:
        clock += 0 if late else gap
        times.append(clock - gap if late else clock)
    columns = {
        "who": pa.array([one[0] for one in rows], pa.string()),
        "where": pa.array([one[1] for one in rows], pa.int64()),
        "event_time": pa.array(times, pa.int64()),
        LATE: pa.array([one[3] for one in rows], pa.bool_()),
        "score": pa.array([one[4] for one in rows], pa.float64()),
    }
    return pa.RecordBatch.from_pydict(columns)


def run(scorer, given, events, before=NEVER_US):
    """One step: as the engine does."""
    scored = due(scorer, events)
    clocks = clock_of(events, before)
    given.align(rules_of(scorer).values())
    made = limit_actions(scorer, given, scored, events, clocks, counts=True)
    given.forget(int(clocks[-1]))
    return made, int(clocks[-1])


def due(scorer, events):
    """What is due, before limits."""
    scores = events.column("score").to_numpy()
    action, withheld = scorer.controls.decide(scorer.bundle.policy, scores, events)
    blank = np.zeros((len(scores), 0), np.float32)
    return Scored(blank, scores.astype(np.float32), scores, action, NAMES, withheld)


def by_definition(limits, events, off=()):
    """Actions, from the list of all that were given before."""
    before = {name: [] for name in NAMES}  # (value of the column, clock)
    made, clock = [], -(10**9)
    for row in events.to_pylist():
        clock = clock if row[LATE] else row["event_time"]
        chosen = "allow"
        reached = [
            place for place, value in enumerate(VALUES)
            if row["score"] >= value and NAMES[1 + place] not in off
        ]  # fmt: skip
        for place in reached:
            name, limit = NAMES[1 + place], limits[place]
            key = None if limit is None else row[limit.per]
            if key is None:
                chosen = name
                break
            lately = [t for one, t in before[name] if one == key and t > clock - limit.in_us]
            if len(lately) < limit.count:
                before[name].append((key, clock))
                chosen = name
                break
        made.append(chosen)
    return made


limit = st.none() | st.builds(
    ActionLimit, st.sampled_from(["who", "where"]), st.integers(1, 4), st.integers(1, 40)
)
row = st.tuples(
    st.sampled_from(["x", "x", "y", None]),
    st.sampled_from([1, 2, None]),
    st.integers(0, 12),
    st.booleans() | st.just(False),
    st.sampled_from([0.1, 0.3, 0.5, 0.7, 0.95, 0.95]),
)


@for_any(st.data(), st.lists(row, min_size=1, max_size=60), st.tuples(limit, limit, limit))
def test_it_is_the_definition_however_it_is_cut_kept_and_followed(data, rows, limits):
    events = events_of([(*rows[0][:3], False, rows[0][4]), *rows[1:]])
    off = data.draw(st.sampled_from([(), ("hide",), ("block",)]))
    decides = scorer(limits, Controls(off=off))
    text = rules_text(rules_of(decides).values())
    cuts = data.draw(st.lists(st.integers(0, len(rows)), max_size=6))
    bounds = sorted({0, len(rows), *cuts})
    live, followed = Given(), Given()
    clock, made = NEVER_US, []
    for start, end in itertools.pairwise(bounds):
        step = events.slice(start, end - start)
        before = clock
        scored, clock = run(decides, live, step, before)
        names = scored.actions()
        made += names.to_pylist()
        logged = step
        if text is not None:
            logged = step.append_column(LIMITS, pa.array([text] * step.num_rows))
        follow(followed, logged, names, clock_of(step, before))
        assert followed == live
        if data.draw(st.booleans()):  # a snapshot, and a restart from it
            live = Given.from_table(live.to_table())
            assert followed == live
        for rule, keys in live._full().items():
            assert all(len(times) <= 8 * rule.most for times in keys.values())
            newest = [int.from_bytes(times[-8:], "little") for times in keys.values()]
            assert newest == sorted(newest) and newest[0] > clock - rule.in_us
    assert made == by_definition(limits, events, off)


def test_what_is_over_the_limit_gets_the_next_weaker_action_that_is_reached():
    """Thresholds need not fall: a weaker one that is not reached is passed over."""
    rows = [("x", 1, 1, False, 0.7)] * 4
    limits = ActionLimit("who", 1, 100), ActionLimit("who", 1, 100), ActionLimit("who", 1, 100)
    made, _ = run(scorer(limits, values=(0.6, 0.9, 0.3)), Given(), events_of(rows))
    assert made.actions().to_pylist() == ["block", "review", "allow", "allow"]
    assert made.withheld == {row: Withheld("block", LIMITED) for row in (1, 2, 3)}


def test_after_exactly_its_time_an_action_is_given_again():
    rows = [("x", 1, 0, False, 0.95), ("x", 1, 99, False, 0.95), ("x", 1, 1, False, 0.95)]
    made, _ = run(scorer((ActionLimit("who", 1, 100), None, None)), Given(), events_of(rows))
    assert made.actions().to_pylist() == ["block", "hide", "block"]


def test_who_does_not_act_has_no_limits_and_a_look_counts_nothing():
    limits = ActionLimit("who", 1, 100), None, None
    rows = events_of([("x", 1, 1, False, 0.95)] * 3)
    made, _ = run(scorer(limits, acts=False), Given(), rows)
    assert made.actions().to_pylist() == ["block"] * 3 and not made.withheld
    decides, given = scorer(limits), Given()
    scored, _ = run(scorer(limits, acts=False), Given(), rows)
    clocks = rows.column("event_time").to_numpy()
    for _ in range(2):
        looked = limit_actions(decides, given, scored, rows, clocks, counts=False)
        assert looked.actions().to_pylist() == ["block"] * 3 and not len(given)
    run(decides, given, rows)
    looked = limit_actions(decides, given, scored, rows, clocks, counts=False)
    assert looked.actions().to_pylist() == ["hide"] * 3 and len(given) == 1


def test_counts_go_on_where_limits_are_equal_and_others_begin_with_nothing():
    same, other = ActionLimit("who", 2, 100), ActionLimit("who", 2, 99)
    given = Given()
    _, clock = run(scorer((same, other, None)), given, events_of([("x", 1, 1, False, 0.95)]))
    given.add(Rule("hide", "who", 2, 99), 5, clock)
    assert len(given) == 2
    given.align(rules_of(scorer((same, same, None))).values())
    assert len(given) == 1
    given.align(rules_of(scorer((other, None, None))).values())
    assert not len(given) and given == Given()


def step_of(scorer, events):
    """A step of a job's log before it is limited: what is due, and what else may be given."""
    made, asking = due(scorer, events), weaker_actions(scorer, due(scorer, events))
    names, held = made.actions().to_pylist(), made.withheld
    choices = [
        None if row not in asking else
        [{"action": NAMES[one], "decision": f"{row} {NAMES[one]}"} for one in asking[row][1:]]
        for row in range(len(names))
    ]  # fmt: skip
    columns = {
        "action": pa.array(names, pa.string()),
        "decision": pa.array([f"{row} {one}" for row, one in enumerate(names)], pa.binary()),
        "withheld": pa.array(
            [held[row].by if row in held else None for row in range(len(names))], pa.string()
        ),
        LIMITS: pa.array([rules_text(rules_of(scorer).values())] * len(names), pa.string()),
        CHOICES: pa.array(choices, CHOICES_TYPE),
    }
    for name, column in columns.items():
        events = events.append_column(name, column)
    return events


def of_use(given, clock):
    """What later answers hang on: how early the rest is let go depends on where steps end."""
    made = {}
    for rule, keys in given._full().items():
        for key, times in keys.items():
            clocks = np.frombuffer(times, "<i8")
            made[rule, key] = clocks[clocks > clock - rule.in_us].tolist()
    return {one: clocks for one, clocks in made.items() if clocks}


@for_any(st.data(), st.lists(row, min_size=1, max_size=60), st.tuples(limit, limit, limit))
def test_a_jobs_shard_log_gives_what_the_embedded_fold_gives(data, rows, limits):
    """Over swaps, whatever is folded at once, restarts, and ticks that fail and are repeated."""
    events = events_of([(*rows[0][:3], False, rows[0][4]), *rows[1:]])
    bundles = [scorer(limits), scorer((*limits[:2], None)), scorer(limits, Controls(off=("hide",)))]
    cuts = data.draw(st.lists(st.integers(0, len(rows)), max_size=8))
    steps = [events.slice(start, end - start)
             for start, end in itertools.pairwise(sorted({0, len(rows), *cuts}))]  # fmt: skip
    decides = [data.draw(st.sampled_from(bundles)) for _ in steps]
    begins = data.draw(st.none() | st.integers(0, 90))  # where a night ends
    live, clock, expected = Given(), NEVER_US if begins is None else begins, []
    for one, step in zip(decides, steps, strict=True):
        scored, clock = run(one, live, step, clock)
        expected.append(scored)
    numbers = itertools.count(1)
    log = ShardLog(
        GivenActions(begins),
        TickSettings(snapshot_ticks=2),
        lambda: next(numbers).to_bytes(16, "big"),
    )
    cells, resident, made = MemoryCells(), None, []
    asked = [step_of(one, step) for one, step in zip(decides, steps, strict=True)]
    for tick, at in enumerate(range(0, len(asked), 2)):
        together = asked[at : at + 2]
        block = GivenActions.blocks.write(ASKS, asks_of(together), tick)
        if data.draw(st.booleans()):  # a bundle that fails at its end, with all of its work done
            failed = copy.deepcopy(cells)
            failed.put(tick % 4, block)
            log.fire(failed, tick, resident)
            resident = None  # the worker had let go of it
        resident = None if data.draw(st.booleans()) else resident  # a restart
        cells.put(tick % 4, block)
        fired = log.fire(cells, tick, resident)
        resident = fired.resident
        assert log._rebuild(cells) == resident.state, "what a restart finds"
        made += give_chosen(together, fired.outputs[0])
    assert resident.state.clock_us == clock
    assert of_use(resident.state.given, clock) == of_use(live, clock)
    for step, scored in zip(made, expected, strict=True):
        names = scored.actions().to_pylist()
        assert step.column("action").to_pylist() == names
        said = [f"{row} {name}".encode() for row, name in enumerate(names)]
        assert step.column("decision").to_pylist() == said
        held = [scored.withheld[row].by if row in scored.withheld else None
                for row in range(len(names))]  # fmt: skip
        assert step.column("withheld").to_pylist() == held
        assert CHOICES not in step.schema.names
