"""A shadow compared with the champion: on the events that both scored, as labels become known.

The scorer's shadow log has both scores of each event (`pipelines.streaming.shadow`). Labels, and
the accounts that the bootstrap draws, are those of the output folder's published days. What the
champion did hides some outcomes: a message that it blocked is not reported. So figures are of the
events that have a label, and where something is acted on they lean towards the champion's misses;
a hold-out (`policy.hold_out`) shows by how much.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from configs.errors import EvidenceError, InputError
from configs.loader import loads
from configs.metrics import Metric
from configs.schema import EVENT_ID, EVENT_TIME, Spec
from pipelines.backfill import read_features
from pipelines.dataset import load_labels
from pipelines.label_history import published_until
from pipelines.layout import DAY_US, Layout, day_of, day_us, require_folder
from pipelines.streaming.shadow import FOLDER
from scoring.controls import split_name
from scoring.files import Place
from scoring.manifest import SPEC
from scoring.shadow import CHALLENGER, CHAMPION
from scoring.store import Store
from training.experiment import ActedOn, acted_on
from training.groups import encode_groups
from training.labels import NEGATIVE, POSITIVE, UNLABELLED
from training.paired import Difference, Redrawn, compare_paired, paired_events
from transforms.catalog import CATALOG

METRICS = (Metric("average_precision"), Metric("auc"))


@dataclasses.dataclass(frozen=True)
class ShadowRequest:
    """What is asked.

    Attributes:
      state: the scorer's folder.
      out: the output folder whose store serves, with the labels.
      challenger: fingerprint or a beginning of it; "": the one that scored last.
      as_of: labels are those known before this day; None: all that are published.
    """

    state: Path
    out: Place
    challenger: str = ""
    as_of: dt.date | None = None


@dataclasses.dataclass(frozen=True)
class ShadowResult:
    """What a shadow would have done.

    Attributes:
      champions: bundles that decided while it scored, in the order of time.
      events: that both scored; published: those of days that are published; labelled, positives: of
        these, with labels as known before `as_of`.
      alone: bundles whose events are left out, since all their labels are of one class.
      same_action: share of all events whose actions are the same, or on which neither acts.
      over, units: what the bootstrap draws, and how many.
      differences: of the challenger from the champion; none without labels of both classes.
      champion_acted, challenger_acted: labelled events that their actions fall on.
      thin: why nothing can be concluded, in words; "" if there is enough to.
    """

    challenger: str
    champions: tuple[str, ...]
    as_of: str
    events: int
    published: int
    labelled: int
    positives: int
    alone: tuple[str, ...]
    same_action: float
    over: str
    units: int
    differences: tuple[Difference, ...]
    champion_acted: ActedOn
    challenger_acted: ActedOn
    thin: str


def compare_shadow(request: ShadowRequest) -> ShadowResult:
    """Compares what both scored.

    Raises:
      InputError: the scorer has no shadow log, or the output folder no published day of it.
      EvidenceError: no event that both scored has a label yet.
      BundleError: a champion's bundle is not in the output folder's store.
    """
    require_folder(request.out)
    layout = Layout(request.out)
    table = read_shadow(request.state, request.challenger)
    champions = pc.unique(table.column(CHAMPION)).to_pylist()
    names = list(dict.fromkeys(split_name(one)[0] for one in champions))
    spec = _spec(layout, names[-1])
    as_of = published_until(layout, request.as_of)
    there = set(layout.published())
    times = table.column(EVENT_TIME).to_numpy()
    days = sorted({day_of(one * DAY_US) for one in np.unique(times // DAY_US).tolist()} & there)
    if not days:
        raise InputError(
            f"{request.out} has no published day of those that the shadow scored; run `lockstep "
            "backfill` or `lockstep nightly` for them first"
        )
    group = spec.evaluation.group
    known = read_features(layout, days, [EVENT_ID, *filter(None, [group])])
    ids = table.column(EVENT_ID).combine_chunks()
    at = pc.index_in(ids, value_set=known.column(EVENT_ID).combine_chunks())
    labels = load_labels(spec, layout, ids, times, day_us(as_of)).labels
    labels = np.where(at.is_valid().to_numpy(zero_copy_only=False), labels, UNLABELLED)
    stretch = _numbers(table.column(CHAMPION), names)
    labelled = labels != UNLABELLED
    alone = tuple(
        name
        for place, name in enumerate(names)
        if not {POSITIVE, NEGATIVE} <= set(labels[stretch == place].tolist())
    )
    kept = labelled & ~np.isin(stretch, [names.index(one) for one in alone])
    if not kept.any():
        raise EvidenceError(
            f"of the {table.num_rows:,} events that the shadow scored, {int(labelled.sum()):,} "
            f"have a label before {as_of}, and not of both classes; wait for verdicts"
        )
    clusters = None
    if group is not None:
        clusters = encode_groups(known.column(group).take(at))[kept]
    part, rows = table.filter(pa.array(kept)), np.flatnonzero(kept)
    events = paired_events(labels[rows], stretch[rows], clusters)
    first, other = (Redrawn(events, _raw(part, one), METRICS) for one in (CHAMPION, CHALLENGER))
    acted = [_acted(table, one) for one in (CHAMPION, CHALLENGER)]
    same = pc.equal(table.column(f"{CHAMPION}_action"), table.column(f"{CHALLENGER}_action"))
    same = same.to_numpy() | ~(acted[0] | acted[1])
    fell = [acted_on(one[rows], events.labels, events.units) for one in acted]
    return ShadowResult(
        challenger=table.column(CHALLENGER)[0].as_py(),
        champions=tuple(names),
        as_of=str(as_of),
        events=table.num_rows,
        published=len(at) - at.null_count,
        labelled=len(events.labels),
        positives=int((events.labels == POSITIVE).sum()),
        alone=alone,
        same_action=float(same.mean()),
        over="events" if group is None else "accounts",
        units=int(events.units.max(initial=-1)) + 1,
        differences=compare_paired(METRICS, first, other),
        champion_acted=fell[0],
        challenger_acted=fell[1],
        thin=events.thin,
    )


def read_shadow(state: Path, challenger: str = "") -> pa.Table:
    """The rows of one challenger in a scorer's shadow log, in the order of time.

    Args:
      challenger: fingerprint or a beginning of it; "": the one that scored last.

    Raises:
      InputError: there are none.
    """
    paths = sorted((state / FOLDER).glob("date=*/*.parquet"), key=lambda path: path.name)
    names = list(dict.fromkeys(path.stem.partition("-")[2] for path in paths))
    found = [one for one in names if one.startswith(challenger)]
    if not found:
        held = f"no shadow {challenger!r}; it has rows of {', '.join(names)}"
        what = held if names else "it has no shadow log"
        raise InputError(
            f"{state}: {what}. Start the scorer with `lockstep stream --shadow BUNDLE`"
        )
    own = [path for path in paths if path.stem.endswith(found[-1])]
    table = pa.concat_tables([pq.read_table(path, partitioning=None) for path in own])
    return table.sort_by([(EVENT_TIME, "ascending"), (EVENT_ID, "ascending")]).combine_chunks()


def _spec(layout: Layout, name: str) -> Spec:
    path = Store(layout.bundles).path(name) / SPEC
    return loads(path.read_text("utf-8"), name, CATALOG)


def _numbers(champions: pa.ChunkedArray, names: list[str]) -> npt.NDArray[np.int64]:
    """The place in `names` of the bundle behind each name in the log."""
    encoded = champions.combine_chunks().dictionary_encode()
    of = np.array([names.index(split_name(one)[0]) for one in encoded.dictionary.to_pylist()])
    return np.asarray(of[encoded.indices.to_numpy()], np.int64)


def _acted(table: pa.Table, name: str) -> npt.NDArray[np.bool_]:
    return np.asarray(table.column(f"{name}_acted").to_numpy(), np.bool_)


def _raw(table: pa.Table, name: str) -> npt.NDArray[np.float64]:
    return np.asarray(table.column(f"{name}_raw").to_numpy(), np.float64)
