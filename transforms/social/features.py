"""Features of every account of a graph, by name."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

from configs.social import GRAPH_FEATURES, HOPS, feature_names
from transforms.social.graph import Graph
from transforms.social.neighbours import Float64s, neighbour_means
from transforms.social.rows import Int64s, shared
from transforms.social.structure import clustering, reciprocity
from transforms.social.trust import sybil_rank, sybil_scar


@dataclasses.dataclass(frozen=True, eq=False)
class Standing:
    """Accounts that were judged, as known at the graph's moment.

    Attributes:
      honest, abusive: int64 `[k]`, ascending numbers of nodes.
    """

    honest: Int64s
    abusive: Int64s


def node_features(
    graph: Graph, standing: Standing, as_of: int, base: Sequence[str] = tuple(GRAPH_FEATURES)
) -> Float64s:
    """The features named by `feature_names(base)`, of every node: float64 `[n, 3 K]`.

    Args:
      as_of: the graph's moment, microseconds UTC.
      base: which of `GRAPH_FEATURES`.

    Returns:
      NaN where a feature has no value.
    """
    columns = [_base(name, graph, standing, as_of) for name in base]
    means = [np.column_stack(columns).astype(np.float64, copy=False)]
    for _ in HOPS:
        means.append(neighbour_means(graph.both, means[-1]))
    return np.column_stack(means)


def _acceptance(graph: Graph) -> Float64s:
    asked = np.zeros(len(graph.ids), np.int64)
    accepted = np.zeros(len(graph.ids), np.int64)
    for relation, sent in graph.requests.items():
        asked += sent.degrees
        accepted += shared(sent, graph.answers[relation])
    with np.errstate(invalid="ignore"):
        return np.divide(accepted, asked)


def _base(name: str, graph: Graph, standing: Standing, as_of: int) -> Float64s | Int64s:
    match name:
        case "in_degree":
            return graph.into.degrees
        case "out_degree":
            return graph.out.degrees
        case "reciprocity":
            return reciprocity(graph.out, graph.into)
        case "acceptance":
            return _acceptance(graph)
        case "clustering":
            return clustering(graph.both)
        case "age":
            return (as_of - graph.since) / 1e6
        case "trust":
            return sybil_rank(graph.both, standing.honest)
        case "distrust":
            return sybil_rank(graph.both, standing.abusive)
        case "standing":
            return sybil_scar(graph.both, standing.honest, standing.abusive)
    raise ValueError(f"{name!r} is no feature of the graph; there are {', '.join(GRAPH_FEATURES)}")


__all__ = ["Standing", "feature_names", "node_features"]
