"""Of one row, nothing shows a label before its verdict, whichever column has its time."""

import json

import pytest

from configs.loader import loads
from transforms.catalog import CATALOG
from transforms.decode import decode_json

CONFIG = """
lockstep: 1
name: marks
columns:
  who: {type: string}
  of: {type: string}
  spam: {type: boolean}
  flag: {type: boolean}
  known: {type: timestamp}
kinds: {post: {scored: true}, verdict: {}, mark: {}}
entities:
  who:
    key: {post: [who], verdict: [who], mark: [who]}
    windows: [400d]
    aggregates: {marks: {op: count, of: mark, where: flag}}
labels: {kind: verdict, subject: of, positive: "spam == 1"}
ingest:
  - {kind: post, id: id, time: sent}
  - {kind: verdict, id: id, time: judged, subject: {of: post}%(verdict)s}
  - {kind: mark, id: id, time: marked, %(mark)s}
"""
FLAG = "columns: {flag: spam}"
SENT, EARLY, JUDGED, LATE = (f"2026-03-0{day}T00:00:00Z" for day in (2, 1, 4, 5))


def kinds(marked, mark=FLAG, verdict="", judged=JUDGED):
    """The kinds of a row's events, and the details of its dead letters."""
    spec = loads(CONFIG % {"mark": mark, "verdict": verdict}, "marks.yaml", CATALOG)
    row = {"id": 1, "who": "a", "spam": True, "sent": SENT, "judged": judged, "marked": marked}
    made = decode_json(spec, [json.dumps(row).encode()], "test")
    details = [f"{one.reason} {one.column}: {one.detail}" for one in made.dead]
    return made.batch.column("kind").to_pylist(), details


@pytest.mark.parametrize("marked", [EARLY, SENT, "2026-03-03T23:59:59.999999Z"])
@pytest.mark.parametrize(
    ("mark", "shown"),
    [
        (FLAG, "spam"),
        (FLAG + ", where: flag", "spam"),
        ("columns: {known: judged}, where: 'not is_null(known)'", "judged"),
    ],
    ids=["a column", "a choice", "that there is a verdict"],
)
def test_what_shows_a_label_is_no_earlier_than_the_verdict(marked, mark, shown):
    found, details = kinds(marked, mark)
    assert found == ["post", "verdict"]
    (detail,) = details
    assert detail.startswith(f"bad_time event_time: {shown!r} is what the verdict says: mark is no")


@pytest.mark.parametrize("marked", [JUDGED, LATE])
def test_what_comes_with_the_verdict_or_after_it_may_show_the_label(marked):
    assert kinds(marked) == (["post", "verdict", "mark"], [])


def test_a_delay_of_the_verdict_counts():
    assert kinds(LATE, verdict=", delay: 1d")[0] == ["post", "verdict", "mark"]
    assert kinds(LATE, verdict=", delay: 2d")[0] == ["post", "verdict"]


def test_what_shows_nothing_of_the_label_may_have_any_time():
    assert kinds(EARLY, "columns: {}")[0] == ["post", "verdict", "mark"]
