import re
import unicodedata

import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import given
from hypothesis import strategies as st

from transforms.derive.fingerprint import _SEED, Fingerprint
from transforms.derive.shape import DigitShare, TextLength, UppercaseShare
from transforms.derive.text import NormalizeText, normalize
from transforms.hashing import hash_column


def apply(operation, *texts):
    return operation.apply(pa.RecordBatch.from_pydict({"t": pa.array(texts, pa.string())}))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("  Free\t\tMONEY\n", "free money"),
        ("Stra\u00dfe", "strasse"),
        ("\uff26\uff32\uff25\uff25", "free"),
        ("e\u0301", "\u00e9"),
        ("\u2460", "1"),
        ("\u00a0a\u2003b\u3000", "a b"),
        ("a\x1cb", "a b"),
        ("\u0345\u03b1", "\u03b9\u03b1"),
        ("", ""),
        (" \n ", ""),
    ],
)
def test_normal_form(text, expected):
    assert apply(NormalizeText("t"), text).to_pylist() == [expected]


@given(st.lists(st.text(), max_size=8))
def test_the_fast_way_is_the_slow_way(texts):
    due = [normalize(text) for text in texts]
    for _ in range(2):  # characters are known the second time
        assert apply(NormalizeText("t"), *texts).to_pylist() == due


@pytest.mark.parametrize("text", ["\u05b1\u05b0", "a\u3000\u0301", "\u0130", "\u023a" * 9, "\0"])
def test_characters_that_depend_on_each_other_or_grow(text):
    for _ in range(2):
        assert apply(NormalizeText("t"), text).to_pylist() == [normalize(text)]


def test_every_character_between_others_takes_the_same_way():
    known = [chr(one) for one in range(0x110000) if unicodedata.category(chr(one)) not in _NONE]
    for at in range(0, len(known), 200):  # so many that all are known the second time
        some = known[at : at + 200]
        texts = [f"a{one}b" for one in some]
        texts += [unicodedata.normalize("NFD", one) + one for one in some]  # composed again
        due = [normalize(text) for text in texts]
        for _ in range(2):
            assert apply(NormalizeText("t"), *texts).to_pylist() == due


_NONE = ("Cn", "Co", "Cs")  # of no character, private use, half of one


def test_bytes_that_are_no_text_are_refused():
    for data in (b"\xf0\x9f", b"a\xc3"):
        cut = pa.StringArray.from_buffers(
            1, pa.py_buffer(b"\0\0\0\0" + bytes([len(data), 0, 0, 0])), pa.py_buffer(data)
        )
        with pytest.raises(UnicodeDecodeError):
            NormalizeText("t").apply(pa.RecordBatch.from_arrays([cut], ["t"]))


@given(st.text())
def test_normal_text_is_normal_already(text):
    once = normalize(text)
    assert normalize(once) == once
    assert unicodedata.is_normalized("NFKC", once)


def test_length_is_in_code_points():
    assert apply(TextLength("t"), "", "ab", "\U0001f600e\u0301").to_pylist() == [0, 2, 3]


@given(st.text())
def test_shares(text):
    upper = sum("A" <= c <= "Z" for c in text) / max(len(text), 1)
    digit = sum("0" <= c <= "9" for c in text) / max(len(text), 1)
    assert apply(UppercaseShare("t"), text).to_pylist() == [upper]
    assert apply(DigitShare("t"), text).to_pylist() == [digit]


pieces = st.sampled_from(
    ["http://", "https://", "www.", "w", "ww", "h", "htt", "http:", "https:/", "12", "3", " ", "\n",
     "\x0b", "\t", "/", "?", "#", "a", ".", "\u00e9", "\u3000", "0", "\U0001f600"]
)  # fmt: skip


@given(st.lists(st.lists(pieces, max_size=14).map("".join), min_size=1, max_size=20))
def test_the_fingerprint_is_the_hash_of_what_the_expressions_leave(texts):
    shape = pc.replace_substring_regex(pa.array(texts), r"((?:https?://|www\.)[^\s/?#]*)\S*", r"\1")
    shape = pc.replace_substring_regex(shape, "[0-9]+", "0")
    hashes = hash_column(shape, int(_SEED)).tolist()
    due = [f"{one:016x}" if text else None for one, text in zip(hashes, texts, strict=True)]
    assert apply(Fingerprint("t"), *texts).to_pylist() == due


def test_a_campaign_has_one_fingerprint():
    texts = [
        "order 1234 at http://shop12.example/a/b?c=d now",
        "order 99 at http://shop7.example now",
        "order 5 at http://shop0.example#x now",
    ]
    [first, *others] = apply(Fingerprint("t"), *texts).to_pylist()
    assert re.fullmatch("[0-9a-f]{16}", first)
    assert set(others) == {first}
    assert apply(Fingerprint("t"), "order 5 at http://other.example now").to_pylist() != [first]


def test_long_texts_have_fingerprints():
    one, other = apply(Fingerprint("t"), "a" * 100_000, "a" * 100_001).to_pylist()
    assert one != other
