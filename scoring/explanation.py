"""Why an event scored as it did, in words an analyst can use.

What enters: contributions of the booster to one event's log odds, and what each input means. What
leaves: the largest ones, as names and short sentences, without values of private columns.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from configs.schema import Spec
from transforms.velocity import describe_features


@dataclasses.dataclass(frozen=True)
class InputReason:
    """One input's part in a score: its name, what it means, and what it added to the log odds."""

    name: str
    about: str
    added: float


def input_meanings(spec: Spec) -> dict[str, str]:
    """What each model input means, in words."""
    meanings = {info.name: info.about for info in describe_features(spec)}
    for name in spec.inputs.numeric:
        derived, column = spec.derived.get(name), spec.columns.get(name)
        about = (derived.about if derived else "") or (column.about if column else "")
        meanings[name] = about or name.replace("_", " ")
    for name, expression in spec.inputs.computed.items():
        meanings[name] = expression.text
    for categorical in spec.inputs.categorical:
        meanings[categorical.column] = categorical.column.replace("_", " ")
    return meanings | {"text_score": "what the text model says of the words"}


def top_reasons(
    contributions: npt.NDArray[np.float32],
    names: Sequence[str],
    meanings: Mapping[str, str],
    most: int = 3,
) -> tuple[InputReason, ...]:
    """The inputs that raised one event's score most, largest first; ties by name.

    Args:
      contributions: float32 `[D + 1]`; the last entry is the rest.
      names: of the D inputs.
      meanings: name -> words.
      most: how many.

    >>> top_reasons(np.array([0.5, -1.0, 0.1], np.float32), ["a", "b"], {"a": "first"}, 3)
    (InputReason(name='a', about='first', added=0.5),)
    """
    parts = [(-float(value), name) for value, name in zip(contributions, names, strict=False)]
    raised = sorted(part for part in parts if part[0] < 0)[:most]
    return tuple(InputReason(name, meanings.get(name, name), -value) for value, name in raised)
