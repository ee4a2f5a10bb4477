"""Whose history an event, an input or a state is of: keys, entities, sequence numbers.

What enters: derived events, a spec, packed state. What leaves: hashed keys (never an account's
name), the entities behind each numeric input, and how many events a key has seen.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from configs.schema import KIND, Spec
from configs.social import graph_inputs
from transforms.hashing import key_hash
from transforms.inputs import numeric_names
from transforms.velocity import feature_names, make_plan
from transforms.velocity.codec import get_unsigned
from transforms.velocity.packing import HEADER


def entity_keys(spec: Spec, entity: str, batch: pa.RecordBatch) -> npt.NDArray[np.uint64]:
    """Each derived event's key of an entity: uint64 `[n]`, 0 without one."""
    kinds = batch.column(KIND)
    found = np.zeros(batch.num_rows, np.uint64)
    for kind, columns in spec.entities[entity].keys.items():
        hashes, valid = key_hash(batch, columns, entity, spec.hash_seed)
        here = pc.equal(kinds, kind).to_numpy(zero_copy_only=False) & valid
        found = np.where(here, hashes, found)
    return found


def entities_of(spec: Spec) -> dict[str, frozenset[str]]:
    """Which entities' histories each numeric input is made of."""
    found = {
        name: frozenset([entity])
        for entity in spec.entities
        for name in make_plan(spec, entity).features
    }
    none: frozenset[str] = frozenset()
    for name, expression in spec.inputs.computed.items():
        found[name] = none.union(*(found.get(column, none) for column in expression.columns))
    return {name: found.get(name, none) for name in (*numeric_names(spec), *feature_names(spec))}


def graph_names(spec: Spec) -> frozenset[str]:
    """Numeric inputs that are, or are computed of, features of accounts in the social graph."""
    found = {name for names in graph_inputs(spec.graph).values() for name in names}
    found |= {
        name for name, one in spec.inputs.computed.items() if not found.isdisjoint(one.columns)
    }
    return frozenset(found)


def sequence_of(packed: bytes) -> int:
    """How many events a key's packed state has seen.

    >>> sequence_of(b"")
    0
    """
    if not packed:
        return 0
    return int(get_unsigned(np.frombuffer(packed, np.uint8), HEADER)[0])
