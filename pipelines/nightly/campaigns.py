"""What a nightly run shows of campaigns, where they are its units."""

from __future__ import annotations

import dataclasses

import numpy as np

from configs.schema import EVENT_ID, Spec
from configs.units import format_duration
from pipelines.campaign_units import CampaignUnits, reached
from pipelines.dataset import Dataset
from training.campaigns import CampaignMetrics, CampaignsCaught, evaluate_campaigns
from training.fit import Fitted


@dataclasses.dataclass(frozen=True)
class CampaignFacts:
    """What is shown.

    Attributes:
      snapshot: its name; "": there is none.
      left_out: events that judge nothing, since their campaign has events in an earlier slice.
      metrics: of the gate slice; None: no event of it is of a campaign.
    """

    snapshot: str
    left_out: int
    metrics: CampaignMetrics | None

    @property
    def note(self) -> str:
        """What someone should know before they read figures; "": nothing."""
        if self.snapshot:
            return ""
        return (
            "There is no snapshot of campaigns, so accounts are the units of this run: run "
            "`lockstep campaigns` before it, into the same --out."
        )

    def rows(self) -> dict[str, str]:
        """Lines of the page's last table."""
        if not self.snapshot:
            return {}
        made = {
            "campaigns as of": self.snapshot,
            "events left out, of campaigns that began in an earlier slice": f"{self.left_out:,}",
        }
        if self.metrics is not None:
            made |= {f"campaigns, {one.action}": caught_words(self.metrics, one)
                     for one in self.metrics.caught}  # fmt: skip
        return made


def find_campaign_facts(
    spec: Spec, units: CampaignUnits | None, fitted: Fitted, judged: Dataset
) -> CampaignFacts:
    """Looks at the gate slice.

    Args:
      units: of the newest snapshot; None: there is none.
      fitted: with its scores of `judged`, the events of the gate slice.
    """
    if units is None:
        return CampaignFacts("", 0, None)
    recipients, named = reached(spec, judged.events)
    metrics = evaluate_campaigns(
        fitted.gate_scores,
        judged.labels,
        judged.times,
        units.of_events(judged.events.column(EVENT_ID)),
        units.began_us,
        fitted.policy.thresholds,
        recipients,
        named,
    )
    left = 0 if fitted.left_out is None else int(np.count_nonzero(fitted.left_out))
    return CampaignFacts(units.snapshot, left, metrics)


def caught_words(found: CampaignMetrics, one: CampaignsCaught) -> str:
    """How many an action caught, and how early, in words.

    >>> one = CampaignsCaught("block", 5, 3, 0.75, 0.19, 0.99, 60e6, 4.0, None)
    >>> caught_words(CampaignMetrics(9, 4, 2, (one,)), one)
    'caught 3 of 4 abusive ones; of new ones half before 4 events and 1m had passed'
    """
    words = f"caught {one.caught:,} of {found.abusive:,} abusive ones"
    if one.median_events is None or one.median_us is None:
        return words
    people = "" if one.median_recipients is None else f", {one.median_recipients:,.0f} people"
    length = format_duration(round(one.median_us / 1e6) * 1_000_000)
    return (
        f"{words}; of new ones half before {one.median_events:,.0f} events{people} and {length} "
        "had passed"
    )
