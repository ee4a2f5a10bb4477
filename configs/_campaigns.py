"""The section of a config about campaigns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from configs._arguments import read_where
from configs._events import check_name, known_names
from configs._social import text_column
from configs._yaml import Section, did_you_mean
from configs.campaigns import CampaignLink, CampaignRules, Rarity
from configs.schema import Column, ColumnType, Kind, Labels

MOST_ACCOUNTS = 5_000
"""A value's pairs of accounts are its accounts, squared."""
MOST_WEIGHT = 1_000
MOST_COLUMNS = 64
LEAST_CHANCE = 1e-9
_LONGEST_US = 400 * 86_400_000_000
_EXAMPLE = "for example: texts: {columns: fingerprint}"
_RECIPIENTS = (ColumnType.INTEGER, ColumnType.STRING)


def read_campaigns(
    root: Section,
    kinds: Mapping[str, Kind],
    types: Mapping[str, ColumnType],
    known: Mapping[str, Column],
    labels: Labels | None,
) -> CampaignRules | None:
    """The `campaigns` section; `known` says what values columns can have."""
    section = root.section("campaigns")
    if section is None:
        return None
    default = CampaignRules("", (), {})
    of = known_names(section, "of", kinds, "kind")
    if "of" not in section:
        section.mistakes.add(section.position, "campaigns: 'of' is missing (a kind of event)")
    if "links" not in section:
        section.mistakes.add(section.position, "campaigns: 'links' is missing (at least one)")
    elif section.raw("links") == {}:
        section.note("links", "links: expected at least one", _EXAMPLE)
    links = {
        name: _link(name, part, of or kinds, types, known)
        for name, part in section.sections("links")
    }
    judged = text_column(section, "judged", types) if "judged" in section else None
    if judged is not None and labels is None:
        section.note(
            "judged", "campaigns: judged needs verdicts", "say in labels which events are verdicts"
        )
    recipients = _recipients(section, types)
    span = section.duration("span", default.span_us)
    if not 0 < span <= _LONGEST_US:
        section.note("span", "span: expected more than 0s and at most 400d")
    made = CampaignRules(
        account=text_column(section, "account", types) or "",
        kinds=tuple(of),
        links=links,
        recipients=recipients,
        named_recipients=types.get(recipients or "") is ColumnType.STRING,
        judged=judged,
        span_us=span,
        delay_us=section.duration("delay", default.delay_us),
        evidence=section.integer("evidence", default.evidence, 1, MOST_WEIGHT * MOST_WEIGHT),
        least_accounts=section.integer("least_accounts", default.least_accounts, 2, 1_000_000),
        large=section.integer("large", default.large, 2, 1_000_000),
        joined_share=section.number("joined_share", default.joined_share, 0.0, 1.0),
        continued_share=section.number("continued_share", default.continued_share, 0.0, 1.0),
        rarity=_rarity(section),
        name_decisions=section.boolean("name_decisions", default.name_decisions),
    )
    _check_account(section, made)
    for name, part in section.sections("links"):
        if links[name].bursts and made.rarity is None:
            message = "bursts: expected the section rarity, whose chance and similarity it needs"
            part.note("bursts", message, "rarity: {}")
    section.done()
    return made


def _link(
    name: str,
    section: Section,
    kinds: Sequence[str] | Mapping[str, Kind],
    types: Mapping[str, ColumnType],
    known: Mapping[str, Column],
) -> CampaignLink:
    check_name(section, name, "campaigns: links")
    texts = [one for one, type_ in types.items() if type_ is ColumnType.STRING]
    if "columns" not in section:
        section.mistakes.add(section.position, f"{name}: 'columns' is missing (at least one)")
    for column, place in section.strings("columns", one=True):
        if column in types and column not in texts:
            section.mistakes.add(place, f"columns: {column!r} is a {types[column]}; expected text")
    columns = known_names(section, "columns", types, "column")
    if "columns" in section and not columns:
        section.note("columns", f"{name}: expected at least one column")
    if len(columns) > MOST_COLUMNS:
        section.note("columns", f"columns: expected at most {MOST_COLUMNS}, found {len(columns)}")
    within = section.duration("within", None) if "within" in section else None
    if within is not None and within <= 0:
        section.note("within", "within: expected more than 0s", "leave it out for any time")
    default = CampaignLink(name, ())
    link = CampaignLink(
        name=name,
        columns=tuple(columns),
        where=read_where(section, types, kinds, known),
        within_us=within,
        weight=section.integer("weight", default.weight, 1, MOST_WEIGHT),
        most_accounts=section.integer("most_accounts", default.most_accounts, 2, MOST_ACCOUNTS),
        bursts=section.boolean("bursts", default.bursts),
    )
    if link.bursts and within is None:
        section.note("bursts", "bursts: expected 'within', how long a burst lasts", "within: 10m")
    section.done()
    return link


def _rarity(section: Section) -> Rarity | None:
    inner = section.section("rarity")
    if inner is None:
        return None
    default = Rarity()
    made = Rarity(
        chance=inner.number("chance", default.chance, LEAST_CHANCE, 1.0),
        similarity=inner.number("similarity", default.similarity, 0.0, 1.0),
    )
    inner.done()
    return made


def _recipients(section: Section, types: Mapping[str, ColumnType]) -> str | None:
    name: str | None = section.text("recipients", None)
    if name is not None and types.get(name) not in _RECIPIENTS:
        fitting = [one for one, type_ in types.items() if type_ in _RECIPIENTS]
        what = f"is a {types[name]}" if name in types else "is no column"
        message = f"recipients: {name!r} {what}; expected whole numbers or text"
        section.note("recipients", message, did_you_mean(name, fitting))
    return name


def _check_account(section: Section, made: CampaignRules) -> None:
    parts = dict(section.sections("links"))
    seen: dict[str, str] = {}
    for name, link in made.links.items():
        for column in link.columns:
            if column == made.account:
                parts[name].note(
                    "columns", f"columns: {column!r} is the account itself, which no other shares"
                )
            elif column in seen:
                parts[name].note(
                    "columns", f"columns: {column!r} is a column of the link {seen[column]!r} too"
                )
            seen.setdefault(column, name)
