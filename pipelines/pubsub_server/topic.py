"""A topic: its subscriptions, and the messages that seeks of any of them may need."""

from __future__ import annotations

import dataclasses
from collections import deque
from collections.abc import Sequence

from pipelines.pubsub_server.backlog import Backlog
from pipelines.pubsub_server.messages import Message, TopicConfig


@dataclasses.dataclass(slots=True, eq=False)
class Topic:
    """What a topic is, who reads it, and its log where retention or a snapshot asks for one.

    `needed` in the methods is the serial after which snapshots need messages; None without any.
    """

    config: TopicConfig
    backlogs: dict[str, Backlog] = dataclasses.field(default_factory=dict)
    log: deque[Message] = dataclasses.field(default_factory=deque)
    bytes: int = 0

    def keep(self, messages: Sequence[Message], needed: int | None) -> None:
        """Logs messages that a seek may ask for."""
        if self.config.retention_us or needed is not None:
            self.log.extend(messages)
            self.bytes += sum(message.size for message in messages)

    def trim(self, now_us: int, needed: int | None) -> None:
        """Drops what neither retention nor a snapshot needs."""
        oldest = now_us - self.config.retention_us
        while self.log:
            first = self.log[0]
            if self.config.retention_us and first.publish_us >= oldest:
                break
            if needed is not None and first.serial > needed:
                break
            self.bytes -= self.log.popleft().size
