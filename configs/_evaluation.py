"""The section of a config about evaluation: what reports show beside the ranking of all events."""

from __future__ import annotations

from collections.abc import Mapping

from configs._model import refuse_published
from configs._yaml import Section, did_you_mean
from configs.schema import ColumnType, Evaluation, Spec


def read_evaluation(
    root: Section, types: Mapping[str, ColumnType], account: str | None
) -> Evaluation:
    """The `evaluation` section: what reports show; `account` is that of campaigns, if any."""
    section = root.section("evaluation")
    if section is None:
        return Evaluation()
    group = section.text("group", None)
    if group is not None and group not in types:
        section.note("group", f"group: there is no column {group!r}", did_you_mean(group, types))
    refuse_published(section, "group", [group or ""])
    for key in ("top", "drop_known", "campaigns"):
        if key in section and "group" not in section:
            section.mistakes.add(
                section.at_key(key),
                f"evaluation: {key} means nothing here",
                "it is about groups: say group, or leave it out",
            )
    made = Evaluation(
        group,
        section.integer("top", 100, least=1),
        section.boolean("drop_known", False),
        section.boolean("campaigns", False),
        section.text("recipients", None),
    )
    if made.campaigns and group is not None and group != account:
        found = "there is no section campaigns" if account is None else f"theirs is {account}"
        section.note(
            "campaigns",
            f"evaluation: campaigns are of accounts, and group is {group}, but {found}",
            "add a section campaigns whose account is the group, or leave this out",
        )
    section.done()
    return made


def check_evaluation(root: Section, spec: Spec) -> None:
    """Notes a count of people that is no number of the model's inputs."""
    section, name = root.section("evaluation"), spec.evaluation.recipients
    known = (*spec.inputs.numeric, *spec.inputs.computed)
    if section is not None and name is not None and name not in known:
        section.note(
            "recipients",
            f"recipients: {name!r} is not among inputs.numeric and inputs.computed; expected one "
            "that says how many people an event reaches",
            did_you_mean(name, known),
        )
