"""Steps that act on the world: they see an element only once the engine would never take it back.

A job that goes back to a checkpoint computes again what came after it, and not always the same: by
another model bundle, or with another event late. What was published must not be among it. Beam's
`RequiresStableInput` is for that: Flink keeps a step's input until the checkpoint that holds it is
complete, and hands the same elements over again after a failure. The Python SDK cannot say it of a
DoFn, the model can.
"""

from __future__ import annotations

from typing import Any

import apache_beam as beam
from apache_beam.portability import common_urns


def par_do(step: beam.DoFn, stable: bool) -> beam.ParDo:
    """A step that acts on the world.

    Args:
      step: what it does.
      stable: whether the engine may go back to a checkpoint. Prism never does, and refuses a job
        that asks for stable input.
    """
    return StableParDo(step) if stable else beam.ParDo(step)


class StableParDo(beam.ParDo):
    """A `ParDo` whose elements are the same whenever they are processed again.

    Its input must come from a shuffle: what is fused before it is no part of that. And it must use
    no state: Flink's operator (beam 2.70) finishes such a bundle under the lock that its state
    requests wait for, for ever, and with them all other steps of that worker.
    """

    def to_runner_api_parameter(self, context: Any, **extra: Any) -> tuple[str, Any]:
        """Says so to the engine."""
        urn, payload = super().to_runner_api_parameter(context, **extra)
        payload.requires_stable_input = True
        context.add_requirement(common_urns.requirements.REQUIRES_STABLE_INPUT.urn)
        return urn, payload
