"""Metrics by slice: every labelled event in one row, rare values together, nulls named."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from sklearn import metrics as oracle

from training.by_slice import NONE, OTHER, evaluate_by_slice


def test_every_labelled_event_is_in_one_row():
    generator = np.random.default_rng(0)
    scores = generator.random(2000)
    labels = generator.integers(-1, 2, 2000).astype(np.int8)
    clients = [None if one == 9 else f"c{one}" for one in generator.zipf(1.5, 2000).clip(0, 30)]
    rows = evaluate_by_slice(scores, labels, pa.array(clients), most=3)
    assert [row.value for row in rows][-1] == OTHER
    assert sum(row.events for row in rows) == int((labels != -1).sum())
    assert sum(row.positives for row in rows) == int((labels == 1).sum())
    events = [row.events for row in rows[:-1]]
    assert events == sorted(events, reverse=True)
    first = np.array([one == rows[0].value for one in clients]) & (labels != -1)
    assert rows[0].auc == pytest.approx(oracle.roc_auc_score(labels[first], scores[first]))
    assert rows[0].mean_score == pytest.approx(scores[first].mean())
    assert rows[0].brier == pytest.approx(oracle.brier_score_loss(labels[first], scores[first]))
    assert rows[0].share_low < rows[0].positives / rows[0].events < rows[0].share_high
    # Labels that scores know nothing of: far from calibrated, each score at its own distance.
    gap = abs(np.sort(scores[first]) - labels[first].mean()).mean()
    assert rows[0].calibration_error == pytest.approx(gap, abs=0.05)


def test_nulls_and_chunks():
    values = pa.chunked_array([["a"], [None, "a"]])
    rows = evaluate_by_slice(np.array([0.1, 0.2, 0.3]), np.array([0, 1, 1], np.int8), values)
    assert [(row.value, row.events) for row in rows] == [("a", 2), (NONE, 1)]


def test_nothing_has_no_rows():
    none = pa.array([], pa.string())
    assert evaluate_by_slice(np.zeros(0), np.zeros(0, np.int8), none) == ()
