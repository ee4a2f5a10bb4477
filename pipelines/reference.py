"""`python -m pipelines.reference`: writes docs/reference.md and the JSON Schemas anew."""

from __future__ import annotations

from pathlib import Path

from configs.experiment_schema import dumps_experiment, experiment_schema
from configs.json_schema import dumps, json_schema
from configs.reference import experiment_reference, reference
from transforms.catalog import CATALOG

ROOT = Path(__file__).parent.parent


def made() -> dict[Path, str]:
    """The files that are made from the settings, and their texts."""
    return {
        ROOT / "docs/reference.md": reference(json_schema(CATALOG), CATALOG)
        + experiment_reference(experiment_schema()),
        ROOT / "configs/schema.json": dumps(CATALOG),
        ROOT / "configs/experiment_schema.json": dumps_experiment(),
    }


if __name__ == "__main__":
    for path, text in made().items():
        path.write_text(text)
