"""Campaigns keep their names from night to night; splits and mergers have a rule."""

import pyarrow as pa
import pytest

from transforms.campaigns import FoundCampaigns, KnownCampaigns, NamedCampaign, name_campaigns


def found(*groups, first=1000):
    """Campaigns of these accounts, which begin one after the other."""
    members = sorted((account, number) for number, one in enumerate(groups) for account in one)
    campaigns = pa.table(
        {
            "first_seen": pa.array([first + n for n in range(len(groups))], pa.int64()),
            "accounts": pa.array([len(one) for one in groups], pa.int64()),
        }
    )
    accounts = pa.array([account for account, _ in members], pa.string())
    numbers = pa.array([number for _, number in members], pa.int64())
    members = pa.table({"account": accounts, "campaign": numbers})
    empty = pa.table({})
    return FoundCampaigns(campaigns, members, empty, empty, 0, 0, 0)


def known(**groups):
    """Of yesterday: `a="1234"` is the campaign `a` of the accounts 1, 2, 3, 4."""
    members = [(account, name) for name, accounts in groups.items() for account in accounts]
    table = pa.table(
        {
            "account": pa.array([account for account, _ in members], pa.string()),
            "campaign": pa.array([name for _, name in members], pa.string()),
        }
    )
    return KnownCampaigns(table, dict.fromkeys(groups, 5))


def test_the_first_night_names_by_day_and_beginning():
    names = name_campaigns(found("abc", "xyz"), None, "2026-03-12", 0.3)
    assert names == [
        NamedCampaign("2026-03-12-0001", 1000),
        NamedCampaign("2026-03-12-0002", 1001),
    ]


def test_one_that_goes_on_keeps_its_name_and_when_it_began():
    [one, other] = name_campaigns(found("xyz", "abcde"), known(old="abcf"), "day", 0.3)
    assert one == NamedCampaign("day-0001", 1000)
    assert other == NamedCampaign("old", 5)


@pytest.mark.parametrize(("share", "name"), [(0.25, "old"), (0.26, "day-0001")])
def test_too_few_accounts_in_common_are_another_campaign(share, name):
    [one] = name_campaigns(found("axyz"), known(old="abcdefgh"), "day", share)
    assert one.name == name


def test_after_a_split_the_larger_part_keeps_the_name():
    names = name_campaigns(found("ab", "cdef"), known(old="abcdef"), "day", 0.3)
    assert names == [NamedCampaign("day-0001", 1000, split_from="old"), NamedCampaign("old", 5)]


def test_of_equal_parts_the_one_that_began_first_keeps_it():
    names = name_campaigns(found("def", "abc"), known(old="abcdef"), "day", 0.3)
    assert [one.name for one in names] == ["old", "day-0001"]


def test_merged_campaigns_have_the_name_of_the_larger_and_tell_the_others():
    [one] = name_campaigns(found("abcdefghi"), known(p="ab", q="cdef", r="ghi"), "day", 0.3)
    assert one == NamedCampaign("q", 5, merged=("p", "r"))


def test_of_equal_ones_the_older_name_lasts():
    [one] = name_campaigns(found("abcdef"), known(q="abc", p="def"), "day", 0.3)
    assert (one.name, one.merged) == ("p", ("q",))


def test_what_is_split_and_merged_at_once_has_each_name_once():
    names = name_campaigns(found("abx", "cdyz"), known(old="abcd", other="xyz"), "day", 0.3)
    assert [one.name for one in names] == ["old", "other"]
    assert [one.split_from for one in names] == ["", ""]


def test_the_order_of_accounts_decides_nothing():
    one = name_campaigns(found("abc", "def"), known(p="abf", q="cde"), "day", 0.3)
    other = name_campaigns(found("cba", "fed"), known(q="edc", p="fba"), "day", 0.3)
    assert one == other


def test_a_day_in_between_has_the_names_that_it_has_on_the_day_after():
    groups = found("abc", "def", "ghi", "jkl")
    yesterday = known(old="abc")
    tomorrow = known(**{"old": "abc", "new": "def", "day-0003": "ghi"})
    names = name_campaigns(groups, yesterday, "day", 0.3, tomorrow)
    assert [one.name for one in names] == ["old", "new", "day-0003", "day-0004"]
    assert [one.first_seen for one in names] == [5, 1001, 1002, 1003]
    # A name is given once, whoever has it on the day after.
    names = name_campaigns(found("abc", "def"), None, "day", 0.3, known(**{"day-0001": "def"}))
    assert [one.name for one in names] == ["day-0002", "day-0001"]
    names = name_campaigns(found("ab", "cd"), known(old="ab"), "day", 0.3, known(old="abcd"))
    assert [one.name for one in names] == ["old", "day-0001"]
