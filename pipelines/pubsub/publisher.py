"""Publishes to one topic, in requests of many messages, each answered before the next.

What enters: messages as bytes. What leaves: their ids, once the server has them. When the server
is away it tries again until a deadline: the caller is held back, and loses nothing.
"""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from types import TracebackType

import grpc
from google.pubsub_v1.types import pubsub as wrapped

from pipelines.pubsub import connect
from pipelines.pubsub.names import require_name
from pipelines.pubsub.protocol import MAX_BYTES, MAX_MESSAGES, raw

_LOGGER = logging.getLogger(__name__)

_CALL_S = 30.0
_BACKOFF_S = (0.1, 10.0)
_REQUEST_BYTES = MAX_BYTES // 2  # leaves room for attributes and framing


class TopicPublisher:
    """Publishes to one topic.

    Args:
      topic: full name, "projects/P/topics/T".
      endpoint: "127.0.0.1:8085"; None: `PUBSUB_EMULATOR_HOST`, or Google Cloud.
      patience_s: how long a publish goes on trying while the server is away.
      jitter: spreads the retries.
      stopped: asked between tries; true ends them.
    """

    def __init__(
        self,
        topic: str,
        endpoint: str | None = None,
        patience_s: float = 600.0,
        jitter: random.Random | None = None,
        stopped: Callable[[], bool] = lambda: False,
    ) -> None:
        self.topic = require_name(topic, "topics")
        self._endpoint = endpoint
        self._patience_s = patience_s
        self._jitter = jitter or random.Random()
        self._stopped = stopped
        self._transport = connect.publisher_transport(endpoint)

    def publish(
        self, data: Sequence[bytes], attributes: Sequence[Mapping[str, str]] | None = None
    ) -> list[str]:
        """Publishes messages in their order; their ids, when the server has all of them.

        Args:
          data: `[n]` payloads.
          attributes: of each, or None.

        Raises:
          InputError: the server refuses, or stays away for longer than the patience.
        """
        messages = [
            raw("PubsubMessage")(data=one, attributes=attributes[i] if attributes else None)
            for i, one in enumerate(data)
        ]
        ids: list[str] = []
        for start, end in _requests([message.ByteSize() for message in messages]):
            request = raw("PublishRequest")(topic=self.topic, messages=messages[start:end])
            ids += self._send(request)
        return ids

    def close(self) -> None:
        """Closes the connection."""
        self._transport.close()

    def __enter__(self) -> TopicPublisher:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _send(self, request: object) -> list[str]:
        metadata = connect.routing("topic", self.topic)
        ends = time.monotonic() + self._patience_s
        wait = _BACKOFF_S[0]
        while True:
            try:
                response = self._transport.publish(request, timeout=_CALL_S, metadata=metadata)
                return list(wrapped.PublishResponse.pb(response).message_ids)
            except grpc.RpcError as error:
                over = time.monotonic() > ends or self._stopped()
                if error.code() in connect.FATAL or over:
                    raise connect.failure(error, self.topic, self._endpoint) from error
                pause = wait * self._jitter.uniform(0.5, 1.0)
                _LOGGER.warning(
                    "Pub/Sub: publishing to %s at %s failed (%s: %s); again in %.1f s",
                    self.topic,
                    connect.server_of(self._endpoint) or "Google Cloud",
                    error.code().name,
                    error.details(),
                    pause,
                )
                time.sleep(pause)
                wait = min(_BACKOFF_S[1], 2 * wait)


def _requests(sizes: Sequence[int]) -> Iterator[tuple[int, int]]:
    """Ranges of messages that fit into one request each.

    >>> list(_requests([1, _REQUEST_BYTES, 1]))
    [(0, 1), (1, 2), (2, 3)]
    >>> list(_requests([1] * 1500))
    [(0, 1000), (1000, 1500)]
    """
    start, total = 0, 0
    for at, size in enumerate(sizes):
        if at > start and (total + size > _REQUEST_BYTES or at - start >= MAX_MESSAGES):
            yield start, at
            start, total = at, 0
        total += size
    if start < len(sizes):
        yield start, len(sizes)
