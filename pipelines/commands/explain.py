"""`lockstep explain`: why one event was decided as it was."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pipelines.commands.labels import history, when

if TYPE_CHECKING:
    from pipelines.explain import Explanation
    from scoring.explanation import InputPart


def explain(
    event: Annotated[str, typer.Argument(help="The event's id.")],
    out: Annotated[str, typer.Option(help="Output folder of backfill and nightly.")],
    state: Annotated[
        Path | None,
        typer.Option(help="The --state of `lockstep stream`, whose log is searched first."),
    ] = None,
    bundle: Annotated[
        str | None,
        typer.Option(help="Fingerprint or 'serving'; else the one that decided."),
    ] = None,
    top: Annotated[int, typer.Option(min=1, help="How many inputs are listed.")] = 10,
    as_json: Annotated[bool, typer.Option("--json", help="With every input, as JSON.")] = False,
) -> None:
    """Tell why an event was decided as it was: inputs, thresholds, what became known since."""
    from pipelines.explain import ExplainRequest
    from pipelines.explain import explain as run
    from scoring.booster import import_xgboost_alone

    import_xgboost_alone()
    found = run(ExplainRequest(event, out, bundle, state))
    if as_json:
        print(json.dumps(found.to_builtins()))
        return
    for line in describe(found, top):
        print(line)


def describe(found: Explanation, top: int) -> list[str]:
    """An explanation in lines."""
    from scoring.hold_out import HELD_OUT
    from scoring.limits import LIMITED

    other = found.decided_by not in ("", found.bundle)
    action = found.action if other else found.given or found.action
    against = f", promoted against its gate by {found.overruled}" if found.overruled else ""
    lines = [
        f"{found.event}: {action}, score {found.score:.4f}",
        f"  at {when(found.time_us)}, found in {found.found}",
        f"  {found.model} of bundle {found.bundle}{against}",
    ]
    if other:
        lines.append(f"  decided by bundle {found.decided_by}: {found.given}")
    if found.withheld:
        by = {HELD_OUT: "let through by chance", LIMITED: "its limit was used up"}.get(
            found.withheld, "held back by people"
        )
        due = "what it found due" if other else found.action
        lines.append(f"  {due} was not done: {by} ({found.withheld})")
    if found.campaign or found.campaign_now:
        then, now = found.campaign or "none", found.campaign_now or "none"
        by = f" (snapshot {found.campaign_snapshot})" if found.campaign_snapshot else ""
        lines.append(f"  campaign: {then} as known then{by}, {now} in the newest snapshot")
    if found.same is not None:
        lines.append(
            "  scored again: the same inputs, bit for bit"
            if found.same
            else "  scored again: OTHER INPUTS than the log has; run `lockstep parity`"
        )
    for action, at in found.thresholds.items():
        if at is None:
            lines.append(f"  {action} never fires: {found.contracts[action]}")
        else:
            word = "reached" if found.score >= at else f"{at - found.score:.4f} more was needed"
            lines.append(f"  {action} from {at:.4f} on: {word}")
            if found.contracts[action]:
                lines.append(f"    {found.contracts[action]}")
    if found.parts:
        lines += ["", *_inputs(found, top)]
    else:
        lines += ["", "The text model decides alone: what it reads of a text names no word."]
    return [*lines, "", *history(found.verdicts, found.time_us, found.label)]


def _inputs(found: Explanation, top: int) -> list[str]:
    shown = found.parts[:top]
    other = sum(part.added for part in found.parts[top:])
    wide = max(len(part.name) for part in shown)
    head = f"{'input':<{wide}}  {'value':>12}  {'usual':>10}  {'above':>6}  {'added':>8}"
    lines = [head, *(_input(part, wide) for part in shown)]
    rest = [("the other inputs", other), ("where every event begins", found.rest)]
    for name, added in rest if len(found.parts) > top else rest[1:]:
        lines.append(f"{name:<{wide + 34}}  {added:>+8.3f}")
    lines.append(f"{'log odds':<{wide + 34}}  {found.raw:>8.3f}")
    if found.compared:
        lines.append(f"usual: the median, and above: the share below, of {found.compared}")
    return lines


def _input(part: InputPart, wide: int) -> str:
    value = part.value if isinstance(part.value, str) else _number(part.value)
    above = "" if part.above is None else f"{part.above:.1%}"
    return (
        f"{part.name:<{wide}}  {value:>12.12}  {_number(part.usual):>10}  {above:>6}  "
        f"{part.added:>+8.3f}  {part.about}"
    )


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.6g}"
