"""The embedded scorer's loop: next micro-batch, process it, finish it, until there is no more.

One thread does all three, so a micro-batch is finished after everything that it leads to is safe,
and nothing else has to prove it. There is no Beam here: an in-process Beam pipeline adds nothing to
a loop over one reader, and keeps every bundle's metrics for ever (docs/decisions/0006).
"""

from __future__ import annotations

from collections.abc import Callable

from configs.errors import InputError, LockstepError
from pipelines.pubsub.intake import Intake
from pipelines.pubsub.micro_batch import MicroBatch


def run_loop(
    intake: Intake,
    process: Callable[[MicroBatch], object],
    recover: Callable[[Exception], bool] | None = None,
    turned: Callable[[], object] = lambda: None,
    idle: Callable[[], object] = lambda: None,
) -> None:
    """Processes micro-batches until the intake has ended.

    A micro-batch whose processing raises is not finished. It is handed out again, the same, if
    `recover` says so.

    Args:
      intake: what is read.
      process: returns once the micro-batch is done.
      recover: gets what `process` or `idle` raised; true: go on; false: end, and what is not
        finished is given back when the intake is closed. It may raise. None: the failure is raised.
      turned: called once a turn, also where nothing came (`pipelines.streaming.health`).
      idle: called where nothing came.

    Raises:
      LockstepError: the subscription cannot be read, what arrived cannot be logged, or decoding
        failed; `recover` is not asked, since trying again would not help.
      Exception: what `process` or `idle` raised, where there is no `recover`, or what `recover`
        raises.
    """
    intake.rewind()
    while not intake.ended:
        turned()
        micro = _next(intake)
        try:
            idle() if micro is None else process(micro)
        except Exception as failure:
            if recover is None:
                raise
            if not recover(failure):
                return
            intake.rewind()
        else:
            if micro is not None:
                intake.finish(micro.sequence)


def _next(intake: Intake) -> MicroBatch | None:
    try:
        return intake.next()
    except LockstepError:
        raise
    except Exception as failure:  # its text may hold a payload
        raise InputError(
            f"{intake.settings.subscription}: decoding failed ({type(failure).__name__}); "
            "what arrived is kept: start the scorer again"
        ) from None
