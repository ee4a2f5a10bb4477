"""Why an event scored as it did, in words an analyst can use.

Values of private columns stay out.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from configs.schema import Spec
from transforms.inputs import account_meanings, numeric_names
from transforms.velocity import describe_features


@dataclasses.dataclass(frozen=True)
class InputReason:
    """One input's part in a score.

    Attributes:
      name: of the input.
      about: what it means, and its value where that is known and not private.
      added: to the log odds.
      value: before scaling; None: null, private, or no number.
    """

    name: str
    about: str
    added: float
    value: float | None = None


def input_meanings(spec: Spec) -> dict[str, str]:
    """What each model input means, in words."""
    meanings = {info.name: info.about for info in describe_features(spec)}
    for name in spec.inputs.numeric:
        derived, column = spec.derived.get(name), spec.columns.get(name)
        about = (derived.about if derived else "") or (column.about if column else "")
        meanings[name] = about or name.replace("_", " ")
    meanings |= account_meanings(spec)
    for name, expression in spec.inputs.computed.items():
        meanings[name] = expression.text
    for categorical in spec.inputs.categorical:
        meanings[categorical.column] = categorical.column.replace("_", " ")
    return meanings | {"text_score": "what the text model says of the words"}


def shown_inputs(spec: Spec) -> tuple[bool, ...]:
    """Whether the value of each column of the numeric block may be shown: not if it is private."""
    private = {name for name, column in spec.columns.items() if column.private}
    return tuple(name not in private for name in numeric_names(spec))


def top_reasons(
    contributions: npt.NDArray[np.float32],
    names: Sequence[str],
    meanings: Mapping[str, str],
    most: int = 3,
    values: Mapping[str, float] | None = None,
) -> tuple[InputReason, ...]:
    """The inputs that raised one event's score most, largest first; ties by name.

    Args:
      contributions: float32 `[D + 1]`; the last entry is the rest.
      names: of the D inputs.
      meanings: name -> words.
      most: how many.
      values: name -> value before scaling, of those that may be shown; NaN for null.

    >>> top_reasons(np.array([0.5, -1.0, 0.1], np.float32), ["a", "b"], {"a": "first"}, 3)
    (InputReason(name='a', about='first', added=0.5, value=None),)
    >>> top_reasons(np.array([2, 0], np.float32), ["a"], {"a": "first"}, 3, {"a": 7.0})
    (InputReason(name='a', about='first: 7', added=2.0, value=7.0),)
    """
    parts = [(-float(value), name) for value, name in zip(contributions, names, strict=False)]
    raised = sorted(part for part in parts if part[0] < 0)[:most]
    return tuple(
        _reason(name, meanings.get(name, name), -value, (values or {}).get(name))
        for value, name in raised
    )


def _reason(name: str, about: str, added: float, value: float | None) -> InputReason:
    if value is None:
        return InputReason(name, about, added)
    if math.isnan(value):
        return InputReason(name, f"{about}: none", added)
    return InputReason(name, f"{about}: {value:.6g}", added, value)


@dataclasses.dataclass(frozen=True)
class InputPart:
    """One input of a scored event, all that is known of it.

    Attributes:
      name, about: of the input, and what it means.
      value: before scaling: a number, a category's text; None: null or private.
      added: to the log odds.
      usual: the median of other events; None: of none.
      above: the share of other events that lie below; None for a category or a null.
    """

    name: str
    about: str
    value: float | str | None
    added: float
    usual: float | None = None
    above: float | None = None


def explain_inputs(
    spec: Spec,
    contributions: npt.NDArray[np.float32],
    numeric: npt.NDArray[np.float32],
    others: npt.NDArray[np.float32],
    shown: Mapping[str, float | str | None],
) -> tuple[InputPart, ...]:
    """Every input's part in one score, the one that moved it most first; ties by name.

    Args:
      spec: the use.
      contributions: float32 `[D + 1]` (`scoring.models.Models.contributions`).
      numeric: float32 `[K]`, the event's numeric block.
      others: float32 `[m, K]`, of events to compare with.
      shown: name -> value of what is not in the numeric block and may be shown.
    """
    from scoring.models import input_names

    meanings, open_ = input_meanings(spec), shown_inputs(spec)
    parts = []
    for index, name in enumerate(input_names(spec)):
        about, added = meanings.get(name, name), float(contributions[index])
        if index >= len(open_):
            parts.append(InputPart(name, about, shown.get(name), added))
            continue
        if not open_[index]:
            parts.append(InputPart(name, about, None, added))
            continue
        value = float(numeric[index])
        known = others[:, index][~np.isnan(others[:, index])]
        usual = float(np.median(known)) if len(known) else None
        if math.isnan(value):
            parts.append(InputPart(name, about, None, added, usual))
        else:
            above = float(np.mean(known < numeric[index])) if len(known) else None
            parts.append(InputPart(name, about, value, added, usual, above))
    return tuple(sorted(parts, key=lambda part: (-abs(part.added), part.name)))
