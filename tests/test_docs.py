"""The docs say what is true: their marked blocks run, their links lead somewhere."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGES = sorted([ROOT / "README.md", *(ROOT / "docs").glob("*.md")])
_BLOCK = re.compile(r"^(<!-- run -->\n)?```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)


def blocks(page):
    """(language, text) of the page's blocks that are marked to run."""
    return [(m[2], m[3]) for m in _BLOCK.finditer(page.read_text()) if m[1]]


RUNNING = [page for page in PAGES if blocks(page)]


def run(command, folder, **more):
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        command,
        cwd=folder,
        env={**os.environ, "PATH": path, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=500,
        **more,
    )
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"


@pytest.mark.slow
@pytest.mark.parametrize("page", RUNNING, ids=lambda page: page.name)
def test_marked_blocks_run(page, tmp_path):
    python = [text for language, text in blocks(page) if language == "python"]
    for language, text in blocks(page):
        if language == "sh":
            shim = (
                "lockstep() { python -c 'from pipelines.commands import main; main()' \"$@\"; }\n"
            )
            run(["bash", "-euc", shim + text], tmp_path)
    if python:
        script = tmp_path / "page.py"
        script.write_text("\n".join(python))
        run([sys.executable, str(script)], tmp_path)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_within_the_repository_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)#]+)[^)]*\)", page.read_text()):
        if not target.startswith(("http:", "https:")):
            assert (page.parent / target).exists(), f"{page.name} links to {target}"


def test_the_readme_names_every_command():
    text = (ROOT / "README.md").read_text()
    for path in (ROOT / "pipelines" / "commands").glob("[a-z]*.py"):
        assert f"lockstep {path.stem}" in text, path.stem
