"""Names that cannot be right: beside `ingest`, in a header, in aliases; kinds without a rule."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from configs._nodes import Position
from configs._yaml import Section, did_you_mean
from configs.schema import Events, Ingest, Kind, Spec


def check_names_beside_ingest(root: Section, ingest: Sequence[Ingest]) -> None:
    """Notes names in `events` of which rules of `ingest` read nothing: they decide in their place.

    A default, and a name that a rule reads too, are no mistake.
    """
    section = root.section("events")
    if section is None or not ingest:
        return
    read: dict[str, set[str | None]] = {
        "id": {Events.id, *(rule.id for rule in ingest)},
        "time": {Events.time, *(rule.time for rule in ingest)},
        "kind": set(),
    }
    for key, names in read.items():
        value = section.text(key, None)
        if value is not None and value not in names:
            section.mistakes.add(
                section.at_key(key),
                f"events: {key} means nothing beside ingest, whose rules do not read {value!r}",
                f"leave it out: {key} is what each rule of ingest says",
            )


def check_made(root: Section, spec: Spec) -> None:
    """Notes what is said of kinds that no rule of `ingest` makes: there are no such events."""
    made = {rule.kind for rule in spec.ingest}
    unmade = [kind for kind in spec.kinds if kind not in made] if made else []

    def note(section: Section, position: Position, what: str, kind: str) -> None:
        section.mistakes.add(
            position,
            f"{what}: no rule of ingest makes a {kind}, so there are no such events",
            f"add a rule to ingest (kind: {kind}), or name one of: {', '.join(sorted(made))}",
        )

    for name, section in root.sections("entities"):
        entity, key = spec.entities[name], section.section("key")
        for kind in unmade:
            if key is not None and kind in entity.keys:
                note(key, key.at_key(kind), f"{name}: key", kind)
        for aggregate, (_, part) in zip(
            entity.aggregates, section.sections("aggregates"), strict=True
        ):
            for kind in unmade:
                if kind in aggregate.kinds:
                    note(part, part.at("of"), f"{aggregate.name}: of", kind)
    for kind, section in root.sections("kinds"):
        if kind in unmade and spec.kinds[kind].scored:
            note(section, section.at("scored"), f"kinds: {kind}", kind)
    labels = root.section("labels")
    if labels is not None and spec.labels is not None:
        if spec.labels.kind in unmade:
            note(labels, labels.at("kind"), "labels: kind", spec.labels.kind)
        for name, section in labels.sections("subjects"):
            kind = section.raw("kind")
            if kind in unmade:
                note(section, section.at("kind"), f"subjects: {name}: kind", kind)


def check_header(root: Section, events: Events, ingest: Sequence[Ingest]) -> None:
    """Notes a header without an id; folders may give all else (`header_needs`)."""
    section = root.section("events")
    if section is None or not events.header:
        return
    known = {*events.header, *(events.aliases.get(name, name) for name in events.header)}
    ids = [events.id] if not ingest else [rule.id for rule in ingest if rule.id is not None]
    for name in dict.fromkeys(ids):
        if name not in known:
            section.note(
                "header",
                f"header: no column of it is {name!r}, the id of events",
                str(did_you_mean(name, known)),
            )


def header_needs(
    events: Events, ingest: Sequence[Ingest], kinds: Mapping[str, Kind]
) -> dict[str, str]:
    """Columns without which no row of a file makes an event, and what they are.

    Without `ingest`, files with a header and other files may each hold some of the kinds: then what
    scored events need must be there, and what one kind needs if none is scored.
    """
    names = {events.id: "the id of events", events.time: "their time"}
    names |= {events.kind: "their kind"} if events.kind is not None else {}
    if ingest:
        names = {rule.time: "the time of events" for rule in ingest}
        names |= {rule.id: "their id" for rule in ingest if rule.id is not None}
    for kind, name in _needed(ingest, kinds):
        names.setdefault(name, f"which every {kind!r} needs (kinds: {kind}: required)")
    return names


def _needed(ingest: Sequence[Ingest], kinds: Mapping[str, Kind]) -> Iterable[tuple[str, str]]:
    """Kinds, and the input columns that each must have."""
    for rule in ingest:
        subject = rule.subject[0] if rule.subject is not None else None
        for name in kinds[rule.kind].required if rule.kind in kinds else ():
            if name != subject:
                yield rule.kind, rule.columns.get(name, name)
    for kind in kinds.values() if not ingest else ():
        if kind.scored or not any(one.scored for one in kinds.values()):
            yield from ((kind.name, name) for name in kind.required)


def check_aliases(root: Section, events: Events, names: Iterable[str]) -> None:
    """Notes aliases of names that no input column has, and those that are no other name.

    Args:
      root: the file.
      events: with the aliases.
      names: every input name that events are made from.
    """
    section = root.section("events")
    inner = section.section("aliases") if section is not None and events.aliases else None
    known = set(names)
    for other, name in events.aliases.items():
        if inner is not None and name == other:
            inner.note(
                other,
                f"aliases: {name!r} is its own name",
                "an alias is another name that some files use: leave it out",
            )
        elif inner is not None and name not in known:
            inner.note(other, f"aliases: no column is read as {name!r}", did_you_mean(name, known))
