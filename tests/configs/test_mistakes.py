"""Mistakes that used to load, or to crash the loader: each is told with its place and a hint."""

import json
import os
import time
from pathlib import Path

import numpy as np
import pytest
import xgboost
from mistakes_world import BASE, BROKEN, DIGITS, aggregates

from configs.booster import BOOSTER, DART, TINY
from configs.errors import ConfigError
from configs.fingerprint import fingerprint
from configs.loader import loads
from scoring.models import input_names
from training.boosting import Sample, fit_booster
from transforms.catalog import CATALOG

GOLDEN = Path(__file__).parent / "golden"


@pytest.mark.parametrize("name", BROKEN)
def test_mistakes_are_told_as_the_golden_file_says(name):
    with pytest.raises(ConfigError) as caught:
        loads(BROKEN[name], f"{name}.yaml", CATALOG)
    told = f"{caught.value}\n".replace(DIGITS, "<400 digits>")
    path = GOLDEN / f"{name}.txt"
    if os.environ.get("GOLDEN") == "write":
        path.write_text(told)
    assert path.read_text() == told


def test_an_action_that_is_mistaken_takes_no_part_in_the_order():
    actions = """policy:
  actions:
    block: {costs: {false_alarm: 3}}
    hide: {min_precision: 0.9}
    review: {min_precision: 0.6}
"""
    with pytest.raises(ConfigError) as caught:
        loads(BASE + actions, "costs.yaml", CATALOG)
    assert "missed" in str(caught.value) and "strongest first" not in str(caught.value)


def test_sixty_three_filters_fit():
    assert loads(
        aggregates(*(f'z{i}: {{op: count, where: "n > {i}"}}' for i in range(62))), "s", CATALOG
    ).entities


@pytest.mark.parametrize(
    "text",
    [
        aggregates('z: {op: count, where: "b"}', "y: {op: count, where: 'b == true'}"),
        aggregates("z: {op: count, where: 'is_null(n)'}"),
        BASE + 'inputs: {computed: {q: "1 + 1", r: "b", s: "n > 1"}}\n',
        BASE
        + "events: {earliest: 2020-01-01, latest: 2020-01-01, aliases: {ts: event_time, m: n}}\n",
        BASE.replace("k: {type: string}", "k: &s {type: string, max_bytes: 5}\n  l: {<<: *s}"),
        aggregates("z: {op: count, windows: [{length: 90m, tiles: 3}]}"),
    ],
)
def test_what_has_a_meaning_still_loads(text):
    assert loads(text, "fine.yaml", CATALOG).entities


@pytest.mark.parametrize(
    "text", ["(" * 1500 + "n" + ")" * 1500, "-" * 1500 + "n", "-" * 15000 + "n"]
)
def test_a_deep_expression_is_told_as_deep(text):
    with pytest.raises(ConfigError, match="where: more than 50 levels deep"):
        loads(aggregates(f'z: {{op: count, where: "{text} > 1"}}'), "deep.yaml", CATALOG)


def test_bounds_are_kept_as_written():
    text = BASE.replace(
        "  n: {type: number}",
        "  n: {type: number, minimum: 0}\n"
        "  i: {type: integer, minimum: 0, maximum: 9007199254740993}",
    )
    columns = loads(text, "fine.yaml", CATALOG).columns
    assert columns["i"].maximum == 9007199254740993
    floats = loads(text.replace("minimum: 0", "minimum: 0.0"), "fine.yaml", CATALOG)
    assert fingerprint(floats) == fingerprint(loads(text, "fine.yaml", CATALOG))


@pytest.mark.parametrize("depth", [1_500, 100_000])
@pytest.mark.parametrize("brackets", ["[]", "{}"])
def test_deep_nesting_is_a_mistake(depth, brackets):
    opened, closed = brackets
    with pytest.raises(ConfigError) as caught:
        loads(BASE + f"about: {opened * depth}{closed * depth}\n", "deep.yaml", CATALOG)
    assert caught.value.exit_code == 3 and "nest too deeply to be read" in str(caught.value)
    assert len(str(caught.value)) < 1000 + 3 * depth


def test_the_latest_day_is_inside():
    def latest(text):
        return loads(BASE + f"events: {{latest: {text}}}\n", "e.yaml", CATALOG).events.latest_us

    day = 1_798_675_200_000_000  # 2026-12-31
    assert latest("2026-12-31") == day + 86_400_000_000 - 1
    assert latest("2026-12-31T00:00:00.000007Z") == day + 7
    assert latest("'2026-12-31'") == day + 86_400_000_000 - 1, "as JSON has it"
    assert latest("'2026-12-31T00:00:00.000007Z'") == day + 7


def boundaries(name):
    """Values at the ends of what a config may say, and as near to 0 as it may."""
    parameter = BOOSTER[name]
    if parameter.words:
        return list(parameter.words)
    if parameter.form:
        return {
            "monotone_constraints": ["(0, 1,-1)", "(0,0,0)"],
            "interaction_constraints": ["[[0, 1], [2]]", "[[2]]", "[ [0,0] ,[1] ]"],
        }[name]
    near = [] if parameter.whole or parameter.least else [TINY]
    return [parameter.default, parameter.least, parameter.most, *near]


@pytest.mark.parametrize("name", BOOSTER)
def test_xgboost_takes_what_a_config_may_say(name):
    generator = np.random.default_rng(0)
    inputs = generator.normal(size=(200, 3)).astype(np.float32)
    sample = Sample(inputs, (inputs[:, 0] > 0.5).astype(np.int8))
    for value in boundaries(name):
        assert BOOSTER[name].takes(value)
        settings = {name: value} | ({"booster": "dart"} if name in DART else {})
        settings |= {"subsample": 0.5} if name == "sampling_method" else {}
        text = f"training: {{span: 7d, delay: 1d, rounds: 2, booster: {json.dumps(settings)}}}\n"
        training = loads(THREE + text, "fine.yaml", CATALOG).training
        made = fit_booster(training, ["a", "b", "c"], sample, 1.0, check=sample)
        scores = made.booster.inplace_predict(inputs, predict_type="margin")
        assert np.isfinite(scores).all()


THREE = BASE.replace("      c: {op: count}", "      c: {op: count, windows: [1h, 1d, 2d]}").replace(
    "    windows: [1h]\n", ""
)


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ("booster: {monotone_constraints: '(0,1)'}", "has 3 inputs, and here are 2 signs"),
        ("booster: {monotone_constraints: '(0,1,0,1)'}", "has 3 inputs, and here are 4 signs"),
        ("booster: {interaction_constraints: '[[0, 3]]'}", "counted from 0, and here is 3"),
        ("booster: {interaction_constraints: '[[\"a\"]]'}", "expected a text such as [[0, 1]"),
        ("booster: {interaction_constraints: '[0, 1]'}", "expected a text such as [[0, 1]"),
        ("booster: {interaction_constraints: '[[[0]]]'}", "expected a text such as [[0, 1]"),
        ("booster: {interaction_constraints: '[[]]'}", "expected a text such as [[0, 1]"),
        ("booster: {eta: 1e-300}", "eta: expected a number from 1e-06 to 1, found 1e-300"),
        ("booster: {gamma: 1e-300}", "XGBoost counts with 32 bits, in which this is 0"),
        ("booster: {lambda: 1e39}", "lambda: expected a number from 0 to 1e+30"),
        ("booster: {max_depth: " + DIGITS + "}", "max_depth: expected a whole number"),
        ("booster: {num_class: 3}", "num_class is not for a config to set"),
        *(
            (f"booster: {{{one}}}", f"booster: {one.partition(':')[0]} means nothing here")
            for one in ("rate_drop: 0.1", "one_drop: 1", "skip_drop: 0.5", "sample_type: uniform")
        ),
        ("booster: {booster: gbtree, normalize_type: tree}", "it is for booster: dart"),
        ("booster: {sampling_method: uniform}", "all rows are in each tree without subsample"),
        ("early_stopping: 0, booster: {eval_metric: auc}", "eval_metric means nothing here"),
        ("model: linear, booster: {eta: 0.1}", "training: booster means nothing here"),
        ("model: linear, booster: {}", "training: booster means nothing here"),
        ("model: linear, rounds: 10", "training: rounds means nothing here"),
        ("model: linear, early_stopping: 5", "training: early_stopping means nothing here"),
        ("text_folds: 5", "text_folds means nothing here"),
        ("text_regularisation: 0.1", "text_regularisation means nothing here"),
        ("delayed_feedback: weight", "delayed_feedback means nothing here"),
        ("delayed_feedback: es_dfm", "delayed_feedback: 'es_dfm' is not known"),
        ("positive_weight: 1e39", "positive_weight: expected at most 1e+09"),
        ("positive_weight: 0", "positive_weight: expected at least 1e-06"),
        ("seed: -1", "seed: expected at least 0"),
        ("seed: 9223372036854775808", "seed: expected at most"),
    ],
)
def test_settings_of_training_that_no_night_could_use_are_mistakes(settings, told):
    text = THREE + f"training: {{span: 7d, delay: 1d, {settings}}}\n"
    with pytest.raises(ConfigError) as caught:
        loads(text, "c.yaml", CATALOG)
    assert told in str(caught.value) and "c.yaml: 1 mistake\n" in str(caught.value)


def test_every_column_of_the_model_counts_as_an_input():
    inputs = (
        "inputs: {numeric: [n, b], exclude: [e_c_1d], computed: {q: n * 2}, categorical: {k: },"
        " text: {column: k}}\n"
    )
    signs = "'(1,-1,0,0,1,0,0)'"
    text = THREE + inputs + "training: {span: 7d, delay: 1d, booster: {monotone_constraints: "
    spec = loads(f"{text}{signs}}}}}\n", "c.yaml", CATALOG)
    assert len(input_names(spec)) == 7
    with pytest.raises(ConfigError, match="the model has 7 inputs, and here are 2 signs"):
        loads(f"{text}'(1,0)'}}}}\n", "c.yaml", CATALOG)


@pytest.mark.parametrize(
    "inputs",
    [
        "categorical: {k: {vocabulary: 8388609}}",
        "categorical: {k: {oov_buckets: 1000000000000}}",
        "text: {column: k, buckets: 1000000000000}",
        "text: {column: k, max_tokens: 1000000000000}",
    ],
)
def test_more_places_than_an_input_can_tell_apart_are_a_mistake(inputs):
    with pytest.raises(ConfigError, match="expected at most 8388608"):
        loads(BASE + f"inputs: {{{inputs}}}\n", "c.yaml", CATALOG)


def test_the_last_text_is_refused_with_what_there_is_instead():
    with pytest.raises(ConfigError) as caught:
        loads(aggregates("z: {op: last, column: k}"), "c.yaml", CATALOG)
    assert "last: 'k' is a string, so 'values' must be said" in str(caught.value)
    assert "or see whether it changed, with same_as_last" in str(caught.value)
    ios = "derive: {ios: {op: arithmetic, expression: \"k == 'ios'\"}}\n"
    last = aggregates("z: {op: last, column: ios, decimals: 0}", "y: {op: same_as_last, column: k}")
    assert len(loads(last + ios, "c.yaml", CATALOG).entities["e"].aggregates) == 3


@pytest.mark.parametrize(
    ("condition", "told"),
    [
        ("starts_with(kind, 'zz')", "no kind here begins with 'zz'"),
        ("not starts_with(kind, 'aa')", "no kind here begins with 'aa'"),
        ("kind in ['a', 'zz']", "there is no kind 'zz'"),
        ("starts_with(kind, 'v')", None),
        ("starts_with(k, 'zz')", None),
    ],
)
def test_a_condition_that_no_kind_can_meet_is_a_mistake(condition, told):
    text = aggregates(f'z: {{op: count, where: "{condition}"}}')
    if told is None:
        assert loads(text, "fine.yaml", CATALOG).entities
        return
    with pytest.raises(ConfigError) as caught:
        loads(text, "kinds.yaml", CATALOG)
    assert told in str(caught.value) and f"kinds.yaml:{text.count(chr(10))}:" in str(caught.value)


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("inputs: &x {numeric: *x}\n", "15:22"),
        ("inputs: &x\n  numeric: [n, *x]\n", "16:16"),
        ("inputs: &x {<<: *x}\n", "15:17"),
        ("inputs: {numeric: &x [n, *x]}\n", "15:26"),
        ("inputs: &x {computed: &y {q: *x, r: *y}}\n", "15:30"),
    ],
)
def test_an_alias_within_what_it_stands_for_is_a_mistake(text, place):
    with pytest.raises(ConfigError) as caught:
        loads(BASE + text, "c.yaml", CATALOG)
    assert f"c.yaml:{place}: " in str(caught.value)
    assert "is within what it stands for (line 15)" in str(caught.value)


def bomb(levels):
    """Lists of ten aliases each, within each other: 10^levels words if they were written out."""
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    for level in range(1, levels):
        lines.append(f"a{level}: &a{level} [{', '.join([f'*a{level - 1}'] * 10)}]")
    return "\n".join(lines) + "\n"


@pytest.mark.parametrize(
    "use",
    [
        "inputs: {numeric: *a39}\n",
        "name: *a39\n",
        "a39: *a39\n",
        "columns: *a39\n",
        "events: {earliest: *a39, header: *a39}\n",
        "training: {span: 7d, delay: 1d, booster: {eta: *a39}}\n",
        "entities: {f: {key: {a: [k]}, windows: [*a39], aggregates: {c: {op: count}}}}\n",
    ],
)
def test_aliases_of_aliases_are_a_mistake_and_cost_nothing(use):
    before = time.process_time()
    with pytest.raises(ConfigError) as caught:
        loads(bomb(40) + use + BASE, "bomb.yaml", CATALOG)
    assert time.process_time() - before < 5
    assert len(str(caught.value)) < 50_000


def test_merging_without_end_is_a_mistake():
    first = "a0: &a0 {" + ", ".join(f"k{one}: 1" for one in range(2_000)) + "}\n"
    rest = "".join(f"a{one}: {{<<: *a0}}\n" for one in range(1, 1_000))
    with pytest.raises(ConfigError, match="more than 1,000,000 keys are merged in"):
        loads(first + rest + BASE, "merged.yaml", CATALOG)


def test_a_long_chain_of_derived_columns_is_read_in_order():
    lines = [
        f'  d{at}: {{op: arithmetic, expression: "d{at - 1} + 1"}}' for at in range(5_000, 0, -1)
    ]
    text = BASE + "derive:\n" + "\n".join(lines) + '\n  d0: {op: arithmetic, expression: "n"}\n'
    label = 'labels: {kind: v, subject: k, positive: "d5000 > 1"}\n'
    spec = loads(text + label, "chain.yaml", CATALOG)
    assert list(spec.derived) == [f"d{at}" for at in range(5_001)]
    with pytest.raises(ConfigError, match="depends on itself"):
        loads(text.replace('"n"}', '"d5000"}'), "ring.yaml", CATALOG)


def test_thousands_of_misspelt_names_are_told_in_seconds():
    names = [f"column_number_{one}" for one in range(3_000)]
    columns = "".join(f"  {name}: {{type: number}}\n" for name in names)
    wrong = ", ".join(f"{name}x" for name in names)
    text = BASE.replace("columns:\n", f"columns:\n{columns}") + f"inputs: {{numeric: [{wrong}]}}\n"
    before = time.process_time()
    with pytest.raises(ConfigError) as caught:
        loads(text, "many.yaml", CATALOG)
    assert time.process_time() - before < 20
    told = str(caught.value)
    assert "many.yaml: 3000 mistakes" in told and told.count("did you mean") == 20


def test_values_that_xgboost_refuses_are_refused_before():
    matrix = xgboost.QuantileDMatrix(np.ones((4, 1), np.float32), label=[0, 1, 0, 1])
    for name, value in (("eta", "fast"), ("gamma", -3), ("subsample", 2), ("max_bin", 1)):
        assert not BOOSTER[name].takes(value)
        with pytest.raises(xgboost.core.XGBoostError):
            xgboost.train({name: value, "tree_method": "hist", "verbosity": 0}, matrix, 1)


def test_what_is_said_of_kinds_that_no_rule_makes():
    """There are no such events: the feature was always 0, and nothing was ever scored."""
    text = aggregates("r: {op: count, of: v}") + "ingest: [{kind: a, id: i, time: t}]\n"
    labels = "labels: {kind: v, subject: k, positive: 'b == 1'}\n"
    with pytest.raises(ConfigError) as caught:
        loads(text.replace("v: {}", "v: {scored: true}") + labels, "rows.yaml", CATALOG)
    for place in ("e: key", "r: of", "kinds: v", "labels: kind"):
        assert f"{place}: no rule of ingest makes a v, so there are no such" in str(caught.value)
    assert "hint: add a rule to ingest (kind: v), or name one of: a" in str(caught.value)


@pytest.mark.parametrize(
    ("names", "told"),
    [
        ("id: number", "events: id means nothing beside ingest, whose rules do not read 'number'"),
        ("time: when", "events: time means nothing beside ingest"),
        ("kind: kind", "events: kind means nothing beside ingest"),
        ("id: name", None),
        ("id: event_id, time: t", None),
        ("dedup: 1h", None),
    ],
)
def test_names_in_events_that_no_rule_reads_are_mistakes(names, told):
    text = BASE + f"events: {{{names}}}\ningest: [{{kind: a, id: name, time: t}}, "
    text += "{kind: v, id: name, time: t}]\n"
    if told is None:
        assert loads(text, "rows.yaml", CATALOG).ingest
        return
    with pytest.raises(ConfigError) as caught:
        loads(text, "rows.yaml", CATALOG)
    assert told in str(caught.value) and "1 mistake" in str(caught.value)
    assert "hint: leave it out" in str(caught.value)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (BASE + "events: {aliases: {n: n}}\n", "aliases: 'n' is its own name"),
        (BASE + "policy: {hold_out: {share: 0.1, salt: s}}\n", "hold_out: there is no action, so"),
        (aggregates("l: {op: last, column: k, values: [aa, a\u00e9]}").replace(
            "k: {type: string}", "k: {type: string, max_bytes: 2}"
         ), "values: 'k' is never this: it has at most 2 bytes"),
    ],
)  # fmt: skip
def test_what_could_never_be_meant(text, told):
    with pytest.raises(ConfigError) as caught:
        loads(text, "never.yaml", CATALOG)
    assert told in str(caught.value) and "1 mistake" in str(caught.value)
    assert "hint: " in str(caught.value)
