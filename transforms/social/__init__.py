"""The social graph: edges between accounts to a snapshot of it, and features of its accounts.

    edges (from, to, relation, since, time, until) ─ live ─ latest ─ graph_of ─ node_features

Pure functions over Arrow and numpy. A snapshot is a function of the *set* of edges that it is made
of: no order of edges, no split into batches and no number of shards changes a bit of it. Accounts
are numbered in the order of their ids and a row of neighbours ascends, so every sum of floats has
one order; trust, which travels, is held in whole numbers, whose sums have none.
"""

from transforms.social.edges import EDGES, latest, live
from transforms.social.features import Standing, feature_names, node_features
from transforms.social.graph import Graph, graph_of
from transforms.social.neighbours import neighbour_means, neighbour_sums
from transforms.social.rows import NeighbourRows, make_rows, merge, transpose
from transforms.social.structure import clustering, reciprocity, triangles
from transforms.social.trust import sybil_rank, sybil_scar

__all__ = [
    "EDGES",
    "Graph",
    "NeighbourRows",
    "Standing",
    "clustering",
    "feature_names",
    "graph_of",
    "latest",
    "live",
    "make_rows",
    "merge",
    "neighbour_means",
    "neighbour_sums",
    "node_features",
    "reciprocity",
    "sybil_rank",
    "sybil_scar",
    "transpose",
    "triangles",
]
