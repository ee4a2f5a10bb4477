"""YAML as configs have it: both parsers give the same values and places, and what is refused."""

import time

import pytest
from ruamel.yaml import YAML

from configs import _nodes
from configs._nodes import Fields, Items, NotYaml, parse
from configs.errors import ConfigError
from configs.loader import loads, shipped
from transforms.catalog import CATALOG

TEXTS = {
    "merged": "a: &x {p: 1, q: 2}\nb: {r: 0, <<: *x, q: 5}\nc: &y\n  s: 1\n"
    "d:\n  <<: [*x, *y]\n  z: 1",
    "anchors": "a: &x 5\nb: *x\nc: [1, &q 2, *q]\nd: &x 7\ne: *x\n",
    "scalars": "a: 2020-01-01\nb: 0o17\nc: 010\nd: yes\ne: off\nf: .inf\ng: 1e3\nh: 0x1f\ni: ~\n"
    "j: Null\nk: TRUE\nm: 12:30:00\nn: 2020-01-01 10:00:00Z\no: 1_000\np: -7\nq: n\nr: 1.2.3\n",
    "texts": "a: >\n  one\n  two\n\n  three\nb: |\n  x\n  y\nc: \"q\\\"u\\u00e9\"\nd: 'it''s'\n"
    "é:ö: ü\nf: a\n  b\ng: 'two\n  lines'\n",
    "lists": "a:\n- 1\n- {b: 1, c: [x, y]}\n- - 2\n  - 3\nd: []\ne: {}\n",
    "tagged": "a: !!str 5\nb: !!int '7'\nc: !!map {x: 1}\n'<<': text\n",
    "comments": "# first\n---\na: 1 # one\n\n# two\nb:   # three\n  c: 2\n",
    "chat": shipped("chat").read_text(),
    "card_fraud": shipped("card_fraud").read_text(),
}


def _places(value: object) -> object:
    if isinstance(value, Fields):
        return [(key, value.places[key], _places(inner)) for key, inner in value.items()]
    if isinstance(value, Items):
        return [(at, _places(inner)) for at, inner in zip(value.places, value, strict=True)]
    return type(value), value


def _reference(value: object) -> object:
    """Values and places as ruamel.yaml itself has them, for mappings without merged keys."""
    if hasattr(value, "lc") and hasattr(value, "items"):
        found = []
        for key, inner in value.items():
            a, b, c, d = value.lc.data[key]
            found.append((key, ((a, b), (c, d)), _reference(inner)))
        return found
    if hasattr(value, "lc"):
        return [(tuple(value.lc.item(i)), _reference(one)) for i, one in enumerate(value)]
    return value


def _untyped(value: object) -> object:
    if isinstance(value, tuple) and len(value) == 2 and isinstance(value[0], type):
        return value[1]
    if isinstance(value, list):
        return [(*one[:-1], _untyped(one[-1])) for one in value]
    return value


@pytest.mark.parametrize("name", TEXTS)
def test_both_parsers_give_the_same_values_and_places(name, monkeypatch):
    fast = _places(parse(TEXTS[name]))

    def refuse(text):
        raise _nodes.LibraryError("no")

    monkeypatch.setattr(_nodes, "CParser", refuse)
    assert _places(parse(TEXTS[name])) == fast


@pytest.mark.parametrize("name", sorted(set(TEXTS) - {"merged", "tagged"}))
def test_places_are_those_of_the_round_trip_loader(name):
    assert _untyped(_places(parse(TEXTS[name]))) == _reference(YAML().load(TEXTS[name]))


def test_plain_words_mean_what_yaml_1_2_says():
    found = parse(TEXTS["scalars"])
    assert (found["b"], found["c"], found["d"], found["e"], found["q"]) == (
        15,
        10,
        "yes",
        "off",
        "n",
    )
    assert (found["g"], found["h"], found["i"], found["k"]) == (1000.0, 31, None, True)
    assert found["m"] == "12:30:00"


def test_own_keys_are_before_merged_ones_and_win():
    found = parse(TEXTS["merged"])
    assert list(found["b"].items()) == [("r", 0), ("q", 5), ("p", 1)]
    assert found["b"].places["p"] == ((0, 7), (0, 10))
    assert list(found["d"]) == ["z", "p", "q", "s"]


@pytest.mark.parametrize(
    ("text", "place", "words"),
    [
        ("a: 1\na: 2\n", (1, 0), 'found duplicate key "a"'),
        ("a: {x: 1, x: 2}", (0, 10), 'found duplicate key "x"'),
        ("b: *x\n", (0, 3), "found undefined alias 'x'"),
        ("a: &x 5\nb: {<<: *x}", (0, 3), "expected a mapping or list of mappings"),
        ("a: &x {p: 1}\nb: {<<: *x, <<: *x}", (1, 12), "found duplicate merge key"),
        ("a: 1\n---\nb: 2\n", (1, 0), "expected one document"),
        ("%YAML 1.1\n---\na: yes\n", (0, 0), "expected YAML 1.2"),
        ("a: !foo x", (0, 3), "the tag !foo has no meaning here"),
        ("a: !!set {x, y}", (0, 3), "has no meaning here"),
        ("a: 2020-13-01", (0, 3), "this is no timestamp that can be read"),
        ("[a]: 1", (0, 0), "a key is text"),
        ("a: [1\nb: 2\n", (1, 1), "expected ',' or ']'"),
        ("a: \x01", (0, 0), "special characters are not allowed"),
    ],
)
def test_what_is_refused_says_where(text, place, words):
    with pytest.raises(NotYaml) as caught:
        parse(text)
    assert caught.value.position == place
    assert words in str(caught.value)


def test_a_loop_of_anchors_is_a_mistake():
    with pytest.raises(NotYaml, match=r"the alias \*x is within what it stands for \(line 1\)"):
        parse("a: &x {b: *x}\n")


def test_seventy_five_thousand_columns_load_in_seconds():
    count = 75_000
    names = [f"c{index}" for index in range(count)]
    text = "lockstep: 1\nevents: {kind: kind}\ncolumns:\n  k: {type: string}\n"
    text += "".join(f"  {name}: {{type: number}}\n" for name in names)
    text += "kinds: {a: {scored: true}}\ninputs:\n  numeric:\n"
    text += "".join(f"  - {name}\n" for name in names)
    start = time.process_time()
    spec = loads(text, "wide.yaml", CATALOG)
    assert time.process_time() - start < 30  # minutes with a parser in Python, or a list of names
    assert spec.inputs.numeric == tuple(names)
    with pytest.raises(ConfigError, match=rf"wide\.yaml:{2 * count + 8}:5: numeric: the name 'c0'"):
        loads(text + "  - c0\n", "wide.yaml", CATALOG)
    start = time.process_time()
    with pytest.raises(ConfigError, match="this is not YAML: "):
        loads(text + "  ]\n", "wide.yaml", CATALOG)
    assert time.process_time() - start < 30
