"""Worlds said in YAML: the shipped one, defaults, and every mistake with its line."""

import dataclasses
import re
from pathlib import Path

import pytest

from configs.errors import ConfigError, InputError
from configs.units import format_duration
from configs.world import ABUSE, Abuse, WorldSettings, load_world, loads_world


def test_the_shipped_world_has_every_kind_of_abuse_and_a_hold_out():
    world = load_world("chat")
    assert tuple(world.abuse) == ABUSE
    assert world.enforcement.policy == "oracle"
    assert world.hold_out.share > 0


def test_a_world_that_says_nothing_is_the_default_one():
    assert loads_world("world: 1") == WorldSettings()


def test_kinds_are_in_one_order_whatever_the_file_says():
    world = loads_world("world: 1\nabuse: {raid: {share: 0.1}, link_spam: {}}")
    assert list(world.abuse.items()) == [("link_spam", Abuse()), ("raid", Abuse(share=0.1))]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("name: x", "'world' is missing"),
        ("world: 2", "this release reads version 1, found 2"),
        ("world: 1\npeople: {acounts: 3}", "did you mean 'accounts'"),
        ("world: 1\npeople: {tail: 1}", ":2:16: tail: expected at least 1.01, found 1"),
        ("world: 1\npeople: {messages: 1.5}", "messages: expected a whole number"),
        ("world: 1\npeople: {communities: 900}", "expected five accounts or more for each"),
        ("world: 1\nabuse: {spam: {}}", "'spam' is no kind of abuse"),
        ("world: 1\nabuse: {raid: {share: 0.5}, scam: {share: 0.5}}", "shares add up to 1"),
        ("world: 1\nabuse: {raid: {fresh: 2}}", "fresh: expected at most 1, found 2"),
        ("world: 1\nmoderators: {delay: 3}", "delay: expected a length of time such as 15m"),
        ("world: 1\nmoderators: {delay: 90d}", "delay: expected more than 0s and at most 30d"),
        ("world: 1\nenforcement: {policy: orcle}", "did you mean 'oracle'"),
        ("world: 1\nhold_out: {share: -1}", "share: expected at least 0, found -1"),
        ("world: 1\nhold_outs: {}", "did you mean 'hold_out'"),
        ("world: 1\nenforcement: {blind: 2h}", ":2:22: blind: does nothing under policy: none"),
        ("world: 1\nenforcement: {policy: fraction, catches: 1}", "or set policy: oracle"),
        ("world: 1\nenforcement: {policy: oracle, share: 0.1}", "or set policy: fraction"),
        ("world: 1\nabuse: {raid: {accounts: 9}}", "raid: nothing of it happens"),
        ("world: 1\nreports: {brigades: 0, members: 3}", "does nothing without brigades"),
        ("world: 1\nabuse: {raid: {share: 0.1, adapts: 1}}", ":2:36: adapts: nothing is blocked"),
        ("world: 1\nabuse: {raid: {share: 0.1, quits: 1}}", "quits: nothing is blocked under"),
        ("world: 1\nhold_out: {share: 0.1}", ":2:11: hold_out: nothing is blocked under"),
        ("world: 1\nenforcement: {policy: oracle}\nhold_out: {salt: a}", "without a share"),
        ("world: 1\nappeals: 3", "expected a section"),
    ],
)
def test_mistakes_name_the_setting_and_what_was_expected(text, said):
    with pytest.raises(ConfigError) as caught:
        loads_world(text, "mine.yaml")
    assert said in str(caught.value)
    assert "mine.yaml:" in str(caught.value)


def test_all_mistakes_at_once():
    with pytest.raises(ConfigError, match="3 mistakes"):
        loads_world("world: 1\npeople: {tail: 0, weekend: x}\nreports: {honst: 1}")


@pytest.mark.parametrize(
    ("name", "said"), [("nowhere", "no shipped world"), ("a/b.yaml", "give a")]
)
def test_a_world_that_is_not_there(name, said):
    with pytest.raises(InputError, match=said):
        load_world(name)


def test_every_default_is_within_its_own_bounds():
    for part in dataclasses.fields(WorldSettings):
        if dataclasses.is_dataclass(part.default):
            for field in dataclasses.fields(part.default):
                bounds = field.metadata
                if bounds:
                    assert bounds.get("least", 1) <= field.default <= bounds["most"], field.name


def test_the_docs_name_every_setting_with_its_default():
    page = (Path(__file__).parents[2] / "docs" / "simulate.md").read_text()
    sections = {f.name: f.default for f in dataclasses.fields(WorldSettings)}
    sections["abuse.KIND"] = Abuse()
    for name, part in sections.items():
        if dataclasses.is_dataclass(part):
            for field in dataclasses.fields(part):
                value = field.default
                shown = format_duration(value) if field.metadata.get("time") else value
                found = re.search(rf"\| `{name}` \| `{field.name}` \| .*\((.*)\) \|\n", page)
                assert found, f"{name}.{field.name}"
                assert found[1] == str(shown), f"{name}.{field.name}"
    assert all(f"`{kind}`" in page for kind in ABUSE)
