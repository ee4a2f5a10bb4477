"""An object store in memory behind Beam's filesystems: names, no folders, read only."""

import functools
import io
from typing import ClassVar

from apache_beam.io.filesystem import CompressionTypes, FileMetadata, FileSystem


@functools.cache
def memory_files():
    """The filesystem, known to Beam from the first call on.

    Beam refuses a scheme of two classes, and a module of tests may be imported twice.
    """

    class MemoryFiles(FileSystem):
        """Objects by name."""

        objects: ClassVar[dict[str, bytes]] = {}

        @classmethod
        def put(cls, path, data):
            cls.objects[path] = data

        @classmethod
        def put_folder(cls, folder, place):
            """Copies what is below a folder."""
            for path in folder.rglob("*"):
                if path.is_file():
                    cls.put(f"{place}/{path.relative_to(folder).as_posix()}", path.read_bytes())

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
            for path, data in self.objects.items():
                if path.startswith(prefix):
                    yield FileMetadata(path, len(data))

        def open(self, path, mime_type="", compression_type=CompressionTypes.AUTO):
            if path not in self.objects:
                raise FileNotFoundError(path)
            return io.BytesIO(self.objects[path])

        def exists(self, path):
            return path in self.objects

        def size(self, path):
            return len(self.objects[path])

        def last_updated(self, path):
            return 0.0

        def metadata(self, path):
            return FileMetadata(path, len(self.objects[path]))

        def refuse(self, *given, **more):
            raise AssertionError("nothing is written here")

        mkdirs = create = copy = rename = delete = checksum = refuse

    return MemoryFiles
