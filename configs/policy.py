"""What actions there are, and what each promises (docs/contracts.md)."""

from __future__ import annotations

import dataclasses


@dataclasses.dataclass(frozen=True)
class Costs:
    """What an error costs, in any unit: acting on what is no abuse, and not acting on abuse."""

    false_alarm: float
    missed: float

    @property
    def break_even(self) -> float:
        """The precision from which on acting is cheaper.

        >>> Costs(false_alarm=4.0, missed=1.0).break_even
        0.8
        """
        return self.false_alarm / (self.false_alarm + self.missed)


@dataclasses.dataclass(frozen=True)
class ActionDelay:
    """How long after its event an action is carried out, by chance, within bounds.

    Attributes:
      salt: with an event's id it decides; another one draws other delays.
      most_us, least_us: the bounds, themselves included.
    """

    salt: str
    most_us: int
    least_us: int = 0


@dataclasses.dataclass(frozen=True)
class ActionLimit:
    """How often an action is given; what is over it gets the next weaker one that it reaches.

    Attributes:
      per: the column whose values are counted apart; events without a value have no limit.
      count: most actions of a value within `in_us` of the scorer's clock.
    """

    per: str
    count: int
    in_us: int


@dataclasses.dataclass(frozen=True)
class Action:
    """What is done at or above a threshold, and what that promises.

    Attributes:
      min_precision: share of abuse among the events at or above its threshold, those that a
        stronger action takes included.
      confidence: with which a promise is shown on the gate slice.
      per_day: most events a day that it takes, and no stronger action does.
      costs: in place of `min_precision`: acting is cheaper than doing nothing.
      delay: when it is carried out; None: at once.
      limit: how often it is given; None: as often as it is due.
    """

    name: str
    min_precision: float | None = None
    confidence: float = 0.95
    per_day: int | None = None
    costs: Costs | None = None
    delay: ActionDelay | None = None
    limit: ActionLimit | None = None

    @property
    def asked(self) -> float | None:
        """The precision that must be shown; None: none is asked for."""
        return self.costs.break_even if self.costs is not None else self.min_precision


@dataclasses.dataclass(frozen=True)
class HoldOut:
    """Events that nothing is done to, drawn by chance, so that what they were is seen.

    Attributes:
      share: of the events that an action is due for.
      salt: with an event's id it decides; another one draws other events.
    """

    share: float
    salt: str


@dataclasses.dataclass(frozen=True)
class Policy:
    """How scores become decisions: the strongest action that is reached, else `default`.

    Attributes:
      hold_out: which events get the default all the same; None: none do.
    """

    actions: tuple[Action, ...] = ()
    default: str = "allow"
    hold_out: HoldOut | None = None
