"""Which files a source is: literal names, slashes, links, pipes, bookkeeping."""

import os

import pytest

from configs.errors import InputError
from pipelines.sources.listing import list_files, require_apart, would_hold


@pytest.fixture
def tree(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def make(*names):
        for name in names:
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text("{}\n")

    return make


def paths(pattern):
    return [file.path for file in list_files(pattern)]


@pytest.mark.parametrize("name", ["data[1]", "data*", "what?", "[ab]"])
def test_a_path_that_exists_is_no_pattern(tree, name):
    tree(f"src/{name}/a.jsonl", "src/data1/b.jsonl", "src/dataX/b.jsonl", "src/a/b.jsonl")
    assert paths(f"src/{name}") == [f"src/{name}/a.jsonl"]
    assert paths(f"src/{name}/a.jsonl") == [f"src/{name}/a.jsonl"]
    assert paths(f"src/{name}/*.jsonl") == [f"src/{name}/a.jsonl"], "above a pattern, too"
    here = os.path.abspath(f"src/{name}/*.jsonl")
    assert would_hold(here, os.path.abspath(f"src/{name}/new.jsonl"))
    assert not would_hold(here, os.path.abspath("src/data1/b.jsonl"))


def test_a_pattern_is_one_where_nothing_has_its_name(tree):
    tree("src/data1/b.jsonl", "src/data2/b.jsonl", "src/data3/b.jsonl")
    assert paths("src/data[12]/*.jsonl") == ["src/data1/b.jsonl", "src/data2/b.jsonl"]
    assert paths("./src//data[12]//b*") == ["./src/data1/b.jsonl", "./src/data2/b.jsonl"]
    with pytest.raises(InputError, match=r"src/data\* matches folders, but no file; add /\*\*"):
        paths("src/data*")


@pytest.mark.parametrize("end", ["", "/", "//", "///"])
def test_slashes_at_the_end(tree, end):
    tree("src/a.jsonl", "src/deep/b.jsonl")
    assert paths(f"src{end}") == ["src/a.jsonl", "src/deep/b.jsonl"]


def test_links_are_followed(tree, tmp_path):
    tree("in/date=1/a.jsonl", "elsewhere/b.jsonl", "elsewhere/deep/c.jsonl", "one.jsonl")
    (tmp_path / "in" / "date=2").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "in" / "d.jsonl").symlink_to(tmp_path / "one.jsonl")
    assert paths("in") == [
        "in/d.jsonl", "in/date=1/a.jsonl", "in/date=2/b.jsonl", "in/date=2/deep/c.jsonl",
    ]  # fmt: skip
    assert paths("in/*/*.jsonl") == ["in/date=1/a.jsonl", "in/date=2/b.jsonl"]
    assert list_files("in")[0].size_in_bytes == 3


def test_what_is_reached_twice_is_read_once_under_its_own_name(tree, tmp_path):
    tree("in/date=1/a.jsonl")
    (tmp_path / "in" / "a-latest").symlink_to("date=1")
    (tmp_path / "in" / "date=1" / "0.jsonl").symlink_to("a.jsonl")
    (tmp_path / "in" / "date=1" / "loop").symlink_to(tmp_path / "in")
    for pattern in ("in", "in/**", "in/*/*.jsonl"):
        assert paths(pattern) == ["in/date=1/a.jsonl"]


@pytest.mark.parametrize("pattern", ["in", "in/*.jsonl", "in/b.jsonl"])
def test_a_link_to_nothing_is_named(tree, tmp_path, pattern):
    tree("in/a.jsonl")
    (tmp_path / "in" / "b.jsonl").symlink_to("objects/1234")
    with pytest.raises(InputError, match=r"in/b\.jsonl is a link to objects/1234, which cannot"):
        list_files(pattern)
    (tmp_path / "in" / "_b.jsonl").symlink_to("objects/1234")
    (tmp_path / "in" / "b.jsonl").unlink()
    assert paths("in") == ["in/a.jsonl"]


@pytest.mark.parametrize("pattern", ["in", "in/*.jsonl", "in/pipe.jsonl"])
def test_a_pipe_is_refused(tree, tmp_path, pattern):
    tree("in/a.jsonl")
    os.mkfifo(tmp_path / "in" / "pipe.jsonl")
    with pytest.raises(InputError, match=r"in/pipe\.jsonl is no regular file"):
        list_files(pattern)


@pytest.mark.parametrize("pattern", ["in", "in/**", "in/[0-9][0-9]/*.jsonl", "in/??/*.jsonl"])
def test_bookkeeping_is_passed_over_whatever_the_pattern(tree, pattern):
    tree("in/01/_tmp.jsonl", "in/01/a.jsonl", "in/02/.b.jsonl", "in/_old/c.jsonl")
    assert paths(pattern) == ["in/01/a.jsonl"]


def test_what_is_named_outright_is_meant(tree):
    tree("_in/_a.jsonl", "_in/b.jsonl")
    assert paths("_in/_a.jsonl") == ["_in/_a.jsonl"]
    assert paths("_in/*.jsonl") == ["_in/b.jsonl"]


def test_one_star_is_one_folder(tree):
    tree("in/a.jsonl", "in/x/b.jsonl", "in/x/y/c.jsonl", "top.jsonl")
    assert paths("in/*/*.jsonl") == ["in/x/b.jsonl"]
    assert paths("*.jsonl") == ["top.jsonl"]
    assert paths("**.jsonl") == ["in/a.jsonl", "in/x/b.jsonl", "in/x/y/c.jsonl", "top.jsonl"]
    assert paths(f"{os.getcwd()}/in/*.jsonl") == [f"{os.getcwd()}/in/a.jsonl"]


@pytest.mark.parametrize(
    ("source", "out"),
    [
        ("in", "in"), ("in", "./in/"), ("in", "in/out"), ("in/", "in/deep/out"),
        ("in/events", "in"), ("in/events/*.jsonl", "in"), ("in/events/a.jsonl", "in/events"),
        ("in/**", "in/out"), ("in/**.parquet", "in"), ("linked", "in"), ("linked", "in/out"),
        ("in/*/*/*.parquet", "in"), ("**", "out"),
    ],
)  # fmt: skip
def test_an_output_within_its_input_is_refused(tree, tmp_path, source, out):
    tree("in/events/a.jsonl")
    (tmp_path / "linked").symlink_to("in")
    with pytest.raises(InputError, match="choose an --out apart from it"):
        require_apart(source, out)


@pytest.mark.parametrize(
    ("source", "out"),
    [
        ("in", "out"), ("in", "in2"), ("in2", "in"), ("in/*.jsonl", "out"), ("*.jsonl", "out"),
        ("a.jsonl", "out"), ("kept://in", "in"), ("in/events", "in/out"),
    ],
)  # fmt: skip
def test_an_output_apart_from_its_input_is_fine(tree, source, out):
    tree("in/events/a.jsonl", "a.jsonl")
    require_apart(source, out)


def test_a_pattern_of_bookkeeping_only_says_so(tmp_path):
    (tmp_path / "_tmp1.csv").touch()
    with pytest.raises(InputError, match=r"matches only names that begin with '\.' or '_'"):
        list_files(f"{tmp_path}/_tmp*")


def test_two_stars_are_any_number_of_folders_none_too(tree):
    tree("in/a.jsonl", "in/b/c.jsonl", "in/b/c/d.jsonl", "in/b/c/e.txt")
    assert paths("in/**/*.jsonl") == ["in/a.jsonl", "in/b/c.jsonl", "in/b/c/d.jsonl"]
    assert would_hold("in/**/*.jsonl", "in/f.jsonl")


@pytest.mark.parametrize("pattern", ["in/*/*.jsonl", "in/d=*/*.jsonl", "in/**/*.jsonl", "in/**"])
@pytest.mark.parametrize("name", ["d=2", "d=example.com"])
def test_a_partition_that_is_a_link_to_nothing_ends_the_run_in_a_glob_too(tree, pattern, name):
    tree("in/d=1/a.jsonl", "in/b.jsonl")
    os.symlink("nowhere", f"in/{name}")
    with pytest.raises(InputError, match=rf"in/{name} is a link to nowhere"):
        list_files(pattern)


def test_a_link_to_nothing_that_no_pattern_looks_into_is_not_asked_for(tree):
    tree("in/d=1/a.jsonl", "in/b.jsonl")
    os.symlink("nowhere", "in/e=2")
    os.symlink("nowhere", "in/d=1/notes.txt")
    assert paths("in/d=*/*.jsonl") == ["in/d=1/a.jsonl"] and paths("in/*.jsonl") == ["in/b.jsonl"]
