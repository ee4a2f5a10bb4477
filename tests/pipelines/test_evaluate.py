"""`evaluate` measures what the bundle's own scores of the same rows say, and damage by name.

Prism and Flink: `nightly/test_nightly.py`.
"""

import datetime as dt
import re
from collections import Counter
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from backfill_world import CONFIG, make_events
from nightly_world import copy_of, write_events
from nightly_world import request as night_request

from configs.errors import InputError, StateError
from configs.loader import load, shipped
from pipelines.backfill import BackfillRequest, backfill
from pipelines.evaluate import EvaluateRequest, _slice_columns, _subjects, evaluate_bundle
from pipelines.layout import FEATURES, VERDICTS, Days, Layout
from pipelines.nightly import nightly
from pipelines.read_days import read_part
from scoring.bundle import load_bundle
from scoring.decision import Threshold
from transforms.catalog import CATALOG

DAYS = Days.parse("2026-03-07..2026-03-08")


@pytest.fixture(scope="module")
def evaluated(night_house):
    """On the embedded runner, in this process."""
    _, out, outcome = night_house
    return evaluate_bundle(EvaluateRequest(out, outcome.bundle, DAYS))


def assert_same(actual, expected):
    assert actual.to_builtins() == expected.to_builtins()
    assert actual.scores.equals(expected.scores)


def test_the_scores_are_those_of_the_bundle_over_the_published_rows(night_house, evaluated):
    _, out, outcome = night_house
    parts = [part for day in DAYS for part in Layout(out).files(day, FEATURES)]
    rows = pq.read_table(parts, partitioning=None)
    expected = load_bundle(outcome.folder, CATALOG).score(rows)
    assert evaluated.scores.select(expected.column_names).equals(expected)
    assert evaluated.scores.column("event_time").equals(rows.column("event_time"))
    assert np.unique(evaluated.scores.column("raw")).size > 5


def test_two_workers_measure_the_same(night_house, evaluated):
    _, out, outcome = night_house
    assert_same(evaluate_bundle(EvaluateRequest(out, outcome.bundle, DAYS, workers=2)), evaluated)


@pytest.mark.parametrize("kind", [FEATURES, VERDICTS])
def test_a_file_that_is_damaged_is_named(kind, night_house, tmp_path):
    outcome = night_house[2]
    _, copy = copy_of(night_house, tmp_path)
    part = Layout(copy).files(DAYS.first, kind)[0]
    flip_a_bit(part)
    with pytest.raises(InputError, match=f"{re.escape(part)} is damaged: the SHA-256"):
        evaluate_bundle(EvaluateRequest(copy, outcome.bundle, DAYS))


def test_state_that_is_damaged_is_named(night_house, tmp_path, tiny_spec):
    source, copy = copy_of(night_house, tmp_path)
    last = Layout(copy).published()[-1]
    path = Layout(copy).state(last)["recent-ids-002.arrow"]
    flip_a_bit(path)
    request = BackfillRequest(tiny_spec, source, copy, Days(last, last + dt.timedelta(days=1)))
    with pytest.raises(StateError, match=f"{re.escape(path)} is damaged: the SHA-256"):
        backfill(request)


def test_a_part_of_another_spec_is_named(tmp_path, tiny_spec):
    pq.write_table(pa.table({"event_id": ["a"]}), tmp_path / "a.parquet")
    with pytest.raises(
        InputError, match=r"a.parquet has no column '.*'; it was made under another"
    ):
        read_part(tiny_spec, str(tmp_path / "a.parquet"), 0, 1)


def flip_a_bit(path):
    data = bytearray(Path(path).read_bytes())
    data[len(data) // 2] ^= 1
    Path(path).write_bytes(data)


def test_accounts_are_measured_where_the_config_names_them():
    table = pa.table({"score": [0.2, 0.9, 0.1, 0.5], "group": ["a", "a", "b", None]})
    bundle = SimpleNamespace(policy=SimpleNamespace(thresholds=(Threshold("block", 0.8, None),)))
    labels, times = np.array([0, 1, 0, 1], np.int8), np.array([0, 5, 0, 0])
    every = np.ones(4, np.bool_)
    found = _subjects(bundle, table, labels, times, every)
    assert (found.accounts, found.abusive) == (2, 1)
    assert found.until[0].median_us == 5
    assert _subjects(bundle, table.drop_columns(["group"]), labels, times, every) is None
    # Known from the second event on: its events all count; known before the first: none does.
    kept = np.array([True, False, False, True])
    found = _subjects(bundle, table, labels, times, kept)
    assert (found.accounts, found.abusive, found.until[0].median_us) == (1, 1, 5)


def test_accounts_first_events_are_not_cut_short_where_known_ones_are_dropped(tmp_path):
    events = make_events(1500, days=8)
    for event in events:  # accounts of two days each, so that some become known within DAYS
        if "who" in event:
            event["who"] += f"-{(int(event['at'][8:10]) - 1) // 2}"
    source, out = write_events(tmp_path / "input", events), tmp_path / "out"
    config = CONFIG + "evaluation: {group: who, drop_known: true}\n"
    outcome = nightly(night_request(source, out, config))
    found = evaluate_bundle(EvaluateRequest(out, outcome.bundle, DAYS))
    own = Counter(one["who"] for one in events if one.get("who", "").endswith("-3"))
    assert found.left_out > 0
    assert found.subjects.accounts == len(own)
    after = {one.events: one.accounts for one in found.subjects.after}
    assert after[10] == sum(count >= 10 for count in own.values()) > 0


@pytest.mark.parametrize(
    ("name", "hint"),
    [("nosuch", "`lockstep features` lists them"), ("hours", "did you mean 'hour'?")],
)
def test_an_input_that_is_none_is_named_with_where_to_look(name, hint):
    spec = load(shipped("chat"), CATALOG)
    with pytest.raises(InputError, match=rf"--by {name}: .* no such input; {re.escape(hint)}$"):
        _slice_columns(spec, [name])
