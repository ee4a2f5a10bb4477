"""`lockstep features`: every feature of a config, in words."""

from __future__ import annotations

import dataclasses
import json
from typing import Annotated

import typer

_WITHOUT_KEY = "null without a key; "


def register(app: typer.Typer) -> None:
    """Adds the verb."""
    app.command()(features)


def features(
    config: Annotated[str, typer.Argument(help="YAML file, or the name of a shipped one.")],
    as_json: Annotated[bool, typer.Option("--json", help="For machines.")] = False,
) -> None:
    """List features: meaning, entity, window, unit, type, null rule, cost in state."""
    from pipelines.commands._shared import load_config
    from transforms.velocity import describe_features, make_plan

    spec = load_config(config)
    infos = describe_features(spec)
    if as_json:
        print(json.dumps([dataclasses.asdict(info) for info in infos]))
        return
    print(f"{len(infos)} velocity features of {spec.name}, all float32, null without a key.")
    print("A window is cut into tiles: it may be short by less than one, and is never longer.")
    for entity, its_config in spec.entities.items():
        its = [info for info in infos if info.entity == entity]
        most = make_plan(spec, entity).max_state_bytes
        about = f": {its_config.about}" if its_config.about else ""
        print(f"\n{entity}{about} (at most {most:,} bytes a key)")
        wide = max((len(info.name) for info in its), default=0)
        for info in its:
            empty = info.null_rule.removeprefix(_WITHOUT_KEY)
            print(f"  {info.name:<{wide}}  {info.unit}; {empty}; {info.state_bytes:,} bytes")
            short = f"; short by {info.window_error}" if info.window_error else ""
            print(f"      {info.about}{short}")
    print("\nBytes are the most that a key keeps for a feature; features share what they keep.")
