"""Trust that travels along edges, from accounts whose standing is known.

Both are iterated in whole numbers (fixed point): a sum of int64 is the same in any order, so a step
may be taken shard by shard (`neighbour_sums` of a shard of the rows), on any engine, and gives the
bits of a step over the whole.
"""

from __future__ import annotations

import math

import numpy as np

from transforms.social.neighbours import Float64s, neighbour_sums
from transforms.social.rows import Int64s, NeighbourRows

_TRUST = 1 << 32
"""Units of trust per node at SybilRank: all of it stays below 2^63 for 2^30 nodes."""
_HALF = 1 << 29
"""The residual .5 of SybilSCAR: sums over 2^23 neighbours stay exact as a float64."""


def sybil_rank(both: NeighbourRows, seeds: Int64s) -> Float64s:
    """Trust that a short random walk from honest seeds carries to each node, by its degree.

    SybilRank: Cao, Sirivianos, Yang, Pregueiro, "Aiding the Detection of Fake Accounts in Large
    Scale Social Online Services", NSDI 2012. Trust is spread over the seeds; in each step a node
    gives all that it has to its neighbours in equal parts. The walk ends early, after log2(n)
    steps, before it mixes with regions that few edges lead to; what a node has then is divided by
    its degree.

    Args:
      both: neighbours whatever the direction: as many rows as columns.
      seeds: int64 `[k]`, numbers of honest nodes, each once.

    Returns:
      float64 `[rows]`, 1 where a walk without end would leave it everywhere; NaN for a node without
      neighbours, and for all where there is no seed.

    >>> from transforms.social.rows import make_rows, merge, transpose
    >>> rows = make_rows(np.array([0, 1, 2], np.int32), np.array([1, 2, 3], np.int32), 4)
    >>> sybil_rank(merge(rows, transpose(rows)), np.array([0])).tolist()
    [3.0, 0.0, 1.5, 0.0]
    """
    nodes, degrees = len(both), both.degrees
    if not len(seeds):
        return np.full(nodes, np.nan)
    trust = np.zeros(nodes, np.int64)
    trust[seeds] = nodes * _TRUST // len(seeds)
    for _ in range(math.ceil(math.log2(nodes))):
        trust = neighbour_sums(both, trust // np.maximum(degrees, 1))
    with np.errstate(invalid="ignore"):
        return trust / degrees * (len(both.to) / (nodes * _TRUST))


def sybil_scar(
    both: NeighbourRows,
    honest: Int64s,
    abusive: Int64s,
    steps: int = 6,
    prior: float = 0.4,
    coupling: float = 0.02,
) -> Float64s:
    """Standing of each node from labels of both kinds: above 0 like the honest, below like abusers.

    Linear SybilSCAR: Wang, Zhang, Gong, "SybilSCAR: Sybil Detection in Online Social Networks via
    Local Rule based Propagation", INFOCOM 2017: p = q + 2 w A p, where p and q are probabilities of
    being honest less .5, q that of the labels, held within -.5 and .5. Defaults are those that its
    authors' program names: .9 and .1 for labelled nodes, and the weight .51, so 2 w = .02.

    Args:
      both: neighbours whatever the direction: as many rows as columns.
      honest, abusive: int64 `[k]`, numbers of labelled nodes.
      prior: |q| of a labelled node.
      coupling: 2 w.

    Returns:
      float64 `[rows]` in [-.5, .5]; NaN for all where no node is labelled.

    >>> from transforms.social.rows import make_rows, merge, transpose
    >>> rows = make_rows(np.array([0, 1, 2], np.int32), np.array([1, 2, 3], np.int32), 4)
    >>> both = merge(rows, transpose(rows))
    >>> sybil_scar(both, np.array([0]), np.array([3])).round(4).tolist()
    [0.4002, 0.0078, -0.0078, -0.4002]
    """
    if not len(honest) + len(abusive):
        return np.full(len(both), np.nan)
    labels = np.zeros(len(both), np.int64)
    labels[honest] = round(2 * prior * _HALF)
    labels[abusive] = -round(2 * prior * _HALF)
    standing = labels
    for _ in range(steps):
        heard = np.rint(neighbour_sums(both, standing) * coupling).astype(np.int64)
        standing = np.clip(labels + heard, -_HALF, _HALF)
    return standing / (2 * _HALF)
