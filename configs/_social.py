"""The section of a config about the social graph."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import cast

from configs._arguments import read_where
from configs._events import check_name, known_names
from configs._yaml import Section, did_you_mean
from configs.schema import Column, ColumnType, Ingest, Kind, Labels
from configs.social import (
    GRAPH_FEATURES,
    OF_JUDGED,
    OF_REQUESTS,
    EdgeRule,
    SocialGraph,
    graph_inputs,
)

_DAY_US = 86_400_000_000
_EXPIRES_US = 90 * _DAY_US
_LONGEST_US = 400 * _DAY_US
MOST_ACCOUNTS_OF_GROUP = 1_000
"""A group's pairs of accounts are its accounts, squared."""

_EXAMPLE = "for example: follow: {of: follow, from: follower, to: followed}"


def read_graph(
    root: Section,
    kinds: Mapping[str, Kind],
    types: Mapping[str, ColumnType],
    known: Mapping[str, Column],
    labels: Labels | None,
    ingest: Sequence[Ingest] = (),
) -> SocialGraph | None:
    """The `graph` section; `known` says what values columns can have."""
    section = root.section("graph")
    if section is None:
        return None
    if "edges" not in section:
        section.mistakes.add(section.position, "graph: 'edges' is missing (at least one)")
    elif section.raw("edges") == {}:
        section.note("edges", "edges: expected at least one", _EXAMPLE)
    parts = section.sections("edges")
    edges = {name: _edge(name, part, kinds, types, known) for name, part in parts}
    for name, part in parts:
        _check_answer(name, part, edges)
        _check_made(edges[name], part, ingest)
    judged = text_column(section, "judged", types) if "judged" in section else None
    if judged is not None and labels is None:
        section.note(
            "judged", "graph: judged needs verdicts", "say in labels which events are verdicts"
        )
    graph = SocialGraph(
        edges=edges,
        judged=judged,
        features=_features(section, edges, judged),
        delay_us=section.duration("delay", SocialGraph.delay_us),
        accounts=_accounts(section, types),
    )
    section.done()
    return graph


def read_account_features(
    root: Section,
    graph: SocialGraph | None,
    types: Mapping[str, ColumnType],
    features: Mapping[str, str],
) -> dict[str, str]:
    """Features that scored events see of their accounts -> "graph.accounts.NAME.FEATURE".

    Args:
      root: the file.
      graph: its section, as read.
      types, features: names of columns and of velocity features, which none of these may have.
    """
    section = root.section("graph")
    made = {}
    for account, names in graph_inputs(graph).items():
        for name, column in zip(names, graph.columns if graph else (), strict=True):
            if section is not None and (name in features or name in types):
                section.note("accounts", f"accounts: the name {name!r} is taken", "rename one")
            made[name] = f"graph.accounts.{account}.{column}"
    return made


def _accounts(section: Section, types: Mapping[str, ColumnType]) -> dict[str, str]:
    inner = section.section("accounts")
    found = {}
    for name in inner.keys() if inner else ():
        check_name(cast(Section, inner), name, "graph: accounts")
        found[name] = text_column(cast(Section, inner), name, types) or ""
    if inner is not None:
        inner.done()
    return found


def _edge(
    name: str,
    section: Section,
    kinds: Mapping[str, Kind],
    types: Mapping[str, ColumnType],
    known: Mapping[str, Column],
) -> EdgeRule:
    check_name(section, name, "graph: edges")
    of = known_names(section, "of", kinds, "kind")
    if "of" not in section:
        section.mistakes.add(section.position, f"{name}: 'of' is missing (a kind of event)")
    expires = section.duration("expires", _EXPIRES_US)
    if not 0 < expires <= _LONGEST_US:
        section.note("expires", "expires: expected more than 0s and at most 400d")
    rule = EdgeRule(
        name=name,
        kinds=tuple(of),
        source=text_column(section, "from", types) or "",
        target="" if "group" in section else text_column(section, "to", types) or "",
        where=read_where(section, types, of or kinds, known),
        expires_us=expires,
        answers=section.text("answers", None),
        group=text_column(section, "group", types) if "group" in section else None,
        most_accounts=section.integer(
            "most_accounts", EdgeRule.most_accounts, 2, MOST_ACCOUNTS_OF_GROUP
        ),
    )
    if rule.source and rule.source in (rule.target, rule.group):
        key = "group" if rule.group else "to"
        section.note(key, f"{name}: from and {key} are the same column, so it would make no edge")
    _check_group(name, section)
    section.done()
    return rule


def text_column(section: Section, key: str, types: Mapping[str, ColumnType]) -> str | None:
    """The name of a column of text; another one is noted."""
    name: str | None = section.text(key)
    texts = [one for one, type_ in types.items() if type_ is ColumnType.STRING]
    if name is not None and name not in texts:
        what = f"is a {types[name]}; expected text" if name in types else "is no column"
        section.note(key, f"{key}: {name!r} {what}", did_you_mean(name, texts))
    return name


def _check_group(name: str, section: Section) -> None:
    if "group" not in section:
        if "most_accounts" in section:
            section.note("most_accounts", f"{name}: most_accounts is of a group, and there is none")
        return
    for key, why in (
        ("to", "an edge leads to an account (to) or to all that share a group; leave one out"),
        ("answers", "who shares a group has asked nobody; leave answers out"),
    ):
        if section.raw(key) is not None:
            section.note(key, f"{name}: {key} beside group", why)


def _check_answer(name: str, section: Section, edges: Mapping[str, EdgeRule]) -> None:
    answers = edges[name].answers
    if answers is None:
        return
    if answers == name or answers not in edges:
        others = [one for one in edges if one != name]
        section.note(
            "answers",
            f"{name}: there is no other edge {answers!r} to answer",
            did_you_mean(answers, others),
        )


def _check_made(rule: EdgeRule, section: Section, ingest: Sequence[Ingest]) -> None:
    made = {one.kind for one in ingest}
    for kind in rule.kinds:
        if made and kind not in made:
            section.note(
                "of",
                f"of: no rule of ingest makes a {kind}, so no edge would come of it",
                f"add a rule to ingest (kind: {kind}), or name one of: {', '.join(sorted(made))}",
            )


def _features(
    section: Section, edges: Mapping[str, EdgeRule], judged: str | None
) -> tuple[str, ...]:
    missing: dict[str, str] = {}
    if not any(rule.answers for rule in edges.values()):
        missing |= dict.fromkeys(OF_REQUESTS, "an edge that answers another (answers: NAME)")
    if judged is None:
        missing |= dict.fromkeys(OF_JUDGED, "judged accounts (judged: COLUMN)")
    if "features" not in section:
        return tuple(name for name in GRAPH_FEATURES if name not in missing)
    chosen = known_names(section, "features", GRAPH_FEATURES, "feature of a graph")
    for name in chosen:
        if name in missing:
            section.note("features", f"features: {name} needs {missing[name]}")
    if not chosen:
        section.note("features", "features: expected at least one", "leave it out for all")
    return tuple(name for name in GRAPH_FEATURES if name in chosen)
