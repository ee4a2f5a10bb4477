"""`lockstep control`: switch actions off, and keep an allow list, while scorers run."""

from __future__ import annotations

import datetime as dt
import getpass
import json
from collections.abc import Callable, Collection
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from configs.schema import Spec
    from scoring.controls import Controls

Out = Annotated[str, typer.Option(help="Output folder that holds bundles/.")]
Why = Annotated[str, typer.Option(help="The reason, for the history.")]
Json = Annotated[bool, typer.Option("--json", help="For machines; show: with the values.")]
Actions = Annotated[list[str], typer.Argument(help="Names of actions, or '*' for all.")]
Column = Annotated[str, typer.Argument(help="Column of events, such as author_id.")]
Values = Annotated[list[str] | None, typer.Argument(help="Its values.")]
FromFile = Annotated[Path | None, typer.Option(help="A value a line.")]


def register(app: typer.Typer) -> None:
    """Adds the verb and its own verbs."""
    group = typer.Typer(help="Kill switch and allow list of all scorers of an output folder.")
    for one in (show, off, on, allow, disallow):
        group.command()(one)
    app.add_typer(group, name="control")


def show(out: Out, as_json: Json = False) -> None:
    """Show what is switched, and who switched what, when and why."""
    from scoring.controls import read_controls, read_history

    store = _bundles(out)
    controls, (_, history) = read_controls(store), read_history(store)
    if as_json:
        print(json.dumps({**controls.plain(), "digest": controls.digest, "history": history}))
        return
    _say(controls, False)
    for entry in history:
        print(f"{entry['at']}  {entry['who']}: {entry['what']} ({entry['why']})")


def off(actions: Actions, out: Out, why: Why, as_json: Json = False) -> None:
    """Switch actions off: the next weaker one that is reached is taken, or the default."""
    from scoring.controls import Controls

    names = _known_actions(actions, out)

    def change(now: Controls) -> Controls:
        return Controls.of({**now.plain(), "off": [*now.off, *names]})

    _change(out, change, f"off {' '.join(names)}", why, as_json)


def on(actions: Actions, out: Out, why: Why, as_json: Json = False) -> None:
    """Switch actions on again; '*' all of them."""
    from configs.errors import InputError
    from scoring.controls import ALL, Controls, read_controls

    before = read_controls(_bundles(out)).off
    if ALL in before and ALL not in actions:
        raise InputError(
            "all actions are off: switch on '*', then `lockstep control off` those that stay off"
        )
    names = _known_actions(actions, out, before)

    def change(now: Controls) -> Controls:
        left = [] if ALL in names else [one for one in now.off if one not in names]
        return Controls.of({**now.plain(), "off": left})

    _change(out, change, f"on {' '.join(names)}", why, as_json)


def allow(
    column: Column,
    out: Out,
    why: Why,
    values: Values = None,
    file: FromFile = None,
    as_json: Json = False,
) -> None:
    """Add to the allow list: events with these values get the default action."""
    from scoring.controls import Controls

    given = _given(column, values, file, out)

    def change(now: Controls) -> Controls:
        together = [*now.allow.get(column, ()), *given]
        return Controls.of({**now.plain(), "allow": {**now.plain()["allow"], column: together}})

    _change(out, change, f"allow {len(given)} of {column}", why, as_json)


def disallow(
    column: Column,
    out: Out,
    why: Why,
    values: Values = None,
    file: FromFile = None,
    as_json: Json = False,
) -> None:
    """Take from the allow list."""
    from scoring.controls import Controls, read_controls

    given = set(_given(column, values, file, out, read_controls(_bundles(out)).allow))

    def change(now: Controls) -> Controls:
        left = [one for one in now.allow.get(column, ()) if one not in given]
        return Controls.of({**now.plain(), "allow": {**now.plain()["allow"], column: left}})

    _change(out, change, f"disallow {len(given)} of {column}", why, as_json)


def _change(
    out: str, change: Callable[[Controls], Controls], what: str, why: str, as_json: bool
) -> None:
    from scoring.controls import change_controls

    if not why.strip():
        raise typer.BadParameter("--why is blank; say why, for whoever reads the history")
    now = dt.datetime.now(dt.UTC).isoformat(timespec="seconds")
    entry = {"at": now, "who": getpass.getuser(), "what": what, "why": " ".join(why.split())}
    before: list[Controls] = []

    def noting(now: Controls) -> Controls:
        before.append(now)
        return change(now)

    made = change_controls(_bundles(out), noting, entry)
    if made in before and not as_json:
        print("so it is already: nothing is changed, and no reason kept")
    _say(made, as_json)


def _say(controls: Controls, as_json: bool) -> None:
    """How things stand now; values of columns, such as accounts, are not printed."""
    counts = {column: len(values) for column, values in controls.allow.items()}
    if as_json:
        print(json.dumps({"digest": controls.digest, "off": list(controls.off), "allow": counts}))
        return
    print(f"off: {', '.join(controls.off) or 'nothing'}")
    allowed = ", ".join(f"{count} of {column}" for column, count in counts.items())
    print(f"allowed: {allowed or 'nobody'}")


def _known_actions(names: list[str], out: str, also: Collection[str] = ()) -> list[str]:
    from configs.errors import InputError
    from scoring.controls import ALL

    known = [action.name for action in _spec(out).policy.actions]
    for name in names:
        if name not in (*known, *also, ALL):
            raise InputError(
                f"the serving bundle has no action {name!r}; it has {', '.join(known) or 'none'}, "
                "and '*' is all"
            )
    return names


def _given(
    column: str,
    values: list[str] | None,
    file: Path | None,
    out: str,
    also: Collection[str] = (),
) -> list[str]:
    from configs.errors import InputError
    from configs.schema import ColumnType

    spec = _spec(out)
    strings = [name for name, one in spec.columns.items() if one.type == ColumnType.STRING]
    if column not in (*strings, *also):
        raise InputError(
            f"the serving bundle's events have no text column {column!r}; they have "
            f"{', '.join(strings)}"
        )
    given = list(values or [])
    if file is not None:
        try:
            given += [one.strip() for one in file.read_text(encoding="utf-8").splitlines()]
        except (OSError, UnicodeDecodeError) as error:
            raise InputError(f"cannot read {file}; give --file a text, a value a line") from error
    given = [one for one in given if one]
    if not given:
        raise InputError(f"no value of {column}: name some, or give --file")
    return given


def _spec(out: str) -> Spec:
    from scoring.bundle import bundle_spec
    from scoring.store import Store
    from transforms.catalog import CATALOG

    return bundle_spec(Store(_bundles(out)).path("serving"), CATALOG)


def _bundles(out: str) -> str:
    from pipelines.layout import Layout, require_folder

    require_folder(out)
    return Layout(out).bundles
