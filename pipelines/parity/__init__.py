"""Parity: the proof that what was served is what the offline path computes.

Two modes. *As served* replays what had arrived, in the order in which it was folded; any
difference is a fault of ours. *Ideal* folds the same events in total order, as a backfill does;
every difference is attributed to its cause.
"""

from pipelines.parity.log import TimeSpan
from pipelines.parity.offline_check import check_ideal
from pipelines.parity.replay_check import check_served
from scoring.parity.compare import Difference, ParityReport

__all__ = ["Difference", "ParityReport", "TimeSpan", "check_ideal", "check_served"]
