"""What only a verdict may say is refused wherever a scored event would show it."""

import pytest
from backfill_world import CONFIG

from configs.errors import ConfigError
from configs.fingerprint import dataset_fingerprint, fingerprint
from configs.labels import later_columns
from configs.loader import load, loads, shipped
from transforms.catalog import CATALOG

HEAD = """
lockstep: 1
name: labels
columns:
  who: {type: string}
  of: {type: string}
  spam: {type: boolean}
  degree: {type: integer}
  note: {type: string}
kinds: {post: {scored: true%(required)s}, report: {}, verdict: {}}
derive:
  twice: {op: arithmetic, expression: "degree * 2"}
  again: {op: arithmetic, expression: "twice * 2"}
entities:
  who:
    key: {post: [%(key)s], report: [who], verdict: [who]}
    windows: [1d]
    aggregates:
      n: {op: count, of: post}
      spam_share: {op: mean, of: verdict, column: spam}
      spam: {op: count, of: verdict, where: "spam == 1 and degree > 2"}
      share: {op: ratio, numerator: spam, denominator: n}
      told: {op: count, of: report, where: "spam == 1"}
      more: {op: count%(more)s}
inputs: {numeric: [%(numeric)s], exclude: [who_told_1d], computed: {c: "%(computed)s"}%(inputs)s}
labels: {kind: %(label)s, subject: of, positive: "spam == 1 or again > 8 or note == 'x'"}
"""
ROWS = """
ingest:
  - {kind: post, id: id, time: t%(post)s}
  - {kind: verdict, id: id, time: t%(verdict)s, subject: {of: post}}
"""
FINE = {
    "required": "",
    "key": "who",
    "more": ", of: post",
    "numeric": "",
    "computed": "who_n_1d + 1",
    "inputs": "",
    "label": "verdict",
}


def spec(rows="", **changed):
    text = HEAD % (FINE | changed) + rows
    if rows:  # which make no report
        text = text.replace(" report: [who],", "").replace("of: report", "of: verdict")
    return loads(text, "labels.yaml", CATALOG)


def test_a_label_may_be_counted_on_verdicts_and_read_on_what_is_not_scored():
    assert later_columns(spec()) == {"spam", "again", "twice", "degree", "note"}


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"numeric": "spam"}, "numeric: 'spam' is what a verdict says"),
        ({"numeric": "twice"}, "numeric: 'twice' is what a verdict says"),
        ({"computed": "spam + 1"}, "computed: c: 'spam' is what a verdict says"),
        ({"inputs": ", categorical: {note: {}}"}, "categorical: 'note' is what a verdict says"),
        ({"inputs": ", text: {column: note}"}, "text: 'note' is what a verdict says"),
        ({"key": "note"}, "key: post: 'note' is what a verdict says"),
        ({"more": ", of: post, where: 'spam == 1'"}, "more counts scored events: 'spam'"),
        ({"more": ", where: 'spam == 1'"}, "more counts scored events: 'spam'"),
        ({"more": ", of: [post, verdict], where: 'again > 1'"}, "more counts scored events"),
        ({"more": ", of: post, windows: [1h]}\n      x: {op: sum, of: post, column: degree"},
         "x counts scored events: 'degree'"),
        ({"required": ", required: [who, spam]"}, "kinds: post: 'spam' is what a verdict says"),
        ({"inputs": "}\nevaluation: {group: note"}, "evaluation: group: 'note' is what a verdict"),
        ({"inputs": "}\nevaluation: {group: twice"}, "evaluation: group: 'twice' is what a"),
        ({"label": "post"}, "labels: 'post' is scored itself"),
        ({"rows": ROWS % {"post": ", columns: {spam: x}", "verdict": ""}}, "ingest: post: 'spam'"),
        ({"rows": ROWS % {"post": ", where: 'spam == 0'", "verdict": ""}}, "where: 'spam'"),
        ({"rows": ROWS % {"post": ", delay: 1s", "verdict": ""}}, "verdict is earlier"),
    ],
)  # fmt: skip
def test_a_scored_event_shows_no_label(changed, words):
    with pytest.raises(ConfigError) as caught:
        spec(**changed)
    assert words in str(caught.value)
    assert "hint: " in str(caught.value)
    assert "1 mistake" in str(caught.value)


def test_a_column_that_ingest_fills_for_verdicts_only_is_theirs():
    rows = ROWS % {"post": "", "verdict": ", columns: {who: AUTHOR, note: note}, delay: 7d"}
    with pytest.raises(ConfigError, match="key: post: 'who' is what a verdict says"):
        spec(rows)
    both = ROWS % {"post": ", columns: {who: AUTHOR}", "verdict": ", columns: {who: AUTHOR}"}
    assert "of" in later_columns(spec(both)) and "who" not in later_columns(spec(both))


@pytest.mark.parametrize(
    ("name", "columns"),
    [
        ("chat", {"is_abuse"}),
        ("card_fraud", {"fraud", "subject_id"}),
        ("card_fraud_handbook", {"fraud", "subject_id"}),
        ("video_comments", {"is_spam", "subject_id"}),
        ("mail", set()),
    ],
)
def test_the_shipped_configs_show_none(name, columns):
    assert later_columns(load(shipped(name), CATALOG)) == columns


ROUND = """
lockstep: 1
name: round
events: {aliases: {spam: other}}
columns:
  who: {type: string}
  of: {type: string}
  spam: {type: boolean}
  other: {type: boolean}
  third: {type: boolean}
kinds: {post: {scored: true}, verdict: {}}
entities:
  who: {key: {post: [who]}, windows: [1d], aggregates: {n: {op: count, of: post}}}
inputs: {numeric: [%(shown)s]}
labels: {kind: verdict, subject: of, positive: "spam == 1"}
ingest:
  - {kind: post, id: id, time: t, columns: {%(post)s}}
  - {kind: verdict, id: id, time: t, delay: 7d, columns: {%(verdict)s}, subject: {of: post}}
"""


@pytest.mark.parametrize(
    "changed",
    [
        {"post": "third: spam", "verdict": "", "shown": "third"},
        {"post": "", "verdict": "spam: third", "shown": "third"},
        {"post": "", "verdict": "", "shown": "other"},
    ],
    ids=["renamed on the event", "renamed on the verdict", "an alias"],
)
def test_a_label_under_another_name_is_refused_too(changed):
    with pytest.raises(ConfigError, match="what a verdict says"):
        loads(ROUND % changed, "round.yaml", CATALOG)


def test_a_label_under_the_name_that_some_files_give_it_is_refused_too():
    """A row's `other` is the verdict's `spam`, and would be the post's `other` as well."""
    turned = ROUND.replace("{spam: other}", "{other: spam}")
    with pytest.raises(ConfigError, match="numeric: 'other' is what a verdict says"):
        loads(turned % {"post": "", "verdict": "", "shown": "other"}, "round.yaml", CATALOG)


@pytest.mark.parametrize("setting", ["id", "time"])
def test_a_label_is_no_id_and_no_time_of_a_scored_event(setting):
    fine = ROUND % {"post": "", "verdict": "", "shown": ""}
    old = {"id": "post, id: id", "time": "post, id: id, time: t"}[setting]
    with pytest.raises(ConfigError, match=f"ingest: post: '{setting}' is made of 'spam', which is"):
        new = f"{old.rpartition(' ')[0]} spam"
        loads(fine.replace(old, new), "round.yaml", CATALOG)


def test_columns_that_say_nothing_of_the_label_are_fine_beside_it():
    fine = {"post": "third: third_of_file", "verdict": "", "shown": "third"}
    assert "third" not in later_columns(loads(ROUND % fine, "round.yaml", CATALOG))


TOLD = """
lockstep: 1
name: told
events: {%(events)s}
columns:
  who: {type: string}
  of: {type: string}
  spam: {type: boolean}
  by: {type: string}
  rank: {type: integer}
  judged_at: {type: timestamp}
  flag: {type: boolean}
kinds: {post: {scored: true}, verdict: {}, mark: {required: [%(required)s]}}
derive:
  hour: {op: hour_of_day, of: judged_at}
  twice: {op: arithmetic, expression: rank * 2}
entities:
  who:
    key: {post: [who], mark: [%(key)s]}
    windows: [1d]
    aggregates: {n: {of: mark, op: %(count)s}}
inputs: {%(inputs)s}
labels: {kind: verdict, subject: of, %(labels)s}
ingest:
  - {kind: post, id: id, time: t%(post)s}
  - {kind: verdict, id: id, %(verdict)s, subject: {of: post}}
  - {kind: mark, id: id, time: t%(mark)s}
"""
NEUTRAL = {
    "events": "",
    "inputs": "",
    "labels": "positive: spam == 1",
    "post": "",
    "verdict": "time: t, delay: 7d",
    "mark": "",
    "required": "",
    "key": "who",
    "count": "count",
}


def told(**changed):
    return loads(TOLD % (NEUTRAL | changed), "told.yaml", CATALOG)


SPAM_ONLY = {"verdict": "time: t, delay: 7d, where: spam == 1", "inputs": "numeric: [spam]"}


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"labels": "positive: spam == 1, source: by", "inputs": "categorical: {by: {}}"},
         "categorical: 'by' is what a verdict says"),
        ({"verdict": "time: judged_at", "inputs": "numeric: [hour]"},
         "'hour', which is made of 'judged_at', is what"),
        ({"labels": "positive: 'true'"} | SPAM_ONLY, "numeric: 'spam' is what a verdict says"),
        ({"labels": "positive: not is_null(of), maturity: 7d"} | SPAM_ONLY, "numeric: 'spam' is"),
        ({"labels": "positive: rank > 1, maturity: 7d"} | SPAM_ONLY, "numeric: 'spam' is what a"),
        ({"events": "sequence: rank", "labels": "positive: rank == 1"},
         "events: sequence: 'rank' is what a verdict says"),
        ({"mark": ", where: spam == 1"}, "mark shows 'spam', which is what a verdict says"),
        ({"mark": ", delay: 1d, columns: {flag: spam}"}, "mark shows 'spam', which is what a"),
    ],
)  # fmt: skip
def test_what_only_the_verdict_of_a_row_tells_is_refused_before_it(changed, words):
    with pytest.raises(ConfigError) as caught:
        told(**changed)
    assert words in str(caught.value)
    assert "1 mistake" in str(caught.value)


@pytest.mark.parametrize(
    "changed",
    [
        {"mark": ", delay: 7d, columns: {spam: spam}, where: spam == 1"},
        {"labels": "positive: rank > 1"} | SPAM_ONLY,
        {"labels": "positive: rank > 1, maturity: 7d", "post": ", where: spam == 1"} | SPAM_ONLY,
    ],
    ids=["as late as the verdict", "no verdict, no label", "the same rows are scored"],
)
def test_what_tells_no_label_early_is_fine(changed):
    assert told(**changed).labels is not None


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"mark": ", delay: 7d, where: spam == 1"}, "where: no mark has 'spam'"),
        ({"mark": ", delay: 7d", "count": "mean, column: spam"}, "column: no mark has 'spam'"),
        ({"mark": ", delay: 7d", "count": "count, where: spam"}, "where: no mark has 'spam'"),
        ({"labels": "positive: rank > 1", "count": "sum, column: twice, decimals: 0"},
         "column: no mark has 'rank'"),
        ({"mark": ", delay: 7d", "key": "of"}, "mark: no mark has 'of'"),
        ({"mark": ", delay: 7d", "required": "spam"}, "required: no mark has 'spam'"),
    ],
)  # fmt: skip
def test_what_ingest_gives_to_verdicts_alone_is_asked_of_no_other_event(changed, words):
    """It was null in every event of the kind, and so was the feature."""
    with pytest.raises(ConfigError) as caught:
        told(**changed)
    assert words in str(caught.value)
    assert "1 mistake" in str(caught.value)
    assert "columns: {" in str(caught.value)


def test_an_event_as_late_as_the_verdict_may_be_given_its_column():
    assert told(mark=", delay: 7d, columns: {spam: spam}", count="mean, column: spam").labels


def graph(edge, accounts=""):
    return f"graph: {{edges: {{e: {{{edge}}}}}{accounts}}}\n"


@pytest.mark.parametrize(
    ("rows", "edge", "words"),
    [
        ("", "of: post, from: who, to: of, where: 'spam == 1'", "e: where: 'spam' is what a"),
        ("", "of: [post, report], from: who, to: note", "e: to: 'note' is what a verdict says"),
        ("", "of: post, from: who, to: again_text", "'again_text', which is made of 'note', is"),
        ("rows", "of: post, from: of, to: who", "e: from: 'of' is what a verdict says"),
        ("rows", "of: report, from: who, to: of", "no report has 'of': it is what a verdict says"),
        ("rows", "of: [post, appeal], from: who, to: by", "of: no rule of ingest makes a appeal"),
    ],
)
def test_an_edge_of_the_graph_shows_no_label(rows, edge, words):
    text = (HEAD % FINE).replace("verdict: {}}", "verdict: {}, appeal: {}}")
    text = text.replace("derive:", "derive:\n  again_text: {op: lowercase, of: note}")
    text = text.replace("  note: {", "  by: {type: string}\n  note: {")
    if rows:
        text += ROWS % {"post": "", "verdict": ""} + "  - {kind: report, id: id, time: t}\n"
    with pytest.raises(ConfigError) as raised:
        loads(text + graph(edge), "g.yaml", CATALOG)
    assert words in str(raised.value)


def test_an_account_that_only_a_verdict_names_is_refused_and_an_edge_of_verdicts_is_fine():
    text = HEAD % FINE
    edge = "of: verdict, from: who, to: of, where: 'spam == 1'"
    assert loads(text + graph(edge), "g.yaml", CATALOG).graph is not None
    with pytest.raises(ConfigError, match="accounts: a: 'note' is what a verdict says"):
        loads(text + graph(edge, ", accounts: {a: note}"), "g.yaml", CATALOG)


def test_verdicts_that_expire_before_they_are_trained_on_are_refused_and_change_the_print():
    before = fingerprint(loads(CONFIG, "tiny.yaml", CATALOG))
    data = dataset_fingerprint(loads(CONFIG, "tiny.yaml", CATALOG))
    longer = loads(CONFIG.replace("maturity: 1d", "maturity: 1d, expires: 5d"), "t.yaml", CATALOG)
    assert longer.labels.expires_us == 5 * 86_400_000_000
    assert fingerprint(longer) != before and dataset_fingerprint(longer) == data
    with pytest.raises(ConfigError, match=r"verdicts count for 1d, and training\.delay is 1d"):
        loads(CONFIG.replace("maturity: 1d", "maturity: 1d, expires: 1d"), "t.yaml", CATALOG)


def test_learning_from_young_events_makes_another_bundle_of_the_same_data():
    def with_it(strategy):
        return CONFIG.replace("delay: 1d,", f"delay: 1d, delayed_feedback: {strategy},")

    plain, off, on = (
        loads(one, "t.yaml", CATALOG) for one in (CONFIG, with_it("none"), with_it("drop"))
    )
    assert fingerprint(plain) == fingerprint(off) != fingerprint(on)
    assert dataset_fingerprint(plain) == dataset_fingerprint(on)
    for before, now, why in (
        (", maturity: 1d", "", "without labels.maturity only judged events"),
        ("rounds: 20", "rounds: 20, refit: false", "training.refit is false"),
        ("delay: 1d", "delay: 0s", "events of the last training.delay, which is 0"),
    ):
        with pytest.raises(ConfigError) as caught:
            loads(with_it("weight").replace(before, now), "t.yaml", CATALOG)
        assert "delayed_feedback means nothing here" in str(caught.value)
        assert why in str(caught.value)
