"""`lockstep features`: every feature of a config, in words."""

from __future__ import annotations

import dataclasses
import json
from typing import Annotated

import typer


def register(app: typer.Typer) -> None:
    """Adds the verb."""
    app.command()(features)


def features(
    config: Annotated[str, typer.Argument(help="YAML file, or the name of a shipped one.")],
    as_json: Annotated[bool, typer.Option("--json", help="For machines.")] = False,
) -> None:
    """List features: meaning, entity, window, unit, type, null rule, cost in state."""
    from rich.console import Console
    from rich.table import Table

    from pipelines.commands._shared import load_config
    from transforms.velocity import describe_features, make_plan

    spec = load_config(config)
    infos = describe_features(spec)
    if as_json:
        print(json.dumps([dataclasses.asdict(info) for info in infos]))
        return
    table = Table(title=f"{len(infos)} velocity features of {spec.name}")
    columns = ("feature", "meaning", "entity", "window", "short by", "unit", "null", "state bytes")
    for column in columns:
        table.add_column(column, justify="right" if column == "state bytes" else "left")
    for info in infos:
        table.add_row(
            info.name,
            info.about,
            info.entity,
            info.window,
            info.window_error,
            info.unit,
            info.null_rule,
            f"{info.state_bytes:,}",
        )
    console = Console()
    console.print(table)
    console.print(
        "All features are float32. 'short by': a window is cut into tiles and may be shorter than "
        "it says by less than one tile, never longer. 'state bytes': the most that a key keeps for "
        "the feature; aggregates share cells, so a key keeps less than the sum:"
    )
    for entity in spec.entities:
        print(f"  {entity}: at most {make_plan(spec, entity).max_state_bytes:,} bytes per key")
