"""The layers: who imports whom, how long files are, and what must never appear."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
STAIRCASE = ("pipelines", "training", "scoring", "transforms", "configs")
FILES = sorted(path for package in STAIRCASE for path in (ROOT / package).rglob("*.py"))
MOST_LINES = 450
PICKLES = {"pickle", "cPickle", "dill", "cloudpickle", "joblib", "shelve", "marshal"}


def imported(path):
    """Top-level names of the modules that a file imports, anywhere in it."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: write imports in full"
            yield (node.module or "").split(".")[0]


def test_there_is_code_in_every_room():
    for package in STAIRCASE:
        assert (ROOT / package / "py.typed").exists()
        assert any(path.parts[-2] == package or package in path.parts for path in FILES)


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_room_imports_only_to_its_right(path):
    room = path.relative_to(ROOT).parts[0]
    allowed = set(STAIRCASE[STAIRCASE.index(room) :])
    ours = {name for name in imported(path) if name in STAIRCASE}
    assert ours <= allowed, f"{path}: {room} must not import {sorted(ours - allowed)}"


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_pickle_is_imported(path):
    assert not set(imported(path)) & PICKLES


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_files_are_short_and_say_what_they_are(path):
    text = path.read_text()
    assert text.count("\n") <= MOST_LINES
    assert ast.get_docstring(ast.parse(text)), f"{path}: the first lines say what the file is"


def words(path):
    """Names and texts of a file's code, without docstrings."""
    tree = ast.parse(path.read_text())
    documented = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    told = {
        id(node.body[0].value)
        for node in ast.walk(tree)
        if isinstance(node, documented) and ast.get_docstring(node) is not None
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Name):
            yield node.id
        elif isinstance(node, ast.Attribute):
            yield node.attr
        elif isinstance(node, ast.alias):
            yield node.name
        elif isinstance(node, ast.Constant) and id(node) not in told:
            yield str(node.value)


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_runner_is_chosen_for_us(path):
    """`DirectRunner` would run another engine on a laptop than in CI; threads lose elements."""
    assert not [w for w in words(path) if re.search(r"DirectRunner|multi_threading", w)]
    assert not re.search(r"""\brunner\s*=\s*["']""", path.read_text())


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_the_demo_server_is_no_part_of_the_scorer(path):
    """`pipelines/pubsub_server` serves the demo and the tests; only the demo starts it."""
    if "pubsub_server" in path.parts or path.name == "demo.py":
        return
    assert "pipelines.pubsub_server" not in path.read_text()


def test_the_tests_are_not_shipped():
    assert "tests" not in (ROOT / "pyproject.toml").read_text().split("[tool.ruff]")[0]


def needed(path, names):
    """Our modules that a file imports when it runs, anywhere in it."""
    tree = ast.parse(path.read_text())
    typing = [
        node for node in ast.walk(tree)
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
    ]  # fmt: skip
    only_types = {id(inner) for node in typing for inner in ast.walk(node)}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and id(node) not in only_types:
            for alias in node.names:
                whole = f"{node.module}.{alias.name}"
                yield whole if whole in names else node.module


def test_no_files_wait_for_one_another_in_a_circle():
    """Also within functions: what is imported late so that it works is a circle all the same."""
    modules = {
        ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
        for path in FILES
    }
    imports = {
        name: {one for one in needed(path, modules) if one in modules} - {name}
        for name, path in modules.items()
    }
    while free := [name for name, needed in imports.items() if not needed & imports.keys()]:
        for name in free:
            del imports[name]
    assert not imports
