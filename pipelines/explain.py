"""Why an event was decided as it was: what each input added, how unusual that was, what is known.

What enters: an event's id; a scorer's log or the published days, where it is found. What leaves:
one account of the decision, for an analyst. The event is scored again as it is served, and its
inputs are compared with those that the log has. Values of private columns stay out.
"""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from configs.errors import InputError
from configs.schema import EVENT_ID, EVENT_TIME, Spec
from pipelines.campaign_snapshots import campaigns_of_event
from pipelines.files import open_parquet
from pipelines.label_history import Known, label_history
from pipelines.layout import DAY_US, FEATURES, Layout, day_of, day_us, require_folder
from pipelines.read_days import read_part
from pipelines.streaming.journal import read_steps
from scoring.bundle import load_bundle
from scoring.controls import split_name
from scoring.decision import Threshold
from scoring.engine import ACTION, BUNDLE, INPUTS, NUMERIC, STEP, WITHHELD, logged_events
from scoring.explanation import InputPart, explain_inputs
from scoring.files import Place
from scoring.models import TEXT_SCORE
from scoring.scorer import Bundle, Scorer
from scoring.store import Store
from transforms.catalog import CATALOG
from transforms.derive import derive
from transforms.inputs import input_arrays, numeric_names

_COMPARED = 200_000  # events of a day that a value is compared with, at most about


@dataclasses.dataclass(frozen=True)
class ExplainRequest:
    """What is asked.

    Attributes:
      event: the event's id.
      out: the output folder: bundles, verdicts, and the days that values are compared with.
      bundle: fingerprint, or "serving"; None: the one that decided, or else the serving one.
      state: a scorer's folder, whose log is searched first.
    """

    event: str
    out: Place
    bundle: str | None = None
    state: Path | None = None


@dataclasses.dataclass(frozen=True)
class Explanation:
    """An account of one decision.

    Attributes:
      found: where the event was found, in words.
      same: whether scoring it again gives the inputs that the log has, bit for bit; None where
        there is no log.
      raw, score, action: log odds, share of abuse among such events, what the bundle says is due.
      given: the action that was given, by the log; "" where there is none.
      decided_by: the bundle that gave it; "" where there is no log.
      withheld: what held back the action that was due (`scoring.controls`); "" if nothing.
      overruled: who let the bundle serve against its gate, and why; "" if nobody had to.
      thresholds: of each action, strongest first; None: it never fires.
      contracts: of each action, what shows that it may fire, or why it never does.
      parts: what each input added to the log odds, largest first; empty for the text model alone.
      rest: of the log odds, where every event begins.
      compared: what `InputPart.above` and `usual` are of, in words.
      verdicts: about the event, in the order in which they became known.
      label: 1, 0, or None where nothing is known yet, at the end of the published days.
      campaign, campaign_now: names of the event's campaign, as known at its time and by the newest
        snapshot (`lockstep campaigns`); "": none.
      campaign_snapshot: name of the snapshot that was known at its time; "": none was.
    """

    event: str
    time_us: int
    found: str
    same: bool | None
    bundle: str
    model: str
    raw: float
    score: float
    action: str
    given: str
    decided_by: str
    withheld: str
    overruled: str
    thresholds: dict[str, float | None]
    contracts: dict[str, str]
    parts: tuple[InputPart, ...]
    rest: float
    compared: str
    verdicts: tuple[Known, ...]
    label: int | None
    campaign: str = ""
    campaign_snapshot: str = ""
    campaign_now: str = ""

    @property
    def nearest(self) -> tuple[str, float] | None:
        """The action whose threshold is nearest to the score, and score less threshold."""
        away = [(name, self.score - at) for name, at in self.thresholds.items() if at is not None]
        return min(away, key=lambda one: abs(one[1]), default=None)

    def to_builtins(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return dataclasses.asdict(self) | {"nearest": self.nearest}


@dataclasses.dataclass(frozen=True)
class _Found:
    """One scored event: its numeric block float32 `[1, K]`, its columns `[1]`, what was logged."""

    where: str
    time_us: int
    bundle: Bundle
    numeric: npt.NDArray[np.float32]
    row: pa.RecordBatch
    inputs: npt.NDArray[np.float32] | None = None
    given: str = ""
    decided_by: str = ""
    withheld: str = ""


def explain(request: ExplainRequest) -> Explanation:
    """Explains the decision about one event.

    Raises:
      InputError: there is no such scored event.
      BundleError: the bundle is gone or damaged.
    """
    layout = Layout(request.out)
    require_folder(request.out)
    found = _of_log(request, layout) or _of_days(request, layout)
    if found is None:
        places = f"the days published in {request.out}"
        if request.state is not None:
            places = f"the log in {request.state}, nor in {places}"
        raise InputError(
            f"no scored event of that id is in {places}; ids are as in the events (or as `ingest` "
            "makes them), and `lockstep backfill` publishes more days"
        )
    bundle, scorer = found.bundle, Scorer(found.bundle)
    scored = scorer.score(found.numeric, found.row)
    made = bundle.models.contributions(bundle.model, scored.inputs)
    compared, others = _usual(bundle.spec, layout, found.time_us)
    parts: tuple[InputPart, ...] = ()
    if made is not None:
        parts = explain_inputs(
            bundle.spec,
            made[0],
            found.numeric[0],
            others,
            _shown(bundle.spec, found.row, float(scored.inputs[0, -1])),
        )
    verdicts, label = label_history(bundle.spec, layout, request.event, found.time_us)
    campaign, campaign_snapshot, campaign_now = campaigns_of_event(
        bundle.spec, request.out, request.event, found.time_us, found.row
    )
    same = None
    if found.inputs is not None:
        same = found.inputs.tobytes() == scored.inputs[0].tobytes()
    return Explanation(
        event=request.event,
        time_us=found.time_us,
        found=found.where,
        same=same,
        bundle=bundle.fingerprint,
        model=bundle.model,
        raw=float(scored.raw[0]),
        score=float(scored.score[0]),
        action=scored.actions()[0].as_py(),
        given=found.given,
        decided_by=found.decided_by,
        withheld=found.withheld,
        overruled=_overruled(layout, bundle.fingerprint),
        thresholds={one.action: one.value for one in bundle.policy.thresholds},
        contracts={one.action: _contract(one) for one in bundle.policy.thresholds},
        parts=parts,
        rest=float(made[0, -1]) if made is not None else float(scored.raw[0]),
        compared=compared,
        verdicts=verdicts,
        label=label,
        campaign=campaign,
        campaign_snapshot=campaign_snapshot,
        campaign_now=campaign_now,
    )


def _overruled(layout: Layout, fingerprint: str) -> str:
    """Of the newest time that the bundle was promoted against its gate."""
    for change in reversed(Store(layout.bundles).changes()):
        if change.serving == fingerprint and change.overrides:
            return f"{change.by}: {change.because}"
    return ""


def _contract(one: Threshold) -> str:
    return f"{one.contract}: {one.evidence}" if one.evidence else one.reason


def _shown(spec: Spec, row: pa.RecordBatch, text_score: float) -> dict[str, float | str | None]:
    """Values of categories that are not private, and what the text model says."""
    private = {name for name, column in spec.columns.items() if column.private}
    names = [one.column for one in spec.inputs.categorical if one.column not in private]
    shown: dict[str, float | str | None] = {name: row.column(name)[0].as_py() for name in names}
    return shown | ({TEXT_SCORE: text_score} if spec.inputs.text is not None else {})


def _bundle(layout: Layout, name: str) -> Bundle:
    return load_bundle(Store(layout.bundles).path(name), CATALOG)


def _of_log(request: ExplainRequest, layout: Layout) -> _Found | None:
    """The event as a scorer's log has it."""
    if request.state is None:
        return None
    for step in read_steps(request.state):
        batch = step.batch
        at = pc.index(batch.column(EVENT_ID), request.event).as_py()
        if at < 0 or not batch.column(NUMERIC)[at].is_valid:
            continue
        row = batch.slice(at, 1)
        served, _ = split_name(row.column(BUNDLE)[0].as_py())
        bundle = _bundle(layout, request.bundle or served)
        logged = row.column(INPUTS)[0]
        inputs = None
        if bundle.fingerprint == served and logged.is_valid:
            inputs = np.asarray(logged.values, np.float32)
        numeric = np.asarray(row.column(NUMERIC)[0].values, np.float32)[None, :]
        width = len(numeric_names(bundle.spec))
        if numeric.shape[1] != width:
            raise InputError(
                f"the log has {numeric.shape[1]} numbers of that event, {bundle.fingerprint} reads "
                f"{width}; leave --bundle out: {served} decided"
            )
        return _Found(
            f"step {row.column(STEP)[0].as_py():,} of the log in {request.state}",
            row.column(EVENT_TIME)[0].as_py(),
            bundle,
            numeric,
            derive(bundle.spec, logged_events(bundle.spec, row)),
            inputs,
            row.column(ACTION)[0].as_py() or "",
            served,
            (row.column(WITHHELD)[0].as_py() or "") if WITHHELD in row.schema.names else "",
        )
    return None


def _of_days(request: ExplainRequest, layout: Layout) -> _Found | None:
    """The event as it was backfilled."""
    for day in reversed(layout.published()):
        for part in layout.files(day, FEATURES):
            file = open_parquet(part)
            at = pc.index(file.read([EVENT_ID]).column(EVENT_ID), request.event).as_py()
            if at < 0:
                continue
            bundle = _bundle(layout, request.bundle or "serving")
            row = file.read().slice(at, 1)
            where = f"{day} in {request.out}"
            time_us = row.column(EVENT_TIME)[0].as_py()
            return _Found(where, time_us, bundle, *input_arrays(bundle.spec, row))
    return None


def _usual(spec: Spec, layout: Layout, time_us: int) -> tuple[str, npt.NDArray[np.float32]]:
    """Numeric blocks of the event's day, or of the newest day before it; and which, in words."""
    names = numeric_names(spec)
    days = [day for day in layout.published() if day <= day_of(time_us)]
    if not days:
        return "", np.empty((0, len(names)), np.float32)
    day = days[-1]
    marker = layout.read_marker(day)
    share = min(_COMPARED / max(int(marker["scored"]), 1), 1.0)
    limit = None if share == 1.0 else math.floor(share * (2**64 - 1))
    start = day_us(day)
    tables = [
        read_part(spec, part, start, start + DAY_US, limit)
        for part in layout.named(marker, FEATURES).values()
    ]
    table = pa.concat_tables(tables) if tables else pa.table({})
    if not table.num_rows:
        return "", np.empty((0, len(names)), np.float32)
    block = np.stack([table.column(name).to_numpy() for name in names], 1).astype(np.float32)
    return f"{len(block):,} scored events of {day}", block
