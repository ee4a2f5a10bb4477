"""Python's garbage collector, in a process that others wait for."""

from __future__ import annotations

import gc

_THRESHOLDS = (5_000, 200, 100)  # objects, and so many younger collections


def collect_briefly() -> None:
    """Looks for garbage in what is new, a little at a time.

    A full collection goes through all that was imported or is kept, and stops every thread for
    some 0.4 s per million objects; a young one of 50,000 objects stops them for 25 ms.
    """
    gc.freeze()
    gc.set_threshold(*_THRESHOLDS)
