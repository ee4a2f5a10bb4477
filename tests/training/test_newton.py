"""Newton's baseline reaches the optimum that scikit-learn's own solver does, from anywhere."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse
from sklearn.linear_model import LogisticRegression

from training import newton
from training.newton import Design, fit_newton

SIZES = (4, 30)


def make_rows(n=4000, seed=0, sizes=SIZES):
    """Correlated numbers of unlike sizes, two categories with unequal ids, 8 % positives."""
    generator = np.random.default_rng(seed)
    numeric = generator.normal(size=(n, 6)).astype(np.float32)
    numeric[:, 1] = numeric[:, 0] + 1e-3 * numeric[:, 1]
    numeric[:, 2] *= 100
    ids = [np.minimum(generator.geometric(0.2, n) - 1, size - 1) for size in sizes]
    categories = np.stack(ids, 1) if sizes else np.empty((n, 0), np.int64)
    margin = numeric[:, 0] + 0.02 * numeric[:, 2] - 4
    if sizes:
        margin = margin + (categories[:, -1] % 3)
    labels = (generator.random(n) < 1 / (1 + np.exp(-margin))).astype(np.int8)
    return Design(numeric, categories, sizes), labels


def dense(design):
    return np.hstack([design.numeric.astype(np.float64), design.one_hot().toarray()])


def loss(made, design, labels, regularisation=1.0, weight=1.0):
    margin = dense(design) @ made.weights + made.intercept
    losses = np.logaddexp(0, np.where(labels == 1, -margin, margin))
    penalty = regularisation / 2 * made.weights @ made.weights
    return np.where(labels == 1, weight, 1.0) @ losses + penalty


@pytest.mark.parametrize("sizes", [(), (30,), SIZES])
@pytest.mark.parametrize(("regularisation", "weight"), [(1.0, 1.0), (30.0, 1.0), (1.0, 8.0)])
def test_it_is_the_optimum_of_another_solver(sizes, regularisation, weight):
    design, labels = make_rows(sizes=sizes)
    made = fit_newton(design, labels, regularisation=regularisation, positive_weight=weight)
    other = LogisticRegression(
        C=1 / regularisation,
        class_weight={0: 1.0, 1: weight},
        solver="newton-cholesky",
        tol=1e-10,
        max_iter=200,
    ).fit(dense(design), labels)
    np.testing.assert_allclose(made.weights, other.coef_[0], atol=1e-5)
    assert made.intercept == pytest.approx(other.intercept_[0], abs=1e-5)


def test_rows_in_pieces_and_a_begin_with_few_of_them_change_no_end(monkeypatch):
    design, labels = make_rows()
    whole = fit_newton(design, labels)
    monkeypatch.setattr(newton, "_PIECE", 100)
    monkeypatch.setattr(newton, "_FEW", 1000)
    pieces = fit_newton(design, labels)
    np.testing.assert_allclose(pieces.weights, whole.weights, atol=1e-5)
    again = fit_newton(design, labels)
    assert again.weights.tobytes() == pieces.weights.tobytes()


def test_a_start_saves_steps_and_changes_no_end(monkeypatch):
    design, labels = make_rows()
    steps = []
    solve = newton._solve
    monkeypatch.setattr(newton, "_solve", lambda *given: steps.append(1) or solve(*given))
    cold = fit_newton(design, labels)
    cold_steps = len(steps)
    steps.clear()
    half = fit_newton(design.every(2), labels[::2])
    steps.clear()
    warm = fit_newton(design, labels, start=half)
    assert len(steps) < cold_steps
    np.testing.assert_allclose(warm.weights, cold.weights, atol=1e-5)


@pytest.mark.parametrize("most", [1e10, float(np.finfo(np.float32).max)])
def test_values_without_measure_end_in_finite_weights(most):
    """What overflows in scaling becomes the largest float32 (`transforms.graph.scale`)."""
    design, labels = make_rows()
    design.numeric[7, 3] = most
    design.numeric[8, 4] = -most
    made = fit_newton(design, labels)
    assert np.isfinite(made.weights).all()
    assert np.isfinite(made.intercept)
    none, _ = make_rows()
    none.numeric[:, 3:5] = 0
    assert loss(made, design, labels) <= loss(fit_newton(none, labels), none, labels) + 1e-3


def test_classes_that_a_plane_parts_have_a_finite_rule():
    numbers = np.linspace(-1, 1, 200, dtype=np.float32)[:, None]
    design = Design(numbers, np.empty((200, 0), np.int64), ())
    labels = (numbers[:, 0] > 0).astype(np.int8)
    made = fit_newton(design, labels, regularisation=1e-6)
    assert np.isfinite(made.weights).all()
    assert ((numbers @ made.weights + made.intercept > 0) == labels).all()


def test_ids_beyond_a_size_are_its_last_and_unused_ones_weigh_nothing():
    design = Design(np.zeros((4, 0), np.float32), np.array([[0], [0], [9], [2]]), (3,))
    made = fit_newton(design, np.array([0, 0, 1, 1], np.int8))
    assert made.weights[1] == 0
    assert made.weights[2] > 0.5 > made.weights[0]
    sparse = design.one_hot()
    assert isinstance(sparse, scipy.sparse.csr_matrix)
    assert sparse.toarray()[2].tolist() == [0, 0, 1]


def test_one_class_has_no_rule():
    design, labels = make_rows(10)
    assert fit_newton(design, np.ones_like(labels)) is None


@pytest.mark.filterwarnings("ignore:invalid value")
def test_what_is_not_finite_is_refused_in_words():
    design, labels = make_rows()
    design.numeric[0, 0] = np.nan
    with pytest.raises(ValueError, match="not finite"):
        fit_newton(design, labels)


def test_a_row_of_weight_two_is_two_rows():
    rng = np.random.default_rng(4)
    numbers = rng.normal(size=(200, 3)).astype(np.float32)
    labels = (rng.random(200) < 0.4).astype(np.int8)
    none = np.empty((200, 0), np.int64)
    twice = np.arange(200) % 2 == 0
    rows = np.concatenate([np.arange(200), np.flatnonzero(twice)])
    weighted = fit_newton(Design(numbers, none, ()), labels, weights=np.where(twice, 2.0, 1.0))
    repeated = fit_newton(Design(numbers[rows], none[rows], ()), labels[rows])
    assert np.allclose(weighted.weights, repeated.weights, atol=1e-6)
    plain = fit_newton(Design(numbers, none, ()), labels)
    assert not np.allclose(weighted.weights, plain.weights, atol=1e-3)
