"""The baseline: a linear rule over scaled numbers, categories and the text score.

Columns are added one after the other, elementwise: a matrix product would give a row other last
bits in another batch (DESIGN section 4).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt

from scoring.arrays import load_arrays, save_arrays

_MOST = float(np.finfo(np.float32).max)


@dataclasses.dataclass(frozen=True)
class LinearModel:
    """Weights of a linear rule; a null counts as 0, which after scaling is the mean.

    Attributes:
      numeric: float64 `[N]`, of the numeric inputs and the text score.
      categories: float64 `[C, most ids]`, one weight per id of each category.
      intercept: log odds where all is 0.
    """

    numeric: npt.NDArray[np.float64]
    categories: npt.NDArray[np.float64]
    intercept: float

    def score(
        self, numeric: npt.NDArray[np.float32], categories: npt.NDArray[np.int64]
    ) -> npt.NDArray[np.float32]:
        """Log odds: float32 `[n]`.

        Args:
          numeric: float32 `[n, N]`.
          categories: int64 `[n, C]`.

        >>> model = LinearModel(np.array([2.0, 1.0]), np.array([[0.0, 3.0]]), -1.0)
        >>> model.score(np.array([[1, np.nan]], np.float32), np.array([[1]])).tolist()
        [4.0]
        """
        odds = np.full(len(numeric), self.intercept, np.float64)
        for part in self._parts(numeric, categories):
            odds += part
        return np.clip(odds, -_MOST, _MOST).astype(np.float32)

    def contributions(
        self, numeric: npt.NDArray[np.float32], categories: npt.NDArray[np.int64]
    ) -> npt.NDArray[np.float32]:
        """What each input adds to the log odds: float32 `[n, N + C + 1]`; the last is the rest.

        >>> model = LinearModel(np.array([2.0]), np.array([[0.0, 3.0]]), -1.0)
        >>> model.contributions(np.array([[2]], np.float32), np.array([[1]])).tolist()
        [[4.0, 3.0, -1.0]]
        """
        rest = np.full(len(numeric), self.intercept, np.float64)
        made = np.stack([*self._parts(numeric, categories), rest], 1)
        return np.clip(made, -_MOST, _MOST).astype(np.float32)

    def _parts(
        self, numeric: npt.NDArray[np.float32], categories: npt.NDArray[np.int64]
    ) -> Iterator[npt.NDArray[np.float64]]:
        for column, weight in enumerate(self.numeric):
            values = numeric[:, column].astype(np.float64)
            yield np.where(np.isnan(values), 0.0, values) * weight
        for column, weights in enumerate(self.categories):
            yield weights[np.minimum(categories[:, column], len(weights) - 1)]

    def save(self, path: Path) -> None:
        """Writes an `.npz`."""
        save_arrays(
            path,
            {
                "numeric": self.numeric,
                "categories": self.categories,
                "intercept": np.array([self.intercept]),
            },
        )

    @classmethod
    def load(cls, path: Path) -> LinearModel:
        """Reads what `save` wrote.

        Raises:
          BundleError: the file is damaged.
        """
        arrays = load_arrays(path, ("numeric", "categories", "intercept"))
        return cls(arrays["numeric"], arrays["categories"], float(arrays["intercept"][0]))
