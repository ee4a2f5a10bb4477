"""Writing that waits: while the disk is full or gone nothing goes on.

What enters: something to write, that leaves nothing behind where it fails. What leaves: the disk
has it, or the scorer was asked to end.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

from configs.errors import StateError
from pipelines.streaming.stopping import Stopping

_LOGGER = logging.getLogger(__name__)
_WAITS_S = (0.2, 5.0)


def retry_until_written(
    root: Path, what: str, write: Callable[[], None], stopping: Stopping
) -> None:
    """Calls `write` until it succeeds.

    Args:
      root: the state folder, for messages.
      what: is written, for messages.
      write: leaves nothing behind where it raises an OSError.
      stopping: a scorer that is to end does not wait.

    Raises:
      StateError: it is to end.
    """
    wait = _WAITS_S[0]
    while True:
        try:
            write()
            return
        except OSError as error:
            if stopping.asked:
                raise StateError(
                    f"{what} in {root} cannot be written ({error.strerror}); what is not "
                    "decided goes on after the next start"
                ) from error
            _LOGGER.warning(
                "%s in %s cannot be written (%s); free space. Nothing goes on until then; again "
                "in %.1f s",
                what,
                root,
                error.strerror,
                wait,
            )
            stopping.sleep(wait)
            wait = min(_WAITS_S[1], 2 * wait)
