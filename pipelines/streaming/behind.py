"""Work that may come after: one thread does it in order, and its owner hears what failed.

The loop goes on while what it decided is written, flushed and published behind it. Whoever needs
that it is done waits for it (`settle`); a job that failed stays the next one to be done, so nothing
is left out where the owner goes on (`resume`).
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from typing import Protocol

Steps = deque[Callable[[], None]]
"""What a job is made of; what is done is taken out."""


class Works(Protocol):
    """Where jobs are done."""

    def put(self, *steps: Callable[[], None]) -> None:
        """A job, which is done after those before it; waits while too many are to be done."""

    def settle(self, left: int = 0) -> None:
        """Returns when no more than so many of the newest jobs are to be done."""

    def resume(self) -> None:
        """After a failure: the job that failed is gone on with."""

    def close(self) -> None:
        """Does what is left, and ends; after a failure nothing more is done."""


class Behind:
    """Does jobs in a thread of its own, which is begun with the first one.

    Args:
      most: jobs that may wait. What a busy disk holds up is held up at its beginning then, where
        what arrives meanwhile is decided together.
    """

    def __init__(self, most: int = 4) -> None:
        self._most = most
        self._changed = threading.Condition()
        self._jobs: deque[Steps] = deque()  # the first one is being done
        self._failure: BaseException | None = None
        self._ended = False
        self._thread: threading.Thread | None = None

    def put(self, *steps: Callable[[], None]) -> None:
        """See `Works`.

        Raises:
          BaseException: what a job before has raised.
        """
        self.settle(self._most)
        with self._changed:
            self._jobs.append(deque(steps))
            self._changed.notify_all()
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="behind", daemon=True)
            self._thread.start()

    def settle(self, left: int = 0) -> None:
        """See `Works`.

        Raises:
          BaseException: what a job has raised.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._failure or len(self._jobs) <= left)
            if self._failure is not None:
                raise self._failure

    def resume(self) -> None:
        """See `Works`."""
        with self._changed:
            self._failure = None
            self._changed.notify_all()

    def close(self) -> None:
        """See `Works`."""
        with self._changed:
            self._changed.wait_for(lambda: self._failure or not self._jobs)
            self._ended = True
            self._changed.notify_all()
        if self._thread is not None:
            self._thread.join()

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(
                    lambda: self._ended or (self._jobs and self._failure is None)
                )
                if self._ended:
                    return
                steps = self._jobs[0]
            try:
                while steps:
                    steps[0]()
                    steps.popleft()
            except BaseException as failure:  # of any kind: the owner raises it
                with self._changed:
                    self._failure = failure
                    self._changed.notify_all()
                continue
            with self._changed:
                self._jobs.popleft()
                self._changed.notify_all()
