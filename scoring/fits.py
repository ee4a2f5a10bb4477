"""Whether a bundle's spec goes with what a scorer has: its state, and how it reads events."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from configs.errors import StateError
from configs.fingerprint import state_fingerprint
from configs.schema import Spec


def check_fits(now: Spec, wanted: Spec) -> None:
    """Whether a bundle's spec can go on from the state of another spec.

    Raises:
      StateError: an entity's state has another shape, and which.
    """
    for entity in wanted.entities:
        if entity not in now.entities:
            raise StateError(
                f"the bundle's spec has entity {entity!r}, of which this scorer keeps no state; "
                "start it anew with --from-night, from a backfill under the new spec"
            )
        old, new = state_fingerprint(now, entity), state_fingerprint(wanted, entity)
        if old != new:
            raise StateError(
                f"the bundle's state of entity {entity!r} is {new}, this scorer's is {old}; "
                "start it anew with --from-night, from a backfill under the new spec"
            )


def check_events(now: Spec, wanted: Spec) -> None:
    """Whether a running scorer, which decodes by one spec, can decide by another one.

    A restarted one can, where the state fits (`check_fits`): it decodes by the new spec.

    Raises:
      StateError: events would be decoded otherwise, and in what.
    """
    if now.name != wanted.name:
        raise StateError(
            f"the bundle is of {wanted.name!r}, this scorer of {now.name!r}; promote one of "
            f"{now.name!r}, or start another scorer, with a --state of its own"
        )
    kinds = [{k: (v.required, v.scored) for k, v in spec.kinds.items()} for spec in (now, wanted)]
    columns = [
        {k: dataclasses.replace(v, about="") for k, v in spec.columns.items()}
        for spec in (now, wanted)
    ]
    differ = [
        *(["events"] if now.events != wanted.events else []),
        *(f"column {name!r}" for name in _unlike(*columns)),
        *(f"kind {name!r}" for name in _unlike(*kinds)),
        *(["ingest"] if now.ingest != wanted.ingest else []),
    ]
    if differ:
        raise StateError(
            f"the bundle reads events otherwise ({', '.join(differ)}), and a running scorer goes "
            "on with the rules that it was started with; restart it: its own --state fits"
        )


def _unlike(now: Mapping[str, Any], wanted: Mapping[str, Any]) -> list[str]:
    return [one for one in sorted(now.keys() | wanted.keys()) if now.get(one) != wanted.get(one)]
