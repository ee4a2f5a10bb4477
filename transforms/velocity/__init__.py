"""Velocity: how a key has behaved over windows of event time, one pure fold for all paths.

`make_plan` compiles an entity, `entity_rows` narrows a batch, `fold` moves a `ShardState` on and
puts out what each event's key had before it, `finish` makes float32 features of that.
"""

from transforms.velocity.describe import FeatureInfo, column_unit, describe_features
from transforms.velocity.fold import Folded, finish, fold, fold_touched
from transforms.velocity.plan import Plan, feature_names, make_plan
from transforms.velocity.rows import (
    Rows,
    concat_rows,
    entity_rows,
    rows_by_entity,
    rows_from_batch,
    rows_to_batch,
    shard_of,
)
from transforms.velocity.sorted_state import SortedState
from transforms.velocity.state import ShardState

__all__ = [
    "FeatureInfo",
    "Folded",
    "Plan",
    "Rows",
    "ShardState",
    "SortedState",
    "column_unit",
    "concat_rows",
    "describe_features",
    "entity_rows",
    "feature_names",
    "finish",
    "fold",
    "fold_touched",
    "make_plan",
    "rows_by_entity",
    "rows_from_batch",
    "rows_to_batch",
    "shard_of",
]
