"""Campaigns in worlds whose truth is known: pairs of accounts that are found, and those that are.

Part of `python -m benchmarks.campaigns`. A pair is right if both accounts wrote for one hidden
campaign. Each configuration sees each world; none is tuned to one of them.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from configs.loader import loads, shipped
from configs.world import WorldSettings, load_world, loads_world
from pipelines.campaigns import make_campaign_snapshot, read_campaigns
from pipelines.shard_files import SnapshotRequest
from pipelines.simulate import WorldRequest, read_truth, simulate_world
from transforms.catalog import CATALOG

DAYS = 10
SMALL = """
world: 1
name: small
people: {messages: 6000, accounts: 3000, communities: 12, newcomers: 0.02}
abuse:
  link_spam: {share: 0.020, messages: 30, accounts: 8, days: 4, fresh: 0.4, rotates: 2}
  raid:      {share: 0.010, messages: 60, accounts: 20, days: 1, fresh: 0.6, reported: 0.06}
  scam:      {share: 0.006, messages: 8, accounts: 8, days: 10, fresh: 0.1, rotates: 4}
  hijack:    {share: 0.003, messages: 25, accounts: 1, days: 1, reported: 0.4}
  sign_up:   {share: 0.006, messages: 60, accounts: 20, days: 3, fresh: 1.0}
"""
"""Fewer people with more abuse, of smaller campaigns that change more often; nobody is blocked."""
BANDS = "".join(f"  band_{n}: {{op: near_duplicate, of: clean, band: {n}}}\n" for n in (1, 2, 3, 4))
SECTION = """
campaigns:
  account: author_id
  of: message
  recipients: recipients
  links:
    text: {columns: [band_1, band_2, band_3, band_4], where: characters >= 40, weight: 2}
    site: {columns: link_domain}
    short: {columns: fingerprint, within: 10mBURSTS}
"""
RULES: Mapping[str, tuple[str, str]] = {
    "each value counts the same": ("", ""),
    "by rarity": ("", "  rarity: {}\n"),
    "by rarity, short texts in bursts": (", bursts: true", "  rarity: {}\n"),
}


@dataclasses.dataclass(frozen=True)
class PairFigures:
    """Pairs of accounts: in a found campaign, in a hidden one, and in both."""

    found: int
    hidden: int
    both: int

    @property
    def precision(self) -> float:
        """Of the found ones, those that are hidden; 0 without any."""
        return self.both / max(self.found, 1)

    @property
    def recall(self) -> float:
        """Of the hidden ones, those that are found."""
        return self.both / max(self.hidden, 1)


def pair_figures(members: pa.Table, hidden: pa.Table) -> PairFigures:
    """Counts pairs.

    Args:
      members: string columns `account` and `campaign`, of a snapshot.
      hidden: `account` and `campaign`, of the truth, an account once.

    >>> found = pa.table({"account": ["a", "b", "c"], "campaign": ["x", "x", "x"]})
    >>> truth = pa.table({"account": ["a", "b", "d"], "campaign": [1, 1, 1]})
    >>> pair_figures(found, truth)
    PairFigures(found=3, hidden=3, both=1)
    """
    at = pc.index_in(hidden["account"], value_set=members["account"].combine_chunks())
    is_found = at.is_valid().to_numpy()
    true = _codes(hidden["campaign"])
    made = _codes(members["campaign"])
    both = np.stack([true[is_found], made[at.drop_null().to_numpy()]], axis=1)
    shared = np.unique(both, axis=0, return_counts=True)[1] if len(both) else np.zeros(0, np.int64)
    return PairFigures(_pairs(np.bincount(made)), _pairs(np.bincount(true)), _pairs(shared))


def hidden_campaigns(truth: pa.Table, kind: str | None = None) -> pa.Table:
    """Accounts that wrote for a campaign, each with the one that it wrote for most.

    Args:
      truth: of a world (`pipelines.simulate.read_truth`).
      kind: of abuse; None: all.
    """
    abuse = truth.filter(truth["is_abuse"])
    if kind is not None:
        abuse = abuse.filter(pc.equal(abuse["abuse"], kind))
    counts = abuse.group_by(["author_id", "campaign"]).aggregate([([], "count_all")])
    order = [("author_id", "ascending"), ("count_all", "descending"), ("campaign", "ascending")]
    counts = counts.sort_by(order).combine_chunks()
    first = np.unique(_codes(counts["author_id"]), return_index=True)[1]
    kept = counts.take(pa.array(np.sort(first)))
    return pa.table({"account": kept["author_id"], "campaign": kept["campaign"]})


def worlds() -> Mapping[str, WorldSettings]:
    """The worlds that rules are compared in, by name."""
    return {"chat": load_world("chat"), "small": loads_world(SMALL)}


def world_rows(seeds: int) -> Iterator[str]:
    """Rows of the table of docs/results.md.

    Args:
      seeds: of each world.
    """
    yield "| world | seed | rule | campaigns | largest | accounts | pairs, precision | recall |"
    yield "|---|---|---|---|---|---|---|---|"
    config = shipped("chat").read_text().replace("derive:\n", "derive:\n" + BANDS)
    for name, world in worlds().items():
        for seed in range(1, seeds + 1):
            with tempfile.TemporaryDirectory() as root:
                source = Path(root) / "events"
                request = WorldRequest(world, source, days=DAYS, seed=seed)
                simulate_world(request)
                hidden = hidden_campaigns(read_truth(Path(root) / "events.truth"))
                day = request.start + dt.timedelta(days=DAYS)
                for rule, (bursts, more) in RULES.items():
                    section = SECTION.replace("BURSTS", bursts) + more
                    spec = loads(config + section, "world.yaml", CATALOG)
                    now = dt.datetime.now(dt.UTC)
                    out = Path(root) / "out"
                    made = make_campaign_snapshot(SnapshotRequest(spec, str(source), out, day, now))
                    sizes = read_campaigns(out, day, spec=spec)["accounts"].to_pylist()
                    found = pair_figures(read_campaigns(out, day, "members", spec), hidden)
                    yield (
                        f"| {name} | {seed} | {rule} | {made.campaigns:,} "
                        f"| {max(sizes, default=0):,} | {made.accounts:,} "
                        f"| {found.precision:.4f} | {found.recall:.3f} |"
                    )


def _codes(column: pa.ChunkedArray) -> npt.NDArray[np.int64]:
    """A number for each distinct value, int64 `[n]`."""
    return np.unique(column.to_numpy(), return_inverse=True)[1].astype(np.int64)


def _pairs(sizes: npt.NDArray[np.int64]) -> int:
    return int((sizes * (sizes - 1) // 2).sum())
