"""`lockstep validate`: everything that is wrong with a config, and nothing else."""

from __future__ import annotations

import json
from typing import Annotated

import typer


def validate(
    config: Annotated[str, typer.Argument(help="YAML file, or the name of a shipped one.")],
    as_json: Annotated[bool, typer.Option("--json", help="For machines.")] = False,
) -> None:
    """Check a config; exits 3 and lists every mistake if there is one."""
    from configs.files import read_text
    from configs.fingerprint import fingerprint
    from configs.world import is_world, loads_world
    from pipelines.commands._shared import config_path, load_config
    from transforms.inputs import numeric_names
    from transforms.velocity import feature_names

    path = config_path(config)
    if is_world(text := read_text(path, "config")):
        world = loads_world(text, str(path))
        what = "a world for `lockstep simulate --world`, and no config"
        facts = {"config": str(path), "name": world.name, "world": True}
        print(json.dumps(facts) if as_json else f"{path}: fine. {world.name} is {what}")
        return
    spec = load_config(config)
    if as_json:
        facts = {
            "config": str(path),
            "name": spec.name,
            "fingerprint": fingerprint(spec),
            "kinds": list(spec.kinds),
            "entities": list(spec.entities),
            "features": len(feature_names(spec)),
            "numeric_inputs": len(numeric_names(spec)),
        }
        print(json.dumps(facts))
        return
    print(
        f"{path}: fine. {spec.name}, fingerprint {fingerprint(spec)}: "
        f"{len(spec.kinds)} kinds, {len(spec.columns)} columns, {len(spec.derived)} derived, "
        f"{len(spec.entities)} entities, {len(feature_names(spec))} features, "
        f"{len(numeric_names(spec))} numeric inputs"
    )
