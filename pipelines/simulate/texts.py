"""What is written: texts put together from pieces, a column at a time.

Honest people send links, shout, quarrel and repeat themselves too, a part of abuse has no bad word
in it, and campaigns change words and disguise: no single input gives abuse away.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from pipelines.simulate import phrases
from pipelines.simulate.attacks import SEASONS
from pipelines.simulate.rows import Act, Integers, Rows
from pipelines.simulate.world import World

_Change = Callable[[pa.Array, Integers], pa.Array]  # texts and their rows to other texts
_DISGUISES = 5  # plain, leet, zero-width, spelled-out dot, no link


def write_texts(world: World, rng: np.random.Generator, messages: Rows) -> pa.Array:
    """The text of each message.

    Args:
      world: for the languages of authors.
      rng: of this stretch.
      messages: of any acts.

    Returns:
      string `[n]`.
    """
    act = messages.act.copy()
    bland = rng.random(len(act))
    act[(act == Act.HARASS) & (bland < 0.6)] = Act.CHAT  # the hurt is not in the words
    act[(act == Act.SCAM) & (bland < 0.55)] = Act.CHAT
    act[(act == Act.CAMPAIGN) & (bland < 0.1)] = Act.CHAT  # warming up
    at: list[Integers] = []
    texts: list[pa.Array] = []
    for one, write in (
        (Act.PROMO, _promos),
        (Act.BOT, _bots),
        (Act.CAMPAIGN, _campaigns),
        (Act.TAKEOVER, _takeovers),
        (Act.FLOOD, _floods),
        (Act.HARASS, _insults),
        (Act.SCAM, _scams),
    ):
        where = np.flatnonzero(act == one)
        if len(where):
            at.append(where)
            texts.append(write(rng, messages.theme[where]))
    where = np.flatnonzero(act == Act.CHAT)
    at.append(where)
    texts.append(_chat(rng, world.language[messages.author[where]]))
    place = np.empty(len(act), np.int64)
    place[np.concatenate(at)] = np.arange(len(act))
    return pa.concat_arrays(texts).take(pa.array(place))


def _chat(rng: np.random.Generator, language: Integers) -> pa.Array:
    count = len(language)
    draw = rng.random(count)
    short = np.flatnonzero(draw < 0.22)
    other = np.flatnonzero(draw >= 0.22)
    weights = 1 / np.arange(1, len(phrases.SHORT) + 1)
    said = rng.choice(len(phrases.SHORT), len(short), p=weights / weights.sum())
    texts = pa.concat_arrays([_choose(phrases.SHORT, said), _sentences(rng, language[other])])
    place = np.empty(count, np.int64)
    place[np.concatenate([short, other])] = np.arange(count)
    return texts.take(pa.array(place))


def _sentences(rng: np.random.Generator, language: Integers) -> pa.Array:
    count = len(language)
    said = _join(
        *(_piece(rng, part, language) for part in range(3)), _pick(rng, phrases.ENDINGS, count)
    )
    draw = rng.random(count)
    said = _change(
        said,
        draw < 0.2,  # a second sentence
        lambda some, where: _join(
            some, ", ", _piece(rng, 1, language[where]), _piece(rng, 2, language[where])
        ),
    )
    said = _change(
        said,
        (draw > 0.5) & (draw < 0.545),
        lambda some, where: _join(some, " https://", _honest_links(rng, len(where))),
    )
    said = _change(
        said,
        (draw > 0.6) & (draw < 0.625),  # among friends
        lambda some, where: _insults(rng, where),
    )
    said = _change(said, (draw > 0.7) & (draw < 0.725), lambda some, where: pc.utf8_upper(some))
    return _change(
        said,
        (draw > 0.8) & (draw < 0.88),
        lambda some, where: _join(some, " ", _number(rng, len(where), 10_000)),
    )


def _honest_links(rng: np.random.Generator, count: int) -> pa.Array:
    """Half to where everyone links to, half to small sites."""
    small = _join(
        _pick(rng, phrases.NAMES, count), _pick(rng, phrases.TRADES, count), ".",
        _pick(rng, phrases.HONEST_ENDINGS, count),
    )  # fmt: skip
    popular = _pick(rng, phrases.POPULAR_DOMAINS, count)
    domain = pc.if_else(pa.array(rng.random(count) < 0.55), popular, small)
    return _join(domain, "/", _number(rng, count, 99_999))


def _promos(rng: np.random.Generator, theme: Integers) -> pa.Array:
    """A creator's own site: the same words and domain, another number."""
    who = _mix(theme)
    return _join(
        _choose(phrases.PROMOS, who % len(phrases.PROMOS)), " https://",
        _choose(phrases.NAMES, who // 7), _choose(phrases.TRADES, who // 113), ".",
        _choose(phrases.HONEST_ENDINGS, who // 1009), "/", _number(rng, len(theme), 500),
    )  # fmt: skip


def _bots(rng: np.random.Generator, theme: Integers) -> pa.Array:
    before, after = zip(*(bot.split("{}") for bot in phrases.BOTS), strict=True)
    which = theme % len(phrases.BOTS)
    return _join(_choose(before, which), _number(rng, len(theme), 100_000), _choose(after, which))


def _campaigns(rng: np.random.Generator, theme: Integers) -> pa.Array:
    """Near duplicates of a season's lure: numbers and endings vary, the disguise by season."""
    count = len(theme)
    words = _mix(theme)
    disguise = words // 3 % _DISGUISES
    lure = _join(
        _pick(rng, ("", "", "", "hey ", "@everyone ", "🎁 "), count),
        _choose(phrases.LURE_OPENINGS, words // 5), " ",
        _choose(phrases.LURE_THINGS, words // 59), _pick(rng, ("", "", "!", " 🔥", " !!"), count),
    )  # fmt: skip
    lure = _change(lure, disguise == 1, lambda some, where: _replace(some, ("e", "3"), ("o", "0")))
    lure = _change(lure, disguise == 2, lambda some, where: _replace(some, ("i", "i\u200b")))
    domain = _join(
        _choose(phrases.SHADY_VERBS, words // 601), "-",
        _choose(phrases.SHADY_THINGS, words // 5003),
        _choose(("", "", "24", "7", "hub"), words // 40_009), ".",
        _choose(phrases.SHADY_ENDINGS, words // 300_007),
    )  # fmt: skip
    domain = _change(domain, disguise == 3, lambda some, where: _replace(some, (".", " (dot) ")))
    link = _join(
        _choose(("http://", "https://"), words // 11), domain, "/", _number(rng, count, 9_999)
    )
    handle = _join("write to @", _choose(phrases.NAMES, words // 17), _number(rng, count, 9))
    bare = (disguise == 4) | (rng.random(count) < 0.12)
    return _join(lure, " ", pc.if_else(pa.array(bare), handle, link))


def _takeovers(rng: np.random.Generator, theme: Integers) -> pa.Array:
    words = _mix(theme)
    return _join(
        _choose(phrases.TAKEOVER_LURES, words // 3),
        _pick(rng, ("", "", "?", " 😂", "!!"), len(theme)),
        " https://", _choose(phrases.NAMES, words // 31), "-",
        _choose(phrases.SHADY_THINGS, words // 509), ".",
        _choose(phrases.SHADY_ENDINGS, words // 10_007), "/", _number(rng, len(theme), 9_999),
    )  # fmt: skip


def _floods(rng: np.random.Generator, theme: Integers) -> pa.Array:
    text = _choose(phrases.FLOODS, _mix(theme))
    return _change(
        text,
        rng.random(len(theme)) < 0.4,
        lambda some, where: _join(some, _pick(rng, phrases.ENDINGS, len(where))),
    )


def _insults(rng: np.random.Generator, theme: Integers) -> pa.Array:
    count = len(theme)
    text = _join(_pick(rng, phrases.INSULTS, count), _pick(rng, phrases.ENDINGS, count))
    return _change(text, rng.random(count) < 0.25, lambda some, where: pc.utf8_upper(some))


def _scams(rng: np.random.Generator, theme: Integers) -> pa.Array:
    family, week = theme // SEASONS, theme % SEASONS
    return _join(
        _choose(phrases.SCAMS, family + week), " ",
        _choose(phrases.SCAM_TURNS, _mix(theme)),
        _pick(rng, ("", "", ".", " 🙏", " dear"), len(theme)),
    )  # fmt: skip


def _piece(rng: np.random.Generator, part: int, language: Integers) -> pa.Array:
    """One piece of a sentence (0 opening, 1 subject, 2 predicate) in each row's language."""
    lists = [pieces[part] for pieces in phrases.SENTENCES.values()]
    sizes = np.array([len(one) for one in lists])
    first = np.cumsum(sizes) - sizes
    within = (rng.random(len(language)) * sizes[language]).astype(np.int64)
    return _choose(tuple(itertools.chain(*lists)), first[language] + within)


def _mix(theme: Integers) -> Integers:
    """Themes that are neighbours share no words."""
    mixed = theme.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    return (mixed >> np.uint64(20)).astype(np.int64)


def _change(texts: pa.Array, mask: npt.NDArray[np.bool_], change: _Change) -> pa.Array:
    where = np.flatnonzero(mask)
    if not len(where):
        return texts
    changed = change(texts.take(pa.array(where)), where)
    return pc.replace_with_mask(texts, pa.array(mask), changed)


def _replace(texts: pa.Array, *pairs: tuple[str, str]) -> pa.Array:
    for old, new in pairs:
        texts = pc.replace_substring(texts, old, new)
    return texts


def _pick(rng: np.random.Generator, choices: tuple[str, ...], count: int) -> pa.Array:
    return _choose(choices, rng.integers(0, len(choices), count))


def _choose(choices: tuple[str, ...], index: Integers) -> pa.Array:
    return pa.array(choices, pa.string()).take(pa.array(index % len(choices)))


def _number(rng: np.random.Generator, count: int, most: int) -> pa.Array:
    return pa.array(rng.integers(0, most, count)).cast(pa.string())


def _join(*parts: pa.Array | str) -> pa.Array:
    arrays = [pa.scalar(part, pa.string()) if isinstance(part, str) else part for part in parts]
    return pc.binary_join_element_wise(*arrays, pa.scalar("", pa.string()))
