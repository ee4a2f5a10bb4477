"""Video comments: the published split, through decode, derive, the TFT graph and the text model.

Per video, the first 70 % of each class in file order train and the rest test. One fixed set of
settings for all five videos, those of configs/video_comments.yaml: word 1-2-grams, character
3-5-grams, the text model's regularisation; fitted on the five training parts together, decided at
log odds 0. It is the text path alone: numeric and velocity inputs are zeros here, and there is no
night, no bundle and no threshold.
"""

from __future__ import annotations

import csv
import dataclasses
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from sklearn.metrics import matthews_corrcoef

from configs.loader import load, shipped
from pipelines.analyze import analyze
from pipelines.sources import open_source, read_split
from scoring.text_model import TextModel
from training.logistic import fit_sparse
from transforms.catalog import CATALOG
from transforms.derive import derive
from transforms.executor import Executor

COLUMN = "SVM RBF"


def comments_table(data: Path) -> str:
    """A Markdown table of MCC per video, ours beside the published."""
    ours, published = comments_mcc(data / "labelled"), _published(data / "published-mcc.csv")
    lines = ["| video | published SVM-RBF | ours |", "|---|---|---|"]
    lines += [f"| {name} | {published[name]:.3f} | {mcc:.3f} |" for name, mcc in ours.items()]
    theirs = np.mean([published[name] for name in ours])
    lines.append(f"| mean | {theirs:.3f} | {np.mean(list(ours.values())):.3f} |")
    return "\n".join(lines)


def comments_mcc(
    folder: Path, regularisation: float | None = None, **text_settings: Any
) -> dict[str, float]:
    """Matthews' correlation on each video's test part.

    Args:
      folder: of the labelled files.
      regularisation: instead of the config's.
      text_settings: fields of `configs.schema.TextInput`, instead of the config's.
    """
    spec = load(shipped("video_comments"), CATALOG)
    if spec.inputs.text is not None:
        text_input = dataclasses.replace(spec.inputs.text, **text_settings)
        spec = dataclasses.replace(spec, inputs=dataclasses.replace(spec.inputs, text=text_input))
    if regularisation is None:
        regularisation = spec.training.text_regularisation
    videos, batches, labels = [], [], []
    for split in open_source(str(folder / "*.csv"), spec):
        made = [derive(spec, one.batch) for one in read_split(split, spec)]
        table = pa.Table.from_batches(made)
        comments = table.filter(pa.compute.equal(table.column("kind"), "comment"))
        verdicts = table.filter(pa.compute.equal(table.column("kind"), "verdict"))
        said = dict(
            zip(
                verdicts.column("subject_id").to_pylist(),
                verdicts.column("is_spam").to_pylist(),
                strict=True,
            )
        )
        videos.append(Path(split.path).stem)
        batches.append(comments)
        labels.append(np.array([said[one] for one in comments.column("event_id").to_pylist()], int))
    events = pa.concat_tables(batches).combine_chunks()
    train = np.concatenate([first_share(one) for one in labels])
    truth = np.concatenate(labels).astype(np.int8)
    video = np.repeat(np.arange(len(videos)), [len(one) for one in labels])
    numeric = np.zeros((len(truth), 1), np.float32)
    with tempfile.TemporaryDirectory() as scratch:
        graph = Path(scratch) / "graph"
        analyze(spec, numeric[train], events.filter(pa.array(train)), graph)
        text = Executor(graph, spec).transform(numeric, events.to_batches()[0]).text
    if text is None:
        return {}
    fitted = fit_sparse(text[train].astype(np.float64), truth[train], regularisation=regularisation)
    if fitted is None:
        return {}
    odds = TextModel(fitted.weights, fitted.intercept).score(text)
    test = ~train
    return {
        name: float(matthews_corrcoef(truth[test & (video == i)], odds[test & (video == i)] > 0))
        for i, name in enumerate(videos)
    }


def first_share(labels: np.ndarray, share: float = 0.7) -> np.ndarray:  # type: ignore[type-arg]
    """The first 70 % of each class, in file order: bool `[n]`.

    >>> first_share(np.array([0, 1, 0, 1]), 0.5).tolist()
    [True, True, False, False]
    """
    chosen = np.zeros(len(labels), bool)
    for one in (0, 1):
        rows = np.flatnonzero(labels == one)
        chosen[rows[: round(len(rows) * share)]] = True
    return chosen


def _published(path: Path) -> dict[str, float]:
    with open(path, newline="") as file:
        return {row["Video"]: float(row[COLUMN]) for row in csv.DictReader(file)}
