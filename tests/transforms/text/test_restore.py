"""The chain on whole texts: honest ones stay, disguised ones come back, and it ends."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from text_world import HONEST

from transforms.derive.text import normalize
from transforms.text import STEPS, Texts, count_mixed_words, restore
from transforms.text.tables import LATIN, tables

SPAM = "win free money now at casino palace, only today for loyal people"


def read(*texts):
    return restore(Texts.of(texts)).texts.strings()


def undone(text):
    return {name: int(count[0]) for name, count in restore(Texts.of([text])).undone.items()}


@pytest.mark.parametrize(("language", "words"), HONEST, ids=[one[0] for one in HONEST])
def test_honest_words_are_untouched(language, words):
    alone = words.split()
    kept = [word.casefold() for word in alone]
    assert [
        (word, made) for word, made in zip(kept, read(*alone), strict=True)
        if made not in (word, normalize(word))
    ] == []  # fmt: skip
    together = restore(Texts.of([words]))
    assert together.texts.strings() == [" ".join(read(*alone))]
    assert count_mixed_words(Texts.of([words]))[0] == 0


def test_honest_words_are_of_twenty_scripts_and_more():
    script = tables().script
    cjk = {"ja", "ko", "zh"}
    seen = {int(script[ord(words[0])]) for language, words in HONEST if language not in cjk}
    assert len(seen) >= 20


@pytest.mark.parametrize(
    ("disguised", "plain"),
    [
        ("p\u0430ypal", "paypal"),
        ("\u0420\u0430\u0443\u0420\u0430l", "paypal"),
        ("\u043fp\u0438\u0432e\u0442", "\u043f\u0440\u0438\u0432\u0435\u0442"),
        ("\u13aapple", "apple"),
        ("c\u0101sino", "c\u0101sino"),
        ("I am a st\u0430r, \u0430 star", "i am a star, a star"),
        ("Google Chrome \u0430 \u043d\u0435 Opera", "google chrome \u0430 \u043d\u0435 opera"),
        ("YouTube \u0456 BMW \u0443 Google Maps", "youtube \u0456 bmw \u0443 google maps"),
        ("\u03b2 decay and \u03b1 particles", "\u03b2 decay and \u03b1 particles"),
        ("\u0430 \u0456", "\u0430 \u0456"),
        ("ca\uff53h \U0001d5bf\U0001d5cb\U0001d5be\U0001d5be \U0001f170\U0001f171", "cash free ab"),
        ("\ua730\u0280\u1d07\u1d07", "free"),
        ("f\u200br\u00ade\u2060e\u202e", "free"),
        ("\u0646\u0645\u06cc\u200c\u062f\u0627", "\u0646\u0645\u06cc\u200c\u062f\u0627"),
        ("f\u0336r\u0336e\u0336e\u0336", "free"),
        ("f\u0300\u0301\u0302\u0303\u0304ree", "free"),
        ("Ti\u1ebfng Vi\u1ec7t", "ti\u1ebfng vi\u1ec7t"),
        ("fr33 m0ney, b1tcoin a$$et $ave", "free money, bitcoin asset save"),
        ("covid19 mp3 b2b win100 area51 2nd 4u", "covid19 mp3 b2b win100 area51 2nd 4u"),
        ("me@mail.example 10:30 v1.0.2 a1/b2", "me@mail.example 10:30 v1.0.2 a1/b2"),
        ("f r e e  m o n e y", "free money"),
        ("f-r-e-e c_a_s_h v.i.a.g.r.a", "free cash viagra"),
        ("u r a star, U.S.A., e.g. a-b", "u r a star, u.s.a., e.g. a-b"),
        ("freeeeeee schifffahrt www", "free schifffahrt www"),
        ("hxxps[:]//evil[.]example(dot)com", "https://evil.example.com"),
        ("see [1] and (a dot) or array[.]", "see [1] and (a dot) or array[.]"),
        ("evil%2eexample/%2561", "evil.example/a"),
        ("100% sure, 20%off", "100% sure, 20%off"),
        ("xn--bcher-kva.example", "b\u00fccher.example"),
        ("so \U0001f4b0\U0001f3fd!", "so money bag !"),
        ("\uff4eo\u200b\u0430h%2e\uff05e", None),
    ],
)  # fmt: skip
def test_disguises(disguised, plain):
    made = read(disguised)
    if plain is not None:
        assert made == [plain]
    assert read(*made) == made


def test_what_was_undone_is_counted_by_step():
    found = {
        name: count for name, count in undone("F\u200bR\u0435E v1agra \uff41").items() if count
    }
    assert found == {"invisible": 1, "forms": 1, "look_alikes": 1, "leet": 1}
    assert not any(undone("An Honest  \U0001f600 text").values())


@pytest.mark.parametrize(
    "honest",
    [
        "\u1796\u17b6\u200b\u1781\u17d2\u1798\u17c2\u179a",  # Khmer, whose words U+200B parts
        "\u0570\u0561\u0575 \u0587 \u0578\u0582",  # Armenian "and" is one letter
        "so \u2764\ufe0f \U0001f468\U0001f3fd\u200d\U0001f4bb \U0001f3f3\ufe0f\u200d\U0001f308",
        "1\ufe0f\u20e3 \u00a9\ufe0f",
        "\U0001f3f4\U000e0067\U000e0062\U000e0065\U000e006e\U000e0067\U000e007f",
    ],
)
def test_what_honest_people_write_is_no_disguise(honest):
    assert not any(undone(honest).values())
    first = restore(Texts.of([honest]), reading=1)
    assert first.texts.strings() == read(honest)
    assert sum(int(count[0]) for count in first.undone.values()) > 0


@pytest.mark.parametrize("disguised", ["f\ufe0free", "a\u200d\u200db", "a\ufe0f\ufe0fb"])
def test_what_emoji_are_written_with_is_a_disguise_among_letters(disguised):
    assert undone(disguised)["invisible"] == len(disguised) - len(read(disguised)[0])


@pytest.mark.parametrize("letters", [3, 8])
def test_letters_replaced_by_look_alikes_come_back(letters):
    """A tenth of a check: `python -m benchmarks.language` measures it on real texts."""
    look = tables()
    alike = {}
    for point in range(0x250, len(look.row)):
        if look.row[point] >= 0 and look.script[point] not in (0, LATIN):
            letter = int(look.alike[look.row[point], LATIN])
            if 0 < letter < 128:
                alike.setdefault(chr(letter), []).append(chr(point))
    chosen = random.Random(1)
    places = [at for at, one in enumerate(SPAM) if one in alike]
    texts = []
    for _ in range(200):
        text = list(SPAM)
        for at in chosen.sample(places, letters):
            text[at] = chosen.choice(alike[text[at]])
        texts.append("".join(text))
    assert sum(made == SPAM for made in read(*texts)) >= 184


alphabet = st.sampled_from(
    [
        *"abIlo01357$@! .-_*%[](){}", *"\u0430\u0435\u0406\u0418\u0391\u03b5\u03bf\u3042",
        *"\u200b\u200d\u0301\u0336\u0345\uff41\U0001d400\U0001f600",
        "xn--a", "%25", "%D0%B0", "hxxp://", "(dot)",
    ]
)  # fmt: skip
texts = st.one_of(st.lists(alphabet, max_size=25).map("".join), st.text(max_size=20))


@settings(max_examples=150)
@given(st.lists(texts, max_size=5))
def test_the_chain_is_idempotent_and_sees_one_text_at_a_time(some):
    made = read(*some)
    assert read(*made) == made
    assert [read(one)[0] for one in some] == made


@settings(max_examples=60)
@given(st.sampled_from(sorted(STEPS)), st.lists(texts, max_size=5))
def test_every_step_is_total(name, some):
    made, counts = STEPS[name](Texts.of(some))
    assert len(made) == len(counts) == len(some)
    assert min(counts, default=0) >= 0


@pytest.mark.parametrize(
    "unit",
    [
        "a",
        "a ",
        "a.",
        "\u0430a",
        "%25",
        "%%32",
        "[.",
        "hxxp",
        "e\u0301",
        "\u200d",
        "1",
        "\u0430\u13a0\u03b1",
    ],
)
def test_a_long_text_takes_time_in_proportion(unit):
    """Ten thousand units of what could make a step look back: it must simply end."""
    text = unit * 10_000
    made = read(text)
    assert read(*made) == made
