"""A challenger's scores beside the champion's, from one fold: the same events, the same state.

The challenger sees what the champion's fold gave of each entity, and makes its own inputs of it. So
it costs a scoring and no fold, and may differ in inputs, model, calibration and policy; not in
velocity state, nor in how events are read. It decides nothing.
"""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc

from configs.errors import StateError
from configs.fingerprint import graph_fingerprint
from configs.schema import EVENT_ID, EVENT_TIME, Spec
from scoring.engine import SCORED, Outcome
from scoring.fits import check_events, check_fits
from scoring.scorer import Scorer
from transforms.decode import event_schema
from transforms.derive import derive
from transforms.inputs import numeric_block
from transforms.social.as_of import reads_snapshots
from transforms.ticks import LATE

CHAMPION, CHALLENGER = "champion", "challenger"
SHADOW_SCHEMA = pa.schema(
    [
        (EVENT_ID, pa.string()),
        (EVENT_TIME, pa.int64()),
        ("late", pa.bool_()),
        *(
            field
            for name in (CHAMPION, CHALLENGER)
            for field in (
                (name, pa.string()),
                (f"{name}_raw", pa.float32()),
                (f"{name}_score", pa.float64()),
                (f"{name}_action", pa.string()),
                (f"{name}_acted", pa.bool_()),
            )
        ),
    ]
)
"""Of a row of the shadow log; the champion is named as in the log, with controls in force.

`acted`: the action is another one than the policy's `default`, which each bundle names for itself.
"""


def check_shadow(now: Spec, wanted: Spec) -> None:
    """Whether a bundle's spec can be scored beside another one that is folded.

    Raises:
      StateError: it needs other state, reads events otherwise, or sees another social graph.
    """
    check_fits(now, wanted)
    check_events(now, wanted)
    if not reads_snapshots(wanted):
        return
    graphs = [
        (graph_fingerprint(one), one.graph.accounts, one.graph.columns)
        for one in (now, wanted)
        if one.graph is not None
    ]
    if len(graphs) < 2 or graphs[0] != graphs[1]:
        raise StateError(
            "the bundle's social graph is another one than that of the bundle that serves, and a "
            "shadow sees what that one sees; compare the two with `lockstep experiment run`"
        )


def score_beside(scorer: Scorer, now: Spec, outcome: Outcome) -> pa.RecordBatch | None:
    """Rows of the shadow log for a step: `[s]` of `SHADOW_SCHEMA`; None where nothing was scored.

    Args:
      scorer: of the challenger, under no controls: what it would do by itself.
      now: the spec that the step was folded by (`check_shadow`).
      outcome: of the step.
    """
    scored, looked = outcome.scored, outcome.looked
    if scored is None or looked is None or looked.asked is None:
        return None
    spec, asked = scorer.bundle.spec, looked.asked
    if spec.derived != now.derived:
        decoded = [field.name for field in event_schema(now)]
        asked = derive(spec, asked.select(decoded))
    made = scorer.score(numeric_block(spec, asked, looked.features), asked)
    events = outcome.events.filter(outcome.events.column(SCORED))
    count = events.num_rows
    actions, others = scored.actions(), made.actions()
    return pa.RecordBatch.from_arrays(
        [
            events.column(EVENT_ID),
            events.column(EVENT_TIME),
            events.column(LATE),
            pa.array([outcome.bundle] * count, pa.string()),
            pa.array(scored.raw),
            pa.array(scored.score),
            actions,
            pc.not_equal(actions, now.policy.default),
            pa.array([scorer.bundle.fingerprint] * count, pa.string()),
            pa.array(made.raw),
            pa.array(made.score),
            others,
            pc.not_equal(others, spec.policy.default),
        ],
        schema=SHADOW_SCHEMA,
    )
