"""Configs with mistakes, by what is wrong with them; `tests/configs/golden` has what is said."""

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
    "narrow": BASE
    + """inputs:
  computed:
    q: e_c_1h == 16777217
    r: e_c_1h + 1 in [3, 1152921504606846976]
    s: 16777216.0 != e_c_1h
    fine: e_c_1h == 16777215 or e_c_1h > 16777217 or n == 16777217
""",
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
    "published": BASE.replace(
        "  n: {type", "  score: {type: number}\n  lockstep_x: {type: string}\n  n: {type"
    )
    + 'inputs: {numeric: [n], computed: {action: "score + 1"}}\nevaluation: {group: score}\n',
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
    "ranges": BASE.replace(
        "  n: {type: number}",
        "  n: {type: number}\n  i: {type: integer, minimum: 0}\n"
        "  x: {type: number, minimum: -1, maximum: 1}\n  s: {type: string, max_bytes: 3}",
    )
    + "".join(
        f'      z{index}: {{op: count, where: "{text}"}}\n'
        for index, text in enumerate(
            (
                "i == 1.5",
                "i in [1, -1, 2.5]",
                "-1 == i or i < 0 or 0 <= i",
                "i + 1 > 0.5 and i * 2 == 2",
                "b == 2 or b > 1 or b in [0, 1, 2]",
                "x > 1 or 1 >= x or x != 3 or abs(x) * 2 > 2",
                "s == 'four' or 'four' != s or s in ['one', 'four'] or starts_with(s, 'äö')",
                "starts_with(k, '') and s == 'äo'",
                "kind not in ['a', 'v'] or kind != 'a'",
                "floor(n) == 0.5 or floor(n) == 2",
                "hour == 24 or hour < 24 or hour == 23 or length < 0",
                "i == 9223372036854775807 and n == 1.5 and x == 1 and max(i, 5) >= 5",
                r"s == '\\ud800'",
            )
        )
    )
    + "      single: {op: count, of: a, where: \"kind != 'a'\"}\n"
    + "derive: {hour: {op: hour_of_day, of: event_time}, length: {op: text_length, of: k}}\n"
    + "inputs: {computed: {q: e_c_1h == 0.1, r: e_c_1h < 0, t: e_c_1h == 0.25}}\n",
    "constants": BASE.replace(
        "  n: {type: number}",
        "  n: {type: number, minimum: 0, maximum: 100}\n  c: {type: string}\n  d: {type: string}",
    )
    .replace("{scored: true}", "{scored: true, required: [d]}")
    .replace("v: {}", "v: {required: [d]}")
    + "".join(
        f'      z{index}: {{op: count, where: "{text}"}}\n'
        for index, text in enumerate(
            (
                "n != n and c == c",
                "n > 50 and n < 20",
                "c != 'x' or c != 'y'",
                "b in [0, 1] or kind in ['a', 'v']",
                "is_null(d) or is_null(k) or is_null(kind)",
                "event_time > 4102531200000000",
                "n > 3 and false",
                "false",
            )
        )
    )
    + """      largest: {op: max, column: n, decimals: 0}
      app: {op: last, column: c, values: [x, y]}
      mean: {op: mean, column: n, decimals: 2}
      since: {op: seconds_since_last}
      again: {op: count, about: as c}
inputs:
  computed:
    q: e_largest_1h > 100
    r: e_app == 3
    s: e_mean_1h > 101
    t: e_since > 5e9
    u: n - n
    fine: e_largest_1h > 99 and e_app == 2 and e_mean_1h > 99 and e_since > 1e9
labels: {kind: v, subject: k, positive: "false"}
training: {span: 7d, delay: 1d, rounds: 20, early_stopping: 30}
""",
    "same": aggregates(
        "ones: {op: count, about: as c}",
        "self: {op: ratio, numerator: c, denominator: c}",
        "both: {op: ratio, numerator: ones, denominator: c}",
    ),
    "sizes": BASE.replace(
        "  n: {type: number}",
        "  n: {type: number, minimum: 0, maximum: 5000000}\n"
        "  t: {type: integer, minimum: 1600000000000000}\n"
        "  g: {type: integer, maximum: -1000000000000000000}",
    )
    + "".join(
        f"      z{index}: {text}\n"
        for index, text in enumerate(
            (
                "{op: sum, column: n, decimals: 9}",
                "{op: sum, column: n, decimals: 8}",
                "{op: mean, column: t}",
                "{op: std, column: t}",
                "{op: max, column: t}",
                "{op: max, column: n, decimals: 9}",
                "{op: max, column: g}",
                "{op: last, column: g, decimals: 2}",
                "{op: median, column: g}",
                "{op: median, column: t}",
            )
        )
    ),
    "header": BASE + "events: {header: [event, event_time, kind, k], separator: ':'}\n",
    "no_such_day": BASE + "events: {latest: 2026-13-31}\n",
    "header_of_rules": BASE.replace("v: {}", "v: {required: [k, b, n]}")
    + "events: {header: [ids, t, n]}\n"
    + "ingest:\n  - {kind: a, id: id, time: t}\n"
    + "  - {kind: v, id: id, time: t, columns: {b: flag}, subject: {k: a}}\n",
    "meaningless": aggregates(
        "a1: {op: last, of: a, column: b, windows: [1h]}",
        "a2: {op: seconds_since_last, windows: [1h]}",
        "a3: {op: seconds_since_first, windows: [1h, 2d]}",
        "a4: {op: ratio, numerator: c, denominator: c, of: a, where: b, windows: [1h]}",
        "a5: {op: count, windows: [60s, 1m, {length: 60000ms, tiles: 2}]}",
        "a6: {op: count, of: [a, a]}",
        "a7: {op: count, of: a, where: \"kind == 'v'\"}",
        "a8: {op: count, where: '1 < 2'}",
        "a9: {op: last, column: k, decimals: 2, values: [p, p]}",
        "a10: {op: last, column: b, values: [p]}",
        "a11: {op: last, column: k, values: []}",
    )
    + "  f:\n    key: {a: [k, k]}\n    windows: [1h]\n"
    + "    aggregates: {c: {op: count, windows: [1d]}, d: {op: seconds_since_last}}\n"
    + "inputs: {exclude: [e_c_1h, e_c_1h]}\n"
    + "evaluation: {top: 10, drop_known: true}\n",
    "recipients": BASE + "inputs: {numeric: [n]}\nevaluation: {recipients: nn}\n",
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
    "subjects": BASE.replace("v: {}", "v: {required: [k]}\n  w: {}\n  x: {scored: true}")
    + "labels:\n  kind: v\n  subject: k\n  positive: 'n == 1'\n  weighting: inverse_propensity\n"
    + "  subjects:\n"
    + "".join(
        f"    {line}\n"
        for line in (
            "k: {reach: 0s}",
            "kk: {kind: w, most_weight: 0}",
            "n: {kind: ww, column: m}",
            "event_id: {kind: w, columns: k}",
        )
    ),
    "scored_subjects": BASE.replace("v: {}", "v: {}\n  x: {scored: true}")
    + "labels: {kind: v, subject: k, positive: 'n == 1', subjects: {k: {kind: x}}}\n",
    "delay": BASE
    + "policy:\n  actions:\n"
    + "    block: {min_precision: 0.9, delay: {most: 5m, least: 5m, salt: ''}}\n"
    + "    hide: {min_precision: 0.8, delay: 2h}\n"
    + "    review: {min_precision: 0.7, delay: {most: soon, by: a}}\n",
    "limits": BASE
    + "policy:\n  actions:\n"
    + "    block: {min_precision: 0.9, limit: {per: kk, count: 0, in: 0s}}\n"
    + "    hide: {min_precision: 0.8, limit: {per: k, count: 65, in: soon}}\n"
    + "    review: {min_precision: 0.7, limit: {count: 3, of: k}}\n",
    "bounds": """lockstep: 1
columns:
  n: {type: number, minimum: 9007199254740993}
  i: {type: integer, maximum: 9223372036854775808}
  j: {type: integer, minimum: 9007199254740993, maximum: 9007199254740992}
kinds: {a: {scored: true}}
""",
    "slots": aggregates(*(f'z{i}: {{op: count, where: "n > {i}"}}' for i in range(63))),
    "graph": BASE.replace("k: {type: string}", "k: {type: string}\n  l: {type: string}")
    + "graph:\n  judged: k\n  delay: soon\n"
    + "  features: [in_degre, acceptance, in_degree, in_degree]\n  edges:\n"
    + "".join(
        f"    {line}\n"
        for line in (
            "e1: {of: a, from: k, to: k}",
            "e2: {of: b, from: n, to: m}",
            "e3: {of: a, from: k, to: l, expires: 2000d, answers: e9}",
            "e4: {from: k, to: l, answers: e4, weight: 2}",
            "e5: {of: a, from: k, to: l, expires: 0s, where: '1 < 2'}",
            "e6: {of: a, to: l}",
        )
    ),
    "graph_accounts": BASE.replace("k: {type: string}", "k: {type: string}\n  l: {type: string}")
    + "graph:\n  edges: {e: {of: a, from: k, to: l}}\n  features: [age]\n"
    + "  accounts: {author: kk, Other: l, n: n, 2: l}\n"
    + "inputs: {exclude: [author_graph_ag], computed: {author_graph_age: n * 2}}\n",
    "graph_without": BASE + "graph: {judged: k, features: []}\n",
    "campaigns": BASE
    + "campaigns:\n  account: kk\n  of: b\n  judged: k\n  recipients: t\n  span: 0s\n"
    + "  evidence: 0\n  large: 1\n  joined_share: 2\n  most: 3\n  links:\n"
    + "".join(
        f"    {line}\n"
        for line in (
            "l1: {columns: [k, n, z]}",
            "l2: {columns: [], weight: 0, most_accounts: 6000}",
            "l3: {columns: k, within: 0s, where: '1 < 2'}",
            "4: {column: k}",
        )
    )
    + "  rarity: {chance: 0, similarity: 2, likeness: 1}\n",
    "graph_empty": BASE + "graph: {edges: {}}\n",
    "campaigns_empty": BASE + "campaigns: {account: k, of: a, links: {}}\n",
    "campaigns_without": BASE + "campaigns: {account: k}\n",
    "campaigns_bursts": BASE
    + "campaigns: {account: k, of: a, links: {l: {columns: kind, bursts: true, within: 1m}, "
    "m: {columns: event_id, bursts: true}}}\n",
    "campaigns_account": BASE + "campaigns: {account: k, of: a, links: {l: {columns: k}}}\n",
}
