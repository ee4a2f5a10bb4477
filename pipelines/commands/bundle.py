"""`lockstep bundle`: what there is, what serves, and how to change it."""

from __future__ import annotations

import contextlib
import dataclasses
import datetime as dt
import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from scoring.bundle import Bundle
    from scoring.store import ChangeNote, Store

Out = Annotated[str, typer.Option(help="Output folder that holds bundles/.")]
Json = Annotated[bool, typer.Option("--json", help="For machines.")]
Because = Annotated[str, typer.Option(help="Why, for whoever reads the history.")]
By = Annotated[str | None, typer.Option(help="Who does so; else the user of this machine.")]
Name = Annotated[str, typer.Argument(help="Fingerprint, a beginning of it, or 'serving'.")]


def register(app: typer.Typer) -> None:
    """Adds the verb and its own verbs."""
    group = typer.Typer(
        help="List, show, verify, promote, roll back and clean up bundles, and why."
    )
    group.command("list")(list_bundles)
    group.command()(show)
    group.command()(verify)
    group.command()(promote)
    group.command()(rollback)
    group.command()(history)
    group.command()(clean)
    app.add_typer(group, name="bundle")


def list_bundles(out: Out, as_json: Json = False) -> None:
    """List bundles, oldest first; * serves. Below, why it does."""
    from rich.console import Console
    from rich.table import Table

    store = _store(out)
    infos, changes = store.list(), store.changes()
    if as_json:
        print(
            json.dumps(
                {"bundles": [
                    {"fingerprint": i.fingerprint, "name": i.name, "model": i.model,
                     "serving": i.serving, "as_of": i.made, "damaged": i.damaged,
                     "refused": i.refused}
                    for i in infos
                ], "changes": [dataclasses.asdict(one) for one in changes]}
            )
        )  # fmt: skip
        return
    table = Table()
    for column in ("", "fingerprint", "config", "model", "as of", "AUC", "AP"):
        table.add_column(column)
    for info in infos:
        if info.damaged:
            table.add_row("*" if info.serving else "", info.fingerprint, "damaged", "", "", "", "")
            continue
        made = info.metrics.get("candidate", {})
        table.add_row(
            "*" if info.serving else "",
            info.fingerprint,
            info.name,
            info.model,
            info.made,
            f"{made.get('auc') or 0:.3f}",
            f"{made.get('average_precision') or 0:.3f}",
        )
    Console(markup=False, emoji=False).print(table)
    for info in infos:
        if info.refused:
            print(f"the gate refused {info.fingerprint}: {info.refused}")
    if changes:
        print(changes[-1])


def show(name: Name, out: Out, as_json: Json = False) -> None:
    """Show a bundle's manifest, thresholds and provenance, after checking its files."""
    from scoring.arrays import load_json
    from scoring.bundle import bundle_spec
    from scoring.decision import DecisionPolicy
    from scoring.manifest import POLICY
    from transforms.catalog import CATALOG
    from transforms.hashing import hash_text

    store = _store(out)
    store.verify(name)
    folder = store.path(name)
    facts = {
        part: load_json(folder / f"{part}.json")
        for part in ("manifest", "policy", "calibration", "provenance", "metrics")
    }
    changes = [one for one in store.changes() if folder.name in (one.serving, one.before)]
    rule = bundle_spec(folder, CATALOG).policy.hold_out
    if rule is not None:  # the salt itself is for nobody who looks for a way through
        facts["hold_out"] = {"share": rule.share, "salt": f"{hash_text(rule.salt) & 0xFFFF:04x}"}
    if as_json:
        print(json.dumps(facts | {"changes": [dataclasses.asdict(one) for one in changes]}))
        return
    manifest, made = facts["manifest"], facts["metrics"].get("candidate", {})
    print(f"{manifest['fingerprint']}  {manifest['name']}, model {manifest['model']}")
    print(f"  folder     {folder}")
    print(f"  spec       {manifest['spec']}")
    for entity, state in manifest["state"].items():
        print(f"  state      {entity} {state}")
    auc, precision = made.get("auc") or 0, made.get("average_precision") or 0
    print(f"  gate slice {facts['metrics'].get('gate_slice')}: AUC {auc:.3f}, AP {precision:.3f}")
    for one in facts["policy"]["thresholds"]:
        value = "never: " + one["reason"] if one["value"] is None else f">= {one['value']:.6f}"
        print(f"  {one['action']:<10} {value}")
    for threshold in DecisionPolicy.load(folder / POLICY).thresholds:
        if threshold.evidence:
            print(f"  {threshold.action} promises {threshold.contract}: {threshold.evidence}")
    if rule is not None:
        salt = facts["hold_out"]["salt"]
        print(
            f"  hold-out   {rule.share:.2%} of events, of salt {salt} (another salt, other events)"
        )
    versions = manifest.get("versions", {})
    print(f"  made with  {', '.join(f'{library} {v}' for library, v in versions.items())}")
    for key, value in facts["provenance"].items():
        if isinstance(value, dict):
            value = ", ".join(f"{name} {one}" for name, one in value.items())
        print(f"  {key}: {value}")
    for rule in facts["metrics"].get("gate", ()):
        print(f"  gate       {'passed' if rule['passed'] else 'failed'}: {rule['words']}")
    for change in changes:
        print(f"  served     {change}")


def verify(name: Name, out: Out, as_json: Json = False) -> None:
    """Check every file of a bundle against its manifest, and load it."""
    from scoring.identity import other_versions

    bundle = _load(name, out)
    notes = other_versions(bundle.versions)
    if as_json:
        print(json.dumps({"fingerprint": bundle.fingerprint, "ok": True, "versions": notes}))
        return
    print(f"{bundle.fingerprint}: every file is as the manifest says, and the parts fit")
    for note in notes:
        print(f"  note: made with {note}; the last bits of scores may differ")


def promote(
    name: Name, out: Out, because: Because = "", by: By = None, as_json: Json = False
) -> None:
    """Make a bundle serve, after loading it as a check; who did and why is kept.

    One that the gate refused needs a reason (--because), and the history keeps what was overridden.
    """
    fingerprint = _load(name, out).fingerprint
    store = _store(out)
    before = store.serving()
    serving = store.promote(fingerprint, _note("promoted by hand", because, by))
    if before == serving and not as_json:
        print(f"{serving} serves already: nothing is changed, and no reason kept")
    else:
        _say_serving(serving, as_json)


def rollback(out: Out, because: Because = "", by: By = None, as_json: Json = False) -> None:
    """Make the bundle serve that did before, after loading it as a check; who and why is kept."""
    store = _store(out)
    _load(store.before(), out)
    _say_serving(store.rollback(_note("rolled back", because, by)), as_json)


def history(out: Out, as_json: Json = False) -> None:
    """What has been made to serve, when, by whom and why, oldest first."""
    changes = _store(out).changes()
    if as_json:
        print(json.dumps({"changes": [dataclasses.asdict(one) for one in changes]}))
        return
    for one in changes:
        print(one)
    if not changes:
        print("nothing has been made to serve, or by an earlier release, which kept no reasons")


def clean(
    out: Out,
    scorer: Annotated[
        list[Path] | None,
        typer.Option(help="A scorer's --state, whose log keeps bundles; may repeat."),
    ] = None,
    keep_days: Annotated[int, typer.Option(min=0, max=36_500, help="Younger bundles stay.")] = 30,
    yes: Annotated[bool, typer.Option("--yes", help="Remove them; else they are listed.")] = False,
    as_json: Json = False,
) -> None:
    """List the bundles that nothing refers to; with --yes remove them.

    What serves, what `rollback` goes back to, what served or was trained in the last --keep-days,
    what a --scorer's log or shadow names, and what one of these is compared by stays.
    """
    from pipelines.layout import Layout, locked
    from pipelines.parity.log import logged_bundles
    from scoring.files import stamps
    from scoring.retention import bundles_in_use

    store = _store(out)
    named = {name: f"the log of {state} names it" for state in scorer or ()
             for name in logged_bundles(state)}  # fmt: skip
    with locked(Layout(out)) if yes else contextlib.nullcontext():
        infos = store.list()
        kept = bundles_in_use(
            infos, store.changes(), store.previous(), dt.datetime.now(dt.UTC), keep_days, named
        )
        sizes = {one.fingerprint: sum(size for _, size, _ in stamps(store.place(one.fingerprint)))
                 for one in infos if one.fingerprint not in kept}  # fmt: skip
        gone = store.remove(sizes) if yes else ()
    if as_json:
        facts = {"unused": list(sizes), "removed": list(gone), "bytes": sum(sizes.values())}
        print(json.dumps(facts | {"kept": kept}))
        return
    for name, why in kept.items():
        print(f"{name} stays: {why}")
    for name, size in sizes.items():
        what = "removed" if name in gone else "nothing refers to it"
        print(f"{name} {what}, {size / 1e6:,.1f} MB")
    if not sizes:
        print("something refers to every bundle" if infos else "there is no bundle")
    elif not yes:
        print("nothing is removed yet; --yes removes what nothing refers to")


def _note(how: str, because: str, by: str | None) -> ChangeNote:
    import getpass

    from scoring.store import ChangeNote

    if by is None:
        try:
            by = getpass.getuser()
        except (KeyError, OSError):  # a user without a name, as in some containers
            by = ""
    now = dt.datetime.now(dt.UTC).isoformat(timespec="seconds")
    return ChangeNote(now, how, " ".join(by.split()), " ".join(because.split()))


def _say_serving(fingerprint: str, as_json: bool) -> None:
    print(json.dumps({"serving": fingerprint}) if as_json else f"{fingerprint} serves")


def _load(name: str, out: str) -> Bundle:
    from scoring.bundle import load_bundle
    from transforms.catalog import CATALOG

    store = _store(out)
    store.verify(name)
    return load_bundle(store.path(name), CATALOG)


def _store(out: str) -> Store:
    from pipelines.layout import Layout, require_folder
    from scoring.store import Store

    require_folder(out)
    return Store(Layout(out).bundles)
