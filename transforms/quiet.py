"""Imports TensorFlow without its start-up lines, which come from C++ and heed no setting.

`TF_CPP_MIN_LOG_LEVEL` silences what comes later, but lines that are written before its logging is
set up go straight to standard error; so that is turned away for as long as the import takes.
"""

from __future__ import annotations

import contextlib
import functools
import os
import sys
from collections.abc import Iterator


@functools.lru_cache(maxsize=1)
def import_tensorflow() -> None:
    """Imports TensorFlow, TFT and tfx-bsl once, quietly."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")
    with _quiet_stderr():
        import tensorflow
        import tensorflow_transform.beam

        tensorflow.constant(0)  # starts the runtime, which has lines of its own
        del tensorflow_transform


@contextlib.contextmanager
def _quiet_stderr() -> Iterator[None]:
    sys.stderr.flush()
    try:
        kept = os.dup(2)
    except OSError:  # there is none to turn away
        yield
        return
    try:
        with open(os.devnull, "wb") as nowhere:
            os.dup2(nowhere.fileno(), 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
