"""The docs say what is true: their marked blocks run, their links lead somewhere."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from configs.errors import ConfigError
from configs.loader import loads, shipped
from transforms.catalog import CATALOG

ROOT = Path(__file__).parents[1]
PAGES = sorted([ROOT / "README.md", *(ROOT / "docs").glob("*.md")])
README, EXTENDING = ROOT / "README.md", ROOT / "docs" / "extending.md"
_BLOCK = re.compile(r"^(?:<!-- (run.*?) -->\n)?```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)


def blocks(page, mark="run"):
    """(language, text) of the page's blocks with this mark; None: of those without one."""
    return [(m[2], m[3]) for m in _BLOCK.finditer(page.read_text()) if m[1] == mark]


RUNNING = [page for page in PAGES if page != README and blocks(page)]  # the README: see below


def run(command, folder, **more):
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        command,
        cwd=folder,
        env={**os.environ, "PATH": path, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=900,
        **more,
    )
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"


def run_shell(marked, folder):
    shim = "lockstep() { python -c 'from pipelines.commands import main; main()' \"$@\"; }\n"
    for language, text in marked:
        if language == "sh":
            run(["bash", "-euc", shim + text], folder)


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("page", RUNNING, ids=lambda page: page.name)
def test_marked_blocks_run(page, tmp_path):
    python = [text for language, text in blocks(page) if language == "python"]
    run_shell(blocks(page), tmp_path)
    if python:
        script = tmp_path / "page.py"
        script.write_text("\n".join(python))
        run([sys.executable, str(script)], tmp_path)


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_the_walkthrough_of_the_readme_runs_and_extending_goes_on_with_it(tmp_path):
    run_shell(blocks(README), tmp_path)
    (tmp_path / "my_chat.yaml").write_text(with_features(samples("yaml")[0]))
    graph = next(one for one in samples("yaml") if one.startswith("graph:"))
    (tmp_path / "my_graph.yaml").write_text((tmp_path / "my_chat.yaml").read_text() + graph)
    further = blocks(EXTENDING, "run after README.md")
    assert further
    run_shell(further, tmp_path)


def test_the_first_sample_of_extending_is_valid_and_the_second_a_mistake_as_printed():
    right, wrong, *_ = samples("yaml")
    spec = loads(with_features(right), "my_chat.yaml", CATALOG)
    made = [one.name for one in spec.entities["author"].aggregates]
    assert made[:2] == ["night_messages", "night_share"]
    mistaken = right.replace(right.splitlines(keepends=True)[-1], wrong)
    with pytest.raises(ConfigError) as refused:
        loads(with_features(mistaken), "my_chat.yaml", CATALOG)
    assert str(refused.value).split("\n\n")[1].rstrip() == samples("text")[0].rstrip()


def samples(language):
    return [text for its, text in blocks(EXTENDING, None) if its == language]


def with_features(sample):
    """The chat config with the sample's lines under the author's aggregates."""
    head = "  author:\n    aggregates:\n"
    _, lines = sample.split(head)
    config = shipped("chat").read_text()
    before, after = config.split("    aggregates:\n", 1)
    return before + "    aggregates:\n" + lines + after


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_within_the_repository_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)#]+)[^)]*\)", page.read_text()):
        if not target.startswith(("http:", "https:")):
            assert (page.parent / target).exists(), f"{page.name} links to {target}"


def test_the_readme_names_every_command():
    text = (ROOT / "README.md").read_text()
    for path in (ROOT / "pipelines" / "commands").glob("[a-z]*.py"):
        assert f"lockstep {path.stem}" in text, path.stem
