"""Mistakes that used to load, or to crash the loader: each is told with its place and a hint."""

import os
from pathlib import Path

import numpy as np
import pytest
import xgboost

from configs.booster import BOOSTER
from configs.errors import ConfigError
from configs.fingerprint import fingerprint
from configs.loader import loads
from transforms.catalog import CATALOG

GOLDEN = Path(__file__).parent / "golden"
BASE = """lockstep: 1
columns:
  k: {type: string}
  n: {type: number}
  b: {type: boolean}
kinds:
  a: {scored: true}
  v: {}
entities:
  e:
    key: {a: [k], v: [k]}
    windows: [1h]
    aggregates:
      c: {op: count}
"""
DIGITS = "9" * 400


def aggregates(*lines):
    return BASE + "".join(f"      {line}\n" for line in lines)


BROKEN = {
    "expressions": aggregates(
        'text:     {op: count, where: "k"}',
        "written:  {op: count, where: \"'a'\"}",
        "null:     {op: count, where: \"is_null('a')\"}",
        f'digits:   {{op: count, where: "n < {DIGITS}"}}',
        'infinite: {op: count, where: "n < 1e999"}',
        "several: {op: count, where: \"nn > 3 and k < 'x' and kk == 4 and floor(1, 2) or abd(n)\"}",
        "plain:    {op: count, where: n > 3 and nn < 2}",
        "single:   {op: count, where: 'n > 3 and nn < 2'}",
        "umlaut:   {op: count, where: \"k == 'äöü' and nn < 2\"}",
        "folded:\n        op: count\n        where: >-\n          n > 3\n          and nn < 2",
        "syntax:   {op: count, where: 'n > 3 and'}",
        "list:     {op: count, where: [n]}",
    )
    + 'derive: {d: {op: arithmetic, expression: "k"}}\n'
    + 'inputs: {computed: {q: "\'a\'", "r r": "n"}}\n'
    + 'labels: {kind: v, subject: k, positive: "k"}\n',
    "settings": """lockstep: 1
columns:
  k: {type: string, minimum: 3, maximum: 4, allow_nonfinite: true}
  b: {type: boolean, max_bytes: 3, minimum: 7}
  t: {type: timestamp, maximum: 7}
  n: {type: number, minimum: 5, maximum: .nan, max_bytes: 1}
  i: {type: integer, minimum: 5, maximum: 4}
  j: {type: integer, allow_nonfinite: true}
kinds:
  a: {scored: true}
events:
  earliest: 2030-01-01
  latest: 2020-01-01
  dedup: DIGITSd
  aliases: {ts: event_tme, code: j}
training:
  span: 7d
  delay: 1d
  gate: 30d
  model: ''
  booster: {max_dept: 3, eta: 0.1, nthread: 4, seed: 1}
inputs: {scaling: ''}
labels: {kind: '', subject: k, positive: "i == 1"}
policy: {actions: {allow: {min_precision: 0.9}, block: {min_precision: 0.8}}, default: allow}
""".replace("DIGITS", DIGITS),
    "merged": """lockstep: 1
columns:
  k: &s {type: strng, max_bytes: 0}
  l: {<<: *s, privat: true}
  m:
    <<: *s
    max_bytes: x
kinds: {a: {scored: true}}
""",
    "keys": BASE.replace("v: [k]", "v: [n]").replace("windows: [1h]", "windows: [1.5h, 1h]")
    + "  pair:\n    key: {a: [k, n], v: [k]}\n    windows: [999999999999d]\n"
    "    aggregates: {c: {op: count}}\n",
    "operation": aggregates("z: {op: ''}", "y: {op: count, of: ''}"),
    "taken": BASE.replace(
        "entities:\n",
        "entities:\n  e_c:\n    key: {a: [k]}\n    windows: [1h]\n"
        "    aggregates: {d: {op: count}}\n",
    )
    .replace("  n: {type", "  e_c_1h: {type: number}\n  n: {type")
    .replace("      c: {op", "      c_d: {op: count}\n      c: {op")
    + 'inputs: {numeric: [n, n], computed: {n: "n + 1", e_c_d_1h: "n", fine: "n"}}\n',
    "places": BASE.replace("windows: [1h]", "windows: 1h").replace(
        "{op: count}", "{op: count, 7: x}"
    )
    + "training: {span: 7d, delay: 1d, seed: "
    + DIGITS
    + ", text_regularisation: "
    + DIGITS
    + "}\n",
    "literals": BASE.replace("  n: {type: number}", "  n: {type: number}\n  i: {type: integer}")
    + "".join(
        f'      z{index}: {{op: count, where: "{text}"}}\n'
        for index, text in enumerate(
            (
                "kind == 'aa'",
                "kind not in ['a', 'b', 'vv']",
                "n == 1152921504606846977",
                "n / 2 in [1, 1152921504606846977]",
                "i == 1152921504606846977.0",
                "i == 1152921504606846977 and n > 1152921504606846977",
                "i < 9223372036854775808",
                "k in []",
                "k in k",
                "k in [k]",
                "k in [1, 'a']",
                "i in ['a']",
                "starts_with(n, 'a')",
                "starts_with(k, k)",
                "starts_with('k', 'k')",
                "starts_with(k)",
                "log(k) > 1",
            )
        )
    ),
    "meaningless": aggregates(
        "a1: {op: last, of: a, column: b, windows: [1h]}",
        "a2: {op: seconds_since_last, windows: [1h]}",
        "a3: {op: seconds_since_first, windows: [1h, 2d]}",
        "a4: {op: ratio, numerator: c, denominator: c, of: a, where: b, windows: [1h]}",
        "a5: {op: count, windows: [60s, 1m, {length: 60000ms, tiles: 2}]}",
        "a6: {op: count, of: [a, a]}",
    )
    + "  f:\n    key: {a: [k, k]}\n    windows: [1h]\n"
    + "    aggregates: {c: {op: count, windows: [1d]}, d: {op: seconds_since_last}}\n",
    "booster": BASE
    + "training:\n  span: 7d\n  delay: 1d\n  booster:\n"
    + "".join(
        f"    {line}\n"
        for line in (
            "eta: fast",
            "learning_rate: 0.1",
            "gamma: -3",
            "max_depth: 2.5",
            "subsample: 0",
            "colsample_bytree: 1.5",
            "lambda: .nan",
            "booster: gblinear",
            "eval_metric: accuracy",
            "monotone_constraints: 1,0",
            "interaction_constraints: '[[0, 1]'",
            "grow_policy: true",
            "updater: shotgun",
            "max_bin: 1",
            "base_score: 1",
        )
    ),
    "maturity": BASE
    + "labels: {kind: v, subject: k, positive: 'n == 1', maturity: 3d}\n"
    + "training: {span: 7d, delay: 1d}\n",
    "bounds": """lockstep: 1
columns:
  n: {type: number, minimum: 9007199254740993}
  i: {type: integer, maximum: 9223372036854775808}
  j: {type: integer, minimum: 9007199254740993, maximum: 9007199254740992}
kinds: {a: {scored: true}}
""",
    "slots": aggregates(*(f'z{i}: {{op: count, where: "n > {i}"}}' for i in range(63))),
}


@pytest.mark.parametrize("name", BROKEN)
def test_mistakes_are_told_as_the_golden_file_says(name):
    with pytest.raises(ConfigError) as caught:
        loads(BROKEN[name], f"{name}.yaml", CATALOG)
    told = f"{caught.value}\n".replace(DIGITS, "<400 digits>")
    path = GOLDEN / f"{name}.txt"
    if os.environ.get("GOLDEN") == "write":
        path.write_text(told)
    assert path.read_text() == told


def test_sixty_three_filters_fit():
    assert loads(
        aggregates(*(f'z{i}: {{op: count, where: "n > {i}"}}' for i in range(62))), "s", CATALOG
    ).entities


@pytest.mark.parametrize(
    "text",
    [
        aggregates('z: {op: count, where: "b"}', "y: {op: count, where: true}"),
        aggregates("z: {op: count, where: 'is_null(k)'}"),
        BASE + 'inputs: {computed: {q: "1 + 1", r: "b", s: "n > 1"}}\n',
        BASE
        + "events: {earliest: 2020-01-01, latest: 2020-01-01, aliases: {ts: event_time, m: n}}\n",
        BASE.replace("k: {type: string}", "k: &s {type: string, max_bytes: 5}\n  l: {<<: *s}"),
        aggregates("z: {op: count, windows: [{length: 90m, tiles: 3}]}"),
    ],
)
def test_what_has_a_meaning_still_loads(text):
    assert loads(text, "fine.yaml", CATALOG).entities


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
    assert caught.value.exit_code == 3
    assert len(str(caught.value)) < 1000 + 3 * depth


def test_the_latest_day_is_inside():
    def latest(text):
        return loads(BASE + f"events: {{latest: {text}}}\n", "e.yaml", CATALOG).events.latest_us

    day = 1_798_675_200_000_000  # 2026-12-31
    assert latest("2026-12-31") == day + 86_400_000_000 - 1
    assert latest("2026-12-31T00:00:00.000007Z") == day + 7


@pytest.mark.parametrize("name", BOOSTER)
def test_xgboost_takes_what_a_config_may_say(name):
    parameter = BOOSTER[name]
    inputs = np.arange(60, dtype=np.float32).reshape(20, 3)
    labels = np.arange(20) % 2
    values = [parameter.default, *parameter.words]
    ends = [] if parameter.words or parameter.form else [parameter.least, parameter.most]
    for end in ends:
        if end is not None and name not in ("max_leaves", "num_parallel_tree", "max_depth"):
            values.append(1e-6 if parameter.above and end == parameter.least else end)
    if name == "interaction_constraints":
        values = ["[[0, 1], [2]]"]
    for value in values:
        assert parameter.takes(value)
        dart = {"booster": "dart"} if name in ("sample_type", "normalize_type") else {}
        bins = value if name == "max_bin" else 256
        matrix = xgboost.QuantileDMatrix(inputs, label=labels, max_bin=bins)
        fixed = {"objective": "binary:logistic", "tree_method": "hist", "nthread": 1}
        checks = [(matrix, "check")]
        settings = {**dart, name: value, **fixed}
        assert xgboost.train(settings, matrix, 1, evals=checks, verbose_eval=False)


def test_values_that_xgboost_refuses_are_refused_before():
    matrix = xgboost.QuantileDMatrix(np.ones((4, 1), np.float32), label=[0, 1, 0, 1])
    for name, value in (("eta", "fast"), ("gamma", -3), ("subsample", 2), ("max_bin", 1)):
        assert not BOOSTER[name].takes(value)
        with pytest.raises(xgboost.core.XGBoostError):
            xgboost.train({name: value, "tree_method": "hist", "verbosity": 0}, matrix, 1)


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
    text = BASE + f"events: {{{names}}}\ningest: [{{kind: a, id: name, time: t}}]\n"
    if told is None:
        assert loads(text, "rows.yaml", CATALOG).ingest
        return
    with pytest.raises(ConfigError) as caught:
        loads(text, "rows.yaml", CATALOG)
    assert told in str(caught.value) and "1 mistake" in str(caught.value)
    assert "hint: leave it out" in str(caught.value)
