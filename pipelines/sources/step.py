"""`ReadEvents`: splits of a source to decoded events, dead letters, and what each split held."""

from __future__ import annotations

import dataclasses
import json
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

import apache_beam as beam
import pyarrow as pa
from apache_beam.pvalue import TaggedOutput

from configs.schema import EVENT_TIME, Spec
from pipelines.failures import reported
from pipelines.sources.contents import Contents, add_contents, contents
from pipelines.sources.read import read_split
from pipelines.sources.splits import Split
from transforms.batches import one_batch
from transforms.dead_letter import DEAD_LETTER_SCHEMA, dead_letter_table
from transforms.steps.decode import DEAD_LETTERS, EVENTS, count_dead
from transforms.steps.spread import Spread
from transforms.steps.stamps import stamp, tag_batch

FACTS = "facts"
_BATCHES = 20  # bits of the number of a split's batch


@dataclasses.dataclass(eq=False)
class ReadEvents(beam.PTransform):
    """Splits to the events of a range of time.

    Args:
      splits: by their number, which names their rows in this run.
      spec: the use.
      start_us, end_us: half-open range of event times; all if not given.
      attempt: where failures are written down for a launcher; "": nowhere.

    Outputs: `events`, decoded; `dead_letters`, tagged with the split's name; `facts`, a line of
    JSON per split: records, dead letters, and what it holds of each day (`sources.contents`).
    """

    splits: Sequence[tuple[int, Split]]
    spec: Spec
    start_us: int = -(1 << 63)
    end_us: int = (1 << 63) - 1
    attempt: str = ""

    def expand(self, root: beam.pvalue.PBegin) -> Any:
        """Applies it."""
        lines = [json.dumps([number, dataclasses.asdict(split)]) for number, split in self.splits]
        return (
            root
            | "Splits" >> beam.Create(lines, reshuffle=False).with_output_types(str)
            | Spread(str)
            | "Read"
            >> beam.ParDo(_Read(self.spec, self.start_us, self.end_us, self.attempt))
            .with_output_types(pa.RecordBatch, **{DEAD_LETTERS: pa.RecordBatch, FACTS: str})
            .with_outputs(DEAD_LETTERS, FACTS, main=EVENTS)
        )  # fmt: skip


class _Read(beam.DoFn):
    def __init__(self, spec: Spec, start_us: int, end_us: int, attempt: str) -> None:
        self._spec, self._range, self._attempt = spec, (start_us, end_us), attempt

    def process(self, line: str) -> Iterator[Any]:
        number, fields = json.loads(line)
        fields = {k: tuple(v) if isinstance(v, list) else v for k, v in fields.items()}
        split = Split(**fields)
        read = 0
        seen: Contents = {}
        dead: Counter[tuple[str, str]] = Counter()
        columns: set[str] = set()
        for place, decoded in enumerate(self._batches(split)):
            read += decoded.batch.num_rows + len(decoded.dead)
            seen = add_contents([seen, contents(self._spec, decoded.batch)])
            columns |= decoded.columns
            if decoded.dead:
                dead.update((str(one.stage), str(one.reason)) for one in decoded.dead)
                table = dead_letter_table(decoded.dead)
                batch = one_batch(table.to_batches(), DEAD_LETTER_SCHEMA)
                yield TaggedOutput(DEAD_LETTERS, tag_batch(batch, name=split.name))
            times = decoded.batch.column(EVENT_TIME).to_numpy()
            wanted = (times >= self._range[0]) & (times < self._range[1])
            batch, positions = decoded.batch, decoded.positions
            if not wanted.all():
                batch, positions = batch.filter(pa.array(wanted)), positions[wanted]
            if batch.num_rows:
                yield stamp(batch, split.path, (number << _BATCHES) + place, positions)
        count_dead(dead)
        facts = {
            "what": "split",
            "number": number,
            "read": read,
            "seen": seen,
            "columns": sorted(columns),
            "dead": [[*key, count] for key, count in sorted(dead.items())],
        }
        yield TaggedOutput(FACTS, json.dumps(facts, sort_keys=True))

    def _batches(self, split: Split) -> Iterator[Any]:
        source = iter(read_split(split, self._spec))
        while True:
            with reported(self._attempt):
                decoded = next(source, None)
            if decoded is None:
                return
            yield decoded
