"""Configs: the shipped ones load; every mistake is told at once, with its place and a hint."""

import copy
import dataclasses
import operator
import os
import pickle
import re
from pathlib import Path

import jsonschema
import pytest
from ruamel.yaml import YAML

from configs.errors import ConfigError, InputError
from configs.fingerprint import dataset_fingerprint, fingerprint, state_fingerprint
from configs.json_schema import dumps, json_schema
from configs.loader import load, loads, shipped
from transforms.catalog import CATALOG

GOLDEN = Path(__file__).parent / "golden"
SHIPPED = ("chat", "chat_full", "card_fraud", "card_fraud_handbook", "video_comments", "mail")
CHAT = shipped("chat").read_text()


def chat(*changes):
    text = CHAT
    for old, new in changes:
        assert old in text, old
        text = text.replace(old, new)
    return text


BROKEN = {
    "many": chat(
        ("op: count, of: report", "op: coutn, of: report"),
        ("span: 7d", "spam: 7d"),
        ("column: channel_id}", "column: chanel}"),
        ("author_texts_1d /", "author_text_1d /"),
        ("[1m, 1h, 1d, 30d]", "[1m, 1h, {length: 1d, tiles: 7}, 3]"),
        ("shards: 16", "shards: many"),
    ),
    "window": chat(("[1m, 1h, 1d, 30d]", "[{length: 1h, tiles: 7}, 10ms, 900d, 1h, 1h]")),
    "cycle": chat(
        ("{op: text_length, of: clean}", "{op: arithmetic, expression: 'links + 1'}"),
        ("{op: count_links, of: clean}", "{op: arithmetic, expression: 'characters + 1'}"),
    ),
    "clash": chat(
        ("  upper_share:     {op: upper", "  text:            {op: upper"),
        ("author_id:    {type", "event_id:     {type"),
    ),
    "types": chat(
        ("column: characters, windows: [1h, 30d]}", "column: text, windows: [1h, 30d]}"),
        ('where: "links > 0"}\n      linked_share', 'where: "text > 0"}\n      linked_share'),
        ("numeric: [recipients,", "numeric: [text,"),
        ("scored: true", "scored: maybe"),
    ),
    "references": chat(
        ("numerator: linked,", "numerator: linkde,"),
        ("key: {message: [channel_id]}", "key: {mesage: [channel_id]}"),
        ("kind: verdict\n  subject: subject_id", "kind: verdic\n  subject: subjet_id"),
        ("column: clean, buckets", "column: claen, buckets"),
    ),
    "decimals": chat(
        (
            "abuse_share:       {op: mean, of: verdict, column: is_abuse",
            "abuse_share:       {op: mean, of: verdict, column: account_age",
        ),
        ("op: max, of: message, column: recipients", "op: max, of: message, column: upper_share"),
        ("column: recipients, windows: [1h, 1d]}", "column: account_age, decimals: 10}"),
        (
            "op: last, of: message, column: characters}",
            "op: last, of: message, column: recipients, decimals: -1}",
        ),
        (
            "hour:            {op: hour_of_day, of: event_time}",
            "hour:            {op: is_night, of: event_time, from_hour: 24, to_hour: -1}",
        ),
    ),
    "expression": chat(('"is_abuse == 1"', "\"__import__('os') == 1\"")),
    "not_yaml": "lockstep: 1\nname: [chat\nkinds: {}\n",
    "twice": chat(("gate: {min", "shards: 3\ngate: {min")),
    "empty": "",
    "nothing": "lockstep: 1\n",
}


@pytest.mark.parametrize("name", SHIPPED)
def test_shipped_configs_load(name):
    assert load(shipped(name), CATALOG).scored_kinds


@pytest.mark.parametrize("name", BROKEN)
def test_mistakes_are_told_as_the_golden_file_says(name):
    with pytest.raises(ConfigError) as caught:
        loads(BROKEN[name], f"{name}.yaml", CATALOG)
    path = GOLDEN / f"{name}.txt"
    if os.environ.get("GOLDEN") == "write":
        path.write_text(f"{caught.value}\n")
    assert path.read_text() == f"{caught.value}\n"


def test_all_mistakes_come_at_once_with_file_line_and_hint():
    with pytest.raises(ConfigError) as caught:
        loads(BROKEN["many"], "many.yaml", CATALOG)
    message = str(caught.value)
    assert message.count("many.yaml:") >= 7
    assert "did you mean 'count'?" in message
    assert "did you mean 'span'?" in message


def test_a_file_that_is_not_there_or_not_text(tmp_path):
    with pytest.raises(InputError, match="cannot read the config"):
        load(tmp_path / "none.yaml", CATALOG)
    (tmp_path / "bytes.yaml").write_bytes(b"lockstep: 1\nname: \xff\n")
    with pytest.raises(ConfigError, match=r"bytes\.yaml:2:1: this line is not UTF-8"):
        load(tmp_path / "bytes.yaml", CATALOG)
    with pytest.raises(InputError, match="did you mean 'chat'"):
        shipped("chatt")


def test_a_spec_is_frozen_through_and_through():
    spec = load(shipped("card_fraud"), CATALOG)
    with pytest.raises(dataclasses.FrozenInstanceError):
        spec.name = "other"  # type: ignore[misc]
    again = dataclasses.replace(spec, shards=3)
    mappings = [
        *(spec.columns, spec.kinds, spec.derived, spec.entities, spec.inputs.computed),
        *(spec.training.booster, spec.events.aliases, spec.ingest[0].columns, again.columns),
        spec.entities["customer"].keys,
        spec.entities["customer"].aggregates[0].arguments,
        spec.derived["day"].arguments,
    ]
    for mapping in mappings:
        for change in (
            lambda m: m.update(x=1),
            lambda m: m.__setitem__("x", 1),
            lambda m: m.pop("x", None),
            lambda m: m.clear(),
            lambda m: m.setdefault("x", 1),
            lambda m: operator.ior(m, {"x": 1}),
        ):
            with pytest.raises(TypeError, match="a spec is read-only"):
                change(mapping)


def test_a_spec_goes_through_pickle_and_copies():
    spec = load(shipped("chat"), CATALOG)
    for again in (pickle.loads(pickle.dumps(spec)), copy.deepcopy(spec)):
        assert again == spec
        assert fingerprint(again) == fingerprint(spec)
        with pytest.raises(TypeError, match="a spec is read-only"):
            again.columns.clear()


MESSAGE = "  message: {scored: true, required: [author_id, channel_id, text]}\n"
REPORT = "  report:  {required: [author_id, target_id, subject_id]}\n"
SAME = [
    (("# how long the scorer waits", "# otherwise"),),
    (("about: the account that acts", "about: who acts"),),
    ((MESSAGE + REPORT, REPORT + MESSAGE),),
]


@pytest.mark.parametrize("changes", SAME)
def test_what_does_not_matter_does_not_count(changes):
    one, other = loads(CHAT, "a", CATALOG), loads(chat(*changes), "b", CATALOG)
    assert fingerprint(one) == fingerprint(other)


CHANNEL = "channel:\n    key: {message: [channel_id]}\n    windows: [1m, "
SHAPE = "fingerprint:     {op: fingerprint, of: "
OTHER = [
    ((f"{CHANNEL}1h, 1d]", f"{CHANNEL}2h, 1d]"), {"channel"}),
    (('where: "links > 0"', 'where: "links > 1"'), {"author", "channel"}),
    ((f"{SHAPE}clean}}", f"{SHAPE}text}}"), {"author", "fingerprint"}),
    (("eta: 0.1", "eta: 0.2"), set()),
    (("shards: 16", "shards: 8"), set()),
]


@pytest.mark.parametrize(("change", "entities"), OTHER)
def test_what_matters_counts_where_it_matters(change, entities):
    one, other = loads(CHAT, "a", CATALOG), loads(chat(change), "b", CATALOG)
    assert fingerprint(one) != fingerprint(other)
    changed = {e for e in one.entities if state_fingerprint(one, e) != state_fingerprint(other, e)}
    assert changed == entities
    assert (dataset_fingerprint(one) != dataset_fingerprint(other)) == ("eta" not in change[0])


BEHIND = """lockstep: 1
events: {dedup: 1h}
columns: {k: {type: string}, n: {type: integer}, other: {type: string}, sub: {type: string}}
kinds: {a: {scored: true, required: [k]}, v: {}, w: {}}
ingest:
  - {kind: a, id: id, time: t, columns: {other: o}}
  - {kind: v, id: id, time: t, delay: 1d, where: "n > 0", subject: {sub: a}}
  - {kind: w, id: id, time: t, delay: 1d}
derive: {m: {op: arithmetic, expression: "n / 100"}, mm: {op: arithmetic, expression: "m / 2"}}
entities:
  e:
    key: {a: [k], v: [k]}
    windows: [1h]
    aggregates: {hi: {op: max, column: mm, decimals: 2}, c: {op: count, of: v}}
"""


@pytest.mark.parametrize(
    ("old", "new", "counts"),
    [
        ('delay: 1d, where: "n > 0"', 'delay: 7d, where: "n > 0"', True),
        ('"n > 0"', '"n > 1"', True),
        ("{kind: a, id: id, time: t,", "{kind: a, id: id, time: t2,", True),
        ("{kind: a, id: id,", "{kind: a, id: id2,", True),
        ("columns: {other: o}", "columns: {other: o, n: number}", True),
        ("n: {type: integer}", "n: {type: number}", True),
        ("n: {type: integer}", "n: {type: boolean}", True),
        ("n: {type: integer}", "n: {type: integer, minimum: 0}", True),
        ("required: [k]", "required: [k, n]", True),
        ("dedup: 1h", "dedup: 2h", True),
        ("dedup: 1h", "dedup: 1h, earliest: 2020-01-01", True),
        ("dedup: 1h", "dedup: 1h, aliases: {ts: t}", True),
        ("dedup: 1h", "dedup: 1h, disorder: 9s", False),
        ("columns: {other: o}", "columns: {other: o2}", False),
        ("subject: {sub: a}", "subject: {sub: w}", False),
        ("other: {type: string}", "other: {type: integer}", False),
        ("{kind: w, id: id, time: t, delay: 1d}", "{kind: w, id: id, time: t, delay: 2d}", False),
    ],
)
def test_state_depends_on_every_row_and_column_behind_it(old, new, counts):
    assert BEHIND.count(old) == 1
    one, other = (loads(text, "a", CATALOG) for text in (BEHIND, BEHIND.replace(old, new)))
    assert (state_fingerprint(one, "e") != state_fingerprint(other, "e")) == counts
    assert fingerprint(one) != fingerprint(other)


def test_the_schema_for_editors_is_current():
    path = shipped("chat").parent / "schema.json"
    assert path.read_text() == dumps(CATALOG), "write it anew: see CONTRIBUTING.md"


@pytest.mark.parametrize("name", SHIPPED)
def test_the_schema_accepts_the_shipped_configs(name):
    schema = json_schema(CATALOG)
    jsonschema.Draft202012Validator.check_schema(schema)
    value = YAML(typ="safe").load(shipped(name).read_text())
    jsonschema.validate(_plain(value), schema)


def in_schema(text):
    """Whether the schema for editors takes a config."""
    validator = jsonschema.Draft202012Validator(json_schema(CATALOG))
    return validator.is_valid(_plain(YAML(typ="safe").load(text)))


def loaded(text):
    try:
        loads(text, "t.yaml", CATALOG)
    except ConfigError:
        return False
    return True


TINY = """lockstep: 1
columns: {k: {type: string}, n: {type: number}, b: {type: boolean}}
kinds: {a: {scored: true}}
entities: {e: {key: {a: k}, windows: [1h], aggregates: {c: {op: count}}}}
training: {span: 7d, delay: 1d}
"""
SHAPES = [
    ("required: k", ("{scored: true}", "{scored: true, required: k}"), True),
    ("where: true", ("{op: count}", "{op: count, where: true}"), False),
    ("where: 1", ("{op: count}", "{op: count, where: 1}"), False),
    ("tiles", ("windows: [1h]", "windows: [{length: 1h, tiles: 1025}]"), False),
    ("id: null", ("training:", "ingest: [{kind: a, id: null, time: t}]\ntraining:"), True),
    ("kind alone", ("{a: {scored: true}}", "{a: {scored: true}, v: }"), True),
    ("blanks in a duration", ("delay: 1d", "delay: 1 d"), True),
    ("a misspelt setting", ("span: 7d", "spam: 7d"), False),
    ("a misspelt operation", ("op: count", "op: coutn"), False),
    ("a name that is none", ("c: {op", "c-d: {op"), False),
    ("a column alone", ("b: {type: boolean}", "b: "), False),
    ("minimum of a text", ("k: {type: string}", "k: {type: string, minimum: 3}"), False),
    ("max_bytes of a number", ("n: {type: number}", "n: {type: number, max_bytes: 3}"), False),
    ("no bytes", ("k: {type: string}", "k: {type: string, max_bytes: 0}"), False),
    ("half an hour", ("windows: [1h]", "windows: [0.5h]"), False),
    ("no tiles", ("windows: [1h]", "windows: [{length: 1h, tiles: 0}]"), False),
    ("decimals", ("{op: count}", "{op: sum, column: n, decimals: 10}"), False),
    ("hours", ("training:", "derive: {d: {op: is_night, of: event_time, to_hour: 24}}\ntraining:"),
     False),
    ("a share above 1", ("delay: 1d", "delay: 1d, validation_share: 1.5"), False),
    ("a booster's parameter", ("delay: 1d", "delay: 1d, booster: {max_dept: 3}"), False),
    ("an empty choice", ("delay: 1d", "delay: 1d, model: ''"), False),
    ("no shards", ("lockstep: 1", "lockstep: 1\nshards: 0"), False),
]  # fmt: skip


@pytest.mark.parametrize(("change", "fine"), [s[1:] for s in SHAPES], ids=[s[0] for s in SHAPES])
def test_the_schema_and_the_loader_agree(change, fine):
    assert TINY.count(change[0]) == 1 and loaded(TINY) and in_schema(TINY)
    text = TINY.replace(*change)
    assert (in_schema(text), loaded(text)) == (fine, fine)


@pytest.mark.parametrize("name", ["many", "twice_misspelt"])
def test_the_schema_refuses_misspelt_settings(name):
    broken = {
        "many": BROKEN["many"],
        "twice_misspelt": chat(
            ("vocabulary: 50", "vocabular: 50"), ("disorder: 5s", "disordr: 5s")
        ),
    }
    assert not in_schema(broken[name])


@pytest.mark.parametrize("name", SHIPPED)
def test_shipped_configs_tell_editors_where_the_schema_is(name):
    first = shipped(name).read_text().splitlines()[0]
    assert first == "# yaml-language-server: $schema=schema.json"
    assert (shipped(name).parent / "schema.json").is_file()


def _plain(value):
    """Dates as text, as an editor's YAML has them."""
    if isinstance(value, dict):
        return {key: _plain(one) for key, one in value.items()}
    if isinstance(value, list):
        return [_plain(one) for one in value]
    return value if isinstance(value, (str, int, float, bool, type(None))) else str(value)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("client", None),
        ("clint", "there is no string column 'clint' of events"),
        ("is_abuse", "'is_abuse' is a boolean; expected a string column of events"),
        ("clean", "there is no string column 'clean' of events"),
        ("author_id", "'author_id' is private, and its values would be on the nightly's page"),
    ],
)
def test_who_judged_is_a_string_column_that_may_be_shown(source, message):
    given = shipped("chat").read_text()
    made = re.sub(r"^  source: source .*$", f"  source: {source}", given, flags=re.M)
    text = re.sub(r"^  source: source .*\n", "", given, flags=re.M)
    if message is None:
        with_it, without = (loads(one, "chat.yaml", CATALOG) for one in (made, text))
        assert with_it.labels.source == source
        assert dataset_fingerprint(with_it) != dataset_fingerprint(without)
        assert state_fingerprint(with_it, "author") == state_fingerprint(without, "author")
        return
    with pytest.raises(ConfigError, match=message):
        loads(made, "chat.yaml", CATALOG)


def test_what_a_word_is_counts_only_where_it_is_said():
    text = shipped("video_comments").read_text()
    plain = loads(text, "plain.yaml", CATALOG)
    said, other = (
        loads(text.replace("char_ngrams:", f"tokens: {tokens}, char_ngrams:"), "said.yaml", CATALOG)
        for tokens in ("spaces", "words")
    )
    assert fingerprint(said) == fingerprint(plain) != fingerprint(other)
    assert other.inputs.text.tokens == "words"
    with pytest.raises(ConfigError, match="tokens: 'word' is not known"):
        loads(text.replace("char_ngrams:", "tokens: word, char_ngrams:"), "said.yaml", CATALOG)
