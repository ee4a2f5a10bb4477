"""Batches with features, and a store with two bundles of the same spec."""

import pyarrow as pa
from bundle_world import copy_bundle, make_rows, spec_and_graph

from scoring.bundle import load_bundle
from scoring.scorer import Scorer
from scoring.store import Store
from transforms.inputs import numeric_names


def make_batch(count=50, seed=7):
    """Events with their features, as `Features` gives them."""
    spec, _ = spec_and_graph()
    numeric, table = make_rows(spec, count, seed=seed)
    for index, name in enumerate(numeric_names(spec)):
        table = table.append_column(name, pa.array(numeric[:, index]))
    return table.combine_chunks().to_batches()[0]


def make_store(root):
    """A store and its two bundles' fingerprints; the first serves."""
    root.mkdir(exist_ok=True)
    names = [copy_bundle(root, model).name for model in ("booster", "linear")]
    store = Store(root)
    store.promote(names[0])
    return store, names


def scores_of(store, name, batch):
    """What a bundle makes of a batch, without Beam."""
    bundle = load_bundle(store.path(name))
    return bundle.score(pa.Table.from_batches([batch])), Scorer(bundle)
