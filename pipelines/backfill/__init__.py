"""Backfill: the batch driver of the one feature graph. `run.backfill` is the door."""

from pipelines.backfill.plan import BackfillPlan, BackfillRequest, make_backfill_plan
from pipelines.backfill.published import read_features, read_verdicts
from pipelines.backfill.run import BackfillReport, backfill, backfill_locked

__all__ = [
    "BackfillPlan",
    "BackfillReport",
    "BackfillRequest",
    "backfill",
    "backfill_locked",
    "make_backfill_plan",
    "read_features",
    "read_verdicts",
]
