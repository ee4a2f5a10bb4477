"""What changes in a config that decides ties, or shards: days become those of a whole run."""

import datetime as dt

import polars as pl
import pytest
from backfill_world import CONFIG, make_events, tree_bytes

from configs.loader import loads
from transforms.catalog import CATALOG

DAYS = "2026-03-01..2026-03-02"
WIDER = CONFIG.replace("  text: {type: string}", "  text: {type: string}\n  note: {type: string}")


def spec_of(text):
    return loads(text, "c.yaml", CATALOG)


def copies(count):
    """Events that come twice, with one id and one time, and other contents."""
    start = dt.datetime(2026, 3, 1, tzinfo=dt.UTC)
    for number in range(count):
        at = (start + dt.timedelta(minutes=30 * number)).isoformat()
        for copy, amount in enumerate((1.0, 99.0)):
            yield {
                "id": f"p{number:04d}",
                "at": at,
                "kind": "post",
                "who": f"w{number % 5}",
                "where": "a",
                "amount": amount,
                "note": f"{copy}",
            }


def equal_to_a_whole_run(run, tmp_path, source, before, after):
    run(source, DAYS, spec=spec_of(before))
    first = tree_bytes(tmp_path / "out" / "features")
    run(source, DAYS, spec=spec_of(after), out="whole")
    run(source, DAYS, spec=spec_of(after), only_new_features=True)
    assert tree_bytes(tmp_path / "out") == tree_bytes(tmp_path / "whole")
    return first != tree_bytes(tmp_path / "whole" / "features")


def test_a_new_column_that_chooses_another_copy_leaves_no_features_of_the_old_one(
    write, run, tmp_path
):
    """Of copies with one time the contents decide, and the new column is among them."""
    source = write(list(copies(80)))
    assert equal_to_a_whole_run(run, tmp_path, source, CONFIG, WIDER)


TWO = """
lockstep: 1
name: two
shards: 2
ingest:
  - {kind: debit, id: id, time: at, columns: {who: source}}
  - {kind: credit, id: id, time: at, columns: {who: target}}
columns: {who: {type: string}, amount: {type: number}%s}
kinds: {debit: {scored: true}, credit: {scored: true}}
entities:
  who:
    key: {debit: [who], credit: [who]}
    windows: [1h]
    aggregates: {moves: {op: count}, debits: {op: count, of: debit}}
inputs: {numeric: [amount]}
"""


def test_two_events_of_a_row_go_by_their_contents_too(write, run, tmp_path):
    start = dt.datetime(2026, 3, 1, tzinfo=dt.UTC)
    rows = [
        {
            "id": number,
            "at": (start + dt.timedelta(minutes=30 * number)).isoformat(),
            "source": "a",
            "target": "a",
            "amount": number,
            "note": number * 7,
        }
        for number in range(80)
    ]
    source = write(rows)
    before, after = TWO % "", TWO % ", note: {type: integer}"
    assert equal_to_a_whole_run(run, tmp_path, source, before, after)


def test_another_kind_of_verdict_is_another_order(write, run, tmp_path):
    """Verdicts come after all others of their time, so the last of two events is another one."""
    text = CONFIG.replace("key: {post: [where]}", "key: {post: [where], a: [where], b: [where]}")
    text = text.replace("  verdict: {", "  a: {}\n  b: {}\n  verdict: {").replace(
        "      people: {op",
        "      told: {op: last, of: [a, b], column: amount, decimals: 0}\n      people: {op",
    )
    start = dt.datetime(2026, 3, 1, tzinfo=dt.UTC)
    events = []
    for number in range(60):
        at = start + dt.timedelta(minutes=30 * number)
        common = {"at": at.isoformat(), "where": "a", "subject": "x", "bad": True}
        events += [{"id": f"{kind}{number}", "kind": kind, "amount": n, **common}
                   for n, kind in enumerate("ab")]  # fmt: skip
        later = (at + dt.timedelta(minutes=1)).isoformat()
        events.append({"id": f"p{number}", "kind": "post", "who": "w", **common, "at": later})
    source = write(events)
    before, after = (text.replace("kind: verdict,", f"kind: {kind},") for kind in "ba")
    assert equal_to_a_whole_run(run, tmp_path, source, before, after)


@pytest.mark.parametrize("shards", [2, 7])
def test_another_number_of_shards(write, run, tmp_path, shards):
    """State of the days before is dealt out anew: no key forgets what it did."""
    source = write(make_events(200, days=3))
    other = spec_of(CONFIG.replace("shards: 4", f"shards: {shards}"))
    for out, spec in (("out", spec_of(CONFIG)), ("other", other)):
        run(source, DAYS, out=out)
        run(source, "2026-03-03", out=out, spec=spec)
    one, two = (
        pl.read_parquet(str(tmp_path / out / "features" / "date=2026-03-03" / "*.parquet"))
        for out in ("out", "other")
    )
    assert len(one) and one.equals(two)


@pytest.mark.parametrize("shards", [2, 7])
def test_days_brought_up_to_another_number_of_shards(write, run, tmp_path, shards):
    source = write(make_events(200, days=3))
    after = CONFIG.replace("shards: 4", f"shards: {shards}")
    equal_to_a_whole_run(run, tmp_path, source, CONFIG, after)
    run(source, "2026-03-03", spec=spec_of(after))
    run(source, "2026-03-03", spec=spec_of(after), out="whole")
    assert tree_bytes(tmp_path / "out") == tree_bytes(tmp_path / "whole")
