"""An object store in memory behind Beam's filesystems: names, no folders, no rename."""

import functools
import gzip
import io
import itertools
from typing import ClassVar

from apache_beam.io.filesystem import BeamIOError, CompressionTypes, FileMetadata, FileSystem


@functools.cache
def memory_files():
    """The filesystem, known to Beam from the first call on.

    Beam refuses a scheme of two classes, and a module of tests may be imported twice.
    """

    class MemoryFiles(FileSystem):
        """Objects by name; a write is seen when it is closed, whole."""

        objects: ClassVar[dict[str, bytes]] = {}
        times: ClassVar[dict[str, float]] = {}
        clock: ClassVar = itertools.count(1_770_000_000)

        @classmethod
        def put(cls, path, data):
            cls.objects[path] = data
            cls.times[path] = float(next(cls.clock))

        @classmethod
        def put_folder(cls, folder, place):
            """Copies what is below a folder."""
            for path in folder.rglob("*"):
                if path.is_file():
                    cls.put(f"{place}/{path.relative_to(folder).as_posix()}", path.read_bytes())

        @classmethod
        def tree(cls, place):
            """Path below a place -> bytes."""
            return {
                path.removeprefix(f"{place}/"): data
                for path, data in cls.objects.items()
                if path.startswith(f"{place}/")
            }

        @classmethod
        def scheme(cls):
            return "lockstep-memory"

        def join(self, basepath, *paths):
            return "/".join([basepath.rstrip("/"), *paths])

        def split(self, path):
            head, _, tail = path.rpartition("/")
            return head, tail

        def has_dirs(self):
            return False

        def _list(self, prefix):
            for path in list(self.objects):
                if path.startswith(prefix):
                    yield self.metadata(path)

        def open(self, path, mime_type="", compression_type=CompressionTypes.AUTO):
            if path not in self.objects:
                raise BeamIOError("open failed", {path: FileNotFoundError(path)})
            data = self.objects[path]
            return io.BytesIO(
                gzip.decompress(data) if compression_type == CompressionTypes.GZIP else data
            )

        def create(self, path, mime_type="", compression_type=CompressionTypes.AUTO):
            return _Object(self, path)

        def delete(self, paths):
            missing = {path: FileNotFoundError(path) for path in paths if path not in self.objects}
            if missing:
                raise BeamIOError("delete failed", missing)
            for path in paths:
                del self.objects[path]

        def exists(self, path):
            return path in self.objects

        def size(self, path):
            return len(self.objects[path])

        def last_updated(self, path):
            return self.times[path]

        def metadata(self, path):
            return FileMetadata(path, len(self.objects[path]), self.times[path])

        def refuse(self, *given, **more):
            raise AssertionError("an object store has no such thing")

        mkdirs = copy = rename = checksum = refuse

    class _Object(io.BytesIO):
        def __init__(self, store, path):
            super().__init__()
            self._store, self._path = store, path

        def close(self):
            if not self.closed:
                self._store.put(self._path, self.getvalue())
            super().close()

    return MemoryFiles
