"""Features of contenders: what is there is shared, and only what is missing is made.

Published days serve every config that reads the same events and whose inputs are made in the same
way; that is most challengers. For another one the days are shared file by file (links on a disk)
with a folder of its own, and brought up to its config as `--only-new-features` does: entities whose
aggregates changed are folded anew, all else is taken from what is there.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import os
from collections.abc import Iterable, Sequence
from pathlib import Path

from configs.fingerprint import dataset_fingerprint
from configs.schema import Spec
from pipelines.backfill import BackfillRequest, backfill
from pipelines.backfill.publish import dataset_columns
from pipelines.layout import FILES, Days, Layout, json_bytes
from pipelines.progress import Progress
from pipelines.snapshots import GRAPH, read_snapshots
from scoring.files import (
    exists,
    is_local,
    join,
    read_file,
    remove_folder,
    replace_file,
    replace_files,
)
from transforms.signature import marker_unlike
from transforms.social.as_of import reads_snapshots


@dataclasses.dataclass(frozen=True)
class FeatureDays:
    """Published days that hold a config's features.

    Attributes:
      spec: that they were made under; name: of the contender whose it is.
      words: where they come from, for people.
    """

    spec: Spec
    layout: Layout
    name: str
    words: str


@dataclasses.dataclass
class FeatureMaker:
    """Finds or makes the days of contenders.

    Args:
      main: the output folder; its days are made only if they are the champion's.
      folder: where days of other configs go.
      source, workers, flags: as of a backfill.
      days: all that training and tests look at, and labels come from.
    """

    main: Layout
    folder: str
    source: str
    days: Days
    workers: int | None
    flags: tuple[str, ...]
    progress: Progress
    made: list[FeatureDays] = dataclasses.field(default_factory=list)

    def find(self, spec: Spec, name: str) -> FeatureDays:
        """Days of a config, from what is there or made now.

        Raises:
          LockstepError: they cannot be made (see `pipelines.backfill`).
        """
        for one in self.made:
            if self._serves(one, spec):
                return dataclasses.replace(one, words=f"those of {one.name}")
        published = self.main.published()
        if not published or self._is_main(spec, published):
            self._backfill(spec, self.main, published[0] if published else self.days.first)
            found = FeatureDays(spec, self.main, name, "the output folder's days")
        else:
            layout = self._own(spec, published)
            found = FeatureDays(spec, layout, name, "its own, made from the output folder's days")
        self.made.append(found)
        return found

    def _is_main(self, spec: Spec, published: Sequence[dt.date]) -> bool:
        """Whether the output folder's days are of this config, all of them."""
        wanted = dataset_fingerprint(spec)
        return all(self.main.read_marker(day)["spec"] == wanted for day in published)

    def _serves(self, there: FeatureDays, spec: Spec) -> bool:
        if not reads_alike(there.spec, spec):
            return False
        columns = set(dataset_columns(spec))
        markers = map(there.layout.read_marker, there.layout.published())
        return all(
            columns <= set(marker["columns"]) and not marker_unlike(spec, marker)
            for marker in markers
        )

    def _own(self, spec: Spec, published: Sequence[dt.date]) -> Layout:
        """A folder of its own, begun with the days of the output folder."""
        layout = Layout(join(self.folder, dataset_fingerprint(spec)))
        shared = [day for day in published if day <= self.days.last]
        if any(
            layout.read_sources(day) != self.main.read_sources(day)
            for day in layout.published()
            if day in set(shared)
        ):
            remove_folder(layout.root)  # the output folder's days were made anew meanwhile
        share_days(self.main, layout, shared)
        if shared:
            self._backfill(spec, layout, shared[0], shared[-1])
        self._backfill(spec, layout, shared[0] if shared else self.days.first)
        return layout

    def _backfill(
        self, spec: Spec, layout: Layout, first: dt.date, changed: dt.date | None = None
    ) -> None:
        """Makes days; those up to `changed` are there under another config."""
        snapshots = None
        if reads_snapshots(spec):
            snapshots = read_snapshots(join(self.main.root, GRAPH)).of(spec)
        backfill(
            BackfillRequest(
                spec=spec,
                source=self.source,
                out=layout.root,
                days=Days(first, changed or self.days.last),
                workers=self.workers,
                only_new_features=changed is not None,
                flags=self.flags,
                snapshots=snapshots,
            ),
            self.progress,
        )


def reads_alike(one: Spec, other: Spec) -> bool:
    """Whether the same events are scored and judged under both, and columns are made alike."""

    def read(spec: Spec) -> tuple[object, ...]:
        labels = spec.labels
        judged = labels and (labels.kind, labels.subject, labels.positive, labels.source)
        return spec.events, spec.columns, spec.kinds, spec.ingest, spec.hash_seed, judged

    both = one.derived.keys() & other.derived.keys()
    return read(one) == read(other) and all(one.derived[n] == other.derived[n] for n in both)


def share_days(main: Layout, layout: Layout, days: Iterable[dt.date]) -> None:
    """Puts days of one folder into another that lacks them; files are linked where they can be."""
    there = set(layout.published())
    files: dict[str, bytes] = {}
    for day in days:
        if day in there:
            continue
        marker = main.read_marker(day)
        for named in marker[FILES].values():
            for one in named:
                below = one["path"].split("/")
                _link(join(main.root, *below), join(layout.root, *below))
        if exists(main.sources(day)):
            files[layout.sources(day)] = read_file(main.sources(day))
        files[layout.marker(day)] = json_bytes(marker)
    if files and exists(main.source_files):
        files = {layout.source_files: read_file(main.source_files), **files}
    replace_files(files)


def _link(path: str, to: str) -> None:
    if not is_local(path):
        replace_file(to, read_file(path))
        return
    Path(to).parent.mkdir(parents=True, exist_ok=True)
    if not os.path.exists(to):
        os.link(path, to)  # what is published is never written again
