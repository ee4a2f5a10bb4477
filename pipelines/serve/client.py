"""A client of `lockstep serve` in Python; other languages generate theirs from `decide.proto`."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import grpc

from pipelines.serve import decide_pb2

METHOD = "/lockstep.v1.Decisions/Decide"


class DecisionClient:
    """Asks for decisions, over one connection.

    Args:
      endpoint: HOST:PORT.
      deadline_s: of each call.
    """

    def __init__(self, endpoint: str, deadline_s: float = 1.0) -> None:
        self._deadline_s = deadline_s
        self._channel = grpc.insecure_channel(endpoint)
        self._call = self._channel.unary_unary(
            METHOD,
            request_serializer=decide_pb2.DecideRequest.SerializeToString,
            response_deserializer=decide_pb2.DecideResponse.FromString,
        )

    def decide(self, events: Sequence[bytes]) -> list[list[dict[str, Any]]]:
        """Decisions of each event, as objects; none where its kind is not scored.

        Args:
          events: as they are published.

        Raises:
          grpc.RpcError: its `code()` says what to do (`decide.proto`).
        """
        made = self._call(decide_pb2.DecideRequest(events=events), timeout=self._deadline_s)
        return [[json.loads(one) for one in answer.decisions] for answer in made.answers]

    def close(self) -> None:
        """Ends the connection."""
        self._channel.close()

    def __enter__(self) -> DecisionClient:
        return self

    def __exit__(self, *failure: object) -> None:
        self.close()
