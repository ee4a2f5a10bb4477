"""One direct test per claim about which slice teaches what; each fails if the claim is broken."""

import dataclasses

import numpy as np
import pytest
import scipy.sparse

from configs.loader import load, shipped
from configs.schema import Action, Categorical, Inputs, Policy, TextInput, Training
from scoring.models import Models
from training import models as module
from training.calibrate import fit_calibration
from training.dataset import TimeRange, slices
from training.delayed import STRATEGIES, YoungSpan
from training.delays import delay_curve
from training.fit import fit, fit_parts
from training.labels import UNLABELLED
from training.models import Span, class_weight
from training.thresholds import choose_thresholds
from transforms.catalog import CATALOG
from transforms.constants import Transformed

HOUR = 3_600_000_000
ROWS, BUCKETS = 3000, 64
TRAINING = Training(
    100 * HOUR, 10 * HOUR, gate_us=20 * HOUR, validation_share=0.25, rounds=12, early_stopping=4,
    text_folds=4, booster={"eta": 0.3, "max_depth": 3},
)  # fmt: skip
CUT = slices(TRAINING, 110 * HOUR)
INPUTS = Inputs(
    numeric=("amount",),
    categorical=(Categorical("terminal", 3, 1, 1),),
    text=TextInput("subject_id", BUCKETS),
)


def spec_with(**changes):
    base = load(shipped("card_fraud"), CATALOG)
    return dataclasses.replace(
        base,
        inputs=INPUTS,
        entities={},
        training=dataclasses.replace(TRAINING, **changes),
        policy=Policy((Action("block", 0.5, 0.9), Action("review", 0.2, 0.9))),
    )


def make_span(seed=3, rows=ROWS):
    """Numbers, categories and texts that tell something of the labels, all over the span."""
    rng = np.random.default_rng(seed)
    times = np.sort(rng.integers(0, 100 * HOUR, rows))
    labels = (rng.random(rows) < 0.2).astype(np.int8)
    numeric = (rng.normal(size=(rows, 1)) + labels[:, None]).astype(np.float32)
    categories = np.minimum(rng.integers(0, 3, (rows, 1)) + labels[:, None], 3)
    words = np.where(rng.random(rows) < 0.7, labels * 7, rng.integers(8, BUCKETS, rows))
    text = scipy.sparse.csr_matrix(
        (np.ones(rows, np.float32), words, np.arange(rows + 1)), (rows, BUCKETS)
    )
    labels[rng.random(rows) < 0.05] = UNLABELLED
    return Span(Transformed(numeric, categories, text), times, labels)


def mask(span, *parts: TimeRange):
    return np.any([part.mask(span.event_times) for part in parts], axis=0)


def turned(span, *parts):
    """The same span with the labels of some slices turned round."""
    where = mask(span, *parts) & (span.labels != UNLABELLED)
    return dataclasses.replace(span, labels=np.where(where, 1 - span.labels, span.labels))


def weights(models: Models):
    """Everything that a model has learnt, as bytes."""
    return (
        models.text.weights.tobytes(),
        models.linear.numeric.tobytes(),
        bytes(models.booster.booster.save_raw("ubj")),
    )


@pytest.fixture(scope="module")
def span():
    return make_span()


@pytest.fixture(scope="module")
def fitted(span):
    return fit(spec_with(), span, CUT)


def test_text_scores_of_training_rows_are_out_of_fold_by_time(span, monkeypatch):
    """A row's text score is of a model that has read neither it nor anything later."""
    seen = []
    original = module.fit_booster

    def spy(training, names, sample, *arguments, **options):
        seen.append(sample.inputs[:, list(names).index("text_score")])
        return original(training, names, sample, *arguments, **options)

    monkeypatch.setattr(module, "fit_booster", spy)
    fit(spec_with(refit=False), span, CUT)
    rows = np.flatnonzero(CUT.fit.mask(span.event_times) & (span.labels != UNLABELLED))
    first = seen[0]
    quarter = len(rows) // 4
    assert np.isnan(first[: quarter - 1]).all(), "nothing is known before the first block"
    assert not np.isnan(first[quarter + 1 :]).any()
    # Other labels from the last block on change no score: no later label was read for any row.
    late = TimeRange(int(span.event_times[rows[3 * quarter + 1]]), CUT.fit.end_us)
    fit(spec_with(refit=False), turned(span, late), CUT)
    np.testing.assert_array_equal(seen[1], first)


def test_solvers_that_start_near_the_end_end_at_the_same_optimum(span, fitted, monkeypatch):
    def cold(original):
        return lambda *given, start=None, **options: original(*given, **options)

    for name in ("fit_sparse", "fit_newton"):
        monkeypatch.setattr(module, name, cold(getattr(module, name)))
    plain = fit(spec_with(), span, CUT)
    for one, other in ((fitted.models, plain.models), (fitted.judged, plain.judged)):
        np.testing.assert_allclose(one.text.weights, other.text.weights, atol=2e-3)
        np.testing.assert_allclose(one.linear.numeric, other.linear.numeric, atol=2e-3)
    assert fitted.models.linear.numeric.tobytes() != plain.models.linear.numeric.tobytes()


@pytest.mark.parametrize("changes", [{}, {"refit": False}, {"model": "linear"}, {"model": "text"}])
def test_it_tells_of_each_part(span, changes):
    told = []
    fit(spec_with(**changes), span, CUT, report=told.append)
    assert sum(told) == pytest.approx(fit_parts(spec_with(**changes)))
    assert len(told) > 5


def test_the_judged_models_learn_from_the_fit_slice_alone(span, fitted):
    other = fit(spec_with(early_stopping=0), turned(span, CUT.gate, CUT.validation), CUT)
    same = fit(spec_with(early_stopping=0), span, CUT)
    assert weights(other.judged) == weights(same.judged)
    changed = fit(spec_with(early_stopping=0), turned(span, CUT.fit), CUT)
    assert weights(changed.judged) != weights(same.judged)
    stopped = fit(spec_with(), turned(span, CUT.gate), CUT)
    assert weights(stopped.judged) == weights(fitted.judged), "the gate slice ends no boosting"


def test_calibration_is_fitted_on_the_validation_slice_alone(span, fitted):
    gate_turned = fit(spec_with(), turned(span, CUT.gate), CUT)
    assert gate_turned.calibration == fitted.calibration
    rows = np.flatnonzero(CUT.validation.mask(span.event_times) & (span.labels != UNLABELLED))
    part = span.transformed.take(rows)
    raw = fitted.judged.raw("booster", part, fitted.judged.text_scores(part))
    made = fit_calibration(raw, span.labels[rows])
    assert made == fitted.calibration


def test_thresholds_and_metrics_are_of_the_gate_slice(span, fitted):
    rows = np.flatnonzero(CUT.gate.mask(span.event_times))
    part = span.transformed.take(rows)
    raw = fitted.judged.raw("booster", part, fitted.judged.text_scores(part))
    scores = fitted.calibration.apply(raw)
    np.testing.assert_array_equal(fitted.gate_scores, scores)
    np.testing.assert_array_equal(fitted.gate_ranks, raw)
    actions, days = spec_with().policy.actions, spec_with().training.gate_us / (24 * HOUR)
    expected = choose_thresholds(scores, span.labels[rows], actions, days=days)
    assert fitted.policy.thresholds == expected
    assert any(one.value is not None for one in expected)
    assert fitted.metrics.events == len(rows)
    assert fitted.metrics.labelled == int((span.labels[rows] != UNLABELLED).sum())
    assert {one.action for one in fitted.metrics.at} == {
        one.action for one in expected if one.value is not None
    }


def test_the_baseline_has_a_calibration_and_thresholds_of_its_own(span, fitted):
    assert fitted.baseline is not None
    assert fitted.baseline.events == fitted.metrics.events
    assert fitted.baseline.at and fitted.baseline.at != fitted.metrics.at
    linear = fit(spec_with(model="linear"), span, CUT)
    assert linear.baseline is None and linear.judged.booster is None
    assert linear.metrics.auc == fitted.baseline.auc
    assert linear.metrics.brier == fitted.baseline.brier


def test_refit_learns_from_the_whole_span_with_the_rounds_that_were_found(span, fitted):
    assert weights(fitted.models) != weights(fitted.judged)
    assert fitted.models.booster.booster.num_boosted_rounds() == fitted.notes["rounds"]
    assert fitted.notes["trained_until_us"] == CUT.span.end_us
    changed = fit(spec_with(), turned(span, CUT.gate), CUT)
    assert weights(changed.judged) == weights(fitted.judged)
    assert weights(changed.models) != weights(fitted.models), "the gate slice is learnt from"


def test_without_refit_what_was_judged_serves(span):
    made = fit(spec_with(refit=False), span, CUT)
    assert made.models is made.judged
    assert made.notes["trained_until_us"] == CUT.validation.end_us


def test_unlabelled_rows_teach_nothing(span, fitted):
    noise = np.where(span.labels == UNLABELLED, 50.0, span.transformed.numeric[:, 0])
    changed = dataclasses.replace(
        span,
        transformed=dataclasses.replace(
            span.transformed, numeric=noise[:, None].astype(np.float32)
        ),
    )
    made = fit(spec_with(), changed, CUT)
    assert weights(made.models) == weights(fitted.models)
    assert made.calibration == fitted.calibration


def test_what_goes_on_from_an_earlier_slice_judges_nothing_later(span, fitted):
    rng = np.random.default_rng(5)
    campaigns = np.where(rng.random(len(span.labels)) < 0.3, rng.integers(0, 40, ROWS), -1)
    whole = dataclasses.replace(span, campaigns=campaigns)
    made = fit(spec_with(), whole, CUT)
    left = made.left_out
    parts = [part.mask(span.event_times) for part in (CUT.fit, CUT.validation, CUT.gate)]
    kept = [{*campaigns[part & ~left]} - {-1} for part in parts]
    assert not kept[0] & kept[1] and not (kept[0] | kept[1]) & kept[2]
    assert left.sum() > 100
    # What is left out has no say: neither its labels, nor that it is there.
    turned_round = np.where(left & (span.labels != UNLABELLED), 1 - span.labels, span.labels)
    plain = fit(spec_with(refit=False), dataclasses.replace(whole, labels=turned_round), CUT)
    without = np.where(left, UNLABELLED, span.labels).astype(np.int8)
    first = np.where(parts[0], campaigns, -1)  # within the first slice folds part none either
    alone = dataclasses.replace(span, labels=without, campaigns=first)
    same = fit(spec_with(refit=False), alone, CUT)
    assert (plain.calibration, plain.policy) == (same.calibration, same.policy)
    assert plain.metrics == same.metrics
    assert (plain.metrics.events, plain.metrics.labelled) < (
        fitted.metrics.events + 1,
        fitted.metrics.labelled,
    )
    # The models that serve learn from it.
    assert made.counts["span"] == fitted.counts["span"]


def test_intervals_count_with_the_clusters_that_are_given(span, fitted):
    clusters = np.arange(ROWS) // 50
    made = fit(spec_with(), dataclasses.replace(span, clusters=clusters), CUT)
    assert made.metrics.average_precision == fitted.metrics.average_precision
    assert made.metrics.average_precision_low != fitted.metrics.average_precision_low


def test_two_fits_on_the_same_rows_are_the_same(span, fitted):
    again = fit(spec_with(), span, CUT)
    assert weights(again.models) == weights(fitted.models)
    assert (again.metrics, again.policy) == (fitted.metrics, fitted.policy)


def test_a_balanced_weight_is_of_the_fit_slice(span):
    made = fit(spec_with(positive_weight="balanced", refit=False), span, CUT)
    rows = CUT.fit.mask(span.event_times) & (span.labels != UNLABELLED)
    training = dataclasses.replace(TRAINING, positive_weight="balanced")
    assert made.notes["positive_weight"] == class_weight(training, span.labels[rows])
    plain = fit(spec_with(refit=False), span, CUT)
    assert weights(made.models) != weights(plain.models)


@pytest.mark.parametrize(("asked", "negatives", "weight"), [("balanced", 4, 4), (2, 4, 2)])
def test_weights_of_a_positive(asked, negatives, weight):
    training = Training(1, 1, positive_weight=asked)
    assert class_weight(training, np.array([1] + [0] * negatives, np.int8)) == weight
    assert class_weight(training, np.zeros(negatives, np.int8)) == weight


def test_weights_are_learnt_from_and_equal_ones_change_nothing():
    spec, span = spec_with(), make_span()
    plain = fit(spec, span, CUT)
    even = fit(spec, dataclasses.replace(span, weights=np.ones(ROWS)), CUT)
    assert even.metrics.average_precision == plain.metrics.average_precision
    assert np.array_equal(even.models.linear.numeric, plain.models.linear.numeric)
    # What weighs nothing might as well not be there.
    part = np.arange(ROWS) % 3 > 0
    hidden = np.where(part | CUT.gate.mask(span.event_times), span.labels, UNLABELLED)
    without = fit(spec, dataclasses.replace(span, labels=hidden.astype(np.int8)), CUT)
    weightless = fit(spec, dataclasses.replace(span, weights=part.astype(np.float64)), CUT)
    judged, same = weightless.judged, without.judged
    # The baseline reads the text model's scores out of fold, and folds are of rows.
    assert np.allclose(judged.linear.numeric, same.linear.numeric, atol=0.02)
    assert np.allclose(judged.text.weights, same.text.weights, atol=1e-3)
    assert not np.allclose(judged.linear.numeric, plain.judged.linear.numeric, atol=1e-3)
    fitted = np.flatnonzero(CUT.fit.mask(span.event_times) & (span.labels != UNLABELLED) & part)
    assert weightless.notes["effective_rows"]["fit"] == len(fitted)
    assert "effective_rows" not in plain.notes


def test_young_events_teach_what_serves_and_nothing_that_is_measured():
    span, after = make_span(), make_span(seed=8, rows=300)
    later = np.sort(np.random.default_rng(1).integers(100 * HOUR, 110 * HOUR, 300))
    ages = 110 * HOUR - later
    curve = delay_curve(np.arange(1, 101) * HOUR // 10, np.full(100, 10 * HOUR))
    own = np.linspace(0.5, 1.0, 300)
    young = YoungSpan(
        dataclasses.replace(after, event_times=later, weights=own), curve.shares(ages), curve,
        110 * HOUR,
    )  # fmt: skip
    plain = fit(spec_with(), span, CUT)
    for strategy in STRATEGIES:
        made = fit(spec_with(delayed_feedback=strategy), span, CUT, young=young)
        assert weights(made.judged) == weights(plain.judged)
        assert weights(made.models) != weights(plain.models)
        assert (made.metrics, made.policy) == (plain.metrics, plain.policy)
        assert (made.calibration, made.counts) == (plain.calibration, plain.counts)
        about, known = made.notes["delayed_feedback"], after.labels == 1
        by_age = {
            "known": np.ones(300),
            "drop": np.where(young.come >= 0.95, 1.0, 0.0),
        }.get(strategy, 1 / np.maximum(young.come, 0.1))
        expected = round(float((own * by_age)[known].sum()), 1)
        assert about["positives_weight"] == expected
        taught = (after.labels != UNLABELLED) & (by_age > 0)
        assert about["events"] == taught.sum() and about["positives"] == (known & taught).sum()
        assert made.notes["trained_until_us"] == 110 * HOUR
    assert "delayed_feedback" not in plain.notes
