"""Requests to answers: decode, refuse what cannot be decided, decide the rest in one call.

Pure but for the follower's state: the clock is passed in, and there is no gRPC here. A request is
answered whole or refused whole, and no request changes another's answer (`scoring.ask`).
"""

from __future__ import annotations

import dataclasses
import enum
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from configs.schema import EVENT_ID, EVENT_TIME
from pipelines.serve.follower import Follower, earliest_by_record
from pipelines.streaming.decisions import encode_decisions
from scoring.engine import SCORED
from transforms.dead_letter import DeadLetter, Reason
from transforms.decode import Decoded
from transforms.duplicates import hash_ids

Int64s = npt.NDArray[np.int64]

_MOST_TOLD = 5


class Refusal(enum.StrEnum):
    """Why there is no answer; the names are gRPC's status codes."""

    INVALID_ARGUMENT = "INVALID_ARGUMENT"
    ALREADY_EXISTS = "ALREADY_EXISTS"
    RESOURCE_EXHAUSTED = "RESOURCE_EXHAUSTED"
    DEADLINE_EXCEEDED = "DEADLINE_EXCEEDED"
    UNAVAILABLE = "UNAVAILABLE"
    INTERNAL = "INTERNAL"


class RefusalError(Exception):
    """A request that is not answered; the message holds no payload and no id."""

    def __init__(self, refusal: Refusal, message: str) -> None:
        super().__init__(message)
        self.refusal = refusal


@dataclasses.dataclass(frozen=True)
class Limits:
    """What is taken.

    Attributes:
      request_events: most events of a request.
      waiting_events: most events that wait for their answer.
      look_events: most events that are decided in one call; more wait for the next.
      ahead_us: events further than this beyond the clock are refused.
    """

    request_events: int = 100
    waiting_events: int = 1000
    look_events: int = 64
    ahead_us: int = 10_000_000


Answers = list[list[bytes]]
"""For each event of a request, its decisions."""


def answer(
    follower: Follower, requests: Sequence[Sequence[bytes]], now_us: int, limits: Limits
) -> list[Answers | RefusalError]:
    """Answers requests.

    Args:
      follower: the state that they are decided on.
      requests: events of each, as JSON.
      now_us: the clock, microseconds UTC.
      limits: of what is taken.
    """
    sizes = [len(events) for events in requests]
    request_of = np.repeat(np.arange(len(requests)), sizes)
    place_of = np.concatenate([np.arange(size) for size in sizes])
    made = follower.decode([event for events in requests for event in events])
    refused = _refused(follower, made, request_of, place_of, now_us + limits.ahead_us)
    result: list[Answers | RefusalError] = [[[] for _ in events] for events in requests]
    for request, error in refused.items():
        result[request] = error
    rows = np.flatnonzero(~np.isin(request_of[made.positions], list(refused)))
    scorer = follower.engine.scorer
    if not len(rows) or scorer is None:
        return result
    outcome = follower.ask(made.batch.take(pa.array(rows)))
    messages = encode_decisions(follower.engine.spec, outcome, scorer, [0] * len(rows))
    scored = outcome.events.column(SCORED).to_numpy(zero_copy_only=False)
    for position, message in zip(made.positions[rows[scored]].tolist(), messages, strict=True):
        answers = result[request_of[position]]
        if not isinstance(answers, RefusalError) and message is not None:
            answers[place_of[position]].append(message)
    return result


def _refused(
    follower: Follower, made: Decoded, request_of: Int64s, place_of: Int64s, most_us: int
) -> dict[int, RefusalError]:
    """Requests with an event that cannot be decided, by their number."""
    refused: dict[int, RefusalError] = {}
    bad: dict[int, list[str]] = {}
    for letter in made.dead:
        said = f"event {place_of[letter.position]}: {_described(letter)}"
        bad.setdefault(int(request_of[letter.position]), []).append(said)
    for position in np.flatnonzero(
        (earliest_by_record(made, len(request_of)) > most_us)
        & np.isin(np.arange(len(request_of)), made.positions)
    ):
        said = f"event {place_of[position]}: {Reason.BAD_TIME}, column {EVENT_TIME}: in the future"
        bad.setdefault(int(request_of[position]), []).append(said)
    for request, mistakes in bad.items():
        more = len(mistakes) - _MOST_TOLD
        said = "; ".join(mistakes[:_MOST_TOLD]) + (f"; and {more} more" if more > 0 else "")
        refused[request] = RefusalError(Refusal.INVALID_ARGUMENT, said)
    times = made.batch.column(EVENT_TIME).to_numpy()
    known = follower.engine.resident.recent.known(*hash_ids(made.batch.column(EVENT_ID)), times)
    if follower.first_us is not None:
        known |= times < follower.first_us
    for row in np.flatnonzero(known):
        position = made.positions[row]
        said = f"event {place_of[position]} has been folded; its decision is on the topic"
        refused.setdefault(int(request_of[position]), RefusalError(Refusal.ALREADY_EXISTS, said))
    return refused


def _described(letter: DeadLetter) -> str:
    column = f", column {letter.column}" if letter.column else ""
    return f"{letter.reason}{column}: {letter.detail}"
