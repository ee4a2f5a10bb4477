"""Normal forms of any text, and what Python is left to order."""

import itertools
import random
import re
import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from transforms.derive.text import normalize
from transforms.text import Texts, forms, restore

FORMS = ["NFC", "NFD", "NFKC", "NFKD"]
# Marks of several classes, some that decompose, two without a class of their own (Tibetan and
# half-width Japanese), a letter that composes, one that is a compatibility form.
PIECES = "\u0301\u0316\u0323\u0345\u0334\u0344\u0f73\u0f81\uff9e\u05b0\u3099\u0308ea\u304b\uff76"
marks = st.lists(st.sampled_from(PIECES), max_size=300).map("".join)


@settings(max_examples=150)
@given(st.sampled_from(FORMS), marks)
def test_forms_are_those_of_python(form, text):
    assert forms.normalize_form(form, text) == unicodedata.normalize(form, text)


@pytest.mark.parametrize("form", FORMS)
def test_every_mark_within_a_long_run(form):
    chosen = random.Random(3)
    some = [
        chr(point)
        for point in range(0x110000)
        if not 0xD800 <= point < 0xE000
        and all(map(unicodedata.combining, unicodedata.normalize("NFKD", chr(point))))
    ]
    for _ in range(20):
        text = "".join(chosen.choices(some, k=500))
        assert forms.normalize_form(form, text) == unicodedata.normalize(form, text)
        found = {len(one) for one in re.findall(forms._runs("NFKD"), text)}
        assert found == {500}


@pytest.mark.parametrize("unit", ["\u0301\u0316", "\u05b0\u05b1\u05b2", "\u0f73", "\uff9e\u0301"])
def test_python_is_left_nothing_to_order_in_a_long_run(unit, monkeypatch):
    """Its time grows with the square of the marks that are out of order."""
    asked = []

    def watched(form, text):
        asked.append((form, text))
        return unicodedata.normalize(form, text)

    class Watched:
        combining, normalize = unicodedata.combining, staticmethod(watched)

    monkeypatch.setattr(forms, "unicodedata", Watched)
    text = "a" + unit * 2_000
    made = restore(Texts.of([text])).texts.strings()
    assert restore(Texts.of(made)).texts.strings() == made
    normalize(text)
    for form, one in asked:
        apart = "".join(
            unicodedata.normalize("NFKD" if "K" in form else "NFD", mark) for mark in one
        )
        classes = [unicodedata.combining(mark) for mark in apart]
        falls = sum(0 < after < before for before, after in itertools.pairwise(classes))
        assert falls <= 64
