"""The fitted models of a bundle: the graph's outputs in, log odds out.

What trains, serves and replays asks the models here, so that what is measured is what serves.
"""

from __future__ import annotations

import dataclasses

import numpy as np
import numpy.typing as npt

from configs.schema import Spec
from scoring.booster import BoosterModel
from scoring.linear import LinearModel
from scoring.text_model import TextModel
from transforms.constants import Transformed
from transforms.inputs import numeric_names

Floats = npt.NDArray[np.float32]

TEXT_SCORE = "text_score"


@dataclasses.dataclass(frozen=True)
class Models:
    """The fitted models of one bundle; absent ones are None."""

    spec: Spec
    text: TextModel | None
    linear: LinearModel | None
    booster: BoosterModel | None

    def text_scores(self, transformed: Transformed) -> Floats | None:
        """Log odds of the text model: float32 `[n]`; None without one."""
        if self.text is None or transformed.text is None:
            return None
        return self.text.score(transformed.text)

    def raw(
        self,
        which: str,
        transformed: Transformed,
        text_scores: Floats | None,
        inputs: Floats | None = None,
    ) -> Floats:
        """Log odds of one model ("booster", "linear" or "text"): float32 `[n]`.

        Args:
          which: of the models.
          transformed: n events.
          text_scores: as `text_scores` made them.
          inputs: as `model_inputs` made them, if it was asked already.

        Raises:
          ValueError: the bundle has no such model.
        """
        if which == "text" and text_scores is not None:
            return text_scores
        if which == "linear" and self.linear is not None:
            numeric = with_text(transformed.numeric, text_scores)
            return self.linear.score(numeric, transformed.categories)
        if which == "booster" and self.booster is not None:
            made = model_inputs(transformed, text_scores) if inputs is None else inputs
            return self.booster.score(made)
        raise ValueError(f"there is no {which!r} model here")

    def contributions(self, which: str, inputs: Floats) -> Floats | None:
        """What each input of `input_names` adds to the log odds; the last column is the rest.

        Args:
          which: "booster", "linear" or "text".
          inputs: float32 `[n, D]`.

        Returns:
          float32 `[n, D + 1]`; None for the text model, whose n-grams are hashed.
        """
        if which == "booster" and self.booster is not None:
            return self.booster.contributions(inputs)
        if which != "linear" or self.linear is None:
            return None
        categories = len(self.spec.inputs.categorical)
        end = inputs.shape[1] - (self.spec.inputs.text is not None)
        start = end - categories
        numbers = np.r_[:start, end : inputs.shape[1]]
        made = self.linear.contributions(inputs[:, numbers], inputs[:, start:end].astype(np.int64))
        # The linear rule has its categories last, the inputs have the text score there.
        order = np.r_[:start, len(numbers) : len(numbers) + categories, start : len(numbers), -1]
        return made[:, order]


def input_names(spec: Spec) -> tuple[str, ...]:
    """Names of the booster's inputs: the numeric block, the categories, the text score."""
    categories = tuple(one.column for one in spec.inputs.categorical)
    text = (TEXT_SCORE,) if spec.inputs.text is not None else ()
    return (*numeric_names(spec), *categories, *text)


def model_inputs(transformed: Transformed, text_scores: Floats | None) -> Floats:
    """What the booster sees: float32 `[n, D]`, in the order of `input_names`."""
    parts = [transformed.numeric, transformed.categories.astype(np.float32)]
    if text_scores is not None:
        parts.append(text_scores[:, None])
    return np.ascontiguousarray(np.concatenate(parts, 1))


def with_text(numeric: Floats, text_scores: Floats | None) -> Floats:
    """Numeric inputs of the linear model: the block, and the text score if there is one."""
    if text_scores is None:
        return numeric
    return np.concatenate([numeric, text_scores[:, None]], 1)
