"""Limits of actions in a config: read, refused, and no part of older fingerprints."""

import pytest
from backfill_world import CONFIG

from configs.errors import ConfigError
from configs.fingerprint import dataset_fingerprint, fingerprint, state_fingerprint
from configs.loader import loads
from configs.policy import ActionLimit
from transforms.catalog import CATALOG


def spec(limit=""):
    block = "{min_precision: 0.8" + (f", limit: {limit}" if limit else "")
    return loads(CONFIG.replace("{min_precision: 0.8", block), "mine.yaml", CATALOG)


def test_it_is_read():
    [block] = spec("{per: who, count: 3, in: 1h}").policy.actions
    assert block.limit == ActionLimit("who", 3, 3_600_000_000)
    [block] = spec().policy.actions
    assert block.limit is None


def test_it_names_another_bundle_but_no_other_dataset_or_state():
    limits = "", "{per: who, count: 3, in: 1h}", "{per: who, count: 4, in: 1h}"
    specs = [spec(one) for one in limits]
    assert len({fingerprint(one) for one in specs}) == 3
    assert len({dataset_fingerprint(one) for one in specs}) == 1
    for entity in specs[0].entities:
        assert len({state_fingerprint(one, entity) for one in specs}) == 1


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{count: 3, in: 1h}", "'per' is missing"),
        ("{per: who, in: 1h}", "'count' is missing"),
        ("{per: who, count: 3}", "'in' is missing"),
        ("{per: whom, count: 3, in: 1h}", "per: 'whom' is not known"),
        ("{per: amount, count: 3, in: 1h}", "per: amount is number, which names nobody"),
        ("{per: who, count: 0, in: 1h}", "count: expected at least 1, found 0"),
        ("{per: who, count: 65, in: 1h}", "count: expected at most 64, found 65"),
        ("{per: who, count: 3, in: 0s}", "in: expected more than 0"),
        ("{per: who, count: 3, in: soon}", "in: expected a number and a unit"),
        ("{per: who, count: 3, in: 1h, of: 1}", "there is no setting 'of' here"),
        ("3", "limit: expected a section"),
    ],
)
def test_mistakes(text, said):
    with pytest.raises(ConfigError) as caught:
        spec(text)
    line = 1 + CONFIG[: CONFIG.index("policy:")].count("\n")
    assert f"mine.yaml:{line}:" in str(caught.value) and said in str(caught.value)


def test_the_default_has_no_limit():
    """What is done below all thresholds is no action, so it is not given so often."""
    text = CONFIG.replace("block: {min", "allow: {limit: {per: who, count: 1, in: 1h}, min")
    with pytest.raises(ConfigError, match="'allow' is the default too"):
        loads(text, "mine.yaml", CATALOG)
