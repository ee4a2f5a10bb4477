"""Ranking metrics: equal to scikit-learn's, with ties, and blind to the order of events."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn import metrics as oracle

from training.curve import (
    area_under_roc,
    average_precision,
    make_curve,
    precision_recall_points,
)

ROWS = st.lists(
    st.tuples(st.integers(-3, 3) | st.floats(-3, 3), st.sampled_from([-1, 0, 1])), max_size=80
)


@given(ROWS, st.randoms(use_true_random=False))
def test_ranking_metrics_equal_scikit_learns(rows, random):
    scores = np.array([score for score, _ in rows], np.float64)
    labels = np.array([label for _, label in rows], np.int8)
    curve = make_curve(scores, labels)
    known = labels != -1
    if not curve.both_classes:
        assert area_under_roc(curve) is None
        assert average_precision(curve) is None
        return
    assert area_under_roc(curve) == pytest.approx(
        oracle.roc_auc_score(labels[known], scores[known]), abs=1e-12
    )
    assert average_precision(curve) == pytest.approx(
        oracle.average_precision_score(labels[known], scores[known]), abs=1e-12
    )
    order = list(range(len(rows)))
    random.shuffle(order)
    shuffled = make_curve(scores[order], labels[order])
    assert area_under_roc(shuffled) == area_under_roc(curve)
    assert average_precision(shuffled) == average_precision(curve)


def test_points_are_few_and_keep_both_ends():
    generator = np.random.default_rng(0)
    labels = (generator.random(20_000) < 0.2).astype(np.int8)
    curve = make_curve(generator.normal(size=20_000) + labels, labels)
    points = precision_recall_points(curve, most=50)
    assert 40 <= len(points) <= 51
    assert points[-1].recall == 1.0
    assert points[0].recall == 1 / curve.total
    recall = [point.recall for point in points]
    assert recall == sorted(set(recall))
    for point in points:
        above = curve.values >= point.threshold
        assert point.recall == curve.positives[above][-1] / curve.total


def test_nothing_has_no_points():
    curve = make_curve(np.zeros(0), np.zeros(0, np.int8))
    assert curve.events == 0
    assert precision_recall_points(curve) == ()
    assert precision_recall_points(make_curve([0.5], np.array([0], np.int8))) == ()
