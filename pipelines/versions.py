"""Which libraries made a result: a bundle and its page tell them."""

from __future__ import annotations

import platform
from importlib.metadata import version

_LIBRARIES = ("apache-beam", "tensorflow-transform", "tensorflow", "scikit-learn", "xgboost")


def library_versions() -> dict[str, str]:
    """Versions that a result may depend on.

    >>> sorted(library_versions())[:2]
    ['apache-beam', 'python']
    """
    return {"python": platform.python_version(), **{name: version(name) for name in _LIBRARIES}}
