"""What all tests share: settings of hypothesis, and published data where it is there."""

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

# The first call of a kernel compiles it, and the machine may be busy: time is no verdict here.
# `make test` tries the same examples each time, so that a change is red for what it changed;
# `make soak` looks for new ones (`--hypothesis-profile=explore`).
settings.register_profile(
    "explore", deadline=None, suppress_health_check=[HealthCheck.too_slow], print_blob=True
)
settings.register_profile("lockstep", settings.get_profile("explore"), derandomize=True)
settings.load_profile("lockstep")

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="session")
def shared_data():
    """Folder of the published data sets (README.md there): `LOCKSTEP_DATA`, or ../shared/data."""
    folder = Path(os.environ.get("LOCKSTEP_DATA", ROOT.parent / "shared" / "data"))
    if not (folder / "README.md").exists():
        pytest.skip(
            f"the published data sets are not in {folder}; set LOCKSTEP_DATA to where they are"
        )
    return folder
