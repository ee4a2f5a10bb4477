"""What failed, in words, wherever it failed.

A runner reports an error of a worker as the text of a traceback, if at all. So a step that knows
why it fails writes that down in its run's attempt folder and raises; the launcher reads it there,
and raises the same error with the same words on every runner.
"""

from __future__ import annotations

import contextlib
import errno
import json
import uuid
from collections.abc import Iterator

from configs import errors
from pipelines.signals import raise_if_stopped
from scoring.files import join, list_files, read_file, replace_file

FAILURES = "failures"
_KINDS: dict[str, type[errors.LockstepError]] = {
    kind.__name__: kind
    for kind in (errors.InputError, errors.BundleError, errors.StateError, errors.EvidenceError)
}

_here: dict[str, errors.LockstepError] = {}


@contextlib.contextmanager
def reported(attempt: str) -> Iterator[None]:
    """Writes down what fails within, and raises it.

    Args:
      attempt: the attempt's folder, on any Beam filesystem; "": it is raised only.
    """
    raise_if_stopped()  # Beam may lose what a signal's handler raises
    try:
        yield
    except (OSError, errors.LockstepError) as error:
        if not attempt:
            raise
        ours = explain_os_error(error) if isinstance(error, OSError) else error
        text = json.dumps({"kind": type(ours).__name__, "message": str(ours)})
        path = join(attempt, FAILURES, f"{uuid.uuid4().hex}.json")
        _here[attempt] = ours
        with contextlib.suppress(OSError):  # a full disk: it is known in this process only
            replace_file(path, text.encode(), flush=False, shared=True)
        raise


def reported_failure(attempt: str) -> errors.LockstepError | None:
    """The first failure that a step wrote down; None if none did."""
    for path in list_files(join(attempt, FAILURES)):
        failure = json.loads(read_file(path))
        return _KINDS.get(failure["kind"], errors.InputError)(failure["message"])
    return _here.get(attempt)


def explain_os_error(error: OSError) -> errors.LockstepError:
    """An operating system's error as one of ours: what happened, where, what to do.

    >>> explain_os_error(OSError(errno.ENOSPC, "No space left on device", "/out/x")).exit_code
    4
    """
    where = f" ({error.filename})" if error.filename else ""
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG) or "No space" in str(error):
        return errors.InputError(
            f"the disk is full{where}; nothing half-written was left. Free space and run again: "
            "it goes on at the first day that is missing"
        )
    return errors.InputError(f"reading or writing failed{where}: {error.strerror or error}")
