"""Every error that Lockstep raises on purpose.

    LockstepError
    ├── ConfigError        a YAML file that cannot be used; lists every mistake
    ├── InputError         a source, path or dataset that is missing or not what it should be
    ├── BundleError        a bundle that is damaged, incomplete or does not fit
    ├── StateError         velocity state that cannot be read or does not fit the spec
    ├── EvidenceError      too little evidence for a number that someone would trust
    ├── GateError          a model that may not serve
    ├── BusyError          another run holds the output
    └── ParityError        offline and online differ

A message says what arrived, what was expected, and what to do. No message holds payload text or
an account id. `exit_code` is what the command line returns for it (docs/commands.md).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence


class LockstepError(Exception):
    """The root: catch it at the door (the command line), nowhere else."""

    exit_code = 1


class ConfigError(LockstepError):
    """A configuration file that cannot be used; the message lists every mistake.

    Attributes:
      mistakes: the same for machines, each with line and column (from 1), message and hint; none
        where the fault is not one of a text.
    """

    exit_code = 3

    def __init__(self, message: str, mistakes: Sequence[Mapping[str, str | int]] = ()) -> None:
        super().__init__(message)
        self.mistakes = tuple(mistakes)


class InputError(LockstepError):
    """A source, path or dataset that is missing or not what it should be."""

    exit_code = 4


class BundleError(LockstepError):
    """A bundle that is damaged, incomplete, or does not fit what it is asked to serve."""

    exit_code = 5


class StateError(LockstepError):
    """Velocity state that cannot be read, or that belongs to another spec."""

    exit_code = 6


class EvidenceError(LockstepError):
    """Too little evidence for a number that someone would trust (labels, positives, days)."""

    exit_code = 7


class GateError(LockstepError):
    """A trained model that may not serve; what serves now is left as it was."""

    exit_code = 8


class BusyError(LockstepError):
    """Another run holds the output."""

    exit_code = 9


class ParityError(LockstepError):
    """Offline and online results differ in a way that is not allowed."""

    exit_code = 10
