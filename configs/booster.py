"""XGBoost's parameters: which a config may set, and which values each takes.

From https://xgboost.readthedocs.io/en/release_3.2.0/parameter.html: those of the tree boosters with
one output. A test asks XGBoost itself whether it takes what is allowed here.
"""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Mapping

TINY, HUGE = 1e-30, 1e30
"""XGBoost keeps 32-bit floats, and refuses those that they hold as 0, with few bits, or not."""


@dataclasses.dataclass(frozen=True)
class Parameter:
    """What a parameter is, and its values: a range of numbers, or some words.

    Attributes:
      about: one line.
      least, most: closed range of numbers; none is below 0.
      whole: whether only whole numbers count.
      words: texts that it takes; a parameter that has some takes no number.
      form: a regular expression of the text that it takes, instead of words.
      default: XGBoost's, or Lockstep's where `training.boosting` has one.
    """

    about: str
    default: float | int | str
    least: float = 0
    most: float = 0
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
        return f"{kind} from {self.least:g} to {self.most:g}"

    def takes(self, value: float | int | str) -> bool:
        """Whether a value is one of its."""
        if isinstance(value, str):
            if self.form:
                return re.fullmatch(self.form, value) is not None and _closed(value)
            return value in self.words
        if self.words or self.form or not self.least <= value <= self.most:  # NaN is in no range
            return False
        return value == int(value) if self.whole else value == 0 or value >= TINY


def _closed(text: str) -> bool:
    """Whether it is JSON but for its brackets: a list, or a list of lists, of whole numbers."""
    try:
        found = json.loads(text.replace("(", "[").replace(")", "]"))
    except ValueError:
        return False
    return bool(found) and (
        text.startswith("(") or all(isinstance(one, list) and one for one in found)
    )


_WHOLE32 = 2**31 - 1

BOOSTER: Mapping[str, Parameter] = {
    "eta": Parameter("how much of each tree is added", 0.1, 1e-6, 1),
    "gamma": Parameter("least gain of a split", 0, 0, HUGE),
    "max_depth": Parameter("deepest tree; 0: no limit", 6, 0, 64, whole=True),
    "min_child_weight": Parameter("least weight of a leaf", 1, 0, HUGE),
    "max_delta_step": Parameter("largest step of a leaf; 0: no limit", 0, 0, HUGE),
    "subsample": Parameter("share of the rows of each tree", 1, 1e-6, 1),
    "sampling_method": Parameter("how rows are drawn", "uniform", words=("uniform",)),
    "colsample_bytree": Parameter("share of the inputs of each tree", 1, 1e-6, 1),
    "colsample_bylevel": Parameter("share of the inputs of each level", 1, 1e-6, 1),
    "colsample_bynode": Parameter("share of the inputs of each split", 1, 1e-6, 1),
    "lambda": Parameter("L2 penalty of leaves", 1, 0, HUGE),
    "alpha": Parameter("L1 penalty of leaves", 0, 0, HUGE),
    "scale_pos_weight": Parameter("weight of positives, too", 1, 1e-6, 1e9),
    "grow_policy": Parameter("which leaf is split", "depthwise", words=("depthwise", "lossguide")),
    "max_leaves": Parameter("most leaves of a tree; 0: no limit", 0, 0, _WHOLE32, whole=True),
    "max_bin": Parameter("bins of an input's values", 256, 2, 65_536, whole=True),
    "num_parallel_tree": Parameter("trees of each round", 1, 1, 1000, whole=True),
    "monotone_constraints": Parameter(
        "per input: 1 rising, -1 falling, 0 free", "(0,1,-1)", form=r"\((-1|0|1)(,\s*(-1|0|1))*\)"
    ),
    "interaction_constraints": Parameter(
        "inputs that may be on one path",
        "[[0, 1], [2, 3]]",
        form=r"\[\s*\[[0-9,\s]*\](\s*,\s*\[[0-9,\s]*\])*\s*\]",
    ),
    "max_cached_hist_node": Parameter("histograms kept", 65_536, 1, _WHOLE32, whole=True),
    "base_score": Parameter("score before the first tree", 0.5, 1e-6, 0.999999),
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

DART = ("sample_type", "normalize_type", "rate_drop", "one_drop", "skip_drop")
"""Parameters of booster: dart alone."""

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
    "max_cat_to_onehot": "XGBoost gets numbers only, a category's place in its vocabulary too",
    "max_cat_threshold": "XGBoost gets numbers only, a category's place in its vocabulary too",
    "multi_strategy": "there is one output",
    "num_class": "there is one output",
    "extmem_single_page": "rows are in memory",
    "disable_default_eval_metric": "say eval_metric",
    "validate_parameters": "they are validated before",
}
"""Parameters that Lockstep sets itself, and what to do instead."""
