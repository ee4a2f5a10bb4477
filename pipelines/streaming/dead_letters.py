"""Messages that cannot be used: one by one to a folder, and to a topic where there is one.

What enters: dead messages of a micro-batch. What leaves: a line each, with stage and reason, in
the file of the day on which it arrived here; and the message as it was, with its own attributes and
ours, on the dead-letter topic. Both are safe before the message is acknowledged. A message that
comes again (the process ended before its ack) is told again: `message_id` says so.

    STATE/dead_letters/date=2026-03-08.jsonl

A line has no payload, unless there is no topic, or the topic would not take the message: then it
is nowhere else, and the line has it in base64. The files are for their owner alone, and are
removed after `keep_days`.
"""

from __future__ import annotations

import base64
import contextlib
import datetime as dt
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import msgspec

from pipelines.pubsub.micro_batch import DeadMessage
from pipelines.pubsub.protocol import MAX_ATTRIBUTES, MAX_BYTES
from scoring.files import sync

_OURS = "lockstep_"
_RESERVED = "goog"  # Pub/Sub refuses to publish attributes that begin so
_FRAMING = 64  # bytes a message takes in a request beyond its parts, and each attribute


class TakesDead(Protocol):
    """What takes messages with attributes (`pipelines.pubsub.publisher.TopicPublisher`)."""

    def publish(
        self, data: Sequence[bytes], attributes: Sequence[Mapping[str, str]] | None = None
    ) -> list[str]:
        """Returns when the server has them."""


class DeadLetters:
    """The folder and the topic.

    Args:
      root: the state folder.
      topic: None: the folder only.
      keep_days: files of the newest so many days stay.
      today: the clock, UTC.
    """

    def __init__(
        self,
        root: Path,
        topic: TakesDead | None = None,
        keep_days: int = 30,
        today: Callable[[], dt.date] = lambda: dt.datetime.now(dt.UTC).date(),
    ) -> None:
        self._folder = root / "dead_letters"
        self._topic, self._keep_days, self._today = topic, keep_days, today

    def write(self, dead: Sequence[DeadMessage]) -> None:
        """Adds lines, all of them or none, flushed to disk.

        Raises:
          OSError: the disk is full or gone; they may be added again later.
        """
        day = self._today()
        path = self._folder / f"date={day}.jsonl"
        lines = b"".join(dead_line(one, self._topic is not None) for one in dead)
        self._folder.mkdir(mode=0o700, exist_ok=True)
        fresh = not path.exists()
        handle = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        try:
            before = os.fstat(handle).st_size
            try:
                left = memoryview(lines)
                while left:
                    left = left[os.write(handle, left) :]
                os.fsync(handle)
            except OSError:
                with contextlib.suppress(OSError):
                    os.ftruncate(handle, before)
                raise
        finally:
            os.close(handle)
        if fresh:
            sync(self._folder)
            self._forget(day)

    def publish(self, dead: Sequence[DeadMessage]) -> None:
        """Sends to the topic what it takes.

        Raises:
          InputError: the topic refuses, or the scorer is to end.
        """
        if self._topic is None:
            return
        publish_dead(self._topic, dead)

    def _forget(self, day: dt.date) -> None:
        oldest = f"date={day - dt.timedelta(days=self._keep_days - 1)}.jsonl"
        for path in self._folder.glob("date=*.jsonl"):
            if path.name < oldest:
                path.unlink()


def dead_line(one: DeadMessage, has_topic: bool) -> bytes:
    """A line of the folder: with the message itself where no topic has it."""
    letter: dict[str, Any] = {
        "stage": one.letter.stage,
        "reason": one.letter.reason,
        "column": one.letter.column,
        "detail": one.letter.detail,
        "message_id": one.message.message_id,
    }
    if not has_topic or not _fits(one):
        letter["payload"] = base64.b64encode(one.message.data).decode()
        letter["attributes"] = dict(one.message.attributes)
    return msgspec.json.encode(letter) + b"\n"


def publish_dead(topic: TakesDead, dead: Sequence[DeadMessage]) -> None:
    """Sends to a topic what it takes."""
    sent = [one for one in dead if _fits(one)]
    if sent:
        topic.publish([one.message.data for one in sent], [dead_attributes(one) for one in sent])


def dead_attributes(one: DeadMessage) -> dict[str, str]:
    """The attributes of a dead message: its own, and why it is dead.

    Pub/Sub takes a hundred, and none that begins with "goog"; what there is no room for is left
    out, and `lockstep_left_out` says how many. Ours win over those of a message that was dead
    before.
    """
    letter, message = one.letter, one.message
    ours = {
        f"{_OURS}stage": str(letter.stage),
        f"{_OURS}reason": str(letter.reason),
        f"{_OURS}message_id": message.message_id,
    }
    if letter.column is not None:
        ours[f"{_OURS}column"] = letter.column
    theirs = {
        name: value
        for name, value in message.attributes.items()
        if not name.startswith((_OURS, _RESERVED))
    }
    room = MAX_ATTRIBUTES - len(ours)
    if len(theirs) > room:
        ours[f"{_OURS}left_out"] = str(len(theirs) - room + 1)
        theirs = dict(list(theirs.items())[: room - 1])
    return theirs | ours


def _fits(one: DeadMessage) -> bool:
    """Whether the topic takes it: with its attributes it must not be larger than a request."""
    attributes = dead_attributes(one)
    more = sum(len(k.encode()) + len(v.encode()) + _FRAMING for k, v in attributes.items())
    return len(one.message.data) + more + _FRAMING <= MAX_BYTES
