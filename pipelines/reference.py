"""`python -m pipelines.reference`: writes docs/reference.md and configs/schema.json anew."""

from __future__ import annotations

from pathlib import Path

from configs.json_schema import dumps, json_schema
from configs.reference import reference
from transforms.catalog import CATALOG

ROOT = Path(__file__).parent.parent


def made() -> dict[Path, str]:
    """The files that are made from the settings, and their texts."""
    return {
        ROOT / "docs/reference.md": reference(json_schema(CATALOG), CATALOG),
        ROOT / "configs/schema.json": dumps(CATALOG),
    }


if __name__ == "__main__":
    for path, text in made().items():
        path.write_text(text)
