"""`python -m benchmarks.campaigns`: campaigns in published data, beside a published tool's result.

Prints the tables of docs/results.md: pairs and accounts of `coordinated-tweets` by the rule of
CooRTweet (the same object within so many seconds, at least two objects), what is found among the
unlabelled comments of `youtube-spam`, and pairs of accounts in simulated worlds whose truth is
known (`--worlds N` seeds of each; 0: none). Data: ../shared/data, or `LOCKSTEP_DATA`.
"""

from __future__ import annotations

import argparse
import datetime as dt
import os
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from benchmarks.campaign_worlds import BANDS, world_rows
from configs.loader import loads, shipped
from pipelines.campaigns import (
    PublishedCampaigns,
    make_campaign_snapshot,
    read_campaigns,
)
from pipelines.shard_files import SnapshotRequest
from transforms.catalog import CATALOG

PUBLISHED = {60: (32, 58), 10: (2, 4)}
"""Seconds -> pairs and accounts, by CooRTweet's rule."""

TWEETS = """
lockstep: 1
name: tweets
columns: {account_id: {type: string, private: true}, object_id: {type: string}}
ingest: [{kind: share, id: content_id, time: time}]
kinds: {share: {scored: true, required: [account_id, object_id]}}
entities: {account: {key: {share: [account_id]}, aggregates: {n: {op: count, windows: [1h]}}}}
campaigns:
  account: account_id
  of: share
  span: 400d
  least_accounts: 2
  links: {object: {columns: object_id, within: SECONDSs, most_accounts: 5000}}
"""
COMMENTS = """
campaigns:
  account: author
  of: comment
  recipients: video
  span: 400d
  links:
    text: {columns: [band_1, band_2, band_3, band_4], where: characters >= 40, weight: 2}
    site: {columns: link_domain}
"""


def campaigns_of(text: str, source: Path, as_of: dt.date, out: str) -> PublishedCampaigns:
    """The snapshot of a day under a config."""
    spec = loads(text, "benchmark.yaml", CATALOG)
    now = dt.datetime.now(dt.UTC)
    return make_campaign_snapshot(SnapshotRequest(spec, str(source), out, as_of, now))


def main(given: Sequence[str] | None = None) -> int:
    """Prints the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--worlds", type=int, default=3)
    arguments = parser.parse_args(given)
    for row in world_rows(arguments.worlds) if arguments.worlds else ():
        print(row, flush=True)
    data = Path(os.environ.get("LOCKSTEP_DATA", "../shared/data"))
    tweets = data / "coordinated-tweets" / "retweets.parquet"
    comments = data / "youtube-spam" / "unlabelled" / "comments.csv.gz"
    for path in (tweets, comments):
        if not path.exists():
            print(f"no {path}: see docs/results.md", file=sys.stderr)
            return 4
    print(
        "| within | pairs, CooRTweet's rule | ours | accounts, its rule | ours | campaigns "
        "| pairs by rarity |"
    )
    print("|---|---|---|---|---|---|---|")
    for seconds, (pairs, accounts) in PUBLISHED.items():
        with tempfile.TemporaryDirectory() as out:
            text = TWEETS.replace("SECONDS", str(seconds))
            made = campaigns_of(text, tweets, dt.date(2021, 9, 1), out)
            rare = campaigns_of(text + "  rarity: {}\n", tweets, dt.date(2021, 9, 1), out)
        print(
            f"| {seconds} s | {pairs} | {made.pairs} | {accounts} | {made.accounts} "
            f"| {made.campaigns} | {rare.pairs} |"
        )
    text = shipped("video_comments").read_text().replace("derive:\n", "derive:\n" + BANDS)
    with tempfile.TemporaryDirectory() as out:
        day = dt.date(2013, 12, 1)
        made = campaigns_of(text + COMMENTS, comments, day, out)
        sizes = read_campaigns(out, day)["accounts"].to_pylist()
    hubs = ", ".join(f"{name}: {one['values']}" for name, one in made.hubs.items())
    print("\n| campaigns | accounts | comments | largest | largest component | hubs |")
    print("|---|---|---|---|---|---|")
    counts = (made.campaigns, made.accounts, made.events, max(sizes, default=0), made.largest)
    print(f"| {' | '.join(f'{one:,}' for one in counts)} | {hubs} |")
    return 0


if __name__ == "__main__":
    sys.exit(main())
