"""Options of a runner, looked at before anything is done; no engine and no cloud is asked."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from apache_beam.options.pipeline_options import GoogleCloudOptions, PipelineOptions
from apache_beam.options.pipeline_options_validator import PipelineOptionsValidator
from apache_beam.runners import create_runner

from configs.errors import InputError


def require_runner(runner: str, flags: Sequence[str]) -> None:
    """Does nothing if Beam has a runner, and finds nothing wrong with its options by themselves.

    Raises:
      InputError: it does not, or does.
    """
    try:
        options = PipelineOptions(list(flags))
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
