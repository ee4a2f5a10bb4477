"""The nightly page: one self-contained HTML file, and the same facts as report.json."""

from training.importance import Importance
from training.report.facts import (
    DeadCount,
    Fact,
    KindCount,
    NightlyReport,
    ParityFinding,
    Parts,
    PastRun,
    RunChange,
    Setup,
    SliceCount,
    SourceCount,
    StageCost,
    WrongEvent,
)
from training.report.page import render

__all__ = [
    "DeadCount",
    "Fact",
    "Importance",
    "KindCount",
    "NightlyReport",
    "ParityFinding",
    "Parts",
    "PastRun",
    "RunChange",
    "Setup",
    "SliceCount",
    "SourceCount",
    "StageCost",
    "WrongEvent",
    "render",
]
