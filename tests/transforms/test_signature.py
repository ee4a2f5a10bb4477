"""What an input means: itself, whatever stands beside it, and whatever a column is called."""

from backfill_world import CONFIG

from configs.loader import loads
from transforms.catalog import CATALOG
from transforms.signature import find_unlike, input_fingerprints

PEOPLE = "      people: {op: distinct, of: post, column: who}\n"


def spec_of(text):
    return loads(text, "tiny.yaml", CATALOG)


def test_an_aggregate_may_have_the_name_of_its_column():
    same = PEOPLE + "      amount: {op: sum, of: post, column: amount, decimals: 1}\n"
    other = same.replace("amount: {op: sum, of", "money: {op: sum, of")
    named, beside = spec_of(CONFIG.replace(PEOPLE, same)), spec_of(CONFIG.replace(PEOPLE, other))
    digests = input_fingerprints(named)
    assert any(name.startswith("place_amount_") for name in digests)
    assert find_unlike(spec_of(CONFIG), digests) == "", "what stands beside changes nothing"
    assert "is not there" in find_unlike(beside, digests)


def test_another_filter_under_the_same_name_is_another_input():
    filtered = PEOPLE.replace("column: who", 'where: "amount > 1", column: who')
    unlike = find_unlike(
        spec_of(CONFIG.replace(PEOPLE, filtered)), input_fingerprints(spec_of(CONFIG))
    )
    assert "place_people" in unlike and "in another way" in unlike
