"""A topic: its subscriptions, and the messages that a seek of any of them may need."""

from __future__ import annotations

import dataclasses
from collections import deque
from collections.abc import Sequence

from pipelines.pubsub_server.backlog import Backlog
from pipelines.pubsub_server.messages import Message, TopicConfig


@dataclasses.dataclass(slots=True, eq=False)
class Topic:
    """What a topic is, who reads it, and its log where it has a retention."""

    config: TopicConfig
    backlogs: dict[str, Backlog] = dataclasses.field(default_factory=dict)
    log: deque[Message] = dataclasses.field(default_factory=deque)
    bytes: int = 0

    def keep(self, messages: Sequence[Message]) -> None:
        """Logs messages that a seek may ask for."""
        if self.config.retention_us:
            self.log.extend(messages)
            self.bytes += sum(message.size for message in messages)

    def trim(self, now_us: int) -> None:
        """Drops what is beyond the retention."""
        oldest = now_us - self.config.retention_us
        while self.log and self.log[0].publish_us < oldest:
            self.bytes -= self.log.popleft().size
