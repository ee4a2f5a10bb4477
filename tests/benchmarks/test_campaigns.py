"""`lockstep campaigns` finds the pairs of CooRTweet's rule in its example, and those of a world."""

import datetime as dt

import pyarrow as pa
import pytest

from benchmarks.campaign_worlds import BANDS, RULES, SECTION, hidden_campaigns, pair_figures, worlds
from benchmarks.campaigns import COMMENTS, PUBLISHED, TWEETS, campaigns_of
from configs.loader import loads, shipped
from transforms.catalog import CATALOG


@pytest.mark.slow
@pytest.mark.parametrize("seconds", PUBLISHED)
def test_pairs_and_accounts_are_those_of_the_published_rule(seconds, shared_data, tmp_path):
    text = TWEETS.replace("SECONDS", str(seconds))
    table = shared_data / "coordinated-tweets" / "retweets.parquet"
    made = campaigns_of(text, table, dt.date(2021, 9, 1), str(tmp_path))
    assert (made.pairs, made.accounts) == PUBLISHED[seconds]


def test_its_worlds_and_configs_have_no_mistakes():
    assert [world.name for world in worlds().values()] == list(worlds()) == ["chat", "small"]
    sections = [("video_comments", COMMENTS)]
    sections += [("chat", SECTION.replace("BURSTS", one) + more) for one, more in RULES.values()]
    for name, section in sections:
        text = shipped(name).read_text().replace("derive:\n", "derive:\n" + BANDS)
        assert loads(text + section, "benchmark.yaml", CATALOG).campaigns


def test_pairs_are_counted_within_and_across_campaigns():
    found = pa.table({"account": list("abcdefg"), "campaign": list("xxxyyzz")})
    hidden = pa.table({"account": list("gfedabq"), "campaign": [1, 1, 2, 2, 2, 2, 1]})
    made = pair_figures(found, hidden)
    assert (made.found, made.hidden, made.both) == (3 + 1 + 1, 3 + 6, 1 + 1 + 1)
    assert (made.precision, made.recall) == (3 / 5, 3 / 9)
    nothing = pair_figures(found.slice(0, 0), hidden)
    assert (nothing.precision, nothing.recall) == (0.0, 0.0)


def test_an_account_is_of_the_hidden_campaign_that_it_wrote_most_for():
    rows = [("a", 1), ("a", 2), ("a", 2), ("b", 1), ("b", 2), ("c", None)]
    truth = pa.table(
        {
            "author_id": [who for who, _ in rows],
            "campaign": pa.array([one for _, one in rows], pa.int64()),
            "is_abuse": [one is not None for _, one in rows],
            "abuse": ["" if one is None else "raid" if one == 1 else "scam" for _, one in rows],
        }
    )
    assert hidden_campaigns(truth).to_pydict() == {"account": ["a", "b"], "campaign": [2, 1]}
    assert hidden_campaigns(truth, "scam")["campaign"].to_pylist() == [2, 2]
