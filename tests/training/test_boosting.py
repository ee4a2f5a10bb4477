"""The booster: early stopping on later rows, the same bytes every time, weights that count."""

from __future__ import annotations

import numpy as np
import pytest

from configs.errors import ConfigError
from configs.schema import Training
from training.boosting import Boosted, Sample, fit_booster, total_gain

NAMES = ["amount", "count", "noise"]


def sample(rows: int, seed: int) -> Sample:
    generator = np.random.default_rng(seed)
    inputs = generator.normal(size=(rows, 3)).astype(np.float32)
    margin = 1.5 * inputs[:, 0] - inputs[:, 1] - 2.0
    labels = (generator.random(rows) < 1 / (1 + np.exp(-margin))).astype(np.int8)
    inputs[generator.random((rows, 3)) < 0.1] = np.nan
    return Sample(inputs, labels)


def training(**changes) -> Training:
    booster = {"subsample": 0.7, "colsample_bytree": 0.7, "eta": 0.3}
    return Training(1, 1, rounds=60, early_stopping=8, booster=booster, **changes)


def margins(made: Boosted) -> bytes:
    return made.booster.inplace_predict(sample(500, 9).inputs, predict_type="margin").tobytes()


@pytest.mark.parametrize("threads", [1, 2])
def test_two_fits_give_the_same_bytes(threads):
    once, again = (
        fit_booster(training(), NAMES, sample(4000, 1), 1.0, check=sample(800, 2), threads=threads)
        for _ in range(2)
    )
    assert margins(once) == margins(again)
    assert once.booster.save_raw("ubj") == again.booster.save_raw("ubj")
    other = fit_booster(training(seed=5), NAMES, sample(4000, 1), 1.0, check=sample(800, 2))
    assert margins(other) != margins(once)


def test_boosting_ends_early_and_drops_the_trees_after_the_best():
    made = fit_booster(training(), NAMES, sample(4000, 1), 1.0, check=sample(800, 2))
    assert 1 <= made.rounds < 60
    assert made.booster.num_boosted_rounds() == made.rounds
    assert made.stopped_at is not None


def test_a_refit_has_exactly_the_rounds_found():
    made = fit_booster(training(), NAMES, sample(4000, 1), 1.0, rounds=7)
    assert (made.rounds, made.booster.num_boosted_rounds()) == (7, 7)
    assert made.stopped_at is None


def test_gain_names_what_matters():
    made = fit_booster(training(), NAMES, sample(4000, 1), 1.0, rounds=20)
    gain = total_gain(made.booster)
    assert gain["amount"] > gain["count"] > gain["noise"]


def test_a_heavier_positive_raises_scores():
    light, heavy = (
        fit_booster(training(), NAMES, sample(4000, 1), weight, rounds=20) for weight in (1.0, 9.0)
    )
    rows = sample(500, 3).inputs
    assert (
        heavy.booster.inplace_predict(rows).mean() > 2 * light.booster.inplace_predict(rows).mean()
    )


def test_bins_of_a_config_are_those_of_the_matrix():
    training = Training(1, 1, booster={"max_bin": 16})
    made = fit_booster(training, NAMES, sample(500, 1), 1.0, check=sample(200, 2))
    assert made.rounds >= 1


def test_what_xgboost_refuses_is_a_mistake_of_the_config():
    wrong = Training(1, 1, rounds=2, booster={"monotone_constraints": "(0,1,0,1)"})
    with pytest.raises(
        ConfigError, match=r"XGBoost refuses the parameters of training\.booster"
    ) as e:
        fit_booster(wrong, NAMES, sample(200, 1), 1.0, rounds=2)
    assert e.value.exit_code == 3 and "Stack trace" not in str(e.value)


def test_rows_weigh_what_they_are_given():
    rng = np.random.default_rng(6)
    inputs = rng.normal(size=(400, 2)).astype(np.float32)
    labels = (inputs[:, 0] + rng.normal(size=400) > 0).astype(np.int8)

    def dump(weights, positive_weight):
        sample = Sample(inputs, labels, weights)
        return fit_booster(
            Training(1, 1), ["a", "b"], sample, positive_weight, rounds=3
        ).booster.get_dump()

    assert dump(np.where(labels == 1, 3.0, 1.0), 1.0) == dump(None, 3.0) != dump(None, 1.0)
