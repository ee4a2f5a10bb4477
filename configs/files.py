"""Where YAML files of a kind are, and their text: configs, protocols, worlds, experiments.

A name is a path, or that of a file that comes with Lockstep.
"""

from __future__ import annotations

from importlib import resources
from pathlib import Path

from configs._yaml import Mistakes, did_you_mean
from configs.errors import InputError


def find_yaml(name: str, what: str, folder: str = "") -> Path:
    """The file of a name: as given, or a shipped one.

    Args:
      what: the kind of file, for messages ("protocol").
      folder: of shipped ones, below `configs`.

    Raises:
      InputError: there is none.
    """
    path = Path(name)
    if path.is_file():
        return path
    if path.suffix or "/" in name:
        raise InputError(f"there is no {what} {name}; give a YAML file or a shipped name")
    return shipped_yaml(name, what, folder)


def shipped_yaml(name: str, what: str, folder: str = "") -> Path:
    """Where a shipped file is.

    Raises:
      InputError: there is none of that name.
    """
    place = Path(str(resources.files("configs"))) / folder
    path = place / f"{name}.yaml"
    if not path.is_file():
        known = [one.stem for one in place.glob("*.yaml")]
        raise InputError(f"there is no shipped {what} {name!r}; {did_you_mean(name, known)}")
    return path


def read_text(path: str | Path, what: str) -> str:
    """A YAML file's text.

    Raises:
      ConfigError: a line is not UTF-8.
      InputError: the file cannot be read.
    """
    try:
        data = Path(path).read_bytes()
    except OSError as error:
        raise InputError(
            f"cannot read the {what} {path} ({error.strerror}); give the path of a YAML file"
        ) from error
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        mistakes = Mistakes(str(path), "")
        line = data[: error.start].count(b"\n")
        mistakes.add((line, 0), "this line is not UTF-8", "save the file as UTF-8")
        mistakes.raise_if_any()
        raise


def find_beside(name: str, folder: Path) -> Path:
    """The config that a file names: one beside it, or a shipped one.

    Args:
      folder: of the file that names it.

    Raises:
      InputError: there is no such config.
    """
    near = folder / name
    return near if near.is_file() else shipped_yaml(name, "config")
