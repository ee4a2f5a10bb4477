"""Writes the tables of scripts, look-alikes, shorteners and words from published data.

    python -m transforms.text.make_tables Scripts.txt confusables.txt CLDR/common/main
    python -m transforms.text.make_tables misp-warninglists/lists/url-shortener/list.json
    python -m transforms.text.make_tables symspellpy/frequency_dictionary_en_82_765.txt

`tables.py` says which versions the tables beside this file are of, and under which licences. A new
one changes features, and so `TABLES`, `SHORTENERS` or `WORDS` there, and the argument of the
derivations that look them up, which is part of a spec's fingerprint.
"""

# ruff: noqa: RUF001

from __future__ import annotations

import json
import math
import re
import sys
import unicodedata
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

_HERE = Path(__file__).parent
_WORDS = 20_000

# Pairs that readers take for each other and UTS #39 leaves out, as their prototypes differ: lower
# case of letters whose capitals are alike, and letters that attackers use for their sound or shape.
_ALSO_ALIKE = {
    "к": "k", "м": "m", "т": "t", "в": "b", "н": "h", "и": "n", "п": "n", "я": "r", "ш": "w",
    "α": "a", "β": "b", "ε": "e", "η": "n", "ι": "i", "κ": "k", "τ": "t",
    "ω": "w", "χ": "x", "ѵ": "v", "є": "e", "Σ": "e", "Λ": "a", "Я": "r", "И": "n", "Д": "a",
    "Ш": "w", "Щ": "w", "Ц": "u", "Л": "n", "Г": "r", "У": "y", "Ч": "y", "Б": "b",
    "ь": "b", "ы": "bl", "э": "e", "Э": "e", "ж": "x", "Ж": "x", "ӏ": "l",
}  # fmt: skip
_WEAK = set(_ALSO_ALIKE.items()) | {
    (target, source.casefold()) for source, target in _ALSO_ALIKE.items()
}


def read_scripts(path: Path) -> dict[int, str]:
    """Code point -> script, of `Scripts.txt`."""
    scripts = {}
    for span, script in _fields(path):
        first, _, last = span.partition("..")
        for point in range(int(first, 16), int(last or first, 16) + 1):
            scripts[point] = script
    return scripts


def read_prototypes(path: Path) -> dict[str, str]:
    """Character -> prototype, of `confusables.txt`."""
    return {
        chr(int(source, 16)): "".join(chr(int(point, 16)) for point in target.split())
        for source, target, _ in _fields(path)
    }


def read_orthographies(folder: Path) -> set[str]:
    """Characters that some language of CLDR writes with: the main exemplar sets."""
    letters: set[str] = set()
    for path in folder.glob("*.xml"):
        for found in re.findall(
            r"<exemplarCharacters(?: draft=\"\w+\")?>\[(.*?)\]<", path.read_text("utf-8")
        ):
            letters |= set(_exemplars(found))
    return letters | {letter.upper() for letter in letters if len(letter.upper()) == 1}


def look_alikes(
    scripts: dict[int, str], prototypes: dict[str, str], written: set[str]
) -> dict[str, dict[str, str]]:
    """Character -> script -> what it looks like there, in lower case.

    A capital that looks like I looks like l too: its entry is "I", and its place in a word decides.
    Within one script only letters that no language writes with have an entry: a letter of an
    alphabet is never taken for another of the same alphabet.
    """
    classes = defaultdict(set)
    for source, prototype in prototypes.items():
        classes[prototype].add(source)
        if len(prototype) == 1:
            classes[prototype].add(prototype)
    found: dict[str, dict[str, str]] = defaultdict(dict)
    for members in classes.values():
        letters = [one for one in members if _is_letter(one, scripts)]
        for script in {scripts[ord(one)] for one in letters}:
            here = [one for one in letters if scripts[ord(one)] == script and one in written]
            for source in members:
                if source in here or not here:
                    continue
                same = scripts.get(ord(source)) == script
                chosen = _choose(source, here)
                letter = source in letters and not (same and script != "Latin")
                if letter or (_is_sign(source) and chosen.isascii()):
                    found[source][script] = chosen
    for source, target in _ALSO_ALIKE.items():
        found[source].setdefault("Latin", target)
        if len(target) == 1 and target.isalpha():
            found[target].setdefault(scripts[ord(source)], source.casefold())
    for point, script in scripts.items():
        name = unicodedata.name(chr(point), "")
        small = re.fullmatch(r"LATIN LETTER SMALL CAPITAL ([A-Z])", name)
        if script == "Latin" and small and chr(point) not in written:
            found[chr(point)]["Latin"] = small[1].lower()
    return {source: found[source] for source in sorted(found)}


def _choose(source: str, here: list[str]) -> str:
    """The member of a script that a character stands for: a plain one, in its case if it can be."""
    if "I" in here:
        return "I" if unicodedata.category(source) == "Lu" else "l"
    small = [one for one in here if one == one.casefold()] or here
    return min(small, key=ord).casefold()


def _is_letter(character: str, scripts: dict[int, str]) -> bool:
    """Has a script, and is what NFKC leaves of it."""
    return (
        unicodedata.category(character)[0] in "LNMC"  # C: newer than this Python's Unicode
        and scripts.get(ord(character), "Common") not in ("Common", "Inherited")
        and unicodedata.normalize("NFKC", character) == character
    )


def _is_sign(character: str) -> bool:
    """A sign or a number of no script, which stands for a letter only within a word."""
    return (
        unicodedata.category(character) not in ("Pi", "Pf")  # one of them is an apostrophe
        and unicodedata.category(character)[0] in "SPN"
        and not character.isascii()
        and unicodedata.normalize("NFKC", character) == character
    )


def _exemplars(pattern: str) -> Iterator[str]:
    """The characters of a CLDR set such as ``a-z á {ch} \\u200C``."""
    pattern = re.sub(r"\\u([0-9A-Fa-f]{4})", lambda found: chr(int(found[1], 16)), pattern)
    pattern = re.sub(r"\\(.)", r"\1", pattern.replace("{", "").replace("}", ""))
    at = 0
    while at < len(pattern):
        if pattern[at + 1 : at + 2] == "-" and at + 2 < len(pattern):
            yield from map(chr, range(ord(pattern[at]), ord(pattern[at + 2]) + 1))
            at += 3
        else:
            yield from () if pattern[at].isspace() else (pattern[at],)
            at += 1


def _fields(path: Path) -> Iterator[list[str]]:
    for line in path.read_text("utf-8-sig").splitlines():
        line = line.partition("#")[0].strip()
        if line:
            yield [field.strip() for field in line.split(";")]


def _ranges(scripts: dict[int, str]) -> Iterator[tuple[int, int, str]]:
    """Runs of code points of one script."""
    first, last, current = 0, -1, ""
    for point in sorted(scripts):
        if current and point == last + 1 and scripts[point] == current:
            last = point
            continue
        if current:
            yield first, last, current
        first, last, current = point, point, scripts[point]
    yield first, last, current


def read_shorteners(path: Path) -> list[str]:
    """Hosts of a MISP warning list, sorted, each once."""
    return sorted({host.strip().lower() for host in json.loads(path.read_text("utf-8"))["list"]})


def read_words(path: Path, count: int) -> dict[str, int]:
    """The most frequent words and their costs (`words.WordList`), of lines of a word and a count.

    Args:
      path: of the list, in which each word of the letters a to z occurs once.
      count: how many are taken.
    """
    lines = (line.split() for line in path.read_text("utf-8-sig").splitlines())
    counts = {word: int(times) for word, times in lines}
    total = sum(counts.values())
    plain = [word for word in counts if re.fullmatch("[a-z]{2,}|[ai]", word)]
    plain.sort(key=lambda word: (-counts[word], word))
    return {word: round(1000 * math.log2(total / counts[word])) for word in plain[:count]}


def main(*paths: str) -> None:
    """Writes the tables of scripts and look-alikes, or that of shorteners, or that of words."""
    if paths[0].endswith(".json"):
        hosts = read_shorteners(Path(paths[0]))
        (_HERE / "shorteners.tsv").write_text("".join(f"{host}\n" for host in hosts), "utf-8")
        return
    if len(paths) == 1:
        costs = sorted(read_words(Path(paths[0]), _WORDS).items())
        (_HERE / "words.tsv").write_text(
            "".join(f"{word}\t{cost}\n" for word, cost in costs), "ascii"
        )
        return
    scripts_path, confusables_path, exemplars = paths
    scripts = read_scripts(Path(scripts_path))
    found = look_alikes(
        scripts, read_prototypes(Path(confusables_path)), read_orthographies(Path(exemplars))
    )
    (_HERE / "scripts.tsv").write_text(
        "".join(
            f"{first:X}\t{last:X}\t{name}\n"
            for first, last, name in _ranges(scripts)
            if name not in ("Common", "Inherited")
        ),
        "utf-8",
    )
    (_HERE / "look_alikes.tsv").write_text(
        "".join(
            f"{ord(source):X}\t{script}\t{target}\t{'weak' if (source, target) in _WEAK else ''}\n"
            for source, targets in found.items()
            for script, target in sorted(targets.items())
        ),
        "utf-8",
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
