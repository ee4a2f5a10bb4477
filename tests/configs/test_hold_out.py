"""The hold-out in a config: read, refused, and no part of older fingerprints."""

import pytest
from backfill_world import CONFIG

from configs.errors import ConfigError
from configs.fingerprint import dataset_fingerprint, fingerprint
from configs.loader import loads
from configs.policy import HoldOut
from transforms.catalog import CATALOG


def spec(hold_out=""):
    text = CONFIG.replace("policy: {", f"policy: {{hold_out: {hold_out}, ") if hold_out else CONFIG
    return loads(text, "mine.yaml", CATALOG)


def test_it_is_read():
    assert spec("{share: 0.02, salt: a}").policy.hold_out == HoldOut(0.02, "a")
    assert spec().policy.hold_out is None


def test_it_names_another_bundle_but_no_other_dataset():
    plain, small, large, salted = (
        spec(text)
        for text in (
            "",
            "{share: 0.02, salt: a}",
            "{share: 0.05, salt: a}",
            "{share: 0.02, salt: b}",
        )
    )
    assert len({fingerprint(one) for one in (plain, small, large, salted)}) == 4
    assert len({dataset_fingerprint(one) for one in (plain, small, large, salted)}) == 1


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{salt: a}", "'share' is missing"),
        ("{share: 0.1}", "'salt' is missing"),
        ("{share: 0, salt: a}", "share: expected more than 0"),
        ("{share: 1.1, salt: a}", "share: expected at most 1, found 1.1"),
        ("{share: 0.1, salt: ''}", "salt: expected a text that is not empty"),
        ("{share: 0.1, salt: a, of: 1}", "there is no setting 'of' here"),
        ("0.1", "hold_out: expected a section"),
    ],
)
def test_mistakes(text, said):
    with pytest.raises(ConfigError) as caught:
        spec(text)
    assert said in str(caught.value)
