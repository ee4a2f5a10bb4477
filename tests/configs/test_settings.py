"""A spec as flat settings: what differs in the file differs in the list, in the file's words."""

import pytest

from configs.errors import ConfigError
from configs.fingerprint import fingerprint
from configs.loader import loads, shipped
from configs.settings import flat_settings
from transforms.catalog import CATALOG

TEXT = shipped("chat").read_text()
PEOPLE = ("top: 100}", "top: 100, recipients: recipients}")


def spec(old="", new=""):
    assert old in TEXT
    return loads(TEXT.replace(old, new, 1), "chat.yaml", CATALOG)


def changed(old, new):
    before, now = flat_settings(spec()), flat_settings(spec(old, new))
    return {
        name: (before.get(name), now.get(name))
        for name in {**before, **now}
        if before.get(name) != now.get(name)
    }


@pytest.mark.parametrize(
    ("old", "new", "found"),
    [
        ("maturity: 3d", "maturity: 2d", {"labels.maturity": ("3d", "2d")}),
        ("delay: 3d", "delay: 4d", {"training.delay": ("3d", "4d")}),
        ("eta: 0.1", "eta: 0.2", {"training.booster.eta": ("0.1", "0.2")}),
        (
            "min_precision: 0.95",
            "min_precision: 0.9",
            {"policy.actions.block.min_precision": ("0.95", "0.9")},
        ),
        (
            'linked:            {op: count, of: message, where: "links > 0"}',
            'linked:            {op: count, of: message, where: "links > 1"}',
            {"entities.author.aggregates.linked.where": ("links > 0", "links > 1")},
        ),
        (
            "vocabulary: 2000",
            "vocabulary: 99",
            {"inputs.categorical.link_domain.vocabulary": ("2000", "99")},
        ),
        (*PEOPLE, {"evaluation.recipients": (None, "recipients")}),
        (
            "{op: fingerprint, of: clean}",
            "{op: fingerprint, of: text}",
            {"derive.fingerprint.of": ("clean", "text")},
        ),
        ("about: who acts", "about: the one who acts", {}),
    ],
)
def test_a_change_of_the_file_is_a_change_of_its_lines(old, new, found):
    assert changed(old, new) == found


def test_no_two_specs_that_differ_have_one_list():
    """Of the file with one digit after another changed."""
    seen = {}
    for at, letter in enumerate(TEXT):
        if not letter.isdigit():
            continue
        text = TEXT[:at] + str((int(letter) + 1) % 10) + TEXT[at + 1 :]
        try:
            made = loads(text, "chat.yaml", CATALOG)
        except ConfigError:
            continue
        listed = tuple(flat_settings(made).items())
        assert seen.setdefault(listed, fingerprint(made)) == fingerprint(made), text[at - 40 : at]
    assert len(seen) > 40


def test_a_count_of_people_changes_no_fingerprint_where_it_is_absent():
    assert fingerprint(spec()) == "7b07e3bfff1b5442"
    more = spec(*PEOPLE)
    assert more.evaluation.recipients == "recipients"
    assert fingerprint(more) != fingerprint(spec())
