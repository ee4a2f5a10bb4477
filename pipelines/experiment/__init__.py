"""Experiments: `lockstep experiment run FILE --input DATA --out OUT`.

OUT/experiments/
├── NAME/experiment.html, experiment.json     the page, and the same as JSON
├── NAME/CHALLENGER.yaml                      each challenger's whole config
├── bundles/5f0c…/                            what was trained; nothing of it serves
├── features/91ac…/                           published days of configs with other features
└── runs/77d0….json, .parquet                 a model of a night: what it is, what it scored
"""

from pipelines.experiment.plan import ExperimentRequest
from pipelines.experiment.run import ExperimentOutcome, run_experiment

__all__ = ["ExperimentOutcome", "ExperimentRequest", "run_experiment"]
