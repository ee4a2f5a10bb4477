"""The booster: XGBoost, loaded from UBJSON, asked in place.

`inplace_predict` walks each row's trees by itself, so a row's bits do not depend on the batch
(DESIGN section 4).
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from configs.errors import BundleError

if TYPE_CHECKING:  # it imports scikit-learn, see `import_xgboost_alone`
    import xgboost

Floats = npt.NDArray[np.float32]


def import_xgboost_alone() -> None:
    """Imports XGBoost without scikit-learn, which takes 1.2 of its 1.3 CPU seconds.

    For a command, whose process is all ours and has no use for XGBoost's wrappers for it.
    """
    if "sklearn" in sys.modules:
        return
    sys.modules["sklearn"] = None  # type: ignore[assignment]  # as if it were not installed
    try:
        import xgboost  # noqa: F401
    finally:
        del sys.modules["sklearn"]


class BoosterModel:
    """A fitted booster.

    Args:
      booster: with the names of its inputs inside.
      threads: for prediction; trees are summed per row, so it changes no bit.
    """

    def __init__(self, booster: xgboost.Booster, threads: int = 1) -> None:
        booster.set_param({"nthread": threads})
        self.booster = booster

    def score(self, inputs: Floats) -> Floats:
        """Log odds: float32 `[n]`."""
        if len(inputs) == 0:
            return np.empty(0, np.float32)
        odds = self.booster.inplace_predict(inputs, predict_type="margin", validate_features=False)
        return np.asarray(odds, np.float32)

    def contributions(self, inputs: Floats) -> Floats:
        """What each input adds to the log odds (Lundberg's TreeSHAP): float32 `[n, D + 1]`.

        The last column is the rest. 0.6 ms a row: for events that are acted on.
        """
        import xgboost

        names = self.booster.feature_names
        matrix = xgboost.DMatrix(inputs, feature_names=names, missing=np.nan)
        made: Floats = self.booster.predict(matrix, pred_contribs=True)
        return made

    def save(self, path: Path) -> None:
        """Writes UBJSON."""
        self.booster.save_model(path)

    @classmethod
    def load(cls, path: Path, names: Sequence[str]) -> BoosterModel:
        """Reads UBJSON.

        Raises:
          BundleError: the file is damaged, or has other inputs than `names`.
        """
        import xgboost

        booster = xgboost.Booster()
        try:
            booster.load_model(bytearray(path.read_bytes()))
        except (xgboost.core.XGBoostError, OSError, ValueError) as error:
            first = str(error).strip().splitlines()[0]
            raise BundleError(f"{path.name} is damaged: {first}") from error
        found = list(booster.feature_names or ())
        if found != list(names):
            other = next((one for one in found if one not in names), None)
            what = f"{len(found)} inputs" if other is None else f"the input {other!r}"
            raise BundleError(
                f"{path.name} was fitted on {what}, the spec makes {len(names)} others; train anew "
                "with `lockstep nightly`"
            )
        return cls(booster)
