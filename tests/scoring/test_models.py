"""The models: a row's bits are its own, and what is saved is what is loaded."""

import numpy as np
import pytest
import scipy.sparse
from bundle_world import make_models
from hypothesis import example, given
from hypothesis import strategies as st

from configs.errors import BundleError
from scoring.arrays import load_arrays, save_arrays, save_json
from scoring.booster import BoosterModel
from scoring.calibration import Calibration
from scoring.decision import DecisionPolicy, Threshold, decision_id
from scoring.files import sha256_of
from scoring.linear import LinearModel
from scoring.models import input_names
from scoring.text_model import TextModel

ROWS = 200
RNG = np.random.default_rng(11)
RAW = (RNG.normal(size=ROWS) * 20).astype(np.float32)
CURVES = [
    Calibration(slope=1.7, offset=-2.0),
    Calibration(raw=(-3.0, -1.0, 0.5, 9.0), share=(0.0, 0.1, 0.1, 0.97)),
    Calibration(
        raw=tuple(np.linspace(-50, 50, 150).tolist()), share=tuple(np.linspace(0, 1, 150).tolist())
    ),
]
subsets = st.lists(st.integers(0, ROWS - 1), min_size=1, max_size=70).map(np.array)


@given(rows=subsets)
@pytest.mark.parametrize("curve", CURVES, ids=["sigmoid", "few knots", "many knots"])
def test_calibration_is_the_same_in_any_batch(curve, rows):
    assert curve.apply(RAW[rows]).tobytes() == curve.apply(RAW)[rows].tobytes()


@pytest.mark.parametrize("curve", CURVES, ids=["sigmoid", "few knots", "many knots"])
def test_calibration_rises_within_0_and_1_and_comes_back(curve, tmp_path):
    made = curve.apply(np.sort(RAW))
    assert (np.diff(made) >= 0).all()
    assert made.min() >= 0 and made.max() <= 1
    curve.save(tmp_path / "calibration.json")
    again = Calibration.load(tmp_path / "calibration.json")
    assert again.apply(RAW).tobytes() == curve.apply(RAW).tobytes()


@pytest.mark.parametrize(
    "curve",
    [
        Calibration(slope=0.0),
        Calibration(slope=float("nan")),
        Calibration(slope=float("inf")),
        Calibration(raw=(0.0, 0.0), share=(0.1, 0.2)),
        Calibration(raw=(0.0, 1.0), share=(0.2, 0.1)),
        Calibration(raw=(0.0, 1.0), share=(0.2,)),
        Calibration(raw=(0.0, 1.0), share=(0.2, 1.5)),
    ],
    ids=str,
)
def test_a_curve_that_does_not_rise_is_refused(curve, tmp_path):
    curve.save(tmp_path / "calibration.json")
    with pytest.raises(BundleError, match="does not rise"):
        Calibration.load(tmp_path / "calibration.json")


@given(rows=subsets)
def test_the_text_model_is_the_same_in_any_batch(rows):
    text = scipy.sparse.random(ROWS, 500, 0.05, "csr", np.float32, rng=3)
    model = TextModel(np.random.default_rng(1).normal(size=500), 0.3)
    assert model.score(text[rows]).tobytes() == model.score(text)[rows].tobytes()


@given(rows=subsets)
def test_the_linear_model_is_the_same_in_any_batch(rows):
    rng = np.random.default_rng(2)
    numeric = rng.normal(size=(ROWS, 40)).astype(np.float32)
    numeric[rng.random(numeric.shape) < 0.2] = np.nan
    categories = rng.integers(0, 9, (ROWS, 2))
    model = LinearModel(rng.normal(size=40), rng.normal(size=(2, 9)), -1.0)
    whole = model.score(numeric, categories)
    assert model.score(numeric[rows], categories[rows]).tobytes() == whole[rows].tobytes()
    parts = model.contributions(numeric, categories)
    np.testing.assert_allclose(parts.sum(1), whole, rtol=1e-4, atol=1e-4)


@given(rows=subsets)
def test_the_booster_is_the_same_in_any_batch_and_with_any_threads(rows):
    booster = make_models().booster
    inputs = np.random.default_rng(4).normal(size=(ROWS, booster.booster.num_features()))
    inputs = inputs.astype(np.float32)
    inputs[np.random.default_rng(5).random(inputs.shape) < 0.2] = np.nan
    whole = booster.score(inputs)
    assert booster.score(inputs[rows]).tobytes() == whole[rows].tobytes()
    four = BoosterModel(booster.booster.copy(), threads=4)
    assert four.score(inputs).tobytes() == whole.tobytes()
    parts = booster.contributions(inputs)
    assert booster.contributions(inputs[rows]).tobytes() == parts[rows].tobytes()
    np.testing.assert_allclose(parts.sum(1), whole, rtol=1e-4, atol=1e-4)


def test_no_rows():
    models = make_models()
    width = models.booster.booster.num_features()
    assert models.booster.score(np.empty((0, width), np.float32)).shape == (0,)
    empty = scipy.sparse.csr_matrix((0, len(models.text.weights)), dtype=np.float32)
    assert models.text.score(empty).shape == (0,)
    assert CURVES[0].apply(np.empty(0, np.float32)).shape == (0,)


def test_models_come_back_bit_for_bit_in_the_same_bytes(tmp_path):
    models = make_models()
    for number, model in enumerate((models.text, models.linear)):
        one, two = tmp_path / f"{number}.npz", tmp_path / f"{number}-again.npz"
        model.save(one)
        type(model).load(one).save(two)
        assert sha256_of(one) == sha256_of(two)
    models.booster.save(tmp_path / "one.ubj")
    again = BoosterModel.load(tmp_path / "one.ubj", input_names(models.spec))
    again.save(tmp_path / "two.ubj")
    assert sha256_of(tmp_path / "one.ubj") == sha256_of(tmp_path / "two.ubj")


def test_a_pickled_array_is_refused(tmp_path):
    np.savez(tmp_path / "text.npz", weights=np.array([{}], object), intercept=np.zeros(1))
    with pytest.raises(BundleError, match=r"text.npz is damaged: .*allow_pickle"):
        TextModel.load(tmp_path / "text.npz")


@example(at=756, byte=64)  # a version of zip that there is not
@given(at=st.integers(0, 10_000), byte=st.integers(0, 255))
def test_a_damaged_archive_is_refused_or_read(tmp_path_factory, at, byte):
    path = tmp_path_factory.getbasetemp() / "arrays.npz"
    save_arrays(path, {"a": np.arange(50.0), "b": np.zeros(3)})
    data = bytearray(path.read_bytes())
    data[at % len(data)] = byte
    path.write_bytes(data[: len(data) - at % 7])
    try:
        assert load_arrays(path, ("a", "b"))["a"].size
    except BundleError as error:
        assert "arrays.npz" in str(error)


def test_a_missing_array_is_named(tmp_path):
    save_arrays(tmp_path / "x.npz", {"a": np.zeros(1)})
    with pytest.raises(BundleError, match=r"x.npz: the array 'b' is missing"):
        load_arrays(tmp_path / "x.npz", ("a", "b"))


def test_the_strictest_action_that_is_reached_is_taken():
    policy = DecisionPolicy(
        (
            Threshold("block", 0.9, 0.95),
            Threshold("limit", None, 0.9, "too few positives"),
            Threshold("review", 0.5, 0.6),
        ),
        "allow",
    )
    made = policy.decide(np.array([0.0, 0.5, np.nextafter(0.9, 0), 0.9, 1.0]))
    assert [policy.names[number] for number in made] == [
        "allow", "review", "review", "block", "block"
    ]  # fmt: skip
    assert [policy.threshold_of(n) for n in range(4)] == [None, 0.9, None, 0.5]


@pytest.mark.parametrize(
    "thresholds",
    [None, {"a": 1}, [3], [{}], [{"action": "a", "value": "x", "min_precision": 1, "reason": ""}]],
    ids=str,
)
def test_a_damaged_policy_is_refused(thresholds, tmp_path):
    save_json(tmp_path / "policy.json", {"thresholds": thresholds, "default": "allow"})
    with pytest.raises(BundleError, match=r"policy.json is damaged"):
        DecisionPolicy.load(tmp_path / "policy.json")


def test_a_threshold_that_is_no_number_is_refused(tmp_path):
    DecisionPolicy((Threshold("a", float("nan"), 0.5),), "allow").save(tmp_path / "p.json")
    with pytest.raises(BundleError, match="no number"):
        DecisionPolicy.load(tmp_path / "p.json")


def test_a_decision_has_one_id_for_ever():
    # Consumers remember ids: a release that makes another one of this event acts on it twice.
    assert decision_id("chat", "m-1") == "8d35c66d2f00964d6191cb93a248dbc9"
    assert decision_id("chat", "m-1") != decision_id("mail", "m-1")
    assert decision_id("a", "b:c") != decision_id("a:b", "c")
    assert len(decision_id("a use with a long name " * 10, "été 日本")) == 32
