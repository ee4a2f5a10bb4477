"""Sources: files on any Beam filesystem, as splits that can be read in parallel.

`open_source` lists a file, folder or glob as splits, `read_split` decodes one, batch by batch.
"""

from pipelines.sources.files import open_source
from pipelines.sources.read import read_split
from pipelines.sources.splits import Split

__all__ = ["Split", "open_source", "read_split"]
