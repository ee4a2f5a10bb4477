"""Every derivation and aggregate that a config may name: the one place to register a new one."""

from __future__ import annotations

from configs.catalog import Catalog
from transforms.derive import DERIVATIONS
from transforms.velocity.aggregates import AGGREGATES

CATALOG = Catalog.of(DERIVATIONS, AGGREGATES)
