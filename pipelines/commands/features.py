"""`lockstep features`: every feature and input of a config, in words."""

from __future__ import annotations

import dataclasses
import json
from typing import Annotated

import typer

_WITHOUT_KEY = "null without a key; "


def features(
    config: Annotated[str, typer.Argument(help="YAML file, or the name of a shipped one.")],
    as_json: Annotated[bool, typer.Option("--json", help="For machines.")] = False,
) -> None:
    """List features and inputs: meaning, entity, window, unit, type, null rule, cost in state."""
    from configs.schema import LIFETIME
    from pipelines.commands._shared import load_config
    from transforms.inputs import describe_inputs
    from transforms.velocity import describe_features, make_plan

    spec = load_config(config)
    infos, others = describe_features(spec), describe_inputs(spec)
    if as_json:
        print(json.dumps({"features": [dataclasses.asdict(one) for one in (*infos, *others)]}))
        return
    print(f"{len(infos)} velocity features of {spec.name}, all float32, null without a key.")
    print("A window is cut into tiles: it may be short by less than one, and is never longer.")
    if any(info.window == LIFETIME.name for info in infos):
        print("The window 'all' begins with the key's first event, or with the first after it was")
        print("silent for longer than its retention.")
    for entity, its_config in spec.entities.items():
        its = [info for info in infos if info.entity == entity]
        most = make_plan(spec, entity).max_state_bytes
        about = f": {its_config.about}" if its_config.about else ""
        print(f"\n{entity}{about} (at most {most:,} bytes a key)")
        wide = max((len(info.name) for info in its), default=0)
        for info in its:
            empty = info.null_rule.removeprefix(_WITHOUT_KEY)
            left_out = "; left out of the inputs" if info.name in spec.inputs.exclude else ""
            cost = f"{info.state_bytes:,} bytes" if info.state_bytes else "no state of its own"
            print(f"  {info.name:<{wide}}  {info.unit}; {empty}; {cost}{left_out}")
            short = f"; short by {info.window_error}" if info.window_error else ""
            estimate = f"; an estimate, {info.error}" if info.error else ""
            print(f"      {info.about}{short}{estimate}")
    print("\nBytes are the most that a key keeps for a feature; features share what they keep.")
    print(f"\n{len(others)} other inputs of the model")
    wide = max((len(info.name) for info in others), default=0)
    for info in others:
        unit = f", in {info.unit}" if info.unit not in ("", info.name) else ""
        print(f"  {info.name:<{wide}}  {info.role}; {info.dtype}{unit}; {info.null_rule}")
        print(f"      {info.about}")
