"""Decisions as consumers get them: one JSON object per scored event, the same bytes every time.

What enters: an `Outcome` and the scorer that made it. What leaves: messages. They are logged
before they are published, and published again from the log after a crash, so a decision has one
form for ever.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
import numpy as np

from configs.schema import EVENT_ID, EVENT_TIME, Spec
from scoring.action_delay import NOW, act_after
from scoring.decision import decision_id
from scoring.engine import SCORED, Outcome
from scoring.hold_out import HELD_OUT
from scoring.limits import LIMITED
from scoring.scorer import Scorer
from transforms.ticks import LATE

_ENCODER = msgspec.json.Encoder(order="sorted")


def encode_decisions(
    spec: Spec,
    outcome: Outcome,
    scorer: Scorer | None,
    revisions: Sequence[int | None] | None = None,
) -> list[bytes | None]:
    """One message per scored event, in fold order.

    A decision has: decision_id, event_id, event_time (microseconds UTC), score, action, threshold
    (null for the default action), bundle, late, and for actions the reasons in words. Where people
    have switched something (`scoring.controls`), it has the digest of the controls, and where they
    held its action back, `withheld`: which action, and by what. Under a policy with a hold-out it
    has the `propensity`, the chance with which the event is let through: the share where an action
    is due, else 1; of what is let through, `withheld` has the action and "hold-out". Where an
    action's limit is used up (`scoring.limits`), it has that action and "limit". Where the action
    has a delay, `act_after` is the moment from which it is carried out (microseconds UTC). Of an
    event of a campaign, where decisions name them, `campaign` is its name and the snapshot's.

    Args:
      spec: its name is part of the decision's id.
      outcome: of a step.
      scorer: that made it; None where nothing was scored.
      revisions: for each scored event, which revision the decision is; None: it has been decided
        so before, and there is no message. Not given: they have no revisions.
    """
    scored = outcome.scored
    if scored is None or scorer is None:
        return []
    mask = outcome.events.column(SCORED).to_numpy(zero_copy_only=False)
    rows = outcome.events.select([EVENT_ID, EVENT_TIME, LATE]).filter(mask)
    ids = rows.column(EVENT_ID).to_pylist()
    times = rows.column(EVENT_TIME).to_pylist()
    late = rows.column(LATE).to_pylist()
    policy, controls, hold_out = scorer.bundle.policy, scorer.controls.digest, scorer.hold_out
    sent = np.array([revisions is None or revisions[row] is not None for row in range(len(ids))])
    acted = np.flatnonzero((scored.action != 0) & sent)
    said = scorer.explain(scored, acted, outcome.numeric)
    reasons = dict(zip(acted.tolist(), said, strict=True))
    moments = act_after(
        scorer.bundle.spec.policy.actions,
        scored.action,
        rows.column(EVENT_ID),
        rows.column(EVENT_TIME).to_numpy(),
    )
    named = outcome.looked.campaigns if outcome.looked is not None else None
    campaigns = named.campaigns.to_pylist() if named is not None else [None] * len(ids)
    messages: list[bytes | None] = []
    for row, event in enumerate(ids):
        if not sent[row]:
            messages.append(None)
            continue
        number = int(scored.action[row])
        decision: dict[str, Any] = {
            "decision_id": decision_id(spec.name, event),
            "event_id": event,
            "event_time": times[row],
            "score": float(scored.score[row]),
            "action": scored.names[number],
            "threshold": policy.threshold_of(number),
            "bundle": scorer.bundle.fingerprint,
            "late": late[row],
            "reasons": [
                {
                    "input": one.name,
                    "about": one.about,
                    "added": round(one.added, 6),
                    "value": one.value,
                }
                for one in reasons.get(row, ())
            ],
        }
        if moments[row] != NOW:
            decision["act_after"] = int(moments[row])
        if named is not None and campaigns[row] is not None:
            snapshot = named.snapshots[row].as_py()
            decision["campaign"] = {"name": campaigns[row], "snapshot": snapshot}
        if controls:
            decision["controls"] = controls
        held = scored.withheld.get(row)
        if held is not None:
            decision["withheld"] = {"action": held.action, "by": held.by}
        if hold_out is not None:
            due = number != 0 or (held is not None and held.by in (HELD_OUT, LIMITED))
            decision["propensity"] = hold_out.share if due else 1.0
        if revisions is not None:
            decision["revision"] = revisions[row]
        messages.append(_ENCODER.encode(decision))
    return messages
