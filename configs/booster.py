"""XGBoost's parameters: which a config may set, and which values each takes.

From https://xgboost.readthedocs.io/en/release_3.2.0/parameter.html: those of the tree boosters with
one output. A test asks XGBoost itself whether it takes what is allowed here.
"""

from __future__ import annotations

import dataclasses
import json
import math
import re
from collections.abc import Mapping


@dataclasses.dataclass(frozen=True)
class Parameter:
    """What a parameter is, and its values: a range of numbers, or some words.

    Attributes:
      about: one line.
      least, most: closed range; None: none.
      above: whether `least` itself is left out.
      whole: whether only whole numbers count.
      words: texts that it takes; a parameter that has some takes no number.
      form: a regular expression of the text that it takes, instead of words.
      default: XGBoost's, or Lockstep's where `training.boosting` has one.
    """

    about: str
    default: float | int | str
    least: float | None = None
    most: float | None = None
    above: bool = False
    whole: bool = False
    words: tuple[str, ...] = ()
    form: str = ""

    @property
    def expected(self) -> str:
        """Its values, in words."""
        if self.words:
            return " or ".join(self.words)
        if self.form:
            return f"a text such as {self.default}"
        kind = "a whole number" if self.whole else "a number"
        if self.least is None:
            return kind
        least = f"above {self.least:g}" if self.above else f"from {self.least:g}"
        if self.most is not None:
            return f"{kind} {least} to {self.most:g}"
        return f"{kind} {least}" if self.above else f"{kind} of {self.least:g} or more"

    def takes(self, value: float | int | str) -> bool:
        """Whether a value is one of its."""
        if isinstance(value, str):
            if self.form:
                return re.fullmatch(self.form, value) is not None and _closed(value)
            return value in self.words
        if self.words or self.form or not math.isfinite(value):
            return False
        if self.whole and value != int(value):
            return False
        if self.least is not None and (value < self.least or (self.above and value == self.least)):
            return False
        return self.most is None or value <= self.most


def _closed(text: str) -> bool:
    """Whether brackets nest as JSON's do."""
    try:
        json.loads(text.replace("(", "[").replace(")", "]"))
    except ValueError:
        return False
    return True


_WHOLE32 = 2**31 - 1

BOOSTER: Mapping[str, Parameter] = {
    "eta": Parameter("how much of each tree is added", 0.1, 0, 1, above=True),
    "gamma": Parameter("least gain of a split", 0, 0),
    "max_depth": Parameter("deepest tree; 0: no limit", 6, 0, 64, whole=True),
    "min_child_weight": Parameter("least weight of a leaf", 1, 0),
    "max_delta_step": Parameter("largest step of a leaf; 0: no limit", 0, 0),
    "subsample": Parameter("share of the rows of each tree", 1, 0, 1, above=True),
    "sampling_method": Parameter("how rows are drawn", "uniform", words=("uniform",)),
    "colsample_bytree": Parameter("share of the inputs of each tree", 1, 0, 1, above=True),
    "colsample_bylevel": Parameter("share of the inputs of each level", 1, 0, 1, above=True),
    "colsample_bynode": Parameter("share of the inputs of each split", 1, 0, 1, above=True),
    "lambda": Parameter("L2 penalty of leaves", 1, 0),
    "alpha": Parameter("L1 penalty of leaves", 0, 0),
    "scale_pos_weight": Parameter("weight of positives, too", 1, 0, above=True),
    "grow_policy": Parameter("which leaf is split", "depthwise", words=("depthwise", "lossguide")),
    "max_leaves": Parameter("most leaves of a tree; 0: no limit", 0, 0, _WHOLE32, whole=True),
    "max_bin": Parameter("bins of an input's values", 256, 2, 65_536, whole=True),
    "num_parallel_tree": Parameter("trees of each round", 1, 1, 1000, whole=True),
    "monotone_constraints": Parameter(
        "per input: 1 rising, -1 falling, 0 free", "(0,1,-1)", form=r"\((-1|0|1)(,\s*(-1|0|1))*\)"
    ),
    "interaction_constraints": Parameter(
        "inputs that may be on one path", "[[0, 1], [2, 3]]", form=r"\[[\[\]0-9, ]*\]"
    ),
    "max_cached_hist_node": Parameter("histograms kept", 65_536, 1, _WHOLE32, whole=True),
    "base_score": Parameter("score before the first tree", 0.5, 0, 0.999999, above=True),
    "eval_metric": Parameter(
        "what stops the boosting early", "aucpr", words=("aucpr", "auc", "logloss", "error", "rmse")
    ),
    "seed_per_iteration": Parameter("a seed for each round (1) or not (0)", 0, 0, 1, whole=True),
    "booster": Parameter("kind of booster", "gbtree", words=("gbtree", "dart")),
    "sample_type": Parameter("dart: which are dropped", "uniform", words=("uniform", "weighted")),
    "normalize_type": Parameter("dart: weight of new trees", "tree", words=("tree", "forest")),
    "rate_drop": Parameter("dart: share of trees dropped", 0, 0, 1),
    "one_drop": Parameter("dart: at least one is dropped (1) or not (0)", 0, 0, 1, whole=True),
    "skip_drop": Parameter("dart: share of rounds without a drop", 0, 0, 1),
}

ALIASES: Mapping[str, str] = {
    "learning_rate": "eta",
    "min_split_loss": "gamma",
    "reg_lambda": "lambda",
    "reg_alpha": "alpha",
}
"""XGBoost's other names for some."""

FIXED: Mapping[str, str] = {
    "objective": "it is binary:logistic, since scores are probabilities",
    "tree_method": "it is hist, whose sums come in a fixed order",
    "updater": "it is that of hist",
    "refresh_leaf": "trees are grown, not refreshed",
    "process_type": "trees are grown, not refreshed",
    "nthread": "it is fixed, since the order of sums depends on it",
    "n_jobs": "it is fixed, since the order of sums depends on it",
    "verbosity": "it is 0",
    "device": "models are fitted on the processor, so that two runs give the same bits",
    "seed": "say training.seed",
    "random_state": "say training.seed",
    "n_estimators": "say training.rounds",
    "num_boost_round": "say training.rounds",
    "early_stopping_rounds": "say training.early_stopping",
}
"""Parameters that Lockstep sets itself, and what to do instead."""
