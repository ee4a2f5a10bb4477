"""Lines of a file, with an upper bound on what one of them may take of memory.

What enters: an open binary file. What leaves: its lines with their numbers, and for a line beyond
the bound its number alone; the rest of it is passed over. A file without any line end would else be
read whole.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import IO

BOM = b"\xef\xbb\xbf"


def each_line(file: IO[bytes], most: int) -> Iterator[tuple[int, bytes | None]]:
    r"""Numbers from 0, and lines with their ends; None for a line of more than `most` bytes.

    A byte order mark before the first line is left out.

    >>> import io
    >>> list(each_line(io.BytesIO(b"a\nlonger\nb"), most=3))
    [(0, b'a\n'), (1, None), (2, b'b')]
    """
    number = -1
    while line := file.readline(most + 1):
        number += 1
        if len(line) <= most:
            yield number, line.removeprefix(BOM) if number == 0 else line
            continue
        while not line.endswith(b"\n") and (line := file.readline(most + 1)):
            pass
        yield number, None
