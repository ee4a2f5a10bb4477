"""Small bundles with all models of a spec, for tests: untrained, but every part is real.

They are made by rule, so each run of the tests and each release makes the same ones.
"""

import functools
import shutil
import tempfile
from pathlib import Path

import numpy as np
import xgboost
from backfill_world import CONFIG
from graph_world import as_batch, make_rows, scratch_folder

from configs.loader import load, loads
from pipelines.analyze import analyze
from scoring.booster import BoosterModel
from scoring.bundle import BundleParts, write_bundle
from scoring.calibration import Calibration
from scoring.decision import DecisionPolicy, Threshold
from scoring.linear import LinearModel
from scoring.models import Models, input_names, model_inputs
from scoring.text_model import TextModel
from transforms.catalog import CATALOG
from transforms.executor import Executor
from transforms.inputs import numeric_names

ROWS = 400


def spec_and_graph(config=None):
    """A spec and its analysed graph: of a config's file, or the tiny one; made once."""
    return _analyzed(config)


@functools.cache
def _analyzed(config):
    spec = load(config, CATALOG) if config else loads(CONFIG, "tiny.yaml", CATALOG)
    folder = Path(tempfile.mkdtemp(dir=scratch_folder())) / "graph"
    analyze(spec, *make_rows(spec, ROWS, seed=1), folder)
    return spec, folder


@functools.lru_cache
def make_models(config=None):
    """Models of every sort that the spec has inputs for, fitted or made up by rule."""
    spec, folder = spec_and_graph(config)
    rng = np.random.default_rng(5)
    numeric, table = make_rows(spec, ROWS, seed=2)
    transformed = Executor(folder, spec).transform(numeric, as_batch(table))
    text = None
    if spec.inputs.text is not None:
        text = TextModel(rng.normal(size=transformed.text.shape[1]), -0.5)
    sizes = [one.vocabulary + one.oov_buckets for one in spec.inputs.categorical]
    width = len(numeric_names(spec)) + (text is not None)
    categories = rng.normal(size=(len(sizes), max(sizes, default=0)))
    linear = LinearModel(rng.normal(size=width), categories, 0.25)
    scores = None if text is None else text.score(transformed.text)
    inputs = model_inputs(transformed, scores)
    labels = (np.nan_to_num(inputs[:, 0]) + inputs[:, -1] + rng.normal(size=ROWS) > 0).astype(int)
    matrix = xgboost.DMatrix(inputs, labels, feature_names=list(input_names(spec)))
    booster = xgboost.train({"max_depth": 4, "nthread": 1, "objective": "binary:logistic"}, matrix)
    return Models(spec, text, linear, BoosterModel(booster))


def make_parts(model="booster", path=None, **changes):
    """The parts of a bundle: of the config at a path, or of the tiny one."""
    spec, folder = spec_and_graph(path)
    names = [action.name for action in spec.policy.actions]
    thresholds = [
        Threshold(name, 0.8 - 0.3 * place, 0.8, "enough") for place, name in enumerate(names)
    ]
    parts = {
        "config": path.read_text() if path else CONFIG,
        "spec": spec,
        "graph": folder,
        "models": make_models(path),
        "model": model,
        "calibration": Calibration(slope=1.5, offset=-0.25, reason="made up"),
        "policy": DecisionPolicy(tuple(thresholds), spec.policy.default),
        "metrics": {"candidate": {"auc": 0.9, "average_precision": 0.5}, "gate_slice": "a day"},
        "provenance": {"as_of": "2026-03-04", "versions": {"python": "3.11"}},
    }
    return BundleParts(**(parts | changes))


@functools.lru_cache
def written(model="booster", config=None):
    """The folder of a bundle, made once per test run; not to be changed.

    Args:
      model: which serves.
      config: path of the config; None: the tiny one.
    """
    return write_bundle(make_parts(model, config), scratch_folder() / "bundles")


def copy_bundle(store, model="booster"):
    """A fresh copy of a bundle below a store: its folder, named by its fingerprint."""
    source = written(model)
    return shutil.copytree(source, store / source.name)
