"""Small specs and made-up rows for tests of the TFT graph, the models and the bundle."""

import atexit
import dataclasses
import functools
import shutil
import tempfile
from pathlib import Path

import numpy as np
import pyarrow as pa

from configs.loader import load, shipped
from configs.schema import EVENT_ID, Categorical, Inputs, TextInput
from pipelines.analyze import analyze
from transforms.catalog import CATALOG
from transforms.inputs import numeric_names

SHIPPED = ("card_fraud", "chat", "video_comments")
WORDS = ("win", "money", "now", "see", "you", "at", "noon", "été", "день", "日本", "👍🏽", "a-b.c")


def shipped_spec(name):
    """A shipped config."""
    return load(shipped(name), CATALOG)


def spec_with(inputs: Inputs, base="card_fraud"):
    """A spec with other inputs; its analysis is not bounded."""
    return dataclasses.replace(shipped_spec(base), inputs=inputs)


def full_inputs(scaling="zscore"):
    """Inputs of every sort: numbers, two categories, words and characters."""
    return Inputs(
        numeric=("amount", "night"),
        categorical=(Categorical("terminal", 5, 2, 1), Categorical("customer", 50, 8, 2)),
        text=TextInput("subject_id", 512, (1, 2), (2, 3), 12),
        scaling=scaling,
    )


@functools.lru_cache(maxsize=1)
def scratch_folder():
    """A folder that lives as long as the test run."""
    folder = Path(tempfile.mkdtemp(prefix="graph-world-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


@functools.lru_cache(maxsize=16)
def analysed(name, scaling):
    """A spec and the folder of its graph, analysed over 500 rows: once per test run.

    Args:
      name: of a shipped config, or "full" for inputs of every sort.
    """
    if name == "full":
        spec, width = spec_with(full_inputs(scaling)), 3
    else:
        spec, width = shipped_spec(name), None
    folder = scratch_folder() / f"{name}-{scaling}"
    analyze(spec, *make_rows(spec, 500, seed=1, width=width), folder)
    return spec, folder


def make_rows(spec, count, seed=0, width=None):
    """Numbers with nulls and heavy tails, categories with ties, texts; as a backfill leaves them.

    Returns:
      float32 `[count, K]`, and a table with event_id and the columns of the inputs.
    """
    rng = np.random.default_rng(seed)
    width = len(numeric_names(spec)) if width is None else width
    signs = 1 - 2 * (np.arange(width) % 2)
    numeric = (rng.lognormal(0, 2, (count, width)) * signs).astype(np.float32)
    numeric[rng.random((count, width)) < 0.2] = np.nan
    columns = {EVENT_ID: pa.array([f"e{number}" for number in range(count)])}
    for one in spec.inputs.categorical:
        values = [f"{one.column}-{rng.zipf(1.5) % 300}" for _ in range(count)]
        columns[one.column] = pa.array([v if rng.random() > 0.2 else None for v in values])
    if spec.inputs.text is not None:
        texts = [" ".join(rng.choice(WORDS, rng.integers(0, 20))) for _ in range(count)]
        texts = [text if rng.random() > 0.1 else None for text in texts]
        columns[spec.inputs.text.column] = pa.array(texts, pa.string())
    return numeric, pa.table(columns)


def as_batch(table):
    """A table as one record batch."""
    batches = table.combine_chunks().to_batches()
    return batches[0] if batches else pa.RecordBatch.from_pylist([], table.schema)
