"""Batches that travel in scratch files."""

import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from pipelines.scratch import InFiles


@pytest.mark.skipif(sys.platform != "linux", reason="/proc tells what is mapped, on Linux")
def test_files_that_were_read_long_ago_are_let_go(tmp_path):
    exchange = InFiles(str(tmp_path), str(tmp_path))
    batch = pa.RecordBatch.from_pydict({"number": np.arange(4_000_000)})  # 32 MB
    for _ in range(12):
        assert exchange.get(exchange.put(batch)).equals(batch)
    mapped = Path("/proc/self/maps").read_text().count(str(tmp_path))
    assert 1 <= mapped <= 8  # of 256 MiB in all
