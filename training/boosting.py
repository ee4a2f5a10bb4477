"""XGBoost, fitted so that equal rows give equal trees.

The histogram method sums gradients in the order of rows and threads, so the number of threads is
fixed and the rows come in total order; nothing else is left to chance but `seed`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import numpy.typing as npt
import xgboost

from configs.errors import ConfigError
from configs.schema import Training

# By average precision: over five weeks of card payments it stopped at models that were better in
# average precision and in log loss than those of log loss (docs/training.md).
_DEFAULTS: Mapping[str, float | int | str] = {"eval_metric": "aucpr", "eta": 0.1, "max_depth": 6}
_FIXED: Mapping[str, str] = {"objective": "binary:logistic", "tree_method": "hist"}


@dataclasses.dataclass(frozen=True)
class Sample:
    """Labelled rows.

    Attributes:
      inputs: float32[n, D], NaN is missing.
      labels: int8[n], 0 or 1.
      weights: float64[n], of the rows; None: all weigh 1.
    """

    inputs: npt.NDArray[np.float32]
    labels: npt.NDArray[np.int8]
    weights: npt.NDArray[np.float64] | None = None


@dataclasses.dataclass(frozen=True)
class Boosted:
    """A fitted booster, the rounds it has, and its best value of the stopping metric, if any."""

    booster: xgboost.Booster
    rounds: int
    stopped_at: float | None


def fit_booster(
    training: Training,
    names: Sequence[str],
    sample: Sample,
    positive_weight: float,
    *,
    check: Sample | None = None,
    rounds: int | None = None,
    threads: int = 2,
    report: Callable[[float], None] = lambda share: None,
) -> Boosted:
    """A booster of `sample`, stopped early by `check` or after `rounds`.

    Args:
      training: `booster` parameters override the defaults; `rounds` and `early_stopping` bound it.
      names: of the D inputs.
      sample: what is learnt from, in total order.
      positive_weight: of a positive against a negative.
      check: later rows; boosting ends when `early_stopping` rounds made it no better, and the
        trees after the best round are dropped.
      rounds: exactly so many, when there is no `check`.
      threads: fixed, since the order of sums depends on it.
      report: called with the share of the work that each round was; 1 in all.

    Returns:
      The booster, with `names` inside.

    Raises:
      ConfigError: XGBoost takes a parameter otherwise than `configs.booster` says.

    >>> inputs = np.arange(200, dtype=np.float32)[:, None]
    >>> sample = Sample(inputs, (inputs[:, 0] > 99).astype(np.int8))
    >>> made = fit_booster(Training(1, 1), ["x"], sample, 1.0, rounds=3)
    >>> made.rounds, made.booster.num_boosted_rounds()
    (3, 3)
    """
    parameters = {
        **_DEFAULTS,
        **training.booster,
        **_FIXED,
        "seed": training.seed,
        "nthread": threads,
        "verbosity": 0,
    }
    bins = int(parameters.get("max_bin", 256))
    matrix = _matrix(sample, names, positive_weight, threads, bins)
    wanted = training.rounds if check is not None else rounds or training.rounds
    progress = _Progress(report, wanted)
    evals, callbacks = [], [progress]
    if check is not None:
        later = _matrix(check, names, positive_weight, threads, bins, matrix)
        evals.append((later, "check"))
        stopping = xgboost.callback.EarlyStopping(rounds=training.early_stopping, save_best=True)
        callbacks.append(stopping)
    try:
        made = xgboost.train(
            parameters, matrix, wanted, evals=evals, callbacks=callbacks, verbose_eval=False
        )
    except xgboost.core.XGBoostError as error:
        said = str(error).partition("Stack trace")[0].strip()
        raise ConfigError(
            f"XGBoost refuses the parameters of training.booster: {said}\n"
            "Leave out what it names, or set it to a value that XGBoost's documentation gives"
        ) from error
    if check is None:
        return Boosted(made, wanted, None)
    return Boosted(made, int(made.best_iteration) + 1, float(made.best_score))


class _Progress(xgboost.callback.TrainingCallback):  # type: ignore[misc]
    """Reports each round, and at the end those that were not needed."""

    def __init__(self, report: Callable[[float], None], rounds: int) -> None:
        super().__init__()
        self._report, self._rounds, self._left = report, rounds, rounds

    def after_iteration(self, model: xgboost.Booster, epoch: int, evals_log: object) -> bool:
        """XGBoost's hook; false: go on."""
        self._left -= 1
        self._report(1 / self._rounds)
        return False

    def after_training(self, model: xgboost.Booster) -> xgboost.Booster:
        """XGBoost's hook."""
        self._report(self._left / self._rounds)
        return model


def total_gain(booster: xgboost.Booster) -> dict[str, float]:
    """Input -> the loss that all its splits saved; an input without a split is not named."""
    return {
        name: float(gain) for name, gain in booster.get_score(importance_type="total_gain").items()
    }


def _matrix(
    sample: Sample,
    names: Sequence[str],
    positive_weight: float,
    threads: int,
    bins: int,
    like: xgboost.QuantileDMatrix | None = None,
) -> xgboost.QuantileDMatrix:
    weights = np.where(sample.labels == 1, positive_weight, 1.0)
    if sample.weights is not None:
        weights = weights * sample.weights
    return xgboost.QuantileDMatrix(
        sample.inputs,
        label=sample.labels,
        weight=weights.astype(np.float32),
        feature_names=list(names),
        missing=np.nan,
        nthread=threads,
        max_bin=bins,
        ref=like,
    )
