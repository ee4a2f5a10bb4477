"""Every derivation and aggregate that a config may name.

They are registered beside their classes: `transforms/derive/__init__.py` and
`transforms/velocity/aggregates/__init__.py`.
"""

from __future__ import annotations

from configs.catalog import Catalog
from transforms.derive import DERIVATIONS
from transforms.velocity.aggregates import AGGREGATES
from transforms.velocity.bounds import feature_bounds
from transforms.velocity.plan import check_entity, check_values

CATALOG = Catalog.of(DERIVATIONS, AGGREGATES, check_entity, check_values, feature_bounds)
