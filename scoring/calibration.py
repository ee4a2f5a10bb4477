"""From log odds to the share of abuse among events with such a score.

Two curves: Platt's sigmoid, and straight lines between knots (isotonic). `scipy.special.expit`
computes one value at a time, so a row's bits do not depend on the batch.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import numpy.typing as npt
import scipy.special

from configs.errors import BundleError
from scoring.arrays import load_json, save_json

Floats = npt.NDArray[np.float64]


@dataclasses.dataclass(frozen=True)
class Calibration:
    """A rising curve.

    Attributes:
      slope, offset: of the sigmoid `1 / (1 + exp(-(slope * raw + offset)))`, where there are no
        knots.
      raw, share: knots; flat outside them.
      reason: why this curve, in words.
    """

    slope: float = 1.0
    offset: float = 0.0
    raw: tuple[float, ...] = ()
    share: tuple[float, ...] = ()
    reason: str = ""

    def apply(self, raw: npt.NDArray[np.floating]) -> Floats:
        """Shares: float64 `[n]`.

        >>> Calibration(slope=2.0).apply(np.array([0.0], np.float32)).tolist()
        [0.5]
        """
        values = raw.astype(np.float64)
        if self.raw:
            return np.interp(values, self.raw, self.share)
        return np.asarray(scipy.special.expit(self.slope * values + self.offset), np.float64)

    def save(self, path: Path) -> None:
        """Writes JSON."""
        save_json(path, dataclasses.asdict(self))

    @classmethod
    def load(cls, path: Path) -> Calibration:
        """Reads what `save` wrote.

        Raises:
          BundleError: the file is damaged, or the curve does not rise.
        """
        value = load_json(path)
        try:
            made = cls(
                slope=float(value["slope"]),
                offset=float(value["offset"]),
                raw=tuple(map(float, value["raw"])),
                share=tuple(map(float, value["share"])),
                reason=str(value["reason"]),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise BundleError(f"{path.name} is damaged: {error}") from error
        if not made.rises():
            raise BundleError(f"{path.name}: the calibration curve does not rise from 0 to 1")
        return made

    def rises(self) -> bool:
        """Whether a higher raw score never has a lower share, and all shares lie in [0, 1].

        >>> Calibration(raw=(0.0, 1.0), share=(0.2, 0.1)).rises()
        False
        """
        numbers = np.array([self.slope, self.offset, *self.raw, *self.share])
        return bool(
            np.isfinite(numbers).all()
            and self.slope > 0
            and len(self.raw) == len(self.share)
            and (np.diff(self.raw) > 0).all()
            and (np.diff(self.share) >= 0).all()
            and all(0 <= one <= 1 for one in self.share)
        )
