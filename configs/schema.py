"""What one use of Lockstep is, as frozen dataclasses: the spec that every other room reads.

What enters: nothing; these are plain types. What leaves: :class:`Spec`, made by
``configs.loader.load`` from a YAML file and handed, unchanged, to decode, derive, velocity, the
TFT graph, training, scoring and the pipelines.

Reserved column names that exist on every decoded batch, whatever the user's columns are called:

- ``event_id``   string, unique; a second event with the same id is a duplicate (the first in total
  order wins);
- ``event_time`` int64, microseconds since 1970-01-01T00:00:00Z;
- ``kind``       string, one of ``Spec.kinds``.
"""

from __future__ import annotations

import dataclasses
import enum
from collections.abc import Mapping
from typing import Any

from configs.campaigns import CampaignRules
from configs.frozen import Frozen
from configs.policy import Action as Action
from configs.policy import ActionDelay as ActionDelay
from configs.policy import ActionLimit as ActionLimit
from configs.policy import Costs as Costs
from configs.policy import HoldOut as HoldOut
from configs.policy import Policy as Policy
from configs.social import SocialGraph
from configs.training import Evaluation as Evaluation
from configs.training import Gate as Gate
from configs.training import Training as Training

EVENT_ID = "event_id"
EVENT_TIME = "event_time"
KIND = "kind"
RESERVED_COLUMNS = (EVENT_ID, EVENT_TIME, KIND)
PUBLISHED_COLUMNS = ("score", "action", "model_inputs")  # of a dataset, beside what it is made of

SEPARATORS = (",", ";", "|", "\t")
"""Of fields in CSV files."""


class ColumnType(enum.StrEnum):
    """The types that a column of an event can have, and their Arrow types after decode."""

    STRING = "string"  # pa.string(), valid UTF-8
    INTEGER = "integer"  # pa.int64()
    NUMBER = "number"  # pa.float64(), finite unless `allow_nonfinite`
    BOOLEAN = "boolean"  # pa.bool_()
    TIMESTAMP = "timestamp"  # pa.int64(), microseconds UTC


@dataclasses.dataclass(frozen=True)
class Column:
    """One column of an event: what values are accepted, and whether they may be shown.

    Attributes:
      name: the name in the event schema (the name after `ingest` renames).
      type: the accepted type.
      private: values never appear in logs, errors, metrics or pages.
      max_bytes: longest accepted string, in UTF-8 bytes (strings only).
      minimum, maximum: accepted closed range (integers and numbers only).
      allow_nonfinite: whether NaN and infinities are accepted, as null (numbers only).
      unit: of the values, in words, for people; "" if there is none.
    """

    name: str
    type: ColumnType
    private: bool = False
    max_bytes: int = 65_536
    minimum: int | float | None = None
    maximum: int | float | None = None
    allow_nonfinite: bool = False
    unit: str = ""
    about: str = ""


@dataclasses.dataclass(frozen=True)
class Kind:
    """A kind of event: what must be there, and whether such events are scored."""

    name: str
    required: tuple[str, ...] = ()
    scored: bool = False
    about: str = ""


@dataclasses.dataclass(frozen=True)
class Ingest(Frozen):
    """How one row of a file becomes one event; several of them make several events of a row.

    Without any, a row is an event already: it has `event_id`, `event_time` and `kind` under the
    names that `Events` gives.

    Attributes:
      kind: the kind of the event that is made.
      id: the row's column that names it; the event id is ``f"{kind}:{value}"``; None: the row's
        position, as ``f"{kind}:{file name}#{row}"``.
      time: the row's column with the time.
      delay_us: added to the time (a verdict becomes known later than what it judges).
      columns: event column -> row column, for those whose names differ.
      subject: (event column, kind): filled with the id of the event of that kind that the same
        row makes, so a verdict points at what it judges.
      where: expression over the row's event columns; rows where it is not true make no such event.
    """

    kind: str
    id: str | None
    time: str
    delay_us: int = 0
    columns: Mapping[str, str] = dataclasses.field(default_factory=dict)
    subject: tuple[str, str] | None = None
    where: Expression | None = None


@dataclasses.dataclass(frozen=True)
class Events(Frozen):
    """Which columns of the input are id, time and kind, and how far disorder may go.

    Attributes:
      id, time, kind: names in the input; `kind` may be None where `ingest` names it.
      aliases: other names that some files use -> the name that this config uses.
      earliest_us, latest_us: accepted closed range of event times, microseconds UTC; an event
        outside is dead-lettered as an absurd time.
      disorder_us: how long the streaming scorer waits for earlier events.
      dedup_us: how long an event id is remembered, in event time.
      max_dead_share: a run with a larger share of dead letters fails.
      sequence: an integer column that orders the events of one time; None: there is none.
      time_unit: of times that are numbers since 1970: "s", "ms", "us" or "ns".
      time_zone: of times that name none (IANA name).
      encoding: of text files (a name that Python knows).
      header: names of the columns of CSV and TSV files that have no header; () if they have one.
      separator: of the fields of CSV files; "" is a comma (`.tsv`: a tab).
      numbered: kinds whose ids end in a number that orders them (an id column that is declared an
        integer, or rows of a file without an id); made by the loader.
      prefixed: whether ids begin with their kind, as `ingest` makes them; made by the loader.
    """

    id: str = EVENT_ID
    time: str = EVENT_TIME
    kind: str | None = KIND
    aliases: Mapping[str, str] = dataclasses.field(default_factory=dict)
    earliest_us: int = 946_684_800_000_000  # 2000-01-01
    latest_us: int = 4_102_444_800_000_000  # 2100-01-01
    disorder_us: int = 5_000_000
    dedup_us: int = 86_400_000_000
    max_dead_share: float = 0.01
    sequence: str | None = None
    time_unit: str = "us"
    time_zone: str = "UTC"
    encoding: str = "utf-8"
    header: tuple[str, ...] = ()
    separator: str = ""
    numbered: tuple[str, ...] = ()
    prefixed: bool = False


@dataclasses.dataclass(frozen=True)
class Expression:
    """An arithmetic or boolean expression over columns, checked at load.

    The language is a subset of Python's: numbers, strings, column names, ``+ - * /``,
    ``== != < <= > >=``, ``and or not``, ``is_null(x)``, ``coalesce(x, y)``, ``abs``, ``min``,
    ``max``, ``sqrt``, ``floor``. A null operand makes arithmetic null and a comparison false;
    division by zero is null.
    """

    text: str
    columns: tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class Derived(Frozen):
    """A row-level column: the operation's name in the catalog, and its constructor arguments."""

    name: str
    op: str
    type: ColumnType
    arguments: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    about: str = ""


@dataclasses.dataclass(frozen=True)
class Window:
    """A span of event time seen through `tiles` tiles that are aligned to the epoch.

    At time t the window holds tiles ``t // tile_us - tiles + 1`` to ``t // tile_us``: it never
    reaches back further than `length_us`, and misses less than one tile of it. The lifetime window
    (`LIFETIME`) has one tile, which holds everything that the key has had since it was last empty.
    """

    name: str  # "1h"
    length_us: int
    tiles: int

    @property
    def tile_us(self) -> int:
        return self.length_us // self.tiles

    @property
    def is_lifetime(self) -> bool:
        """Whether it has no length: it reaches back to the key's first event."""
        return self.length_us == 0


LIFETIME = Window("all", 0, 1)


@dataclasses.dataclass(frozen=True)
class Aggregate(Frozen):
    """One aggregate of an entity: it becomes a feature per window (or one, if it has none).

    The features' names are ``f"{entity}_{name}_{window.name}"``, without the window part for
    aggregates that have none (seconds_since_last and such).

    Attributes:
      op: the operation's name in the catalog.
      kinds: only events of these kinds count; empty: all kinds.
      where: only events for which this is true count.
      arguments: the operation's constructor arguments (column, decimals, of, to, …).
    """

    name: str
    op: str
    kinds: tuple[str, ...]
    windows: tuple[Window, ...]
    where: Expression | None = None
    arguments: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    about: str = ""


@dataclasses.dataclass(frozen=True)
class Entity(Frozen):
    """Something whose behaviour is followed: a key, and the aggregates kept per key.

    Attributes:
      keys: kind -> the columns that form the key in events of that kind. An event of a kind that
        is not named, or with a null in a key column, does not belong to this entity: it changes
        no state, and its features of this entity are all null.
      retention_us: state of a key that saw no event for this long expires.
    """

    name: str
    keys: Mapping[str, tuple[str, ...]]
    aggregates: tuple[Aggregate, ...]
    retention_us: int
    about: str = ""


@dataclasses.dataclass(frozen=True)
class Categorical:
    """A string column that enters the model through a vocabulary (most frequent first)."""

    column: str
    vocabulary: int = 1000
    oov_buckets: int = 8
    min_frequency: int = 2


@dataclasses.dataclass(frozen=True)
class TextInput:
    """A string column that enters the text model as hashed n-grams.

    Attributes:
      word_ngrams: least and most words of an n-gram.
      char_ngrams: least and most characters of an n-gram within what white space parts; None: none.
      max_tokens: words of a text beyond these are not seen.
      tokens: what a word is: "spaces", what white space parts; "words", two or more letters, digits
        and underscores in a row (scikit-learn's default), so that punctuation parts words and is
        not seen itself.
      encoder: folder of a sentence encoder whose vectors are taken in place of n-grams; "": none.
      encoder_tokens: tokens of a text beyond these are not read by it.
    """

    column: str
    buckets: int = 65_536
    word_ngrams: tuple[int, int] = (1, 2)
    char_ngrams: tuple[int, int] | None = None
    max_tokens: int = 256
    tokens: str = "spaces"
    encoder: str = ""
    encoder_tokens: int = 64


@dataclasses.dataclass(frozen=True)
class Inputs(Frozen):
    """What the model sees.

    Attributes:
      numeric: event or derived columns that enter the numeric block, before the features.
      features: names of velocity features left out of the block are in `exclude`; all others
        enter, in the order of the spec.
      computed: name -> expression over numeric columns and velocity features; appended last.
      scaling: "zscore", "quantile" or "none"; monotone per column. Null stays null (NaN).
    """

    numeric: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    computed: Mapping[str, Expression] = dataclasses.field(default_factory=dict)
    categorical: tuple[Categorical, ...] = ()
    text: TextInput | None = None
    scaling: str = "zscore"


@dataclasses.dataclass(frozen=True)
class JudgedSubject:
    """Verdicts about what events belong to: an account, a channel, a link's domain.

    Attributes:
      of: the scored event's column that names it.
      column: the verdict's column that names it. A verdict that names an event judges that alone.
      kind: the kind of event that judges; None: `labels.kind`.
      reach_us: it speaks of the subject's events of so long before it; None: of all before it.
      most_weight: events of one subject that have their label by such a verdict weigh as so many at
        most in training, together, so that one account with a million events does not rule.
    """

    of: str
    column: str
    kind: str | None = None
    reach_us: int | None = None
    most_weight: int = 100


@dataclasses.dataclass(frozen=True)
class Labels:
    """How verdict events become labels of scored events, as known at a given time.

    Attributes:
      kind: the kind of event that judges.
      subject: its column with the judged event's id.
      positive: expression over the verdict event; true means abuse. Of several verdicts the
        latest known (in total order) counts, so an appeal reverses.
      maturity_us: a scored event older than this without any verdict is a negative; a younger
        one is unlabelled. None: events without a verdict stay unlabelled.
      source: the verdict event's column that says who or what judged (a moderator, a rule, an
        appeal), for the counts on the nightly's page; None: they are not told apart.
      precedence: sources, the strongest first: of an event's verdicts those of the strongest source
        that judged it count, and of these the latest. Sources that are not named rank last,
        together; without any the latest verdict counts, whoever judged.
      expires_us: a verdict that is older than this counts no longer: an event that has no other one
        is unlabelled again, not a negative by age. None: verdicts do not expire.
      subjects: what else verdicts may be about; one that names no event and several of them is
        about the first.
      weighting: "none", or "inverse_propensity": a nightly run leaves out labels of what was acted
        on, and what the hold-out let through stands for it.
    """

    kind: str
    subject: str
    positive: Expression
    maturity_us: int | None
    source: str | None = None
    precedence: tuple[str, ...] = ()
    expires_us: int | None = None
    subjects: tuple[JudgedSubject, ...] = ()
    weighting: str = "none"

    @property
    def kinds(self) -> tuple[str, ...]:
        """The kinds that judge, each once."""
        return tuple(dict.fromkeys([self.kind, *(s.kind or self.kind for s in self.subjects)]))


@dataclasses.dataclass(frozen=True)
class Spec(Frozen):
    """One use of Lockstep, whole. Immutable; its fingerprint is in every artefact."""

    name: str
    events: Events
    columns: Mapping[str, Column]
    kinds: Mapping[str, Kind]
    derived: Mapping[str, Derived]
    entities: Mapping[str, Entity]
    inputs: Inputs
    labels: Labels | None
    training: Training | None
    policy: Policy
    gate: Gate
    evaluation: Evaluation = dataclasses.field(default_factory=Evaluation)
    ingest: tuple[Ingest, ...] = ()
    shards: int = 16
    hash_seed: int = 0
    about: str = ""
    graph: SocialGraph | None = None
    campaigns: CampaignRules | None = None

    @property
    def scored_kinds(self) -> tuple[str, ...]:
        """Kinds of which each event gets features and a decision, in the order of the spec."""
        return tuple(kind.name for kind in self.kinds.values() if kind.scored)

    @property
    def input_names(self) -> frozenset[str]:
        """Every name of an input column that is read, aliases aside."""
        if not self.ingest:
            return frozenset({self.events.id, self.events.time, self.events.kind or KIND}).union(
                self.columns
            )
        names: set[str] = set()
        for rule in self.ingest:
            names |= {rule.time, *([rule.id] if rule.id else [])}
            names |= {rule.columns.get(name, name) for name in self.columns}
        return frozenset(names)

    def column_type(self, name: str) -> ColumnType:
        """The type of an event or derived column.

        Raises:
          KeyError: no such column.
        """
        if name in self.derived:
            return self.derived[name].type
        if name in (EVENT_ID, KIND):
            return ColumnType.STRING
        if name == EVENT_TIME:
            return ColumnType.TIMESTAMP
        return self.columns[name].type
