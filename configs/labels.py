"""What only a verdict may say: columns of a label, refused wherever a scored event would show them.

A label column on a scored event is the answer next to the question: a model that sees it, or an
aggregate that counts by it, is perfect on past days and blind on the next. The loader refuses it
in a config, and decode gives such columns to verdicts only (`later_columns`).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence

from configs._nodes import Position
from configs._yaml import Section
from configs.catalog import Catalog, operand_fields
from configs.schema import (
    RESERVED_COLUMNS,
    Aggregate,
    Entity,
    Expression,
    Ingest,
    Labels,
    Spec,
)


def later_columns(spec: Spec) -> frozenset[str]:
    """Columns that belong to verdicts: scored events are not to be looked at by them.

    They are those of `labels.positive`, with what derived ones are made of, those of a row that say
    what its verdict says (`row_columns`), and those that ingest rules fill for verdicts only, from
    a column of another name or with the id of what is judged.
    """
    labels = spec.labels
    if labels is None:
        return frozenset()
    found = set(_roots(spec, labels.positive.columns))
    verdicts = [rule for rule in spec.ingest if rule.kind in labels.kinds]
    others = [rule for rule in spec.ingest if rule.kind not in labels.kinds]
    for rule in verdicts:
        filled = {name for name, given in rule.columns.items() if given != name}
        filled |= {rule.subject[0]} if rule.subject is not None else set()
        found |= {name for name in filled if not _fills_any(others, name)}
    in_row = row_columns(spec)  # of the row: an event without a rule for a column has the row's own
    found |= {name for name in spec.columns if name in in_row and not _fills_any(others, name)}
    return frozenset(found)


def row_columns(spec: Spec) -> frozenset[str]:
    """The row's columns that say what a verdict says, under every name that a file may give them.

    They are what the ingest rules of verdicts make the columns of `labels.positive` and
    `labels.source` of; what decides whether a row has a verdict, where that alone makes a label;
    and the time of a verdict, where it is no scored event's.
    """
    labels = spec.labels
    if labels is None or not spec.ingest:
        return frozenset()
    scored = [rule for rule in spec.ingest if rule.kind in spec.scored_kinds]
    given = set()
    for rule in spec.ingest:
        if rule.kind in labels.kinds:
            source = [labels.source] if labels.source is not None else []
            judging = [*labels.positive.columns, *source, *_choosing(spec, labels, rule, scored)]
            names = _roots(spec, judging)
            given |= {rule.columns.get(name, name) for name in names}
            given |= {rule.time} - {one.time for one in scored}
    aliases = spec.events.aliases.items()
    given |= {new for old, new in aliases if old in given}
    return frozenset(given | {old for old, new in aliases if new in given})


def _choosing(spec: Spec, labels: Labels, rule: Ingest, scored: Iterable[Ingest]) -> Sequence[str]:
    """The columns by which a rule chooses rows with a verdict, where being chosen tells the label.

    It does where all verdicts are positive, and where an event without one becomes a negative; but
    not where scored events are chosen by the same expression.
    """
    own = set(_roots(spec, labels.positive.columns)) - {labels.subject}
    if rule.where is None or (own and labels.maturity_us is None):
        return ()
    return () if rule.where in [one.where for one in scored] else rule.where.columns


def is_later(spec: Spec, rule: Ingest, column: str, later: frozenset[str]) -> bool:
    """Whether a rule's events are not to have a column, although the row may have one."""
    judges = spec.labels is not None and rule.kind in spec.labels.kinds
    return column in later and not judges and column not in rule.columns


def shown_label(spec: Spec, rule: Ingest) -> str | None:
    """The row's column that says what a verdict says and that an event beside it is made of."""
    given = row_columns(spec)
    where = () if rule.where is None else _roots(spec, rule.where.columns)
    read = [rule.columns.get(name, name) for name in where] + list(rule.columns.values())
    return next((name for name in read if name in given), None)


def check_labels(root: Section, spec: Spec, catalog: Catalog) -> None:
    """Notes where a scored event would show what only its verdict may say."""
    labels, section = spec.labels, root.section("labels")
    if labels is None or section is None:
        return
    for kind in labels.kinds:
        if kind in spec.scored_kinds:
            section.note(
                "kind" if kind == labels.kind else "subjects",
                f"labels: {kind!r} is scored itself; a verdict is an event of its own, and later "
                "than what it judges",
                "give verdicts a kind that is not scored",
            )
            return
    check = _Check(spec, later_columns(spec))
    check.sequence(root)
    check.kinds(root)
    check.ingest(root)
    check.entities(root, catalog)
    check.others(root, catalog)
    check.inputs(root)
    check.graph(root)
    check.evaluation(root)
    check.subjects(section)


class _Check:
    def __init__(self, spec: Spec, later: frozenset[str]) -> None:
        self._spec, self._later = spec, later
        self._verdict = spec.labels.kind if spec.labels is not None else ""
        self._verdicts = spec.labels.kinds if spec.labels is not None else ()

    def note(
        self, section: Section, place: Position, names: Iterable[str], what: str, hint: str = ""
    ) -> None:
        """A mistake for the first of some columns that shows a label."""
        for name in names:
            behind = [one for one in _roots(self._spec, [name]) if one in self._later]
            if behind:
                made = "" if name in behind else f", which is made of {behind[0]!r},"
                section.mistakes.add(
                    place,
                    f"{what}: {name!r}{made} is what a verdict says; a scored event is not to "
                    "show it, or the model learns the answer from the question",
                    hint or f"count verdicts instead (an aggregate of: {self._verdict})",
                )
                return

    def sequence(self, root: Section) -> None:
        section, name = root.section("events"), self._spec.events.sequence
        if section is not None and name is not None:
            hint = "name a running number that an event has from its beginning"
            self.note(section, section.at("sequence"), [name], "events: sequence", hint)

    def kinds(self, root: Section) -> None:
        for name, section in root.sections("kinds"):
            kind = self._spec.kinds.get(name)
            if kind is not None and kind.scored:
                self.note(section, section.at("required"), kind.required, f"kinds: {name}")

    def ingest(self, root: Section) -> None:
        rules = self._spec.ingest
        for section, rule in zip(root.items("ingest"), rules, strict=False):
            if rule.kind in self._verdicts:
                self._time(section, rule)
            if rule.kind not in self._spec.scored_kinds:
                if not self._early(section, rule) and rule.where is not None:
                    self._lacks(section, "where", [rule.kind], rule.where.columns, [rule])
                continue
            hint = f"leave it to the rule of {self._verdict}"
            self.note(section, section.at("columns"), rule.columns, f"ingest: {rule.kind}", hint)
            self._sources(section, rule, hint)
            if rule.where is not None:
                self.note(section, section.at("where"), rule.where.columns, "where", hint)

    def _sources(self, section: Section, rule: Ingest, hint: str) -> None:
        """What a scored event's columns are made of."""
        in_row = row_columns(self._spec)
        made = [("id", "id", rule.id), ("time", "time", rule.time)]
        made += [("columns", *one) for one in rule.columns.items() if one[0] not in self._later]
        for setting, name, source in made:
            if source in in_row:
                section.mistakes.add(
                    section.at(setting),
                    f"ingest: {rule.kind}: {name!r} is made of {source!r}, which is what a verdict "
                    "says; a scored event is not to show it, or the model learns the answer from "
                    "the question",
                    hint if setting == "columns" else "name a column of the event itself",
                )
                return

    def _early(self, section: Section, rule: Ingest) -> bool:
        """Notes an event beside the verdict that says it before the verdict does."""
        shown = shown_label(self._spec, rule)
        for one in self._spec.ingest:
            sooner = one.time == rule.time and one.delay_us > rule.delay_us
            if shown is not None and one.kind == self._verdict and sooner:
                section.note(
                    "kind",
                    f"ingest: {rule.kind} shows {shown!r}, which is what a verdict says, before "
                    f"the {one.kind} is known",
                    "give it the verdict's delay, or count verdicts instead",
                )
                return True
        return False

    def _time(self, section: Section, rule: Ingest) -> None:
        """A verdict of a row is not earlier than what it judges."""
        judged = rule.subject[1] if rule.subject is not None else None
        for one in self._spec.ingest:
            if one.kind == judged and one.time == rule.time and one.delay_us > rule.delay_us:
                section.note(
                    "delay",
                    f"ingest: {rule.kind} is earlier than the {one.kind} that it judges",
                    "give it a delay that is no shorter",
                )

    def entities(self, root: Section, catalog: Catalog) -> None:
        scored = set(self._spec.scored_kinds)
        for name, section in root.sections("entities"):
            entity = self._spec.entities.get(name)
            if entity is None:
                continue
            key = section.section("key")
            for kind in scored & entity.keys.keys():
                if key is not None:
                    self.note(key, key.at(kind), entity.keys[kind], f"key: {kind}")
            made = {one.name: one for one in entity.aggregates}
            for own, inner in section.sections("aggregates"):
                if own in made and scored & set(_kinds(entity, made[own])):
                    names = _columns(made[own], catalog)
                    self.note(inner, inner.position, names, f"{own} counts scored events")

    def others(self, root: Section, catalog: Catalog) -> None:
        """Events beside a verdict that are asked for what ingest gives to verdicts only."""
        spec = self._spec
        for kind, inner in root.sections("kinds"):
            self._lacks(inner, "required", [kind], spec.kinds[kind].required)
        for name, section in root.sections("entities"):
            key = section.section("key")
            for kind, columns in spec.entities[name].keys.items():
                if key is not None:
                    self._lacks(key, kind, [kind], columns)
            made = {one.name: one for one in spec.entities[name].aggregates}
            for own, inner in section.sections("aggregates"):
                kinds = list(_kinds(spec.entities[name], made[own]))
                where = made[own].where
                asked: dict[str, Sequence[str]] = {
                    "where": where.columns if where is not None else ()
                }
                asked |= {one: _names(value) for one, value in made[own].arguments.items()}
                for setting, names in asked.items():
                    self._lacks(inner, setting, kinds, names)

    def _lacks(
        self,
        section: Section,
        setting: str,
        kinds: Sequence[str],
        names: Iterable[str],
        rules: Sequence[Ingest] | None = None,
    ) -> None:
        """A mistake where no event of some kinds, none of them scored, has a column of a label."""
        made = [one for one in self._spec.ingest if one.kind in kinds] if rules is None else rules
        if not made or {*kinds} & {*self._spec.scored_kinds}:
            return
        for name in _roots(self._spec, names):
            if all(is_later(self._spec, one, name, self._later) for one in made):
                what = " or ".join(kinds)
                section.note(
                    setting,
                    f"{setting}: no {what} has {name!r}: it is what a verdict says, and ingest "
                    f"gives it to the {self._verdict} alone",
                    f"count the {self._verdict}; or fill it in the rule of {what}, columns: "
                    f"{{{name}: …}}, with no shorter delay than the verdict's",
                )
                return

    def inputs(self, root: Section) -> None:
        section, inputs = root.section("inputs"), self._spec.inputs
        if section is not None:
            self.note(section, section.at("numeric"), inputs.numeric, "numeric")
            for name, expression in inputs.computed.items():
                known = [c for c in expression.columns if self._known(c)]
                self.note(section, section.at("computed"), known, f"computed: {name}")
            names = [one.column for one in inputs.categorical]
            self.note(section, section.at("categorical"), names, "categorical")
            if inputs.text is not None:
                self.note(section, section.at("text"), [inputs.text.column], "text")

    def graph(self, root: Section) -> None:
        """Edges that only a verdict tells would be the answer as well, in the next snapshot."""
        section, graph = root.section("graph"), self._spec.graph
        if section is None or graph is None:
            return
        for name, inner in section.sections("edges"):
            rule = graph.edges[name]
            where = () if rule.where is None else rule.where.columns
            for setting, names in (
                ("from", [rule.source]),
                ("group" if rule.group else "to", [rule.group or rule.target]),
                ("where", where),
            ):
                if {*rule.kinds} & {*self._spec.scored_kinds}:
                    hint = f"make edges of verdicts instead (of: {self._verdict})"
                    self.note(inner, inner.at(setting), names, f"{name}: {setting}", hint)
                else:
                    self._lacks(inner, setting, rule.kinds, names)
        accounts = section.section("accounts")
        for account, column in graph.accounts.items():
            if accounts is not None:
                hint = "name an account that a scored event has from its beginning"
                self.note(accounts, accounts.at(account), [column], f"accounts: {account}", hint)

    def evaluation(self, root: Section) -> None:
        section, group = root.section("evaluation"), self._spec.evaluation.group
        if section is not None and group is not None:
            hint = "group by what is looked at, such as a card or an account"
            self.note(section, section.at("group"), [group], "evaluation: group", hint)

    def subjects(self, section: Section) -> None:
        """An account that only a verdict names tells that its event was judged."""
        for name, inner in section.sections("subjects"):
            hint = "name an account that a scored event has from its beginning"
            self.note(inner, inner.position, [name], f"subjects: {name}", hint)

    def _known(self, name: str) -> bool:
        return name in self._spec.columns or name in self._spec.derived


def _roots(spec: Spec, names: Iterable[str]) -> list[str]:
    """Names, and columns that they are made of at any depth; reserved ones left out."""
    seen: dict[str, bool] = {}  # in the order in which they were come by; whether it is a column
    waiting = deque(names)
    while waiting:
        name = waiting.popleft()
        if name in seen or name in RESERVED_COLUMNS:
            continue
        seen[name] = name in spec.derived or name in spec.columns
        if name in spec.derived:
            for value in spec.derived[name].arguments.values():
                waiting += _names(value)
    return [name for name, is_column in seen.items() if is_column]


def _names(value: object) -> Sequence[str]:
    if isinstance(value, Expression):
        return value.columns
    if isinstance(value, str):
        return (value,)
    return [one for one in value if isinstance(one, str)] if isinstance(value, tuple) else ()


def _kinds(entity: Entity, aggregate: Aggregate) -> Iterable[str]:
    return aggregate.kinds or entity.keys


def _columns(aggregate: Aggregate, catalog: Catalog) -> list[str]:
    """Columns that an aggregate reads; what names another aggregate is none."""
    operation = catalog.aggregates.get(aggregate.op)
    others = operand_fields(operation) if operation is not None else ()
    names = list(aggregate.where.columns) if aggregate.where is not None else []
    for key, value in aggregate.arguments.items():
        names += _names(value) if key not in others else []
    return names


def _fills_any(rules: Iterable[Ingest], column: str) -> bool:
    return any(_fills(rule, column) for rule in rules)


def _fills(rule: Ingest, column: str) -> bool:
    return column in rule.columns or (rule.subject is not None and rule.subject[0] == column)
