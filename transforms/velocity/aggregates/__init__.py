"""Aggregates that YAML can name: one idea per file, registered here.

Each is a frozen dataclass whose fields are its YAML arguments. `cells` says what a key keeps for it
(`velocity.cells.Ask`), `finish` turns what the fold puts out into the feature. The check battery of
tests/transforms/velocity runs over everything in `AGGREGATES`.
"""

from __future__ import annotations

from typing import Any

from transforms.velocity.aggregates.count import Count
from transforms.velocity.aggregates.distinct import Distinct
from transforms.velocity.aggregates.extremes import Max, Min
from transforms.velocity.aggregates.last import Last
from transforms.velocity.aggregates.mean import Mean
from transforms.velocity.aggregates.median import Median
from transforms.velocity.aggregates.rate import Rate
from transforms.velocity.aggregates.ratio import Ratio
from transforms.velocity.aggregates.same_as_last import SameAsLast
from transforms.velocity.aggregates.seconds import SecondsSinceFirst, SecondsSinceLast
from transforms.velocity.aggregates.std import Std
from transforms.velocity.aggregates.total import Total

AGGREGATES: tuple[type[Any], ...] = (
    Count,
    Distinct,
    Last,
    Max,
    Mean,
    Median,
    Min,
    Rate,
    Ratio,
    SameAsLast,
    SecondsSinceFirst,
    SecondsSinceLast,
    Std,
    Total,
)

__all__ = ["AGGREGATES"]
