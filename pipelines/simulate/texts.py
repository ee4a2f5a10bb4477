"""What is written: texts put together from pieces, column by column.

Honest people send links and shout too, and campaigns change their words every two days: no single
input gives abuse away.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from pipelines.simulate.world import Role

Integers = npt.NDArray[np.int64]

_OPENINGS = (
    "hey", "lol", "ok so", "anyone", "good morning", "wait", "haha", "hi all", "btw",
    "does someone",
    "hola", "bonjour", "guten Morgen", "привет", "こんにちは", "I think", "we should",
    "omg", "yeah",
    "thanks", "sorry", "just saw", "who is up for", "can we", "remember when", "not sure but",
)  # fmt: skip
_MIDDLES = (
    "the raid starts at nine", "that match was wild", "check the new patch notes",
    "my cat is on the keyboard", "is the server down", "let's move this to tomorrow",
    "the build is green again", "nos vemos esta noche", "on se retrouve ce soir",
    "das war knapp", "увидимся завтра", "また明日", "somebody pinned the wrong message",
    "dinner was great", "I need help with level 12", "the second half was better",
    "free pizza at the office", "we win this one", "click the blue button first",
    "the stream is live", "send me the notes", "my account got a new avatar",
    "prize ceremony is on sunday", "this song is stuck in my head", "bring your own snacks",
)  # fmt: skip
_ENDINGS = ("", "", "", "!", "!!", " 😂", " 🙏", " ok?", " brb", " :)", " pls", " 🔥", "...")
_HONEST_DOMAINS = (
    "youtube.com", "github.com", "wikipedia.org", "bbc.co.uk", "nytimes.com", "imgur.com",
)  # fmt: skip
_LURES = (
    "claim your free gift now", "earn money from home", "you won a prize, click", "crypto doubles",
    "limited nitro giveaway", "hot deals today only", "your account will be closed, verify",
    "best followers cheap", "investment with guaranteed profit", "free skins for everyone",
)  # fmt: skip
_SCAMS = (
    "hi dear, I saw your profile and", "hello, are you the one who sells",
    "sorry wrong number, but",
    "I work with a team that trades and", "can you do me a favour and",
    "message me privately,",
)  # fmt: skip
_INSULTS = (
    "you are trash",
    "nobody likes you",
    "uninstall",
    "go away loser",
    "shut up",
    "pathetic",
)
_SHADY = tuple(
    f"{verb}-{thing}.{ending}"
    for verb in ("free", "win", "get", "go")
    for thing in ("gift", "prize", "deal", "coin", "skin")
    for ending in ("xyz", "top", "club", "com")
)


def write_texts(
    rng: np.random.Generator,
    role: npt.NDArray[np.int8],
    campaign: Integers,
    day: int,
) -> pa.Array:
    """The text of each message.

    Args:
      rng: of the block.
      role: int8 `[n]`, what the message is (`Role`).
      campaign: int64 `[n]`.
      day: of the stream, from 0; campaigns change words and domains every two days.
    """
    count = len(role)
    text = _join(
        _pick(rng, _OPENINGS, count), " ", _pick(rng, _MIDDLES, count), _pick(rng, _ENDINGS, count)
    )
    linked = rng.random(count) < 0.04
    link = _join(
        _const(" https://"), _pick(rng, _HONEST_DOMAINS, count), "/", _number(rng, count, 99_999)
    )
    text = pc.if_else(pa.array(linked), _join(text, link), text)
    shouting = rng.random(count) < 0.02
    text = pc.if_else(pa.array(shouting), pc.utf8_upper(text), text)
    season = campaign * 7 + day // 2
    is_campaign = (role == Role.CAMPAIGN) | (role == Role.TAKEN_OVER)
    if is_campaign.any():
        lure = _choose(_LURES, season % len(_LURES))
        domain = _choose(_SHADY, (season * 13) % len(_SHADY))
        spam = _join(lure, " ", _number(rng, count, 999), _const(" http://"), domain, "/",
                     _number(rng, count, 9999))  # fmt: skip
        bare = _join(lure, " ", _pick(rng, _ENDINGS, count))
        spam = pc.if_else(pa.array(rng.random(count) < 0.25), bare, spam)
        text = pc.if_else(pa.array(is_campaign), spam, text)
    for one, phrases, share in (
        (Role.SCAM, _SCAMS, 0.7),
        (Role.HARASS, _INSULTS, 0.8),
        (Role.FLOOD, ("spam spam spam", "aaaaaaaa", "join join join"), 0.9),
    ):
        where = (role == one) & (rng.random(count) < share)
        if where.any():
            phrase = _join(_pick(rng, phrases, count), _pick(rng, _ENDINGS, count))
            text = pc.if_else(pa.array(where), phrase, text)
    return text


def _pick(rng: np.random.Generator, choices: tuple[str, ...], count: int) -> pa.Array:
    return _choose(choices, rng.integers(0, len(choices), count))


def _choose(choices: tuple[str, ...], index: Integers) -> pa.Array:
    return pa.array(choices, pa.string()).take(pa.array(index))


def _number(rng: np.random.Generator, count: int, most: int) -> pa.Array:
    return pa.array(rng.integers(0, most, count)).cast(pa.string())


def _const(text: str) -> pa.Scalar:
    return pa.scalar(text, pa.string())


def _join(*parts: pa.Array | pa.Scalar | str) -> pa.Array:
    arrays = [_const(part) if isinstance(part, str) else part for part in parts]
    return pc.binary_join_element_wise(*arrays, _const(""))
