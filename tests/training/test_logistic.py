"""The solver reaches the optimum, from anywhere, on dense and sparse inputs alike."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse

from training.logistic import Weights, fit_logistic, fit_sparse


def rows(n: int = 3000):
    generator = np.random.default_rng(0)
    inputs = generator.normal(size=(n, 5))
    margin = inputs @ np.array([2.0, -1.0, 0.5, 0, 0]) - 3
    return inputs, (generator.random(n) < 1 / (1 + np.exp(-margin))).astype(np.int8)


def gradient(made: Weights, inputs, labels, regularisation, positive_weight):
    share = 1 / (1 + np.exp(-(inputs @ made.weights + made.intercept)))
    gap = (share - labels) * np.where(labels == 1, positive_weight, 1.0)
    return np.append(inputs.T @ gap + regularisation * made.weights, gap.sum())


@pytest.mark.parametrize(("regularisation", "weight"), [(1.0, 1.0), (30.0, 1.0), (1.0, 8.0)])
def test_the_gradient_vanishes_where_it_ends(regularisation, weight):
    inputs, labels = rows()
    made = fit_logistic(inputs, labels, regularisation=regularisation, positive_weight=weight)
    assert made is not None
    assert np.abs(gradient(made, inputs, labels, regularisation, weight)).max() < 0.05


def test_sparse_and_dense_agree_and_repeat():
    inputs, labels = rows()
    inputs = np.where(np.abs(inputs) < 1, 0.0, inputs)
    dense, again = (fit_logistic(inputs, labels) for _ in range(2))
    sparse = fit_logistic(scipy.sparse.csr_matrix(inputs), labels)
    assert dense is not None
    assert again is not None
    assert sparse is not None
    assert dense.weights.tobytes() == again.weights.tobytes()
    assert sparse.weights == pytest.approx(dense.weights, abs=1e-3)


def test_a_start_changes_the_way_not_the_end():
    inputs, labels = rows()
    cold = fit_logistic(inputs, labels)
    first_half = fit_logistic(inputs[:1500], labels[:1500])
    assert cold is not None
    warm = fit_logistic(inputs, labels, start=first_half)
    assert warm is not None
    assert warm.weights == pytest.approx(cold.weights, abs=1e-3)
    assert warm.intercept == pytest.approx(cold.intercept, abs=1e-3)


def test_one_class_has_no_rule():
    inputs, _ = rows(10)
    assert fit_logistic(inputs, np.ones(10, np.int8)) is None


def test_without_any_filled_column_the_share_of_positives_is_left():
    nothing = scipy.sparse.csr_matrix((4, 3))
    labels = np.array([1, 0, 0, 0], np.int8)
    made = fit_sparse(nothing, labels, positive_weight=3.0)
    assert made.weights.tolist() == [0.0, 0.0, 0.0] and made.intercept == pytest.approx(0.0)
    assert fit_sparse(nothing, labels).intercept == pytest.approx(np.log(1 / 3))
    assert fit_sparse(nothing, np.ones(4, np.int8)) is None


def test_a_row_of_weight_two_is_two_rows():
    rng = np.random.default_rng(4)
    inputs = scipy.sparse.csr_matrix(rng.normal(size=(200, 3)))
    labels = (rng.random(200) < 0.4).astype(np.int8)
    twice = np.arange(200) % 2 == 0
    rows = np.concatenate([np.arange(200), np.flatnonzero(twice)])
    weighted = fit_sparse(inputs, labels, weights=np.where(twice, 2.0, 1.0))
    repeated = fit_sparse(inputs[rows], labels[rows])
    assert np.allclose(weighted.weights, repeated.weights, atol=1e-4)
    assert not np.allclose(weighted.weights, fit_sparse(inputs, labels).weights, atol=1e-3)
    empty = scipy.sparse.csr_matrix((200, 3))
    odds = fit_sparse(empty, labels, weights=np.where(labels == 1, 2.0, 1.0)).intercept
    assert odds == pytest.approx(np.log(2 * labels.sum() / (200 - labels.sum())))
