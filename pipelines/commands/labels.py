"""`lockstep labels`: what is known of the labels at a moment, or the history of one event."""

from __future__ import annotations

import datetime as dt
import json
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

from pipelines.commands._receive import receive

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pipelines.label_history import Known, SubjectHistory
    from pipelines.labels import LabelReport
    from training.label_counts import SourceVerdicts


def register(app: typer.Typer) -> None:
    """Adds the verb and its own verbs; without one, `lockstep labels CONFIG` is `show`."""
    group = typer.Typer(cls=_ShowByDefault, help=_HELP)
    group.command()(show)
    group.command()(receive)
    app.add_typer(group, name="labels")


_HELP = (
    "What is known of the labels (`lockstep labels CONFIG --out OUT` is `show`); Coop's verdicts."
)


class _ShowByDefault(TyperGroup):
    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        if args and args[0] not in self.commands and args[0] not in ctx.help_option_names:
            args = ["show", *args]
        return super().parse_args(ctx, args)


def show(
    config: Annotated[str, typer.Argument(help="YAML file, or the name of a shipped one.")],
    out: Annotated[str, typer.Option(help="Output folder of backfill and nightly.")],
    as_of: Annotated[str | None, typer.Option(help="Labels known before this day.")] = None,
    event: Annotated[
        str | None, typer.Option(help="The label history of this event alone.")
    ] = None,
    subject: Annotated[
        str | None,
        typer.Option(help="The history of all events with a value, as author_id:VALUE."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="For machines.")] = False,
) -> None:
    """Tell who judged, how late verdicts come, and how often they are taken back."""
    from pipelines.commands._shared import load_config
    from pipelines.label_history import EVENT, subject_history
    from pipelines.labels import report_labels
    from pipelines.layout import parse_day, require_folder

    spec = load_config(config)
    moment = parse_day(as_of) if as_of else None
    if event is not None or subject is not None:
        if event is not None and subject is not None:
            raise typer.BadParameter("give --event or --subject, not both")
        kind, colon, value = (subject or f"{EVENT}:{event}").partition(":")
        if not colon or not value:
            raise typer.BadParameter("expected --event ID, or --subject COLUMN:VALUE")
        require_folder(out)
        known = subject_history(spec, out, kind, value, moment)
        _warn_of_others(spec.name, known.other)
        print(json.dumps(known.to_builtins())) if as_json else print("\n".join(tell(known)))
        return
    found = report_labels(spec, out, moment)
    _warn_of_others(spec.name, found.other)
    if as_json:
        print(json.dumps(found.to_builtins()))
        return
    for line in describe(found):
        print(line)


def _warn_of_others(name: str, days: Sequence[dt.date]) -> None:
    from pipelines.commands._shared import warn

    if days:
        many = f"{len(days)} of the days ({days[0]} to {days[-1]})"
        warn(
            [
                f"{many} were made under another config than {name!r}; if it names verdicts "
                "otherwise, this is not what a training run sees"
            ]
        )


def describe(found: LabelReport) -> list[str]:
    """A report in lines."""
    said = found.verdicts
    rows = {
        "scored events": found.events,
        "judged abuse": found.positive,
        "judged not abuse": found.negative,
        "not abuse by age alone": found.matured,
        "not known yet": found.young,
        "of accounts that stood as abusive": found.suspected,
        "judged before they happened": found.early,
        "judged, but all of it expired": found.expired,
        "judged ids that are no such event": found.unknown_subjects,
    }
    lines = [f"Labels as known before {found.as_of}", ""]
    lines += [f"{name:<34}{count:>12,}" for name, count in rows.items()]
    lines.append("")
    lines += _by_source("source", said.sources)
    turned = said.to_positive + said.to_negative
    lines.append(
        f"{turned:,} of {said.events:,} judged events ({_share(turned, said.events)}) stand "
        f"otherwise than at first: {said.to_negative:,} cleared, {said.to_positive:,} found abuse"
    )
    for about in found.subjects:
        lines += ["", *_by_source(f"source, of {about.of}", about.sources)]
        lines.append(
            f"{about.verdicts:,} verdicts are about {about.subjects:,} values of {about.of} "
            f"({about.unknown:,} of no scored event): {about.positive:,} stand as abuse, "
            f"{about.negative:,} not; {about.reversed:,} otherwise than at first"
        )
    if found.subjects:
        lines.append(f"{found.by_subject:,} events have their label by these verdicts")
    both = "events" + "".join(f" or values of {one.of}" for one in found.subjects)
    for pair in found.conflicts:
        lines.append(
            f"{pair.one} and {pair.other} judged {pair.both:,} {both} both, and differ on "
            f"{pair.differ:,} ({_share(pair.differ, pair.both)})"
        )
    for one in found.qualities:
        if one.accuracy is not None and one.agreement is not None:
            lines.append(
                f"{one.name} agrees with the others on {one.agreement:.1%} of {one.overlap:,} "
                f"{both}; the label model takes {one.accuracy:.1%} of its verdicts for right"
            )
    lines += map(str, found.alarms)
    return [*lines, "", *_delays(found)]


def _by_source(head: str, sources: Sequence[SourceVerdicts]) -> list[str]:
    if not sources:
        return []
    return [f"{head:<20}{'verdicts':>12}{'abuse':>10}{'reversed an earlier one':>26}"] + [
        f"{one.source:<20}{one.verdicts:>12,}{_share(one.positive, one.verdicts):>10}"
        f"{_share(one.reversing, one.verdicts):>26}"
        for one in sources
    ]


def _delays(found: LabelReport) -> list[str]:
    from configs.units import format_duration
    from pipelines.labels import SHARES

    curve = found.curve
    if not curve.events:
        return ["No first verdict is known, so how late they come is not known."]
    longest = length(int(curve.delays[-1]))
    lines = [
        f"Delay of the first verdict, from {curve.events:,} events, truncated by their age; shares",
        f"are of those that come within {longest}, the longest that was seen:",
    ]
    for share in SHARES:
        delay = curve.quantile(share) or 0
        _, low, high = curve.at(delay)
        lines.append(f"  {share:.0%} within {length(delay):<10} (there {low:.1%} to {high:.1%})")
    if found.come_by_maturity is not None and found.maturity_us is not None:
        share, low, high = found.come_by_maturity
        lines.append(
            f"labels.maturity is {format_duration(found.maturity_us)}: {share:.1%} of first "
            f"verdicts ({low:.1%} to {high:.1%}) come before an event counts as not abuse"
        )
    return lines


def tell(found: SubjectHistory) -> list[str]:
    """A history in lines."""
    lines = [
        f"As known before {found.as_of}: {found.events:,} scored events, {found.positive:,} abuse, "
        f"{found.negative:,} not abuse, {found.unlabelled:,} without a label"
    ]
    if found.about:
        lines += ["", "Verdicts about it:"]
        lines += [f"  {when(one.time_us)}  {_says(one)}" for one in found.about]
        lines.append(f"{found.by_subject:,} of its events have their label by these")
    for one in found.judged:
        lines += ["", f"{one.event} at {when(one.time_us)}"]
        lines += history(one.verdicts, one.time_us, one.label)[:-1]
        lines.append(f"Label: {_STANDS[one.label]}: {one.reason}")
    return lines


_STANDS = {1: "abuse", 0: "not abuse", None: "none"}


def history(verdicts: Sequence[Known], time_us: int, label: int | None) -> list[str]:
    """The verdicts about an event, and where that leaves it, in lines."""
    lines = ["Verdicts:" if verdicts else "No verdict is known."]
    for one in verdicts:
        says = _says(one)
        away = length(abs(one.time_us - time_us))
        side = "after" if one.time_us >= time_us else "BEFORE"
        lines.append(f"  {when(one.time_us)}  {says}, {away} {side} the event")
    stands = {1: "abuse", 0: "not abuse", None: "not known yet"}[label]
    if label == 0 and not verdicts:
        stands += ", by its age alone"
    return [*lines, f"Label after the last published day: {stands}"]


def _says(one: Known) -> str:
    says = {True: "abuse", False: "not abuse", None: "nothing"}[one.positive]
    says += f" by {one.source}" if one.source else ""
    says += f", about its {one.about}" if one.about else ""
    says += ", reverses the one before" if one.reverses else ""
    return says + (", expired" if one.expired else "")


def when(time_us: int) -> str:
    """A moment for people.

    >>> when(0)
    '1970-01-01 00:00:00 UTC'
    """
    return f"{dt.datetime.fromtimestamp(time_us / 1e6, dt.UTC):%Y-%m-%d %H:%M:%S} UTC"


def length(length_us: int) -> str:
    """A stretch of time for people."""
    return str(dt.timedelta(seconds=round(length_us / 1e6)))


def _share(part: int, whole: int) -> str:
    return f"{part / whole:.1%}" if whole else "-"
