"""Arrays and JSON of a model on disk: no pickle, ever."""

from __future__ import annotations

import io
import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from configs.errors import BundleError
from scoring.files import Place, name_of, read_file

_EPOCH = (1980, 1, 1, 0, 0, 0)  # zip's zero: the time of writing is no part of a model


def save_arrays(path: Path, arrays: dict[str, npt.NDArray[Any]]) -> None:
    """Writes an `.npz` whose bytes depend on the arrays alone."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        for name, array in sorted(arrays.items()):
            data = io.BytesIO()
            np.lib.format.write_array(data, np.ascontiguousarray(array), allow_pickle=False)
            archive.writestr(zipfile.ZipInfo(f"{name}.npy", _EPOCH), data.getvalue())


def load_arrays(path: Path, names: tuple[str, ...]) -> dict[str, npt.NDArray[Any]]:
    """Reads arrays; pickled ones are refused.

    Raises:
      BundleError: the file is damaged, or lacks an array.
    """
    try:
        with np.load(path, allow_pickle=False) as archive:
            missing = set(names) - set(archive.files)
            if missing:
                raise BundleError(f"{path.name}: the array {sorted(missing)[0]!r} is missing")
            return {name: archive[name] for name in names}
    except BundleError:
        raise
    except Exception as error:  # zipfile, zlib and numpy raise a dozen kinds on damaged bytes
        raise BundleError(f"{path.name} is damaged: {error}") from error


def save_json(path: Path, value: object) -> None:
    """Writes JSON, keys sorted, floats exact."""
    path.write_text(json.dumps(value, indent=1, sort_keys=True) + "\n", encoding="utf-8")


def load_json(path: Place) -> dict[str, Any]:
    """Reads a JSON object, of any filesystem that Beam knows.

    Raises:
      BundleError: it is damaged.
    """
    try:
        value = json.loads(read_file(path).decode())
    except (OSError, ValueError, RecursionError) as error:
        raise BundleError(f"{name_of(path)} is damaged: {error}") from error
    if not isinstance(value, dict):
        raise BundleError(f"{name_of(path)} is damaged: it holds no JSON object")
    return value
