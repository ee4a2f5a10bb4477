"""The scorer: numeric block and events in, decisions out; what trains, serves and replays.

Training evaluates through `Models.score`, so what is measured is what serves.
"""

from __future__ import annotations

import copy
import dataclasses
import functools
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from configs.schema import EVENT_ID, HoldOut, Spec
from scoring.calibration import Calibration
from scoring.controls import NONE, Controls, Withheld, decided_by
from scoring.decision import DecisionPolicy
from scoring.explanation import InputReason, input_meanings, shown_inputs, top_reasons
from scoring.hold_out import hold_back
from scoring.models import Models, input_names, model_inputs
from transforms.executor import Executor
from transforms.inputs import input_arrays

Floats = npt.NDArray[np.float32]


@dataclasses.dataclass(frozen=True, kw_only=True)
class BundleContents:
    """What is in a model bundle, fitted or loaded.

    Attributes:
      graph: folder of the analysed graph.
      models: fitted.
      model: which serves: "booster", "linear" or "text".
      metrics, provenance: JSON-able; not part of the fingerprint.
    """

    spec: Spec
    graph: Path
    models: Models
    model: str
    calibration: Calibration
    policy: DecisionPolicy
    metrics: dict[str, Any]
    provenance: dict[str, Any]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Bundle(BundleContents):
    """A verified model bundle, loaded.

    Attributes:
      state: entity -> fingerprint of the velocity state that its features need.
      versions: library -> the major and minor version that made it.
    """

    path: Path
    fingerprint: str
    state: Mapping[str, str]
    versions: Mapping[str, str]

    def score(self, table: Any) -> pa.Table:
        """Scores rows of a dataset that `lockstep backfill` wrote, exactly as they are served.

        Args:
          table: Arrow, pandas or polars `[n]`, with the columns that the model's inputs are made
            of; any order, and others do no harm.

        Returns:
          `[n]` rows in the order given: `event_id` where the table has it, `raw` float32 (log
          odds), `score` float64 (the share of abuse among such events) and `action` string.

        Raises:
          InputError: a column is missing, or of a type that does not fit.
        """
        given = table if isinstance(table, pa.Table) else pa.table(table)
        made = self._scorer.score(*input_arrays(self.spec, given))
        columns = {"raw": pa.array(made.raw), "score": pa.array(made.score)}
        columns["action"] = made.actions()
        ids = {EVENT_ID: given.column(EVENT_ID)} if EVENT_ID in given.column_names else {}
        return pa.table(ids | columns)

    @functools.cached_property
    def _scorer(self) -> Scorer:
        return Scorer(self)


@dataclasses.dataclass(frozen=True)
class Scored:
    """What a scorer makes of n events.

    Attributes:
      inputs: float32 `[n, D]`, exactly what the model saw (`input_names`).
      raw: float32 `[n]`, log odds.
      score: float64 `[n]`, calibrated.
      action: int8 `[n]`, numbers of `names`.
      names: actions by number.
      withheld: rows whose action people (`scoring.controls`) or the hold-out hold back, and what it
        was to be.
    """

    inputs: Floats
    raw: Floats
    score: npt.NDArray[np.float64]
    action: npt.NDArray[np.int8]
    names: tuple[str, ...]
    withheld: Mapping[int, Withheld] = dataclasses.field(default_factory=dict)

    def actions(self) -> pa.StringArray:
        """The actions' names, one per event; strings also where there is no event."""
        return pa.array(self.names, pa.string()).take(pa.array(self.action))


class Scorer:
    """Scores with a loaded bundle.

    Args:
      bundle: verified (`scoring.bundle.load_bundle`).

    Attributes:
      controls: what people have switched; `under` gives a scorer with others. One that is not
        under any tells what the bundle would do by itself.
    """

    def __init__(self, bundle: Bundle) -> None:
        self.bundle = bundle
        self.controls = NONE
        self._acts = False
        self.names = input_names(bundle.spec)
        self._executor = Executor(bundle.graph, bundle.spec)
        self._meanings = input_meanings(bundle.spec)
        self._shown = shown_inputs(bundle.spec)

    @property
    def name(self) -> str:
        """What decides, as a log names it: the bundle, and the controls if any are in force."""
        return decided_by(self.bundle.fingerprint, self.controls)

    def under(self, controls: Controls) -> Scorer:
        """The same scorer with these controls, for whoever acts (`acts`)."""
        if self._acts and controls.digest == self.controls.digest:
            return self
        made = copy.copy(self)
        made.controls, made._acts = controls, True
        return made

    @property
    def acts(self) -> bool:
        """Whether somebody acts on these decisions: then the hold-out and limits are heeded."""
        return self._acts

    @property
    def hold_out(self) -> HoldOut | None:
        """Which events are let through; None: none, or nobody acts on these decisions."""
        return self.bundle.spec.policy.hold_out if self._acts else None

    @property
    def reads(self) -> tuple[str, ...]:
        """Columns of events that it needs beside the model's, in order to hold actions back."""
        return (*([] if self.hold_out is None else [EVENT_ID]), *self.controls.allow)

    def score(self, numeric: Floats, batch: pa.RecordBatch) -> Scored:
        """Scores events; a row's bits do not depend on the others.

        Args:
          numeric: float32 `[n, K]` (`transforms.inputs.numeric_block`).
          batch: the same n events, derived; with the columns that it `reads`.
        """
        bundle = self.bundle
        transformed = self._executor.transform(numeric, batch)
        text_scores = bundle.models.text_scores(transformed)
        inputs = model_inputs(transformed, text_scores)
        raw = bundle.models.raw(bundle.model, transformed, text_scores, inputs)
        score = bundle.calibration.apply(raw)
        action, withheld = self.controls.decide(bundle.policy, score, batch)
        if self.hold_out is not None:
            ids = batch.column(EVENT_ID)
            action, held = hold_back(self.hold_out, bundle.policy.names, action, ids)
            withheld |= held
        return Scored(
            inputs=inputs,
            raw=raw,
            score=score,
            action=action,
            names=bundle.policy.names,
            withheld=withheld,
        )

    def explain(
        self, scored: Scored, rows: npt.NDArray[np.intp], numeric: Floats | None = None
    ) -> list[tuple[InputReason, ...]]:
        """The reasons of some events, in words; empty where the text model alone decides.

        Args:
          scored: as `score` made it.
          rows: of it, int `[r]`.
          numeric: the block that was scored, float32 `[n, K]`; with it, reasons tell values.
        """
        if not len(rows):
            return []
        made = self.bundle.models.contributions(self.bundle.model, scored.inputs[rows])
        if made is None:
            return [() for _ in rows]
        if numeric is None:
            return [top_reasons(row, self.names, self._meanings) for row in made]
        return [
            top_reasons(row, self.names, self._meanings, values=self._values(numbers))
            for row, numbers in zip(made, numeric[rows], strict=True)
        ]

    def _values(self, numbers: npt.NDArray[np.float32]) -> dict[str, float]:
        together = zip(self.names, numbers.tolist(), self._shown, strict=False)
        return {name: value for name, value, shown in together if shown}
