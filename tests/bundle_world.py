"""A small bundle with all three models, for tests of scoring: untrained, but every part is real."""

import functools
import shutil

import numpy as np
import xgboost
from backfill_world import CONFIG
from graph_world import as_batch, make_rows, scratch_folder

from configs.loader import loads
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


@functools.lru_cache(maxsize=1)
def spec_and_graph():
    """The tiny spec, and its analysed graph."""
    spec = loads(CONFIG, "tiny.yaml", CATALOG)
    folder = scratch_folder() / "tiny-graph"
    analyze(spec, *make_rows(spec, ROWS, seed=1), folder)
    return spec, folder


@functools.lru_cache(maxsize=1)
def make_models():
    """Models of every sort, fitted or made up by rule."""
    spec, folder = spec_and_graph()
    rng = np.random.default_rng(5)
    numeric, table = make_rows(spec, ROWS, seed=2)
    transformed = Executor(folder, spec).transform(numeric, as_batch(table))
    text = TextModel(rng.normal(size=spec.inputs.text.buckets), -0.5)
    sizes = [one.vocabulary + one.oov_buckets for one in spec.inputs.categorical]
    linear = LinearModel(
        rng.normal(size=len(numeric_names(spec)) + 1), rng.normal(size=(1, sizes[0])), 0.25
    )
    inputs = model_inputs(transformed, text.score(transformed.text))
    labels = (np.nan_to_num(inputs[:, 0]) + inputs[:, -1] + rng.normal(size=ROWS) > 0).astype(int)
    matrix = xgboost.DMatrix(inputs, labels, feature_names=list(input_names(spec)))
    booster = xgboost.train({"max_depth": 4, "nthread": 1, "objective": "binary:logistic"}, matrix)
    return Models(spec, text, linear, BoosterModel(booster))


def make_parts(model="booster", **changes):
    """The parts of a bundle."""
    spec, folder = spec_and_graph()
    policy = DecisionPolicy((Threshold("block", 0.8, 0.8, "enough"),), "allow")
    parts = {
        "config": CONFIG,
        "spec": spec,
        "graph": folder,
        "models": make_models(),
        "model": model,
        "calibration": Calibration(slope=1.5, offset=-0.25, reason="made up"),
        "policy": policy,
        "metrics": {"candidate": {"auc": 0.9, "average_precision": 0.5}, "gate_slice": "a day"},
        "provenance": {"as_of": "2026-03-04"},
    }
    return BundleParts(**(parts | changes))


@functools.lru_cache(maxsize=4)
def _written(model):
    return write_bundle(make_parts(model), scratch_folder() / "bundles")


def copy_bundle(store, model="booster"):
    """A fresh copy of a bundle below a store: its folder, named by its fingerprint."""
    source = _written(model)
    return shutil.copytree(source, store / source.name)
