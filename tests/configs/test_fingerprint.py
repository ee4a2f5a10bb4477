"""Settings that came later leave fingerprints as they were, and only where they came."""

import dataclasses

import pytest

from configs.fingerprint import (
    _LATER,
    _plain,
    campaigns_fingerprint,
    dataset_fingerprint,
    fingerprint,
    graph_fingerprint,
    state_fingerprint,
)
from configs.loader import loads, shipped
from configs.schema import ColumnType, Labels
from transforms.catalog import CATALOG
from transforms.derive import DERIVATIONS


@dataclasses.dataclass(frozen=True)
class Other:
    """It had these settings from the first day."""

    source: str | None = None
    expires_us: int | None = None


def test_a_later_setting_is_known_by_what_has_it():
    assert _plain(Other()) == {"source": None, "expires_us": None}
    unused = Labels("verdict", "subject", None, None)
    assert not {"source", "precedence", "expires_us"} & _plain(unused).keys()
    used = dataclasses.replace(unused, expires_us=5, source="who")
    assert _plain(used) == _plain(unused) | {"expires_us": 5, "source": "who"}


def test_each_later_setting_is_there_and_can_be_left_out():
    for kind, names in _LATER.items():
        fields = {one.name: one for one in dataclasses.fields(kind)}
        for name in names:
            given = fields[name].default, fields[name].default_factory
            assert given != (dataclasses.MISSING, dataclasses.MISSING)


CONFIG = """
lockstep: 1
columns: {t: {type: string}, u: {type: string}}
kinds: {m: {scored: true}}
derive: {d: {op: %s, of: %s%s}}
entities: {e: {key: {m: [t]}, windows: [1h], aggregates: {n: {op: count, where: "not is_null(d)"}}}}
graph: {edges: {r: {of: m, from: t, to: u, expires: 1d, where: "not is_null(d)"}}}
campaigns: {account: t, of: m, links: {l: {columns: u, where: "not is_null(d)"}}}
inputs: {numeric: [], text: {column: t}}
"""
DEFAULTS = [
    (operation, field)
    for operation in DERIVATIONS
    for field in dataclasses.fields(operation)
    if field.default is not dataclasses.MISSING
]


def fingerprints(operation, said):
    of = "t" if ColumnType.STRING in operation.accepts else "event_time"
    spec = loads(CONFIG % (operation.op, of, said), "c.yaml", CATALOG)
    return spec, [
        fingerprint(spec),
        dataset_fingerprint(spec),
        state_fingerprint(spec, "e"),
        graph_fingerprint(spec),
        campaigns_fingerprint(spec),
    ]


@pytest.mark.parametrize(
    ("operation", "field"), DEFAULTS, ids=[f"{one.op}-{field.name}" for one, field in DEFAULTS]
)
def test_a_default_that_is_written_out_is_no_other_config(operation, field):
    now = field.metadata.get("now")
    default = field.default if now is None else now
    silent, written = (fingerprints(operation, said) for said in ("", f", {field.name}: {default}"))
    assert silent == written
    least, most = field.metadata["least"], field.metadata["most"]
    if least < most:
        other = fingerprints(operation, f", {field.name}: {most if default == least else least}")
        assert all(one != kept for one, kept in zip(other[1], silent[1], strict=True))


def test_whether_decisions_name_campaigns_is_of_the_bundle_and_of_no_snapshot():
    plain, named, off = (
        loads(
            CONFIG.replace("of: m, links", f"of: m,{said} links") % ("lowercase", "t", ""),
            "c.yaml",
            CATALOG,
        )
        for said in ("", " name_decisions: true,", " name_decisions: false,")
    )
    assert campaigns_fingerprint(plain) == campaigns_fingerprint(named)
    assert dataset_fingerprint(plain) == dataset_fingerprint(named)
    assert fingerprint(plain) == fingerprint(off) != fingerprint(named)


@pytest.mark.parametrize("name", ["chat", "chat_full", "card_fraud_handbook", "mail"])
def test_fingerprints_of_shipped_configs_stay_whether_they_write_defaults_out_or_not(name):
    text = shipped(name).read_text()
    now, then = (loads(text, "c.yaml", CATALOG, as_written) for as_written in (False, True))
    assert now == then
    assert fingerprint(now) == fingerprint(then)
