"""Disguises by single characters: encoded, invisible, stacked, drawn otherwise, emoji.

Each function takes one text and gives the text made of it, and how many characters it undid. They
run on texts that are not plain ASCII, which are few; what they look for is found by a compiled
regular expression.
"""

from __future__ import annotations

import functools
import re
import unicodedata

from transforms.text.forms import normalize_form

_ENCODED = re.compile(r"%[0-9a-f]{2}|xn--", re.IGNORECASE)
_PERCENT = re.compile(r"(?:%(?:25)*[0-9a-f]{2})+", re.IGNORECASE)
_BYTE = re.compile(r"%(?:25)*([0-9a-f]{2})", re.IGNORECASE)
_PUNYCODE = re.compile(r"(?<![a-z0-9-])xn--([a-z0-9-]{1,59})(?![a-z0-9-])", re.IGNORECASE)

_JOINERS = "\u200c\u200d"
_UNSEEN = (
    "\x00-\x08\x0e-\x1b\x7f-\x84\x86-\x9f\xad\u034f\u061c\u115f\u1160\u17b4\u17b5\u200b\u200e\u200f"
    "\u202a-\u202e\u2060-\u206f\u2800\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufffb"
    "\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff"
)
INVISIBLE = f"{_UNSEEN}{_JOINERS}\u180b-\u180f"
"""What shows nothing at the end of a word, as ranges of a regular expression's class."""
# Scripts in which a joiner chooses the shape of the letter before it (Unicode 17, section 23.2).
_JOINING = (
    "\u0600-\u08ff\u0900-\u0dff\u0f00-\u109f\u1780-\u18af\u1a20-\u1b7f\ua840-\ua8ff"
    "\ufb50-\ufdff\ufe70-\ufefc"
)

_OVERLAYS = "\u0334-\u0338\u0488\u0489\u20d0-\u20f0"
_STACKING = "\u0300-\u0333\u0339-\u036f\u1ab0-\u1aff\u1dc0-\u1dff\ufe20-\ufe2f"
_MARKS = re.compile(f"[{_OVERLAYS}]|[{_STACKING}]{{2}}")
_OVERLAY = re.compile(f"[{_OVERLAYS}]")
_STACK = re.compile(f"[{_STACKING}]{{4,}}")  # ancient Greek has three on a letter, Vietnamese two

# What honest people write: U+200B where a line may end in scripts without spaces; within emoji,
# selectors of their look, joiners, and the tags of a flag.
_SIGN = f"(?<=[^\\w\\s{_JOINING}])"
_HONEST = re.compile(
    "(?<=[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u1a20-\u1aaf])\u200b"
    f"|(?<=[^\\w\\s{INVISIBLE}])[\ufe0e\ufe0f]|(?<=[0-9#*])\ufe0f(?=\u20e3)"
    f"|{_SIGN}\u200d(?=[^\\w\\s{INVISIBLE}])|(?<=\U0001f3f4)[\U000e0020-\U000e007f]+"
)
_KEYCAP = re.compile("[0-9#*]\u20e3")

# Compatibility forms that languages write with: Thai and Lao AM, and single Korean letters.
_KEPT = re.compile("([\u0e33\u0eb3\u3131-\u318e]+)")
# Forms that NFKC leaves, or makes something else of than a reader sees: letters on a black disc or
# square, dotless mathematical letters, marks that would become a space, lunate sigma.
_FORMS = str.maketrans(
    {
        chr(first + place): chr(ord("a") + place)
        for first in (0x1F150, 0x1F170)
        for place in range(26)
    }
    | {"\U0001d6a4": "i", "\U0001d6a5": "j", "\u037a": "i", "\u02db": "i"}
    | {"\u03f2": "c", "\u03f9": "C", "\uffe8": "\u2223"}
)
_BARS = re.compile(
    "[\uff11\uff29\u2160\u2110\u2111\U0001fbf1\U0001d408\U0001d43c\U0001d470\U0001d4d8"
    "\U0001d540\U0001d574\U0001d5a8\U0001d5dc\U0001d610\U0001d644\U0001d678\U0001d6b0\U0001d6ea"
    "\U0001d724\U0001d75e\U0001d798\U0001d7cf\U0001d7d9\U0001d7e3\U0001d7ed\U0001d7f7]"
)
_PICTURES = re.compile(
    "[\u2600-\u27bf\u2b50\u2b55\u2b1b\u2b1c\U0001f300-\U0001f3fa\U0001f400-\U0001f64f"
    "\U0001f680-\U0001f6ff\U0001f780-\U0001f7ff\U0001f900-\U0001faff]"
)
_SKIN = re.compile("[\U0001f3fb-\U0001f3ff]")


def decode_percents(text: str) -> tuple[str, int]:
    """Percent-encoded and Punycode letters of links, as a browser shows them (RFC 3986, 3492).

    >>> decode_percents("see b%61nk.example/%2561 or xn--bcher-kva.example, 100%25")
    ('see bank.example/a or b\u00fccher.example, 100%25', 13)
    """
    if not _ENCODED.search(text):
        return text, 0
    made = re.sub(r"\S+", _link, text)
    return made, max(len(text) - len(made), int(made != text))


def _link(found: re.Match[str]) -> str:
    token = found[0]
    if "." not in token and "/" not in token:
        return token
    while True:  # an encoded encoding is three times as long, so few rounds reach the end
        made = _PERCENT.sub(_decoded, token)
        if made == token:
            return _PUNYCODE.sub(_unpunycoded, token)
        token = made


def _decoded(found: re.Match[str]) -> str:
    """Bytes as characters where these are printable and no space, which would end the link."""
    data = bytes.fromhex("".join(_BYTE.findall(found[0])))
    text = data.decode("utf-8", "surrogateescape")
    return "".join(one if one.isprintable() and one not in " %" else _percent(one) for one in text)


def _percent(character: str) -> str:
    return "".join(f"%{byte:02x}" for byte in character.encode("utf-8", "surrogateescape"))


def _unpunycoded(found: re.Match[str]) -> str:
    try:
        label = found[1].encode("ascii").decode("punycode")
    except (UnicodeError, OverflowError, ValueError):
        return found[0]
    return label if label.isprintable() and not label.isascii() and " " not in label else found[0]


@functools.cache
def _invisible(reading: int) -> re.Pattern[str]:
    joining = _JOINING if reading > 1 else f"{_JOINING}\ufe00-\ufe6f"  # a selector joins nothing
    return re.compile(f"[{_UNSEEN}]|(?<![{joining}])[{_JOINERS}]")


def remove_invisible(text: str, reading: int = 2) -> tuple[str, int]:
    """Without controls, zero-width and bidirectional ones; joiners stay where a script needs them.

    Those that Khmer and others part words with, and those within emoji, are no disguise and not
    counted; with `reading` 1 they are.

    >>> remove_invisible("fr\u200bee\u202e \u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645")
    ('free \u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645', 2)
    """
    made = _invisible(reading).sub("", text)
    honest = sum(map(len, _HONEST.findall(text))) if reading > 1 else 0
    return made, len(text) - len(made) - honest


def unstack_marks(text: str, reading: int = 2) -> tuple[str, int]:
    """Without marks drawn through letters, and without stacks of four or more on one.

    A keycap, which is an emoji, is not counted; with `reading` 1 it is.

    >>> unstack_marks("f\u0336r\u0336ee, Vi\u1ec7t, e\u0301\u0302\u0303\u0304\u0305")
    ('free, Vi\u1ec7t, e', 7)
    """
    if not _MARKS.search(text):
        return text, 0
    apart = normalize_form("NFD", text)
    made = _STACK.sub("", _OVERLAY.sub("", apart))
    if made == apart:
        return text, 0
    keycaps = len(_KEYCAP.findall(apart)) if reading > 1 else 0
    return normalize_form("NFC", made), len(apart) - len(made) - keycaps


def unify_forms(text: str, reading: int = 2) -> tuple[str, int]:
    """Full-width, mathematical, circled and other compatibility forms as plain letters (UAX #15).

    NFKC, but for what `_FORMS` says, and three compatibility forms that languages write with. What
    lower case makes too (Armenian U+0587) is not counted; with `reading` 1 it is.

    >>> unify_forms("\uff26\uff32\U0001d404\U0001d404 \U0001f170 \u0e19\u0e49\u0e33")
    ('FREE a \u0e19\u0e49\u0e33', 5)
    """
    made = _compose(_BARS.sub(_bar, text).translate(_FORMS))
    if made == text:
        return text, 0
    return made, sum(_is_form(one, reading) for one in text)


def _is_form(one: str, reading: int) -> bool:
    made = _compose(one.translate(_FORMS))
    return made != one and (reading == 1 or made.casefold() != one.casefold())


def _bar(found: re.Match[str]) -> str:
    """A drawn I or 1 after a small letter, or before a small vowel, is an l."""
    text, at = found.string, found.start()
    before, after = _compose(text[max(at - 1, 0) : at]), _compose(text[at + 1 : at + 2])
    return "l" if before.islower() or after in tuple("aeiou") else found[0]


def _compose(text: str) -> str:
    return "".join(
        part if place % 2 else normalize_form("NFKC", part)
        for place, part in enumerate(_KEPT.split(text))
    )


def fold_case(text: str) -> tuple[str, int]:
    """Case folded (Unicode, section 3.13, D146): not a disguise, nothing is counted.

    >>> fold_case("Stra\u00dfe")
    ('strasse', 0)
    """
    return _compose(_compose(text).casefold()), 0


def name_emoji(text: str) -> tuple[str, int]:
    """Emoji as the words of their Unicode names, which never change: nothing is counted.

    >>> name_emoji("win\U0001f4b0now")
    ('win money bag now', 0)
    """
    return _PICTURES.sub(_name, _SKIN.sub("", text)), 0


def _name(found: re.Match[str]) -> str:
    name = unicodedata.name(found[0], "")
    return f" {name.lower()} " if name else found[0]
