"""`lockstep campaigns` finds the pairs of CooRTweet's rule in its example."""

import datetime as dt

import pytest

from benchmarks.campaigns import PUBLISHED, TWEETS, campaigns_of


@pytest.mark.slow
@pytest.mark.parametrize("seconds", PUBLISHED)
def test_pairs_and_accounts_are_those_of_the_published_rule(seconds, shared_data, tmp_path):
    text = TWEETS.replace("SECONDS", str(seconds))
    table = shared_data / "coordinated-tweets" / "retweets.parquet"
    made = campaigns_of(text, table, dt.date(2021, 9, 1), str(tmp_path))
    assert (made.pairs, made.accounts) == PUBLISHED[seconds]
