"""The text model: a linear rule over hashed n-grams.

A sparse row is summed in the order of its own entries, whatever batch it is in.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import numpy.typing as npt
import scipy.sparse

from scoring.arrays import load_arrays, save_arrays


@dataclasses.dataclass(frozen=True)
class TextModel:
    """Weights of a linear rule.

    Attributes:
      weights: float64 `[buckets]`.
      intercept: log odds of an empty text.
    """

    weights: npt.NDArray[np.float64]
    intercept: float

    def score(self, text: scipy.sparse.csr_matrix) -> npt.NDArray[np.float32]:
        """Log odds: float32 `[n]`.

        >>> model = TextModel(np.array([1.0, -1.0]), 0.5)
        >>> model.score(scipy.sparse.csr_matrix([[2.0, 0.0]])).tolist()
        [2.5]
        """
        odds = text.astype(np.float64) @ self.weights + self.intercept
        return np.asarray(odds, np.float32)

    def save(self, path: Path) -> None:
        """Writes an `.npz`."""
        save_arrays(path, {"weights": self.weights, "intercept": np.array([self.intercept])})

    @classmethod
    def load(cls, path: Path) -> TextModel:
        """Reads what `save` wrote.

        Raises:
          BundleError: the file is damaged.
        """
        arrays = load_arrays(path, ("weights", "intercept"))
        return cls(arrays["weights"], float(arrays["intercept"][0]))
