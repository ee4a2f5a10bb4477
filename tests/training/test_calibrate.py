"""Calibration: recovers a known curve, never falls, and takes isotonic only where shown better."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scoring.calibration import Calibration
from training.calibrate import fit_calibration, fit_sigmoid, fit_steps


def drawn(n: int, curve, seed: int = 0):
    generator = np.random.default_rng(seed)
    raw = generator.normal(-3, 2, n)
    return raw, (generator.random(n) < curve(raw)).astype(np.int8)


def test_a_sigmoid_is_recovered():
    raw, labels = drawn(100_000, Calibration(0.7, -0.5).apply)
    made = fit_sigmoid(raw, labels == 1)
    assert made.slope == pytest.approx(0.7, abs=0.03)
    assert made.offset == pytest.approx(-0.5, abs=0.05)


def test_few_positives_take_the_sigmoid():
    raw, labels = drawn(3000, Calibration(1.0, 0.0).apply)
    made = fit_calibration(raw, labels)
    assert made.raw == (), "the sigmoid"
    assert made.reason.startswith(f"sigmoid: {labels.sum()} positives; isotonic is tried")


def test_a_shape_that_no_sigmoid_has_takes_isotonic():
    raw, labels = drawn(60_000, lambda raw: np.where(raw < -4, 0.01, np.where(raw < -1, 0.3, 0.35)))
    made = fit_calibration(raw, labels)
    assert made.rises() and len(made.raw) > 2
    assert made.apply(np.array([-2.0]))[0] == pytest.approx(0.3, abs=0.03)
    assert "isotonic: log loss crosswise" in made.reason


def test_a_true_sigmoid_keeps_the_sigmoid_however_many():
    raw, labels = drawn(60_000, Calibration(1.0, 0.3).apply)
    made = fit_calibration(raw, labels)
    assert made.raw == (), "the sigmoid"
    assert "sigmoid: log loss crosswise" in made.reason


def test_positives_in_one_half_only_take_the_sigmoid():
    raw = np.linspace(-3, 3, 4000)
    made = fit_calibration(raw, np.repeat([0, 1], 2000).astype(np.int8))
    assert made.raw == (), "the sigmoid"


@given(
    st.lists(st.tuples(st.floats(-30, 30), st.booleans()), min_size=2, max_size=60).filter(
        lambda rows: len({hit for _, hit in rows}) == 2
    )
)
def test_curves_never_fall_and_stay_inside(rows):
    raw = np.array([one for one, _ in rows])
    hits = np.array([hit for _, hit in rows])
    at = np.linspace(-40, 40, 500)
    for curve in (fit_sigmoid(raw, hits), fit_steps(raw, hits)):
        share = curve.apply(at)
        assert np.isfinite(share).all()
        assert (np.diff(share) >= 0).all()
        assert ((share >= 0) & (share <= 1)).all()
    steps = fit_steps(raw, hits)
    assert (np.diff(steps.raw) > 0).all()


def test_a_weighted_curve_says_the_share_of_what_the_rows_stand_for():
    rng = np.random.default_rng(4)
    raw = rng.normal(size=20_000)
    hits = rng.random(20_000) < 1 / (1 + np.exp(-raw))
    seen = rng.random(20_000) < np.where(hits, 0.2, 1.0)
    weights = np.where(hits, 5.0, 1.0)[seen]
    weighted = fit_calibration(raw[seen], hits[seen].astype(np.int8), weights)
    assert "weighted" in weighted.reason
    assert weighted.slope == pytest.approx(1, abs=0.1)
    assert weighted.offset == pytest.approx(0, abs=0.1)
