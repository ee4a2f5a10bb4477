"""Options of a runner, looked at before anything is done; no engine and no cloud is asked."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from apache_beam.options.pipeline_options import (
    FlinkRunnerOptions,
    GoogleCloudOptions,
    JobServerOptions,
    KafkaStreamsRunnerOptions,
    PipelineOptions,
    PortableOptions,
    PrismRunnerOptions,
    SetupOptions,
    SparkRunnerOptions,
    StreamingOptions,
    WorkerOptions,
)
from apache_beam.options.pipeline_options_validator import PipelineOptionsValidator
from apache_beam.runners import create_runner

from configs.errors import InputError


def runner_of(flags: Sequence[str]) -> str:
    """What `--runner` names; "" if it is not there.

    >>> runner_of(["--streaming", "--runner=FlinkRunner"])
    'FlinkRunner'
    """
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--runner", default="")
    return str(parser.parse_known_args(list(flags))[0].runner)


def require_runner(runner: str, flags: Sequence[str]) -> None:
    """Does nothing if Beam has a runner, and finds nothing wrong with its options by themselves.

    Raises:
      InputError: it does not, or does.
    """
    try:
        options = PipelineOptions(list(flags))
        prism = options.view_as(PrismRunnerOptions).prism_location
        if prism and "://" not in prism and not Path(prism).is_file():
            raise ValueError(f"--prism_location={prism}: expected Prism's binary, a file")
        validator = PipelineOptionsValidator(options, create_runner(runner))
        if validator.is_service_runner():  # Beam's whole check would ask the cloud for its buckets
            cloud = options.view_as(GoogleCloudOptions)
            places = [
                validator.validate_gcs_path(cloud, name)
                for name in ("temp_location", "staging_location")
            ]
            wrong = (places[0] if all(places) else []) + validator.validate_cloud_options(cloud)
        else:
            wrong = validator.validate()
    except (ValueError, ImportError, AttributeError) as error:
        raise InputError(
            f"--runner={runner} cannot be used: {str(error).rstrip('.')}. Name PrismRunner, "
            "FlinkRunner or DataflowRunner, or leave it out for the embedded runner"
        ) from error
    if wrong:
        raise InputError(f"--runner={runner}: {' '.join(wrong)}")


# Whose options only an engine reads, and the runner that they go with. What files need of a cloud
# (credentials, endpoints of stores) is read here as well, and how functions are pickled.
_ENGINES: tuple[tuple[type[PipelineOptions], str], ...] = (
    (FlinkRunnerOptions, "FlinkRunner"),
    (SparkRunnerOptions, "SparkRunner"),
    (PrismRunnerOptions, "PrismRunner"),
    (KafkaStreamsRunnerOptions, "KafkaStreamsRunner"),
    (GoogleCloudOptions, "DataflowRunner"),
    (WorkerOptions, "DataflowRunner"),
    (StreamingOptions, "DataflowRunner"),
    (PortableOptions, "PortableRunner"),
    (JobServerOptions, "FlinkRunner"),
    (SetupOptions, "DataflowRunner, FlinkRunner or PrismRunner"),
)
_READ_HERE = (
    "--impersonate_service_account", "--no_auth", "--gcp_oauth_scope", "--gcs_", "--no_gcs",
    "--enable_bucket_", "--enable_gcsio_", "--pickle_library",
)  # fmt: skip


# Options of classes that are mixed: these the embedded runner does not heed.
_OTHERS = {
    "--dataflow_job_file": "DataflowRunner",
    "--dry_run": "DataflowRunner",
    "--no_wait_until_finish": "DataflowRunner",
    "--resource_hint": "DataflowRunner",
    "--resource_hints": "DataflowRunner",
    "--number_of_worker_harness_threads": "DataflowRunner or FlinkRunner",
    "--streaming": "FlinkRunner with `lockstep stream`",
}


def refuse_engine_flags(flags: Sequence[str]) -> None:
    """Does nothing unless a flag asks for an engine, and no runner is named.

    Raises:
      InputError: one does; embedded, it would be passed over without a word.
    """
    runners = dict(_OTHERS)
    for kind, runner in _ENGINES:
        parser = argparse.ArgumentParser(add_help=False, conflict_handler="resolve")
        kind._add_argparse_args(parser)
        for name in parser._option_string_actions:
            if not name.startswith(_READ_HERE):
                runners.setdefault(name, runner)
    for name in (flag.split("=")[0] for flag in flags):
        if name.startswith("--") and name in runners:
            raise InputError(
                f"{name} is an option of an engine, and no engine is named: add "
                f"--runner={runners[name]}, or leave {name} out to run embedded, in this process"
            )


def with_absolute_setup_file(flags: Sequence[str]) -> tuple[str, ...]:
    """Beam builds the packages in the file's folder, and finds no file by a relative path there."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--setup_file")
    known, others = parser.parse_known_args(list(flags))
    if known.setup_file is None:
        return tuple(flags)
    path = Path(known.setup_file).absolute()
    if path.name not in ("setup.py", "pyproject.toml") or not path.is_file():
        raise InputError(
            f"--setup_file={known.setup_file}: expected a file setup.py or pyproject.toml, and "
            f"there is none at {path}; name that of Lockstep's source, which workers install"
        )
    return (*others, f"--setup_file={path}")
