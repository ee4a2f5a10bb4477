"""Windows of `all`: one tile that never leaves, until the key is forgotten."""

import numpy as np
import pytest
from fold_world import PLAN, SPEC, S, batch

from configs.errors import ConfigError
from configs.loader import loads
from transforms.catalog import CATALOG
from transforms.velocity import ShardState, describe_features, entity_rows, finish, fold, make_plan

DAY = 86_400
COUNT = PLAN.features.index("k_count_all")


def counts(times, plan=PLAN):
    rows = entity_rows(plan, batch([("x", time, "a", 1.0, "p") for time in times]))
    folded = fold(plan, ShardState.empty(plan), rows)
    state = ShardState.empty(plan)
    state.update(folded.delta)
    return finish(plan, folded.outputs)[:, plan.features.index("k_count_all")].tolist(), state


def test_it_holds_everything_strictly_before():
    times = [day * DAY for day in range(0, 200)]
    assert counts(times)[0] == list(range(200))


def test_it_begins_anew_when_the_key_was_silent_for_longer_than_its_retention():
    assert counts([0, 2 * DAY, 4 * DAY + 1, 4 * DAY + 2])[0] == [0, 1, 0, 1]
    _, state = counts([0, 2 * DAY])
    state.expire((4 * DAY + 1) * S)
    assert len(state) == 0


def test_the_first_of_january_1970_is_no_border():
    assert counts([-2 * DAY, -DAY, 0, DAY])[0] == [0, 1, 2, 3]
    _, state = counts([-2 * DAY, -DAY, 0, DAY])
    assert len(ShardState.from_table(state.to_table(), PLAN)) == 1


def test_a_flooded_key_keeps_one_tile():
    def kept(count):
        return counts(np.arange(count) * 60.0)[1].nbytes

    assert kept(4000) - kept(2000) < 40  # digits of counts; the tiles of 10s and 1h come and go


TEXT = """
lockstep: 1
columns: {who: {type: string}}
kinds: {m: {scored: true}}
entities:
  who:
    key: {m: [who]}
    windows: [1d, all]
    aggregates:
      n: {op: count}
"""


def test_it_is_named_and_described():
    spec = loads(TEXT, "life.yaml", CATALOG)
    assert make_plan(spec, "who").features == ("who_n_1d", "who_n_all")
    info = describe_features(spec)[1]
    assert (info.window, info.window_error, info.state_bytes) == ("all", "", 2 + 10 + 10)
    assert info.about == "number of events, over all"
    assert spec.entities["who"].retention_us == 30 * DAY * S


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("n: {op: count}", "n: {op: rate}", "rate is by the length of its window, and 'all' has"),
        ("[1d, all]", "[1d, {length: all, tiles: 2}]", "a number and a unit"),
        ("[1d, all]", "[1d, always]", "found 'always'"),
        ("[1d, all]", "[all, all]", "all is there twice"),
    ],
)
def test_what_it_cannot_be_is_refused(old, new, words):
    with pytest.raises(ConfigError, match=words):
        loads(TEXT.replace(old, new), "life.yaml", CATALOG)


def test_estimates_say_so_and_by_how_much():
    errors = {info.name: info.error for info in describe_features(SPEC)}
    assert "9.2%" in errors["k_distinct_1h"] and "3.1%" in errors["k_median_all"]
    told = {name for name, error in errors.items() if error}
    assert {name.split("_")[1] for name in told} == {"distinct", "median"}
