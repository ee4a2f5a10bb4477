"""What an experiment's bootstrap draws: campaigns of the snapshot, accounts, or events."""

import datetime as dt
import json
from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pytest
from campaign_world import AS_OF, PUBLISHED, make_events, spec

from pipelines.campaigns import read_campaigns
from pipelines.experiment.units import cluster_events

DAY_US = 86_400_000_000


@pytest.fixture(scope="module")
def asked(tmp_path_factory):
    """A request as of the day before the snapshot, and the events of that day."""
    folder = tmp_path_factory.mktemp("units")
    given = make_events()
    (folder / "events.jsonl").write_text("".join(json.dumps(one) + "\n" for one in given))
    champion = SimpleNamespace(spec=spec(more="evaluation: {group: who}\n"))
    experiment = SimpleNamespace(
        champion=champion, as_of=(AS_OF - dt.timedelta(days=1),), test_us=DAY_US, over="campaigns"
    )
    request = SimpleNamespace(
        experiment=experiment, source=str(folder / "events.jsonl"), out=folder / "out",
        now=PUBLISHED, workers=1, flags=(),
    )  # fmt: skip
    posts = [one for one in given if one["kind"] == "post"]
    table = pa.table(
        {
            "event_id": [one["event_id"] for one in posts] + ["elsewhere", "nobody"],
            "who": [one["who"] for one in posts] + [posts[0]["who"], None],
        }
    )
    return request, table


def test_events_of_a_campaign_are_drawn_together_and_others_with_their_account(asked):
    request, table = asked
    found = cluster_events(request, table)
    as_of, used = AS_OF, request.experiment.champion.spec
    members = read_campaigns(request.out, as_of, "members", used).to_pylist()
    assert len({one["campaign"] for one in members}) > 3
    of = {one["account"]: one["campaign"] for one in members}
    names = [of.get(who, who) for who in table.column("who").to_pylist()]
    drawn = dict[str, set[int]]()
    for name, number in zip(names, found.tolist(), strict=True):
        if name is not None:
            drawn.setdefault(name, set()).add(number)
    assert all(len(numbers) == 1 for numbers in drawn.values())
    assert len({one for numbers in drawn.values() for one in numbers}) == len(drawn)
    assert found[-1] == -1, "an event without an account is by itself"
    assert len(drawn) < len(set(table.column("who").to_pylist()) - {None})


def test_accounts_and_events(asked):
    request, table = asked
    request.experiment.over = "accounts"
    accounts = cluster_events(request, table)
    whos = table.column("who").to_pylist()
    assert accounts.max() + 1 == len(set(whos) - {None}) and accounts[-1] == -1
    assert np.array_equal(accounts == accounts[0], [one == whos[0] for one in whos])
    request.experiment.over = "events"
    assert cluster_events(request, table) is None
