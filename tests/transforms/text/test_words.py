"""Merged words and repeated letters by a list of words: what comes back, and what must stay."""

import hashlib
from importlib import resources

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from text_world import HONEST

from configs.catalog import without_later_arguments
from configs.fingerprint import fingerprint, state_fingerprint
from configs.loader import loads
from transforms.catalog import CATALOG
from transforms.derive import derive
from transforms.derive.disguise import CountDisguises, RestoreText
from transforms.text import STEPS_BY_LIST, Texts, restore
from transforms.text.tables import WORDS
from transforms.text.words import word_list

# Compounds and long words, none of which is written apart; some are English words in a row.
LONG = {
    "de": "donaudampfschifffahrtsgesellschaft handschuhfach wasserhahn bahnhofsvorplatz "
    "altersheim winterreifen gasthaus handstand weltstadt mindestens strandhotel fernsehturm "
    "arbeitszeitmodell kinderbuchautorin tomatenmark finanzamt informationen internetseite",
    "da": "forbindelse generalforsamling internationale problemstillingen",
    "fr": "internationalisation professionnalisation recommandations comptabilité",
    "nl": "herstructureringsplan "
    "meervoudigepersoonlijkheidsstoornis arbeidsongeschiktheidsverzekering handdoek "
    "wereldwijd nederlandsestraat avondeten voetbalwedstrijd tenminste overheidsinstelling",
    "sv": "realisationsvinstbeskattning sjukhusbesök handduk världsmästerskap informationsteknik",
    "fi": "lentokonesuihkuturbiinimoottori epäjärjestelmällisyys sinunkinko onnittelemaan",
    "hu": "megszentségteleníthetetlenségeskedéseitekért barátnőm mindenhatóan",
    "tr": "muvaffakiyetsizleştiricileştiriveremeyebileceklerimizdenmişsinizcesine gelemedim",
    "id": "mempertanggungjawabkan bersamanya mendatangkannya perhatian sementara",
    "sw": "ninakupenda hatutakupigania anayependwa",
    "it": "considerato rappresentanti "
    "precipitevolissimevolmente continuando internazionalizzazione domestico",
    "en": "nevertheless nonetheless notwithstanding whatsoever heretofore inasmuch "
    "straightforward antidisestablishmentarianism counterrevolutionary superintendent "
    "somewhere himself understandable hereinafter insofar therein forasmuch",
}  # fmt: skip


def read(*texts):
    return restore(Texts.of(texts), 1).texts.strings()


@pytest.mark.parametrize(
    ("disguised", "plain"),
    [
        ("buycheapnow", "buycheapnow"),
        ("BuyCheapNow!", "buy cheap now!"),
        ("buy.cheap.now", "buy cheap now"),
        ("(buy_cheap_now)", "(buy cheap now)"),
        ("buy*cheap*now, buy|cheap|now", "buy cheap now, buy cheap now"),
        ("buy\u200bcheap\u200bnow", "buy cheap now"),
        ("#BuyCheapNow", "#buy cheap now"),
        ("buy\u200b\u2060cheap\ufeffnow BuyAHouse", "buy cheap now buy a house"),
        ("makemoneyonlinefromhome", "make money online from home"),
        ("makem0neyonl\u0456nefr\u200domhome", "make money online from home"),
        ("m.a.k.e.m.o.n.e.y.o.n.l.i.n.e.n.o.w", "make money online now"),
        ("thisisthebestplacetogetmoneyonline", "this is the best place to get money online"),
        ("buy__cheap__now buy_cheap.now", "buy__cheap__now buy_cheap.now"),
        ("never\u200bthe\u200bless Auf\u200clage", "nevertheless auflage"),
        ("freeeee moneyyyy goood", "free money good"),
        ("see https://buy.cheap.now/buycheapnow", "see https://buy.cheap.now/buycheapnow"),
        ("me@buycheapnow.example www.buy.cheap.now", "me@buycheapnow.example www.buy.cheap.now"),
        ("@buycheapnow buycheapnow2", "@buycheapnow buycheapnow2"),
        ("index.html e.g. p.m. a.b.c example.com", "index.html e.g. p.m. a.b.c example.com"),
        ("state-of-the-art and/or he/she/it", "state-of-the-art and/or he/she/it"),
        ("schifffahrt www viii zzz xxx iii", "schifffahrt www viii zzz xxx iii"),
        ("YouTube JavaScript PayPal", "youtube javascript paypal"),
    ],
)
def test_merged_words_and_repeated_letters(disguised, plain):
    assert read(disguised) == [plain]
    assert read(plain) == [plain]


@pytest.mark.parametrize("language", LONG)
def test_long_honest_words_are_left(language):
    words = LONG[language].split()
    assert read(*words) == words
    assert read(LONG[language]) == [LONG[language]]


@pytest.mark.parametrize(("language", "words"), HONEST, ids=[one[0] for one in HONEST])
def test_honest_words_of_every_script_are_left(language, words):
    for texts in (words.split(), [words]):
        with_list, without = (restore(Texts.of(texts), version) for version in (1, 0))
        assert with_list.texts.strings() == without.texts.strings()
        assert not with_list.undone["merged"].any()


def test_what_was_undone_is_counted():
    texts = Texts.of(["BuyCheapNow buy_cheap_now", "goood freee", "an honest text"])
    made = restore(texts, 1)
    assert made.undone["merged"].tolist() == [4, 0, 0]
    assert made.undone["echoes"].tolist() == [0, 2, 0]
    assert sum(count.sum() for count in made.undone.values()) == 6


def test_words_of_the_list_are_never_parted_themselves():
    text = (resources.files("transforms.text") / "words.tsv").read_text("ascii")
    known = [line.split("\t")[0] for line in text.splitlines()]
    assert read(*known) == known
    assert int((word_list().cost > 0).sum()) == len(known) == 20_000


def test_the_list_is_the_published_one():
    """A new one needs a new version in `WORDS`, so that it gets another fingerprint."""
    data = (resources.files("transforms.text") / "words.tsv").read_bytes()
    assert list(WORDS) == [1]
    assert hashlib.sha256(data).hexdigest()[:16] == "e8cc12e6e8758060"


CHAIN = """
lockstep: 1
name: n
columns: {t: {type: string}, a: {type: string}}
kinds: {m: {scored: true}}
derive:
  r: {op: restore_text, of: t%s}
  c: {op: count_disguises, of: t%s}
entities:
  e: {key: {m: [a]}, windows: [1h], aggregates: {n: {op: count, of: m, where: "c > 0"}}}
"""


def test_the_list_is_part_of_the_fingerprint_only_where_it_is_used():
    silent, used, first = (
        loads(CHAIN % (said, said), "c.yaml", CATALOG)
        for said in ("", ", words: 1", ", reading: 1")
    )
    assert fingerprint(first) == "41b1cf9695d7fd78"  # of the release before there was the list
    assert fingerprint(used) != fingerprint(silent)
    assert state_fingerprint(used, "e") != state_fingerprint(silent, "e")
    assert RestoreText("t") == RestoreText("t", words=0) and CountDisguises("t").words == 0


def test_what_a_disguise_is_has_a_version_and_the_first_one_stays_what_it_was():
    now, first = (loads(CHAIN % (a, a), "c.yaml", CATALOG) for a in ("", ", reading: 1"))
    assert without_later_arguments(now, CATALOG) == first
    assert fingerprint(now) != fingerprint(first)
    batch = pa.RecordBatch.from_pydict({"t": ["BMW \u0443 Google"], "a": ["x"]})
    made = [derive(spec, batch).select(["r", "c"]).to_pylist() for spec in (now, first)]
    assert made == [[{"r": "bmw \u0443 google", "c": 0}], [{"r": "bmw y google", "c": 1}]]


pieces = st.sampled_from(
    [
        *"abi.*_|+~- !",
        "buy",
        "Cheap",
        "now",
        "the",
        "make",
        "money",
        "online",
        "ooo",
        "eee",
        "\u200b",
        "\u0430",
        "3",
    ]
)


@settings(max_examples=150)
@given(st.lists(st.lists(pieces, max_size=25).map("".join), max_size=4))
def test_the_chain_is_idempotent_and_sees_one_text_at_a_time(some):
    made = read(*some)
    assert read(*made) == made
    assert [read(one)[0] for one in some] == made


@settings(max_examples=60)
@given(st.sampled_from(["echoes", "merged"]), st.lists(st.text(max_size=20), max_size=5))
def test_both_steps_are_total(name, some):
    made, counts = STEPS_BY_LIST[name](Texts.of(some))
    assert len(made) == len(counts) == len(some)
    assert min(counts, default=0) >= 0


@pytest.mark.parametrize("unit", ["buycheapnow", "Buy", "a", "buy_", "ooob", "an", "the.", "iii"])
def test_a_long_word_takes_time_in_proportion(unit):
    """Ten thousand units of what could make a step look back: it must simply end."""
    made = read(unit * 10_000)
    assert read(*made) == made
