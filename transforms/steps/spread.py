"""`Spread`: few elements, each of which is much work, over all workers."""

from __future__ import annotations

import dataclasses
import zlib
from typing import Any

import apache_beam as beam
from apache_beam import typehints

from transforms.batches import ShardKey


@dataclasses.dataclass(eq=False)
class Spread(beam.PTransform):
    """Ends a fused stage, so that what follows runs wherever there is a worker.

    Beam's own `Reshuffle` does the same, but takes windows and panes along under the fallback
    coder, which pickles.

    Args:
      kind: the type of the elements, which has a coder of its own; its `repr` tells them apart.
    """

    kind: type

    def expand(self, elements: beam.PCollection[Any]) -> beam.PCollection[Any]:
        """Applies it."""
        return (
            elements
            | "Key" >> beam.Map(_keyed).with_output_types(typehints.Tuple[ShardKey, self.kind])
            | "Group" >> beam.GroupByKey()
            | "Elements" >> beam.FlatMap(lambda group: group[1]).with_output_types(self.kind)
        )


def _keyed(element: Any) -> tuple[ShardKey, Any]:
    return ShardKey("spread", zlib.crc32(repr(element).encode())), element
