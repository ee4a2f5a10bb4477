"""`python -m benchmarks.ablation`: what each family of features adds, on the hidden truth.

The shipped world lives for some days; `configs/chat_full.yaml` is run over it as in earnest:
snapshots of the graph, a backfill, labels as moderators gave them until the night. Models are
trained on behaviour alone, with language, with near copies, with the social graph, and tested on
the days after, against what messages are in truth, judged or not. Differences are paired: each draw
of the bootstrap takes whole campaigns, and whole accounts of everybody else, for all models alike.
"""

from __future__ import annotations

import argparse
import dataclasses
import datetime as dt
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from benchmarks.worlds import enlarged
from configs.loader import load, shipped
from configs.schema import EVENT_ID, Spec
from configs.social import graph_inputs
from pipelines.analyze import analyze
from pipelines.backfill import BackfillRequest, backfill
from pipelines.dataset import Dataset, load_dataset
from pipelines.graph import make_snapshots
from pipelines.layout import DAY_US, Days, Layout, day_us
from pipelines.shard_files import SnapshotRequest
from pipelines.simulate import WorldRequest, read_truth, simulate_world
from training.curve import area_under_roc, average_precision, make_curve, redraw_curves
from training.dataset import slices
from training.evaluate import percentiles
from training.fit import fit
from training.models import Span
from transforms.catalog import CATALOG
from transforms.executor import Executor
from transforms.inputs import numeric_names

START = dt.date(2026, 3, 1)
WARM, TESTED = 3, 3
"""Days before the training span, whose events fill the windows; and days that are tested."""
FAMILIES = ("behaviour", "language", "near copies", "graph")
_LANGUAGE = ("characters", "upper_share", "digit_share", "disguises", "mixed_words")
_COPIES = ("fingerprint_", "copies_", "near_", "author_texts_", "texts_per_")

Floats = npt.NDArray[np.float64]


def family_of(spec: Spec, name: str) -> str:
    """Of an input of `chat_full`.

    >>> spec = load(shipped("chat_full"), CATALOG)
    >>> [family_of(spec, name) for name in ("author_messages_1h", "disguises", "near_copies_1h")]
    ['behaviour', 'language', 'near copies']
    >>> family_of(spec, "author_graph_trust")
    'graph'
    """
    if any(name in names for names in graph_inputs(spec.graph).values()):
        return "graph"
    if name in _LANGUAGE or "characters" in name:
        return "language"
    return "near copies" if name.startswith(_COPIES) else "behaviour"


def with_families(spec: Spec, families: Sequence[str]) -> Spec:
    """The same config with the inputs of some families alone."""
    inputs = spec.inputs
    left = [name for name in numeric_names(spec) if family_of(spec, name) not in families]
    kept = dataclasses.replace(
        inputs,
        numeric=tuple(name for name in inputs.numeric if name not in left),
        computed={name: one for name, one in inputs.computed.items() if name not in left},
        exclude=(*inputs.exclude, *left),
        text=inputs.text if "language" in families else None,
    )
    return dataclasses.replace(spec, inputs=kept)


@dataclasses.dataclass(frozen=True, eq=False)
class Data:
    """What is trained on and tested.

    Attributes:
      spec: with all families.
      as_of: of the training run; the tested days begin there.
      learned, tested: their events, with labels as known then.
      truth: bool `[n]`, of the tested ones.
      units: int64 `[n]`, the campaign of each, or else its account.
    """

    spec: Spec
    as_of: dt.date
    learned: Dataset
    tested: Dataset
    truth: npt.NDArray[np.bool_]
    units: npt.NDArray[np.int64]


@dataclasses.dataclass(frozen=True)
class Row:
    """A model's figures, with 95 % intervals; `gain`: in average precision, on the row above."""

    families: tuple[str, ...]
    inputs: int
    auc: float
    average_precision: float
    between: tuple[float, float]
    gain: float | None = None
    gain_between: tuple[float, float] | None = None


def make_data(root: Path, messages: int, seed: int) -> Data:
    """Lets the world live, and runs the config over it."""
    spec, world = load(shipped("chat_full"), CATALOG), enlarged(messages)
    if spec.training is None:
        raise ValueError("chat_full has no training")
    learned = round((spec.training.span_us + spec.training.delay_us) / DAY_US)
    as_of = START + dt.timedelta(days=WARM + learned)
    days = Days(START, as_of + dt.timedelta(days=TESTED - 1))
    source, out = root / "events", root / "out"
    simulate_world(WorldRequest(world, source, days=len(days), start=START, seed=seed))
    asked = SnapshotRequest(spec, str(source), out, START, dt.datetime.now(dt.UTC))
    make_snapshots(asked, list(days)[1:])
    backfill(BackfillRequest(spec, str(source), out, days))
    layout, cut = Layout(out), slices(spec.training, day_us(as_of))
    parts = (
        load_dataset(spec, layout, start, end, day_us(as_of))
        for start, end in (
            (cut.span.start_us, cut.span.end_us),
            (day_us(as_of), days.end_us),
        )
    )
    learned_from, tested = parts
    truth = read_truth(root / "events.truth")
    place = pc.index_in(
        tested.events.column(EVENT_ID), value_set=truth["event_id"].combine_chunks()
    )
    truth = truth.take(place)
    campaign = truth["campaign"].fill_null(-1).to_numpy()
    account = pc.dictionary_encode(truth["author_id"].combine_chunks()).indices.to_numpy()
    units = np.where(campaign >= 0, -1 - campaign, account).astype(np.int64)
    abuse = truth["is_abuse"].to_numpy(zero_copy_only=False)
    return Data(spec, as_of, learned_from, tested, abuse, np.unique(units, return_inverse=True)[1])


def scores(data: Data, families: Sequence[str], root: Path) -> tuple[Floats, int]:
    """Raw scores of the tested events by a model of some families, and how many inputs it has."""
    spec = with_families(data.spec, families)
    names = numeric_names(data.spec)
    kept = [names.index(name) for name in numeric_names(spec)]
    cut = slices(spec.training, day_us(data.as_of))  # type: ignore[arg-type]
    block = data.learned.numeric[:, kept]
    fitted_on = cut.fit.mask(data.learned.times)
    folder = root / f"graph-{len(families)}"
    analyze(spec, block[fitted_on], data.learned.events.filter(pa.array(fitted_on)), folder)
    executor = Executor(folder, spec)
    learned = executor.transform(block, data.learned.batch())
    span = Span(learned, data.learned.times, data.learned.labels, data.learned.group(spec))
    models = fit(spec, span, cut).models
    tested = executor.transform(data.tested.numeric[:, kept], data.tested.batch())
    raw = models.raw("booster", tested, models.text_scores(tested))
    return np.asarray(raw, np.float64), len(kept) + (spec.inputs.text is not None)


@dataclasses.dataclass(frozen=True, eq=False)
class Drawn:
    """A model's average precision, on all tested events and on each draw of the bootstrap."""

    figure: float
    draws: Floats


def drawn(
    ranks: Floats, truth: npt.NDArray[np.bool_], units: npt.NDArray[np.int64], replicates: int
) -> Drawn:
    """Of scores `[n]`. Equal units and replicates give equal draws, whatever the scores."""
    curves = redraw_curves(ranks, truth, units, replicates, seed=0)
    whole = make_curve(ranks, truth.astype(np.int8))
    draws = [average_precision(one) or 0.0 for one in curves]
    return Drawn(average_precision(whole) or 0.0, np.array(draws))


def measure(data: Data, root: Path, replicates: int) -> list[Row]:
    """The rows of the table, from behaviour alone to all families, as they come."""
    rows: list[Row] = []
    before: Drawn | None = None
    for count in range(1, len(FAMILIES) + 1):
        families = FAMILIES[:count]
        ranks, inputs = scores(data, families, root)
        made = drawn(ranks, data.truth, data.units, replicates)
        auc = area_under_roc(make_curve(ranks, data.truth.astype(np.int8))) or 0.0
        gain = None if before is None else made.figure - before.figure
        between = None if before is None else percentiles((made.draws - before.draws).tolist())
        rows.append(
            Row(families, inputs, auc, made.figure, percentiles(made.draws.tolist()), gain, between)
        )
        before = made
        print(_line(rows[-1]), flush=True)
    return rows


def _line(row: Row) -> str:
    name = row.families[0] if len(row.families) == 1 else f"+ {row.families[-1]}"
    low, high = row.between
    gain = ""
    if row.gain is not None and row.gain_between is not None:
        gain = f"{row.gain:+.4f} ({row.gain_between[0]:+.4f} to {row.gain_between[1]:+.4f})"
    return (
        f"| {name} | {row.inputs} | {row.auc:.4f} "
        f"| {row.average_precision:.4f} ({low:.4f} to {high:.4f}) | {gain} |"
    )


def main(given: Sequence[str] | None = None) -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--messages", type=int, default=20_000, help="honest ones a day")
    parser.add_argument("--seed", type=int, default=7, help="of the world")
    parser.add_argument("--replicates", type=int, default=1_000, help="draws of the bootstrap")
    arguments = parser.parse_args(given)
    with tempfile.TemporaryDirectory() as root:
        data = make_data(Path(root), arguments.messages, arguments.seed)
        campaigns = len(np.unique(data.units[data.truth]))
        print(
            f"{len(data.learned):,} messages to learn from, {len(data.tested):,} to test on, "
            f"{int(data.truth.sum()):,} of them abuse, by {campaigns} campaigns\n"
        )
        print("| families | inputs | AUC | average precision | gain |\n|---|---|---|---|---|")
        measure(data, Path(root), arguments.replicates)


if __name__ == "__main__":
    main()
