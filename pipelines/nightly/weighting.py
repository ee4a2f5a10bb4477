"""What a running scorer did to a training sample, from its log: labels left out, and weights.

Only with `labels.weighting: inverse_propensity` (`training.propensity` says why and how).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from configs.errors import ConfigError, EvidenceError
from configs.schema import EVENT_ID
from pipelines.dataset import Dataset
from pipelines.layout import Days, day_of
from pipelines.nightly.plan import NightlyRequest
from pipelines.selective import logged_decisions, parse_decisions
from training.dataset import Slices, TimeRange
from training.delays import DelayCurve
from training.propensity import (
    LEAST,
    Seen,
    SliceWeights,
    even_chances,
    inverse_propensities,
    summarise_weights,
)

INVERSE_PROPENSITY = "inverse_propensity"


@dataclasses.dataclass(frozen=True)
class Young:
    """Events after the training span, as known so far (`training.delayed_feedback`).

    Attributes:
      data: an event without a verdict has the label 0; -1: it teaches nothing.
      weights: float64 `[n]`, but for their age; None: all weigh 1.
      come: float64 `[n]`, the share of verdicts that comes by their ages, of `curve`.
      until_us: where they end, microseconds UTC.
      undecided: events that the log has no decision on.
    """

    data: Dataset
    weights: npt.NDArray[np.float64] | None
    come: npt.NDArray[np.float64]
    curve: DelayCurve
    until_us: int
    undecided: int = 0


@dataclasses.dataclass(frozen=True)
class Weighed:
    """A sample as it is trained on, and what was made of it.

    Attributes:
      data: the gate slice's labels are of events that were seen with one chance.
      weights: float64 `[n]`; None: all weigh 1.
      slices: by the names of the slices; empty where nothing is weighted.
      undecided: events of the sample that the log has no decision on.
      young: what comes after the sample; None: nothing is learnt from it.
    """

    data: Dataset
    weights: npt.NDArray[np.float64] | None
    slices: Mapping[str, SliceWeights] = dataclasses.field(default_factory=dict)
    undecided: int = 0
    young: Young | None = None

    def notes(self) -> dict[str, Any]:
        """For the bundle's provenance; nothing where nothing is weighted by chance."""
        if not self.slices:
            return {}
        plain = {name: dataclasses.asdict(one) for name, one in self.slices.items()}
        return {"weighting": plain | {"undecided": self.undecided}}

    def warnings(self) -> Iterator[str]:
        """What someone should look at, in words."""
        for name, one in self.slices.items():
            yield (
                f"labels.weighting: the {name} slice has {one.labelled:,} labelled events that "
                f"count, {one.through:,} of them let through; they stand for {one.effective:,.0f} "
                f"of equal weight. {one.acted:,} labels of what was acted on are left out"
                + (f", and clipping took {one.clipped:.1%} of the weight" if one.clipped else "")
            )
        undecided, events = self.undecided, len(self.data)
        if self.young is not None:
            undecided, events = undecided + self.young.undecided, events + len(self.young.data)
        if self.slices and undecided:
            yield (
                f"labels.weighting: the scorer's log has no decision on {undecided:,} of "
                f"{events:,} events, which count as not acted on; keep the log for as long "
                "as training.span and training.delay (`lockstep stream --keep-log-days`), or "
                "what was acted on counts as harmless"
            )


def weigh(request: NightlyRequest, data: Dataset, cut: Slices) -> Weighed:
    """The sample as the config wants it weighted.

    Raises:
      ConfigError: the scorer's log is not known.
      InputError: some of its decisions were made without a hold-out.
      EvidenceError: too little was let through to conclude anything.
    """
    weights = data.subject_weights(request.spec)
    read = read_seen(request, data, cut.span)
    if read is None:
        return Weighed(data, weights)
    seen, undecided = read
    labels, inverse = inverse_propensities(data.labels, seen)
    ids = data.events.column(EVENT_ID)
    gate = np.flatnonzero(cut.gate.mask(data.times))
    labels[gate] = even_chances(labels[gate], inverse[gate], ids.take(pa.array(gate)))
    slices = {}
    for name in ("fit", "validation", "gate"):
        rows = np.flatnonzero(getattr(cut, name).mask(data.times))
        own = Seen(seen.acted[rows], seen.through[rows], seen.propensity[rows])
        each = np.ones(len(rows)) if name == "gate" else inverse[rows]
        slices[name] = summarise_weights(data.labels[rows], labels[rows], each, own)
        if slices[name].through < LEAST:
            raise EvidenceError(
                f"the {name} slice ({getattr(cut, name)}) has {slices[name].through:,} labelled "
                f"events that the hold-out let through, and {LEAST:.0f} are needed to conclude "
                "anything of what was acted on; raise policy.hold_out.share, use a longer "
                "training.span, or set labels.weighting: none"
            )
    both = inverse if weights is None else inverse * weights
    return Weighed(dataclasses.replace(data, labels=labels), both, slices, undecided)


def read_seen(request: NightlyRequest, data: Dataset, where: TimeRange) -> tuple[Seen, int] | None:
    """What the log says of events of a range, and on how many of them it says nothing.

    None: the config does not weigh by it.

    Raises:
      ConfigError: the scorer's log is not known.
      InputError: some of its decisions were made without a hold-out.
    """
    labels, state = request.spec.labels, request.scorer
    if labels is None or labels.weighting != INVERSE_PROPENSITY:
        return None
    if state is None:
        raise ConfigError(
            "labels.weighting is inverse_propensity, and what was acted on is in the scorer's log: "
            "give --scorer its --state folder, or set labels.weighting: none"
        )
    ids = data.events.column(EVENT_ID)
    days = Days(day_of(where.start_us), day_of(where.end_us - 1))
    wanted = set(ids.to_pylist())
    named = (one for one in logged_decisions(state, days) if _event_of(one) in wanted)
    made = parse_decisions(named, request.spec.policy.default)
    at = pc.index_in(ids, value_set=made.ids)
    there = at.is_valid().to_numpy()
    place = at.drop_null().to_numpy()
    acted, through = np.zeros((2, len(data)), np.bool_)
    acted[there] = (made.due & ~made.through)[place]
    through[there] = made.through[place]
    propensity = np.ones(len(data))
    propensity[there] = np.where(made.through, made.propensity, 1.0)[place]
    return Seen(acted, through, propensity), int((~there).sum())


class _Named(msgspec.Struct):
    event_id: str


_EVENT = msgspec.json.Decoder(_Named)


def _event_of(decision: bytes) -> str:
    return _EVENT.decode(decision).event_id
