"""Which runner is used, and which flags go to it."""

import apache_beam as beam
import pytest
from apache_beam.options.pipeline_options import DirectOptions

from configs.errors import InputError, StateError
from pipelines.failures import reported
from pipelines.runners import Running, check_flags, run_pipeline


@pytest.mark.parametrize("name", ["DirectRunner", "directrunner", "BundleBasedDirectRunner"])
def test_the_runner_that_swaps_engines_is_refused(name):
    with pytest.raises(InputError, match="embedded runner"):
        check_flags([f"--runner={name}"])


@pytest.mark.parametrize("flags", [["--runner", "FlinkRunner"], []])
def test_threads_that_lose_elements_are_refused(flags):
    with pytest.raises(InputError, match="loses elements"):
        check_flags([*flags, "--direct_running_mode=multi_threading"])


def test_a_misspelled_option_is_not_handed_to_beam():
    with pytest.raises(InputError, match="no option --wrkers"):
        check_flags(["--wrkers=2"])
    # A runner may know options that this Beam does not declare.
    assert check_flags(["--runner=FlinkRunner", "--parallelism_of_mine=2"])


def test_options_reach_beam():
    options = Running(2).options().view_as(DirectOptions)
    assert options.direct_num_workers == 2
    assert options.direct_running_mode == "multi_processing"
    flink = Running(1, ("--runner=FlinkRunner", "--parallelism=2"))
    assert not flink.embedded
    assert flink.options().get_all_options()["runner"] == "FlinkRunner"


def _fail(number):
    raise AssertionError("a bug")


class Fail(beam.DoFn):
    def __init__(self, attempt):
        self.attempt = attempt

    def process(self, number):
        with reported(self.attempt):
            raise StateError("the state is of another spec")


@pytest.mark.parametrize("workers", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_what_a_step_says_is_what_the_launcher_raises(tmp_path, workers):
    (tmp_path / "failures").mkdir()

    def build(root):
        _ = root | beam.Create([1]) | beam.ParDo(Fail(str(tmp_path)))

    with pytest.raises(StateError, match="of another spec"):
        run_pipeline(build, Running(workers), str(tmp_path))


def test_a_bug_stays_a_bug(tmp_path):
    (tmp_path / "failures").mkdir()
    with pytest.raises(AssertionError, match="a bug"):
        run_pipeline(
            lambda root: root | beam.Create([1]) | beam.Map(_fail), Running(), str(tmp_path)
        )
