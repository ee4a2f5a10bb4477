"""A folder that is there whole or not at all."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from configs.errors import BusyError, InputError
from pipelines.failures import explain_os_error


@contextlib.contextmanager
def aside(out: Path) -> Iterator[Path]:
    """A folder beside `out` that takes its place at the end, or is gone.

    It is locked by the kernel (flock), so a killed run leaves files, but no lock.
    """
    out = out.absolute()  # "." has no name
    folder = out.with_name(f".{out.name}.writing")
    handle = None
    try:
        refuse_full(out)
        folder.mkdir(parents=True, exist_ok=True)
        handle = os.open(folder, os.O_RDONLY)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise BusyError(f"another run writes {out}; wait, or give another --out") from error
        refuse_full(out)  # by a run that ended between the two
        if not folder.exists() or os.stat(folder).st_ino != os.fstat(handle).st_ino:
            raise BusyError(f"another run has just ended in {out}; give another --out")
        for left in folder.iterdir():
            shutil.rmtree(left)
        try:
            yield folder
            os.rename(folder, out)
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise
    except OSError as error:
        raise explain_os_error(error) from error
    finally:
        if handle is not None:
            os.close(handle)


def refuse_full(out: Path) -> None:
    """Raises InputError if something is there."""
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise InputError(f"{out} is not an empty folder; give another --out, or remove it first")
