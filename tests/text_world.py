"""Words that nobody disguised, of some fifty languages in more than twenty scripts."""

from pathlib import Path

_FILE = Path(__file__).parent / "transforms" / "text" / "honest_words.tsv"
HONEST = [line.split("\t") for line in _FILE.read_text("utf-8").splitlines()]
"""Language and words: names of languages and countries of CLDR, words of month names."""
