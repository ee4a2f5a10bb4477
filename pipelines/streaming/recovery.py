"""After a failure: the state is taken from disk again, as after a kill, and the work goes on.

What enters: what `process` raised. What leaves: whether to go on. A micro-batch that failed in
the middle has left the state in memory somewhere between before and after it, so that state is
thrown away: `Service.resume` reads snapshot and log, and publishes what was logged and perhaps not
published. The intake then hands the micro-batch out again; what of it was logged is known by its
ids, the rest is folded. This is the path that every start after a kill takes.
"""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Callable

from configs.errors import LockstepError
from pipelines.streaming.failures import describe_failure
from pipelines.streaming.restore import Restored
from pipelines.streaming.service import Service
from pipelines.streaming.stopping import Stopping

_LOGGER = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class Patience:
    """How often a scorer recovers.

    Attributes:
      attempts: failures in a row, without a step logged between them, that end the scorer.
      pause_s, longest_s: the first pause, doubled each time, and the longest.
    """

    attempts: int = 5
    pause_s: float = 0.5
    longest_s: float = 30.0


class Recovery:
    """Decides what follows from a failure; the `recover` of `run_loop`.

    Args:
      service: whose micro-batch failed.
      restore: the state on disk.
      stopping: a scorer that is to end does not recover.
    """

    def __init__(
        self,
        service: Service,
        restore: Callable[[], Restored],
        stopping: Stopping,
        patience: Patience | None = None,
    ) -> None:
        self._service, self._restore, self._stopping = service, restore, stopping
        self._patience = patience or Patience()
        self._failures, self._step = 0, -1

    def __call__(self, failure: Exception) -> bool:
        """Recovers; false: the scorer was asked to end, and the next one goes on.

        Raises:
          LockstepError: trying again would not help (the error itself), or has not helped.
        """
        broken = self._service.failure or failure
        while True:
            if not isinstance(broken, Exception):
                raise broken  # an interrupt
            if self._stopping.asked:
                _LOGGER.warning(
                    "ended before the micro-batch at hand was done (%s); nothing of it is "
                    "lost: it is decided after the next start",
                    describe_failure(broken),
                )
                return False
            if isinstance(broken, LockstepError):
                raise broken
            self._pause(broken)
            try:
                self._service.resume(self._restore)
                return True
            except Exception as again:  # what kept the step from its end may keep this one too
                broken = again

    def _pause(self, failure: Exception) -> None:
        patience = self._patience
        if self._service.next_step > self._step:
            self._failures, self._step = 0, self._service.next_step
        self._failures += 1
        what = describe_failure(failure)
        if self._failures >= patience.attempts:
            raise LockstepError(
                f"step {self._step} failed {self._failures} times in a row, the last time with "
                f"{what}; nothing of it is lost. If memory or disk is short, give more; "
                "else this is a bug of Lockstep: keep --state, and go back to the version or "
                "bundle before"
            ) from failure
        pause = min(patience.longest_s, patience.pause_s * 2 ** (self._failures - 1))
        _LOGGER.error(
            "step %d failed (%s), attempt %d of %d; nothing of it is lost. The state is "
            "read from disk again in %.1f s",
            self._step,
            what,
            self._failures,
            patience.attempts,
            pause,
        )
        self._stopping.sleep(pause)
