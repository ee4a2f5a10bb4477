"""What a scorer has done so far, as counters: for its report, its status line and its metrics."""

from __future__ import annotations

import dataclasses
from collections import Counter
from typing import Any

from transforms.dead_letter import Reason


def _counter(about: str) -> Any:
    return dataclasses.field(default=0, metadata={"about": about})


@dataclasses.dataclass
class Counts:
    """Counters of one scorer; its own thread adds, others may read at any time.

    Attributes:
      actions: decisions by action.
      withheld: actions that were held back, by what.
      dead_letters: records that could not be used, by reason.
      saturated: values that did not fit into an aggregate, by aggregate.
    """

    events: int = _counter("Events folded.")
    decisions: int = _counter("Decisions made.")
    revisions: int = _counter("Decisions that another action replaced, once their order was known.")
    late: int = _counter("Events that came after the disorder bound.")
    duplicates: int = _counter("Events dropped because their id was known.")
    other_kind: int = _counter("Duplicates of an event of another kind: ids that collide.")
    before_start: int = _counter("Events left out as those that the initial state holds.")
    forced: int = _counter("Events folded before their time, because the buffer was full.")
    redelivered: int = _counter("Messages that came again while they were held.")
    swaps: int = _counter("Bundles taken over.")
    graph_snapshots: int = _counter("Snapshots of the social graph taken over.")
    shadow_events: int = _counter("Events that the shadow scored.")
    shadow_dropped: int = _counter(
        "Events that the shadow did not score, to stay within its share."
    )
    refused_bundles: int = _counter("Bundles and pointers that were refused.")
    actions: Counter[str] = dataclasses.field(default_factory=Counter)
    withheld: Counter[str] = dataclasses.field(default_factory=Counter)
    dead_letters: Counter[Reason] = dataclasses.field(default_factory=Counter)
    saturated: Counter[str] = dataclasses.field(default_factory=Counter)

    def totals(self) -> dict[str, tuple[int, str]]:
        """The counters without a label: name -> value and what it counts."""
        fields = (one for one in dataclasses.fields(self) if "about" in one.metadata)
        return {one.name: (getattr(self, one.name), one.metadata["about"]) for one in fields}

    def to_builtins(self) -> dict[str, Any]:
        """For JSON.

        >>> Counts(events=3, actions=Counter(block=1)).to_builtins()["actions"]
        {'block': 1}
        """
        totals = {name: value for name, (value, _) in self.totals().items()}
        dead = {str(reason): count for reason, count in sorted(self.dead_letters.items())}
        return {
            **totals,
            "actions": dict(sorted(self.actions.items())),
            "withheld": dict(sorted(self.withheld.items())),
            "dead_letters": dead,
            "saturated": dict(sorted(self.saturated.items())),
        }
