"""The nightly run: yesterday's events in, a better model served, or nothing changed."""

from pipelines.nightly.plan import NightlyPlan, NightlyRequest, plan_nightly
from pipelines.nightly.run import STAGES, NightlyOutcome, nightly

__all__ = [
    "STAGES",
    "NightlyOutcome",
    "NightlyPlan",
    "NightlyRequest",
    "nightly",
    "plan_nightly",
]
