"""`lockstep bundle`: what there is, what serves, and how to change it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from scoring.store import Store

Out = Annotated[Path, typer.Option(help="Output folder that holds bundles/.")]
Json = Annotated[bool, typer.Option("--json", help="For machines.")]
Name = Annotated[str, typer.Argument(help="Fingerprint, a beginning of it, or 'serving'.")]


def register(app: typer.Typer) -> None:
    """Adds the verb and its own verbs."""
    group = typer.Typer(help="List, show, verify, promote and roll back bundles.")
    group.command("list")(list_bundles)
    group.command()(show)
    group.command()(verify)
    group.command()(promote)
    group.command()(rollback)
    app.add_typer(group, name="bundle")


def list_bundles(out: Out, as_json: Json = False) -> None:
    """List bundles, oldest night first; * serves."""
    from rich.console import Console
    from rich.table import Table

    infos = _store(out).list()
    if as_json:
        print(
            json.dumps(
                [
                    {"fingerprint": i.fingerprint, "name": i.name, "model": i.model,
                     "serving": i.serving, "as_of": i.made}
                    for i in infos
                ]
            )
        )  # fmt: skip
        return
    table = Table()
    for column in ("", "fingerprint", "config", "model", "as of", "AUC", "AP"):
        table.add_column(column)
    for info in infos:
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
    Console().print(table)


def show(name: Name, out: Out, as_json: Json = False) -> None:
    """Show a bundle's manifest, thresholds and provenance."""
    store = _store(out)
    folder = store.path(name)
    facts = {
        part: json.loads((folder / f"{part}.json").read_text())
        for part in ("manifest", "policy", "calibration", "provenance", "metrics")
    }
    if as_json:
        print(json.dumps(facts))
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
    for key, value in facts["provenance"].items():
        print(f"  {key}: {value}")


def verify(name: Name, out: Out, as_json: Json = False) -> None:
    """Check every file of a bundle against its manifest, and load it."""
    from scoring.bundle import load_bundle
    from transforms.catalog import CATALOG

    store = _store(out)
    manifest = store.verify(name)
    load_bundle(store.path(name), CATALOG)
    if as_json:
        print(json.dumps({"fingerprint": manifest["fingerprint"], "ok": True}))
        return
    print(f"{manifest['fingerprint']}: {len(manifest['files'])} files as the manifest says")


def promote(name: Name, out: Out) -> None:
    """Make a bundle serve."""
    print(f"{_store(out).promote(name)} serves")


def rollback(out: Out) -> None:
    """Make the bundle serve that did before."""
    print(f"{_store(out).rollback()} serves")


def _store(out: Path) -> Store:
    from scoring.store import Store

    return Store(out / "bundles")
