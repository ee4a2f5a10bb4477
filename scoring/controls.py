"""What people have switched: actions that are off, and subjects that nothing is done to.

A bundle says what a score means; controls say what must not happen now, whatever the score: a kill
switch, an allow list. They are of the store, not of a bundle, so they hold across promotions, and a
running scorer takes them over at its next look at the store.

    STORE/controls.json            {"controls": digest, "history": [...]}: the pointer, with who
                                   changed what, when and why, oldest first
    STORE/controls/<digest>.json   {"off": [...], "allow": {column: [...]}}: immutable, for replay

What they hold back is decided as if there were no such action: an action that is off leaves the
next weaker one that is reached; a subject of the allow list gets the default. Each decision names
the controls in force and what was held back by which, so `lockstep parity` replays it bit for bit.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import json
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from configs.errors import BundleError
from scoring.arrays import load_json
from scoring.decision import DecisionPolicy
from scoring.files import Place, exists, join, replace_file
from scoring.locks import exclusive

POINTER, FOLDER = "controls.json", "controls"
ALL = "*"
OFF, ALLOWED = "switched off", "allow list"
_MARK = "+"


@dataclasses.dataclass(frozen=True)
class Withheld:
    """An action that was not taken, and by what: `OFF` or `ALLOWED`."""

    action: str
    by: str


@dataclasses.dataclass(frozen=True)
class Controls:
    """What is switched; equal ones have one digest.

    Attributes:
      off: names of actions that are not taken, sorted; `ALL`: none is.
      allow: column of events -> values, sorted: these events get the default action.
    """

    off: tuple[str, ...] = ()
    allow: Mapping[str, tuple[str, ...]] = dataclasses.field(default_factory=dict)

    @classmethod
    def of(cls, plain: Mapping[str, Any]) -> Controls:
        """From what `plain` gives, or people have written: sorted, nothing twice, nothing empty.

        Raises:
          BundleError: it has another shape.
        """
        off, allow = plain.get("off", []), plain.get("allow", {})
        lists = [off, *allow.values()] if isinstance(allow, dict) else [None]
        if not all(isinstance(one, list) and all(map(_is_text, one)) for one in lists):
            raise BundleError(
                "controls are damaged: expected off, a list of actions, and allow, a list of "
                "values by column; `lockstep control` writes them"
            )
        kept = {column: tuple(sorted(set(values))) for column, values in sorted(allow.items())}
        return cls(tuple(sorted(set(off))), {name: one for name, one in kept.items() if one})

    def plain(self) -> dict[str, Any]:
        """For JSON."""
        allow = {column: list(values) for column, values in self.allow.items()}
        return {"off": list(self.off), "allow": allow}

    @functools.cached_property
    def digest(self) -> str:
        """16 hex digits of what is switched; "" if nothing is.

        >>> Controls().digest, len(Controls(off=("block",)).digest)
        ('', 16)
        """
        if not self.off and not self.allow:
            return ""
        text = json.dumps(self.plain(), sort_keys=True, ensure_ascii=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def in_force(self, policy: DecisionPolicy) -> DecisionPolicy:
        """The policy without the actions that are off."""
        return dataclasses.replace(
            policy,
            thresholds=tuple(
                dataclasses.replace(one, value=None)
                if ALL in self.off or one.action in self.off
                else one
                for one in policy.thresholds
            ),
        )

    def decide(
        self, policy: DecisionPolicy, scores: npt.NDArray[np.float64], events: pa.RecordBatch
    ) -> tuple[npt.NDArray[np.int8], dict[int, Withheld]]:
        """The numbers of the actions, int8 `[n]`, and what was held back, by row.

        Args:
          policy: of the bundle.
          scores: float64 `[n]`, calibrated.
          events: `[n]`; a column of the allow list that they lack holds nobody back.

        >>> from scoring.decision import Threshold
        >>> block, hide = Threshold("block", 0.9, 0.95), Threshold("hide", 0.5, 0.8)
        >>> policy = DecisionPolicy((block, hide), "allow")
        >>> events = pa.RecordBatch.from_pydict({"author": ["ann", "bob", "bob"]})
        >>> made, held = Controls(("block",), {"author": ("ann",)}).decide(
        ...     policy, np.array([0.95, 0.95, 0.1]), events)
        >>> made.tolist(), held[0].by, held[1].by, 2 in held
        ([0, 2, 0], 'allow list', 'switched off', False)
        """
        wanted = policy.decide(scores)
        if not self.digest:
            return wanted, {}
        made = self.in_force(policy).decide(scores)
        allowed = np.zeros(len(scores), np.bool_)
        for column, values in self.allow.items():
            if column in events.schema.names:
                there = events.column(column).cast(pa.string())
                found = pc.is_in(there, value_set=pa.array(values, pa.string()))
                allowed |= found.to_numpy(zero_copy_only=False)
        made[allowed] = 0
        return made, {
            row: Withheld(policy.names[wanted[row]], ALLOWED if allowed[row] else OFF)
            for row in np.flatnonzero(made != wanted).tolist()
        }


NONE = Controls()


def decided_by(fingerprint: str, controls: Controls) -> str:
    """How a scorer's log names what decided: a bundle, and the controls in force.

    >>> decided_by("aa", NONE), split_name("aa+bb"), split_name("aa")
    ('aa', ('aa', 'bb'), ('aa', ''))
    """
    return fingerprint + (_MARK + controls.digest if controls.digest else "")


def split_name(name: str) -> tuple[str, str]:
    """The bundle's fingerprint and the controls' digest of a name in the log."""
    fingerprint, _, digest = name.partition(_MARK)
    return fingerprint, digest


def read_controls(store: Place) -> Controls:
    """The controls in force.

    Raises:
      BundleError: they are damaged; whoever asks goes on with those it has.
    """
    return read_version(store, read_history(store)[0])


def read_history(store: Place) -> tuple[str, list[dict[str, Any]]]:
    """The digest of the controls in force, and who changed what, oldest first.

    Raises:
      BundleError: the pointer is damaged.
    """
    path = join(store, POINTER)
    if not exists(path):
        return "", []
    pointer = load_json(path)
    digest, history = pointer.get("controls"), pointer.get("history")
    if not isinstance(digest, str) or not isinstance(history, list):
        raise BundleError(
            f"{path} is damaged. Scorers that run go on under the controls they have. Write "
            f'{{"controls": DIGEST, "history": []}} into it, where DIGEST names the newest file of '
            f"{join(store, FOLDER)}; without {POINTER} nothing at all is switched"
        )
    return digest, history


def read_version(store: Place, digest: str) -> Controls:
    """The controls of a digest, also such as were in force once; "": none.

    Raises:
      BundleError: they are gone, or were edited.
    """
    if not digest:
        return NONE
    path = join(store, FOLDER, f"{digest}.json")
    made = Controls.of(load_json(path))
    if made.digest != digest:
        raise BundleError(
            f"{path} was edited: its name is no digest of what is in it. Undo that, or name "
            f"another file of its folder in {join(store, POINTER)}"
        )
    return made


def change_controls(
    store: Place, change: Callable[[Controls], Controls], entry: Mapping[str, str]
) -> Controls:
    """Changes what is switched, in one atomic step; returns what is in force then.

    A change that changes nothing is not written down.

    Args:
      store: of bundles.
      change: of the controls that are in force.
      entry: who, when, why, and what was changed, for the history.

    Raises:
      BundleError: the controls are damaged.
    """
    with exclusive(store):
        before = read_controls(store)
        controls = change(before)
        if controls == before:
            return controls
        digest, history = controls.digest, read_history(store)[1]
        if digest:
            text = json.dumps(controls.plain(), indent=1) + "\n"
            replace_file(join(store, FOLDER, f"{digest}.json"), text.encode())
        pointer = {"controls": digest, "history": [*history, {**entry, "controls": digest}]}
        replace_file(join(store, POINTER), (json.dumps(pointer, indent=1) + "\n").encode())
    return controls


def _is_text(value: object) -> bool:
    return isinstance(value, str) and bool(value)
