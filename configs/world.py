"""Made-up worlds, said in YAML: who writes, who abuses, who reports and judges, what is enforced.

What enters: a file such as `configs/worlds/chat.yaml`. What leaves: a frozen `WorldSettings`, or
all of the file's mistakes, each with its line. `lockstep simulate --world` runs it.
"""

from __future__ import annotations

import dataclasses
import re
from typing import Any, TypeVar

from configs._yaml import Mistakes, Section, did_you_mean, read_yaml
from configs.files import find_yaml, read_text

VERSION = 1
POLICIES = ("none", "fraction", "oracle")
ABUSE = ("link_spam", "raid", "scam", "hijack", "sign_up", "harassment")
_DAY_US = 86_400_000_000
_HOUR_US, _MINUTE_US = _DAY_US // 24, 60_000_000
T = TypeVar("T")


def _share(default: float) -> Any:
    return _number(default, 0.0, 1.0)


def _number(default: float, least: float, most: float) -> Any:
    return dataclasses.field(default=default, metadata={"least": least, "most": most})


def _whole(default: int, least: int, most: int) -> Any:
    return dataclasses.field(default=default, metadata={"least": least, "most": most})


def _time(default_us: int, most_us: int) -> Any:
    return dataclasses.field(default=default_us, metadata={"time": True, "most": most_us})


@dataclasses.dataclass(frozen=True)
class People:
    """Who writes.

    Attributes:
      messages: honest ones a day, on average over the week.
      accounts: at the start; communities: of them.
      tail: of the Pareto law of activity; the smaller, the more a few write.
      newcomers: accounts made a day, as a share of those at the start.
      weekend: messages of a Saturday or Sunday over those of another day.
    """

    messages: int = _whole(20_000, 1, 10**8)
    accounts: int = _whole(4_000, 50, 10**7)
    communities: int = _whole(40, 1, 10**5)
    tail: float = _number(1.3, 1.01, 10.0)
    newcomers: float = _share(0.01)
    weekend: float = _number(1.2, 0.1, 10.0)


@dataclasses.dataclass(frozen=True)
class Abuse:
    """Campaigns of one kind.

    Attributes:
      share: of messages, were nothing done against it.
      messages: of a campaign, a day; accounts: that it has; days: that it lasts, on average.
      fresh: share of its accounts that are made for it; the others are bought, with their age.
      rotates: days after which it changes words, domain and disguise by itself; 0: it does not.
      adapts: chance that it changes after a day on which it was blocked; quits: that it gives up.
      reported: mean reports of a message that people see.
    """

    share: float = _number(0.0, 0.0, 0.5)
    messages: float = _number(50.0, 1.0, 1e5)
    accounts: float = _number(10.0, 1.0, 1e4)
    days: float = _number(3.0, 1.0, 365.0)
    fresh: float = _share(0.7)
    rotates: int = _whole(0, 0, 365)
    adapts: float = _share(0.5)
    quits: float = _share(0.05)
    reported: float = _number(0.25, 0.0, 100.0)


@dataclasses.dataclass(frozen=True)
class Reports:
    """Who reports what, rightly or not.

    Attributes:
      honest: mean reports of an honest message.
      newcomers: how many times as often accounts of less than a week are reported; strangers: those
        that write another language than their community.
      delay: the median, after the message.
      brigades: groups a day that report somebody honest, out of malice; members: of a group.
    """

    honest: float = _number(0.004, 0.0, 10.0)
    newcomers: float = _number(2.0, 0.0, 100.0)
    strangers: float = _number(1.5, 0.0, 100.0)
    delay: int = _time(6 * _MINUTE_US, _DAY_US)
    brigades: float = _number(1.0, 0.0, 1e5)
    members: int = _whole(8, 1, 1000)


@dataclasses.dataclass(frozen=True)
class Moderators:
    """Who judges.

    Attributes:
      capacity: reported messages judged a day, most reported first.
      delay: the median from the report, or the start of the day, to the verdict.
      waits: a report that nobody looked at for so long is closed.
      misses: chance that abuse is judged harmless; misled: that a harmless reported message is
        judged abuse.
      automatic: share of visible abuse that a rule judges within minutes; false_rules: of the rest.
      audits: share of visible messages, and of all that the hold-out let through 1, that is judged
        whether reported or not; audit_errors: chance that such a verdict is wrong.
    """

    capacity: int = _whole(400, 0, 10**8)
    delay: int = _time(3 * _HOUR_US, 30 * _DAY_US)
    waits: int = _time(3 * _DAY_US, 60 * _DAY_US)
    misses: float = _share(0.06)
    misled: float = _share(0.1)
    automatic: float = _share(0.15)
    false_rules: float = _share(0.0005)
    audits: float = _share(0.01)
    audit_errors: float = _share(0.0)


@dataclasses.dataclass(frozen=True)
class Appeals:
    """Verdicts and blocks that are disputed.

    Attributes:
      honest, abuse: chance that somebody appeals who did no wrong, and who did.
      delay: the median, until the appeal is heard; wrong: chance that its verdict is.
    """

    honest: float = _share(0.5)
    abuse: float = _share(0.03)
    delay: int = _time(20 * _HOUR_US, 60 * _DAY_US)
    wrong: float = _share(0.05)


@dataclasses.dataclass(frozen=True)
class Enforcement:
    """What is blocked when it is sent, and what that leads to.

    Attributes:
      policy: "none"; "fraction": a share of messages, whatever they are; "oracle": knows the truth.
      begins: the first day on which it acts, 0 being the world's first.
      share: of messages that are blocked (fraction).
      catches: share of abuse that is blocked; false_alarms: of honest messages (oracle).
      blind: how long it does not know a campaign that is new, or has changed (oracle).
      bans: verdicts and blocks after which an account is shut out; lasts: for how many days.
    """

    policy: str = "none"
    begins: int = _whole(0, 0, 10_000)
    share: float = _share(0.0)
    catches: float = _share(0.7)
    false_alarms: float = _share(0.001)
    blind: int = _time(6 * _HOUR_US, 60 * _DAY_US)
    bans: int = _whole(5, 1, 10**6)
    lasts: int = _whole(7, 1, 10_000)


@dataclasses.dataclass(frozen=True)
class LetThrough:
    """The hold-out: messages that are not blocked though the policy would, to see what they are.

    Attributes:
      share: of messages; which ones is up to their ids and the salt (`scoring.hold_out`).
    """

    share: float = _share(0.0)
    salt: str = "hold-out"


@dataclasses.dataclass(frozen=True)
class WorldSettings:
    """A world; `abuse` by kind, of `ABUSE`."""

    name: str = "unnamed"
    about: str = ""
    people: People = People()
    abuse: dict[str, Abuse] = dataclasses.field(default_factory=dict)
    reports: Reports = Reports()
    moderators: Moderators = Moderators()
    appeals: Appeals = Appeals()
    enforcement: Enforcement = Enforcement()
    hold_out: LetThrough = LetThrough()


def load_world(name: str) -> WorldSettings:
    """The world of a YAML file, or of a shipped one by its name ("chat").

    Raises:
      ConfigError: the file's mistakes, all of them, each with its line.
      InputError: there is no such file, or it cannot be read.
    """
    path = find_yaml(name, "world", "worlds")
    return loads_world(read_text(path, "world"), str(path))


def loads_world(text: str, name: str = "world.yaml") -> WorldSettings:
    """The world of YAML text; `name` stands for the file in messages.

    Raises:
      ConfigError: the text's mistakes, all of them.

    >>> loads_world("world: 1").people.accounts
    4000
    """
    mistakes = Mistakes(name, text)
    root = read_yaml(text, mistakes)
    version = root.integer("world")
    if version is not None and version != VERSION:
        root.note("world", f"world: this release reads version {VERSION}, found {version}")
    kinds = {}
    for kind, section in root.sections("abuse"):
        if kind in ABUSE:
            kinds[kind] = _read(section, Abuse)
        else:
            place = section.position
            mistakes.add(place, f"abuse: {kind!r} is no kind of abuse", did_you_mean(kind, ABUSE))
    made = WorldSettings(
        name=root.text("name", "unnamed"),
        about=root.text("about", ""),
        people=_part(root, "people", People),
        abuse={kind: kinds[kind] for kind in ABUSE if kind in kinds},
        reports=_part(root, "reports", Reports),
        moderators=_part(root, "moderators", Moderators),
        appeals=_part(root, "appeals", Appeals),
        enforcement=_part(root, "enforcement", Enforcement),
        hold_out=_part(root, "hold_out", LetThrough),
    )
    _note_idle(root, made)
    total = sum(one.share for one in made.abuse.values())
    if total > 0.9:
        root.note("abuse", f"abuse: shares add up to {total:g}; expected at most 0.9")
    if made.people.communities * 5 > made.people.accounts:
        root.note(
            "people",
            f"people: {made.people.communities} communities of {made.people.accounts} accounts; "
            "expected five accounts or more for each",
        )
    root.done()
    mistakes.raise_if_any()
    return made


_OF_POLICY = {
    "none": ("begins", "share", "catches", "false_alarms", "blind"),
    "fraction": ("catches", "false_alarms", "blind"),
    "oracle": ("share",),
}
"""Settings of `enforcement` that its policies do not read."""


def _note_idle(root: Section, made: WorldSettings) -> None:
    """Settings that would do nothing."""
    policy, rules = made.enforcement.policy, root.section("enforcement")
    for key in _OF_POLICY.get(policy, ()):
        if rules is not None and key in rules:
            readers = [name for name, idle in _OF_POLICY.items() if key not in idle]
            hint = f"leave {key} out, or set policy: {' or '.join(readers)}"
            rules.note(key, f"{key}: does nothing under policy: {policy}", hint)
    for kind, section in root.sections("abuse"):
        for key in ("adapts", "quits") if policy == "none" else ():
            if key in section:
                hint = f"leave {key} out, or set enforcement: {{policy: oracle}}"
                section.note(key, f"{key}: nothing is blocked under policy: none", hint)
        if kind in made.abuse and made.abuse[kind].share == 0 and set(section.keys()) - {"share"}:
            hint = f"{kind}: {{share: 0.01}}, or leave {kind} out"
            section.mistakes.add(
                section.position, f"{kind}: nothing of it happens: its share is 0", hint
            )
    held = root.section("hold_out")
    if held is not None and policy == "none":
        hint = "leave hold_out out, or set enforcement: {policy: oracle}"
        root.note("hold_out", "hold_out: nothing is blocked under policy: none", hint)
    elif held is not None and made.hold_out.share == 0 and "salt" in held:
        held.note("salt", "salt: does nothing without a share", "leave it out, or set share: 0.05")
    reports = root.section("reports")
    if made.reports.brigades == 0 and reports is not None and "members" in reports:
        hint = "leave it out, or set brigades: 1"
        reports.note("members", "members: does nothing without brigades", hint)


def is_world(text: str) -> bool:
    """Whether YAML text, right or wrong, is meant to be a world.

    >>> is_world("# mine\\nworld: 1"), is_world("lockstep: 1\\ncolumns: {world: {type: string}}")
    (True, False)
    """
    return re.search(r"^world\s*:", text, re.MULTILINE) is not None


def _part(root: Section, key: str, of: type[T]) -> T:
    section = root.section(key)
    return of() if section is None else _read(section, of)


def _read(section: Section, of: type[T]) -> T:
    """A section by the fields of its dataclass, which say what is allowed."""
    values: dict[str, Any] = {}
    for field in dataclasses.fields(of):  # type: ignore[arg-type]
        name, default, bounds = field.name, field.default, field.metadata
        if bounds.get("time"):
            values[name] = section.duration(name, default)
            if values[name] > bounds["most"] or values[name] <= 0:
                most = bounds["most"] // _DAY_US
                section.note(name, f"{name}: expected more than 0s and at most {most}d")
        elif name == "policy":
            values[name] = section.choice(name, POLICIES, default)
        elif isinstance(default, str):
            values[name] = section.text(name, default)
        elif isinstance(default, int):
            values[name] = section.integer(name, default, bounds["least"], bounds["most"])
        else:
            values[name] = section.number(name, default, bounds["least"], bounds["most"])
    section.done()
    return of(**values)
