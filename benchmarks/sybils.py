"""`python -m benchmarks.sybils`: fake accounts among friendships, by the features of the graph.

Prints the table of docs/results.md: AUC of SybilRank, of linear SybilSCAR and of a combination of
features, on the Facebook graph of `sybil-facebook`, whose Sybil region is a copy of the honest one,
at each number of random edges between the two. `--cost` prints what the parts of a snapshot of a
random graph cost instead. Data: ../shared/data, or `LOCKSTEP_DATA`.
"""

from __future__ import annotations

import argparse
import dataclasses
import gzip
import os
import random
import resource
import sys
import time
from pathlib import Path

import numpy as np
import numpy.typing as npt
from sklearn.linear_model import LogisticRegressionCV
from sklearn.metrics import roc_auc_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from transforms.social import (
    NeighbourRows,
    clustering,
    make_rows,
    merge,
    neighbour_means,
    sybil_rank,
    sybil_scar,
    transpose,
)

Ints = npt.NDArray[np.int64]
PUBLISHED = {
    100: (0.999, 1.0),
    1_000: (0.996, 0.999),
    5_000: (0.901, 0.986),
    10_000: (0.775, 0.949),
    20_000: (0.613, 0.857),
}
"""Attack edges -> AUC of SybilRank (13 steps) and of linear SybilSCAR (6 steps)."""

HONEST, NODES = 4039, 8078
FOLDS = 5


@dataclasses.dataclass(frozen=True, eq=False)
class World:
    """The data: edges both ways; honest accounts and Sybils to learn from, and to test."""

    source: npt.NDArray[np.int32]
    target: npt.NDArray[np.int32]
    train: tuple[Ints, Ints]
    test: tuple[Ints, Ints]

    def attacked(self, edges: int, seed: int = 0) -> NeighbourRows:
        """Neighbours after so many edges between a random honest account and a random Sybil."""
        draw = random.Random(seed)
        pairs = [(draw.randrange(HONEST), draw.randrange(HONEST, NODES)) for _ in range(edges)]
        honest, sybils = np.array(pairs, np.int32).T
        source = np.concatenate([self.source, honest, sybils])
        return make_rows(source, np.concatenate([self.target, sybils, honest]), NODES)

    def auc(self, scores: npt.NDArray[np.float64]) -> float:
        """Of scores that are high for the honest, on the test accounts."""
        honest, sybils = (scores[ids] for ids in self.test)
        truth = np.repeat([1, 0], [len(honest), len(sybils)])
        return float(roc_auc_score(truth, np.concatenate([honest, sybils])))


def read_world(folder: Path) -> World:
    """The published files."""
    with gzip.open(folder / "graph.txt.gz", "rt") as lines:
        edges = np.loadtxt(lines, np.int32)
    train, test = (
        tuple(np.array(line.split(), np.int64) for line in (folder / name).read_text().splitlines())
        for name in ("train.txt", "test.txt")
    )
    return World(edges[:, 0], edges[:, 1], train[:2], test[:2])


def features(both: NeighbourRows, honest: Ints, sybils: Ints) -> npt.NDArray[np.float64]:
    """Trust, distrust and standing, and their means to two hops: float64 `[n, 9]`."""
    columns = [
        sybil_rank(both, honest),
        sybil_rank(both, sybils),
        sybil_scar(both, honest, sybils),
    ]
    means = [np.column_stack(columns)]
    for _ in range(2):
        means.append(neighbour_means(both, means[-1]))
    return np.column_stack(means)


def combination(both: NeighbourRows, honest: Ints, sybils: Ints) -> npt.NDArray[np.float64]:
    """Logistic regression on `features`: log odds of being honest, float64 `[n]`.

    An account's own label is part of its trust, so what is learnt from is out of fold: the features
    of a fold's labelled accounts come from the labels of the other folds. These choose the
    regularisation too, by cross-validated log loss.
    """
    rows, truth = [], []
    for fold in range(FOLDS):
        kept = [np.delete(ids, np.s_[fold::FOLDS]) for ids in (honest, sybils)]
        held = [ids[fold::FOLDS] for ids in (honest, sybils)]
        rows.append(features(both, *kept)[np.concatenate(held)])
        truth.append(np.repeat([1, 0], [len(ids) for ids in held]))
    model = make_pipeline(
        StandardScaler(),
        LogisticRegressionCV(Cs=[0.1, 1.0, 10.0, 100.0], scoring="neg_log_loss", max_iter=5000),
    )
    model.fit(np.concatenate(rows), np.concatenate(truth))
    return np.asarray(model.decision_function(features(both, honest, sybils)))


def row(world: World, edges: int, seed: int = 0) -> tuple[float, float, float]:
    """AUC of SybilRank, of linear SybilSCAR and of the combination."""
    both = world.attacked(edges, seed)
    return (
        world.auc(sybil_rank(both, world.train[0])),
        world.auc(sybil_scar(both, *world.train)),
        world.auc(combination(both, *world.train)),
    )


def cost(nodes: int, edges: int) -> None:
    """Prints seconds and memory of each part of a snapshot of a random graph."""
    draw = np.random.default_rng(0)
    source, target = (draw.integers(0, nodes, edges, np.int32) for _ in range(2))
    few = make_rows(source[:100] % 100, target[:100] % 100, 100)  # compiles
    few = merge(few, transpose(few))
    sybil_rank(few, np.array([0]))
    clustering(few), neighbour_means(few, np.zeros((100, 1)))
    print(f"{nodes:,} accounts, {edges:,} edges\n\n| part | CPU seconds | seconds |\n|---|---|---|")
    begun, at = time.process_time(), time.perf_counter()

    def tell(part: str) -> None:
        nonlocal begun, at
        spent, passed = time.process_time() - begun, time.perf_counter() - at
        print(f"| {part} | {spent:.1f} | {passed:.1f} |", flush=True)
        begun, at = time.process_time(), time.perf_counter()

    out = make_rows(source, target, nodes)
    both = merge(out, transpose(out))
    tell("rows of neighbours from edges")
    seeds = np.arange(0, nodes, 1000)
    values = np.column_stack([sybil_rank(both, seeds)])
    tell("trust (SybilRank)")
    values = np.column_stack([values, sybil_scar(both, seeds, seeds + 1)])
    tell("standing (SybilSCAR, 6 steps)")
    values = np.column_stack([values, clustering(both)])
    tell("clustering")
    neighbour_means(both, neighbour_means(both, values))
    tell("means of 3 features to two hops")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(f"\nPeak memory of the process: {peak / 1e6:.1f} GB.")


def main() -> int:
    """Prints the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cost", action="store_true", help="what a snapshot costs")
    parser.add_argument("--nodes", type=int, default=1_000_000)
    parser.add_argument("--edges", type=int, default=20_000_000)
    arguments = parser.parse_args()
    if arguments.cost:
        cost(arguments.nodes, arguments.edges)
        return 0
    folder = Path(os.environ.get("LOCKSTEP_DATA", "../shared/data")) / "sybil-facebook"
    if not folder.exists():
        print(f"no {folder}: see ../shared/data/README.md", file=sys.stderr)
        return 4
    world = read_world(folder)
    names = ("SybilRank published", "ours", "SybilSCAR published", "ours", "combination")
    print(f"| attack edges | {' | '.join(names)} |")
    print("|---|---|---|---|---|---|")
    for edges, (rank, scar) in PUBLISHED.items():
        ours = row(world, edges)
        figures = (rank, ours[0], scar, ours[1], ours[2])
        print(f"| {edges:,} | {' | '.join(f'{one:.3f}' for one in figures)} |")
    return 0


if __name__ == "__main__":
    sys.exit(main())
